//! Who is written next, when more waits than one commit should take.
//!
//! Why: there is one log on one disk for all tenants, and what a call leaves there may be a hundred times what another
//! leaves. So a commit takes so many bytes at most, and logs take turns at it, each turn worth as many bytes as any
//! other's (deficit round robin): whoever floods waits behind their own flood, and whoever brings one entry is in the
//! next commit. Entries of one log keep their order.

use std::collections::{HashMap, VecDeque};

use crate::log::Log;

/// What a turn is worth, in bytes.
const TURN: usize = 16 << 10;

/// What waits, by log.
pub(crate) struct Turns<T> {
    lines: HashMap<Log, Line<T>>,
    /// Whose turn it is, next first; each log that waits once.
    order: VecDeque<Log>,
    count: usize,
}

struct Line<T> {
    /// In order, each with its cost in bytes.
    waiting: VecDeque<(usize, T)>,
    /// Bytes of its turns that were not used because the next was larger.
    credit: usize,
}

impl<T> Turns<T> {
    pub(crate) fn new() -> Self {
        Self { lines: HashMap::new(), order: VecDeque::new(), count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Adds one of `log`, which takes so many bytes.
    pub(crate) fn push(&mut self, log: Log, cost: usize, what: T) {
        self.count += 1;
        if let Some(line) = self.lines.get_mut(&log) {
            line.waiting.push_back((cost, what));
            return;
        }
        self.order.push_back(log.clone());
        self.lines.insert(log, Line { waiting: VecDeque::from([(cost, what)]), credit: 0 });
    }

    /// Takes what is next: at most `count`, and no more once they have `bytes` together.
    pub(crate) fn take(&mut self, count: usize, bytes: usize) -> Vec<T> {
        let (mut taken, mut spent) = (Vec::with_capacity(count.min(self.count)), 0);
        while taken.len() < count
            && spent < bytes
            && let Some(log) = self.order.pop_front()
        {
            let Some(line) = self.lines.get_mut(&log) else { continue };
            line.credit += TURN;
            while taken.len() < count
                && spent < bytes
                && let Some((cost, what)) = line.waiting.pop_front_if(|(cost, _)| *cost <= line.credit)
            {
                line.credit -= cost;
                spent += cost;
                taken.push(what);
            }
            if line.waiting.is_empty() {
                self.lines.remove(&log);
            } else {
                self.order.push_back(log);
            }
        }
        self.count -= taken.len();
        taken
    }

    /// Takes all.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        self.take(usize::MAX, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> Log {
        Log::Tenant(name.parse().unwrap())
    }

    /// A flood of large ones of `loud`, and after it one of each of these.
    fn flooded(others: &[&str]) -> Turns<(String, usize)> {
        let mut turns = Turns::new();
        for number in 0..1_000 {
            turns.push(log("loud"), 64 << 10, ("loud".to_owned(), number));
        }
        for name in others {
            turns.push(log(name), 1 << 10, ((*name).to_owned(), 0));
        }
        turns
    }

    #[test]
    fn whoever_brings_one_is_in_the_next_commit_behind_any_flood() {
        let mut turns = flooded(&["calm", "quiet"]);
        let taken = turns.take(1024, 512 << 10);
        let of = |name: &str| taken.iter().filter(|(whose, _)| whose == name).count();
        assert_eq!((of("calm"), of("quiet"), of("loud")), (1, 1, 8));
        assert_eq!(turns.len(), 992);
        // The twin: in order of arrival they would have waited for a thousand others.
        assert_eq!(flooded(&["calm"]).lines[&log("loud")].waiting.len(), 1_000);
    }

    #[test]
    fn turns_are_worth_the_same_bytes_whatever_their_number() {
        let mut turns = Turns::new();
        for _ in 0..400 {
            turns.push(log("large"), 40 << 10, "large");
            for _ in 0..40 {
                turns.push(log("small"), 1 << 10, "small");
            }
        }
        let (mut large, mut small) = (0, 0);
        for _ in 0..16 {
            for one in turns.take(1024, 256 << 10) {
                if one == "large" { large += 40 } else { small += 1 }
            }
        }
        assert!(large * 10 >= small * 8 && small * 10 >= large * 8, "{large} KiB of large ones, {small} of small ones");
    }

    #[test]
    fn order_within_a_log_is_kept_and_nothing_is_lost() {
        let mut turns = flooded(&["calm"]);
        let mut numbers = Vec::new();
        while !turns.is_empty() {
            let taken = turns.take(100, 256 << 10);
            assert!(!taken.is_empty());
            numbers.extend(taken.into_iter().filter(|(whose, _)| whose == "loud").map(|(_, number)| number));
        }
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        assert!(turns.lines.is_empty() && turns.order.is_empty(), "who waits no more is forgotten");
    }

    #[test]
    fn one_larger_than_a_commit_is_taken_all_the_same() {
        let mut turns = Turns::new();
        turns.push(log("loud"), 8 << 20, 1);
        turns.push(log("loud"), 8 << 20, 2);
        assert_eq!(turns.take(1024, 1 << 10), [1]);
        assert_eq!(turns.take_all(), [2]);
        assert_eq!(turns.take(1024, 1 << 10), [0; 0]);
    }
}
