//! Slowing down who guesses.
//!
//! What is counted is failures: of an account, whoever tries, and of an address, whatever account it tries. The first few
//! cost nothing, each further one doubles the wait. An attempt counts as failed from its beginning until somebody reports
//! that it was not, so that thousands at once are no way around. A wait that only counted accounts would let anybody lock
//! anybody out; so whoever brings the token of a device from which that account signed in before has a count of its own,
//! and waits for nobody else's failures. An account that is not there is counted like one that is.
//!
//! Times are of a clock that only goes forward. What is remembered is bounded: who is forgotten first are those who
//! failed least.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of an account or a device that cost nothing.
const FREE: u32 = 5;
/// Failures of an address that cost nothing: many people may share one.
const FREE_OF_ADDRESS: u32 = 30;
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(15);
/// How long after the last failure all is forgotten.
const FORGET: Duration = Duration::from_hours(1);
/// Counts remembered, at most.
const MOST: usize = 1 << 16;

/// Who tries.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The account tried, as a hash of whatever names it, and of what is guessed: passwords and codes count apart.
    pub account: [u8; 32],
    /// From where.
    pub address: Option<IpAddr>,
    /// A device known to be of that account.
    pub device: Option<[u8; 32]>,
}

/// It is too soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts")]
pub struct Slow {
    /// Seconds until then.
    pub retry_after: NonZeroU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Account([u8; 32]),
    Device([u8; 32]),
    Address(IpAddr),
}

impl Key {
    fn free(self) -> u32 {
        match self {
            Self::Address(_) => FREE_OF_ADDRESS,
            Self::Account(_) | Self::Device(_) => FREE,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl Count {
    /// When the next attempt may be.
    fn next(self, free: u32) -> Option<Instant> {
        let over = self.failures.checked_sub(free)?;
        let wait = Duration::from_secs(1_u64 << over.min(20)).min(LONGEST);
        self.last.checked_add(wait)
    }

    fn forgotten(self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= FORGET
    }
}

/// Counts failures.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<Key, Count>>);

/// An attempt under way. Dropped without a word, it failed.
#[derive(Debug)]
#[must_use = "an attempt nobody reports on failed"]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    keys: Keys,
}

/// What an attempt is counted under: the account or the device, and the address where there is no device.
type Keys = [Option<Key>; 2];

impl Throttle {
    /// Begins an attempt at `now`, unless it is too soon.
    ///
    /// # Errors
    /// [`Slow`]; nothing is counted then, so that asking again and again makes no wait longer.
    pub fn begin(&self, who: &Who, now: Instant) -> Result<Attempt<'_>, Slow> {
        let keys = match (who.device, who.address) {
            (Some(device), _) => [Some(Key::Device(device)), None],
            (None, address) => [Some(Key::Account(who.account)), address.map(|address| Key::Address(network(address)))],
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys.into_iter().flatten() {
            let count = counts.get(&key).copied().filter(|count| !count.forgotten(now));
            if let Some(wait) = count.and_then(|count| count.next(key.free())?.checked_duration_since(now))
                && !wait.is_zero()
            {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                return Err(Slow { retry_after: NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN) });
            }
        }
        if counts.len() + keys.len() > MOST {
            make_room(&mut counts, now);
        }
        for key in keys.into_iter().flatten() {
            let count = counts.entry(key).or_insert(Count { failures: 0, last: now });
            if count.forgotten(now) {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
        drop(counts);
        Ok(Attempt { throttle: self, keys })
    }
}

impl Attempt<'_> {
    /// It did not fail: the account, or the device, begins anew. Of an address, only this attempt is taken back, or whoever
    /// has one account would be free to guess at others.
    pub fn succeeded(self) {
        let mut counts = self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.keys.into_iter().flatten() {
            match key {
                Key::Account(_) | Key::Device(_) => {
                    counts.remove(&key);
                }
                Key::Address(_) => take_back(&mut counts, key),
            }
        }
    }

    /// It came to no end that says anything about who tries: the host had no room, say.
    pub fn void(self) {
        let mut counts = self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.keys.into_iter().flatten() {
            take_back(&mut counts, key);
        }
    }
}

fn take_back(counts: &mut HashMap<Key, Count>, key: Key) {
    if let Some(count) = counts.get_mut(&key) {
        count.failures = count.failures.saturating_sub(1);
    }
}

/// Forgets what is old, and then half of what is left, those who failed least first.
fn make_room(counts: &mut HashMap<Key, Count>, now: Instant) {
    counts.retain(|_, count| !count.forgotten(now));
    if counts.len() > MOST / 2 {
        let mut failures: Vec<u32> = counts.values().map(|count| count.failures).collect();
        let middle = failures.len() / 2;
        let (_, median, _) = failures.select_nth_unstable(middle);
        let median = *median;
        let mut spare = MOST / 2;
        counts.retain(|_, count| {
            let keep = count.failures > median && spare > 0;
            spare -= usize::from(keep);
            keep
        });
    }
}

/// What counts as one address: IPv6 by its /64, which one customer usually has whole, and IPv4 in whichever form.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(account: u8, address: &str) -> Who {
        Who { account: [account; 32], address: Some(address.parse().unwrap()), device: None }
    }

    fn fail(throttle: &Throttle, who: &Who, now: Instant) -> bool {
        throttle.begin(who, now).is_ok()
    }

    #[test]
    fn ten_thousand_guesses_at_once_are_five() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let let_through = (0..10_000).filter(|_| fail(&throttle, &who(1, "192.0.2.1"), now)).count();
        assert_eq!(let_through, 5);
        assert!(fail(&throttle, &who(2, "192.0.2.2"), now), "nobody else waits");
    }

    #[test]
    fn a_day_of_guessing_is_about_a_hundred_and_some() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
        // Each from another address, so that only the account counts.
        let let_through = (0..24 * 3_600_u32)
            .filter(|second| {
                let address = IpAddr::V4((0x0a00_0000 + second).into());
                let who = Who { account: [1; 32], address: Some(address), device: None };
                fail(&throttle, &who, begin + Duration::from_secs(u64::from(*second)))
            })
            .count();
        assert!((100..130).contains(&let_through), "{let_through}");
    }

    #[test]
    fn a_known_device_waits_for_nobody_else_and_has_its_own_count() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        while fail(&throttle, &who(1, "192.0.2.1"), now) {}
        let known = Who { device: Some([9; 32]), ..who(1, "192.0.2.1") };
        throttle.begin(&known, now).unwrap().succeeded();
        assert_eq!((0..100).filter(|_| fail(&throttle, &known, now)).count(), 5, "and is no way around");
        assert!(throttle.begin(&who(1, "192.0.2.1"), now).is_err(), "its success forgives nobody else's failures");
    }

    #[test]
    fn success_begins_anew_for_the_account_and_not_for_the_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for round in 0..20 {
            let mine = who(200, "192.0.2.1");
            throttle.begin(&mine, now).unwrap().succeeded();
            assert!(fail(&throttle, &who(round, "192.0.2.1"), now));
        }
        let let_through = (20..120).filter(|account| fail(&throttle, &who(*account, "192.0.2.1"), now)).count();
        assert_eq!(let_through, 10, "thirty failures of an address are free, and twenty were used");
        for _ in 0..100 {
            throttle.begin(&who(201, "192.0.2.9"), now).unwrap().void();
        }
    }

    #[test]
    fn one_customer_is_one_address() {
        for (a, b, same) in [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(network(a.parse().unwrap()) == network(b.parse().unwrap()), same, "{a} {b}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_stay() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        while fail(&throttle, &who(1, "192.0.2.1"), now) {}
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            let mut account = [0; 32];
            account[..4].copy_from_slice(&number.to_be_bytes());
            account[31] = 1;
            assert!(fail(&throttle, &Who { account, address: None, device: None }, now));
        }
        assert!(throttle.0.lock().unwrap().len() <= MOST);
        assert!(!fail(&throttle, &who(1, "192.0.2.77"), now), "who waits is not forgotten for those who do not");
        let later = now + FORGET;
        assert!(fail(&throttle, &who(1, "192.0.2.77"), later), "after an hour all is forgotten");
    }
}
