//! How many connections there are, in all and from each address. IPv6 addresses count by their network of 64 bits, since
//! one client has all of it, and IPv4-mapped ones as what they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opsiq_shield::{ClientIp, Network};

/// The count.
#[derive(Debug)]
pub(crate) struct Counts {
    all: usize,
    each: usize,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    all: usize,
    each: HashMap<Network, usize>,
}

/// A counted connection; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Arc<Counts>,
    network: Network,
}

impl Counts {
    /// At most `all`, and at most `each` from one address.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, now: Mutex::default() })
    }

    /// Counts one more, unless there are too many; `each` is whether those of one address are bounded apart.
    pub(crate) fn enter(self: &Arc<Self>, client: ClientIp, each: bool) -> Option<Counted> {
        let network = client.near();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.all >= self.all || each && now.each.get(&network).is_some_and(|count| *count >= self.each) {
            return None;
        }
        now.all += 1;
        *now.each.entry(network).or_default() += 1;
        drop(now);
        Some(Counted { counts: self.clone(), network })
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut now = self.counts.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.all -= 1;
        if let Some(count) = now.each.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                now.each.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_counts_as_one_and_what_ends_makes_room() {
        let counts = Counts::new(3, 2);
        let at = |text: &str| counts.enter(text.parse().unwrap(), true);
        let first = at("2001:db8::1").unwrap();
        let _second = at("2001:db8::ffff:1").unwrap();
        assert!(at("2001:db8::2").is_none(), "the third of one /64");
        let _other = at("2001:db8:0:1::1").unwrap();
        assert!(at("192.0.2.1").is_none(), "the fourth of all");
        drop(first);
        let _mapped = at("::ffff:192.0.2.1").unwrap();
        assert_eq!(counts.now(), 3);
    }
}
