//! How an address behaved lately: a sum of signals, each of which anybody can name and count.
//!
//! A signal adds points to the network of its address. Points fade, by half in ten minutes. Each kind of signal adds so many
//! points at most, and what honest people do by accident (to mistype a password, to use a plain tool) adds too little for a
//! refusal, however often it happens. So a score is explained by its parts, and nobody who is refused did only what many do.
//!
//! What a score leads to is not decided here but by two thresholds of the operator: above the first the address's requests
//! cost more of its limits, above the second they are refused until points have faded. Who proves to be somebody is not refused
//! for what others did from the same address; the front door sees to that.
//!
//! What is remembered is bounded: who is forgotten first are those with the fewest points.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::address::{ClientIp, Network};

/// In which time points fade to a half.
const HALF: Duration = Duration::from_mins(10);
/// Networks remembered, at most.
const MOST: usize = 1 << 14;
/// Fewer points than this are none.
const NONE: f64 = 0.5;

/// Something that an address did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A request without the headers that browsers and ordinary programs send, or with ones that contradict each other.
    OddHeaders,
    /// A sign-in that failed.
    FailedSignIn,
    /// Sign-ins to many accounts that failed.
    ManyAccounts,
    /// A path that is not there.
    UnknownPath,
    /// A proof of who sends that is none: a signature, a session.
    RefusedProof,
    /// A request beyond a limit.
    BeyondLimit,
}

impl Signal {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::OddHeaders,
        Self::FailedSignIn,
        Self::ManyAccounts,
        Self::UnknownPath,
        Self::RefusedProof,
        Self::BeyondLimit,
    ];

    /// The word in lists and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OddHeaders => "odd-headers",
            Self::FailedSignIn => "failed-sign-in",
            Self::ManyAccounts => "many-accounts",
            Self::UnknownPath => "unknown-path",
            Self::RefusedProof => "refused-proof",
            Self::BeyondLimit => "beyond-limit",
        }
    }

    /// Points that one adds, and that all of them add at most.
    const fn points(self) -> (f64, f64) {
        match self {
            Self::OddHeaders => (0.5, 10.0),
            Self::FailedSignIn => (3.0, 40.0),
            Self::ManyAccounts => (10.0, 80.0),
            Self::UnknownPath => (4.0, 120.0),
            Self::RefusedProof => (2.0, 60.0),
            Self::BeyondLimit => (0.5, 40.0),
        }
    }
}

/// From how many points on something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Requests cost more of their limits.
    pub slow: u32,
    /// Requests are refused.
    pub refuse: u32,
}

/// What the score of an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// Its requests cost more.
    Slow,
    /// It is refused, for so many seconds unless it goes on.
    Refused(NonZeroU32),
}

/// One network's points.
#[derive(Debug, Clone, Copy)]
struct Score {
    points: [f64; Signal::ALL.len()],
    at: Instant,
}

impl Score {
    /// The same points later.
    fn faded(mut self, now: Instant) -> Self {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / HALF.as_secs_f64();
        let left = (-halves).exp2();
        self.points.iter_mut().for_each(|points| *points *= left);
        self.at = self.at.max(now);
        self
    }

    fn sum(&self) -> f64 {
        self.points.iter().sum()
    }
}

/// A part of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    /// Because of what.
    pub signal: Signal,
    /// Points.
    pub points: u32,
}

/// The score of a network, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreView {
    /// An address, or an IPv6 network of 64 bits.
    pub network: String,
    /// The sum.
    pub points: u32,
    /// Its parts, the largest first.
    pub reasons: Vec<Scored>,
}

/// Scores of networks, on this node.
#[derive(Debug, Default)]
pub struct Scores {
    now: Mutex<HashMap<Network, Score>>,
    signals: [AtomicU64; Signal::ALL.len()],
}

impl Scores {
    /// Notes that an address did something at `now`.
    pub fn note(&self, client: ClientIp, signal: Signal, now: Instant) {
        self.signals[signal as usize].fetch_add(1, Ordering::Relaxed);
        let mut scores = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let network = client.near();
        if scores.len() >= MOST && !scores.contains_key(&network) {
            make_room(&mut scores, now);
        }
        let none = Score { points: [0.0; Signal::ALL.len()], at: now };
        let score = scores.entry(network).or_insert(none);
        *score = score.faded(now);
        let (points, most) = signal.points();
        let so_far = &mut score.points[signal as usize];
        *so_far = (*so_far + points).min(most);
    }

    /// What the score of an address leads to at `now`.
    pub fn standing(&self, client: ClientIp, thresholds: Thresholds, now: Instant) -> Standing {
        let scores = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = scores.get(&client.near()).map_or(0.0, |score| score.faded(now).sum());
        drop(scores);
        let (slow, refuse) = (f64::from(thresholds.slow), f64::from(thresholds.refuse));
        if sum >= refuse {
            let wait = HALF.mul_f64((sum / refuse).log2().max(0.0)).as_secs();
            let wait = u32::try_from(wait).unwrap_or(u32::MAX).saturating_add(1);
            return Standing::Refused(NonZeroU32::new(wait).unwrap_or(NonZeroU32::MIN));
        }
        if sum >= slow { Standing::Slow } else { Standing::Free }
    }

    /// The scores at `now`, the highest first, at most `most`.
    pub fn all(&self, most: usize, now: Instant) -> Vec<ScoreView> {
        let scores = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let faded = scores.iter().map(|(network, score)| (*network, score.faded(now)));
        let mut all: Vec<(Network, Score)> = faded.filter(|(_, score)| score.sum() >= NONE).collect();
        drop(scores);
        all.sort_by(|(a, one), (b, other)| other.sum().total_cmp(&one.sum()).then(a.cmp(b)));
        all.truncate(most);
        all.iter().map(|(network, score)| view(*network, score)).collect()
    }

    /// How often each signal was noted.
    pub fn signals(&self) -> impl Iterator<Item = (Signal, u64)> {
        Signal::ALL.into_iter().map(|signal| (signal, self.signals[signal as usize].load(Ordering::Relaxed)))
    }

    /// How many networks are slowed and refused at `now`.
    pub fn count(&self, thresholds: Thresholds, now: Instant) -> (usize, usize) {
        let scores = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let sums: Vec<f64> = scores.values().map(|score| score.faded(now).sum()).collect();
        let from = |points: u32| sums.iter().filter(|sum| **sum >= f64::from(points)).count();
        let refused = from(thresholds.refuse);
        (from(thresholds.slow).saturating_sub(refused), refused)
    }
}

fn view(network: Network, score: &Score) -> ScoreView {
    let parts = Signal::ALL.into_iter().map(|signal| Scored { signal, points: whole(score.points[signal as usize]) });
    let mut reasons: Vec<Scored> = parts.filter(|part| part.points > 0).collect();
    reasons.sort_by_key(|part| std::cmp::Reverse(part.points));
    ScoreView { network: network.to_string(), points: whole(score.sum()), reasons }
}

/// Points as they are shown: there are some hundred at most.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and some hundred")]
fn whole(points: f64) -> u32 {
    points.round().clamp(0.0, 1e6) as u32
}

/// Forgets those with the fewest points, a quarter of all.
fn make_room(scores: &mut HashMap<Network, Score>, now: Instant) {
    let mut sums: Vec<(f64, Network)> =
        scores.iter().map(|(network, score)| (score.faded(now).sum(), *network)).collect();
    let quarter = sums.len() / 4;
    sums.select_nth_unstable_by(quarter, |(a, _), (b, _)| a.total_cmp(b));
    for (_, network) in &sums[..quarter] {
        scores.remove(network);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const AT: Thresholds = Thresholds { slow: 50, refuse: 100 };

    fn client(text: &str) -> ClientIp {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_scanner_is_slowed_then_refused_and_forgiven_with_time() {
        let (scores, now, scanner) = (Scores::default(), Instant::now(), client("192.0.2.1"));
        assert_eq!(scores.standing(scanner, AT, now), Standing::Free);
        for _ in 0..13 {
            scores.note(scanner, Signal::UnknownPath, now);
        }
        assert_eq!(scores.standing(scanner, AT, now), Standing::Slow);
        for _ in 0..100 {
            scores.note(scanner, Signal::UnknownPath, now);
        }
        let Standing::Refused(after) = scores.standing(scanner, AT, now) else { panic!("refused") };
        let later = now + Duration::from_secs(u64::from(after.get()));
        assert_eq!(scores.standing(scanner, AT, later), Standing::Slow, "{after}");
        assert_eq!(scores.standing(scanner, AT, now + Duration::from_hours(1)), Standing::Free);
        assert_eq!(scores.standing(client("192.0.2.2"), AT, now), Standing::Free, "nobody else");
        assert_eq!(scores.count(AT, now), (0, 1));
        assert_eq!(scores.count(AT, later), (1, 0));
    }

    #[test]
    fn what_honest_people_do_by_accident_is_never_refused() {
        let (scores, now) = (Scores::default(), Instant::now());
        for _ in 0..10_000 {
            for signal in [Signal::OddHeaders, Signal::FailedSignIn, Signal::BeyondLimit] {
                scores.note(client("192.0.2.1"), signal, now);
            }
        }
        assert_eq!(scores.standing(client("192.0.2.1"), AT, now), Standing::Slow);
        let view = scores.all(10, now).remove(0);
        assert_eq!((view.network.as_str(), view.points), ("192.0.2.1", 90));
        assert_eq!(view.reasons.iter().map(|part| part.points).sum::<u32>(), view.points, "it is explained");
        assert!(scores.signals().all(|(signal, count)| count == 10_000 || !matches!(signal, Signal::OddHeaders)));
    }

    #[test]
    fn one_customer_is_one_network() {
        let (scores, now) = (Scores::default(), Instant::now());
        for number in 0..100_u16 {
            scores.note(client(&format!("2001:db8::{number:x}")), Signal::UnknownPath, now);
        }
        assert!(matches!(scores.standing(client("2001:db8::ffff"), AT, now), Standing::Refused(_)));
        assert_eq!(scores.all(10, now)[0].network, "2001:db8::/64");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_stay() {
        let (scores, now) = (Scores::default(), Instant::now());
        for _ in 0..100 {
            scores.note(client("192.0.2.1"), Signal::UnknownPath, now);
        }
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            scores.note(IpAddr::V4(number.into()).into(), Signal::OddHeaders, now);
        }
        assert!(scores.now.lock().unwrap().len() <= MOST);
        assert!(matches!(scores.standing(client("192.0.2.1"), AT, now), Standing::Refused(_)));
    }
}
