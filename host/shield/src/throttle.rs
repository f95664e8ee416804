//! Slowing down who guesses.
//!
//! What is counted is failures: of an account, whoever tries, and of an address, whatever account it tries. The first few
//! cost nothing, each further one doubles the wait. An attempt counts as failed from its beginning until somebody reports
//! that it was not, so that thousands at once are no way around. A wait that only counted accounts would let anybody lock
//! anybody out; so whoever brings the token of a device from which that account signed in before has a count of its own,
//! and waits for nobody else's failures. An account that is not there is counted like one that is.
//!
//! Where counts are kept is not decided here: [`Failures`] keeps them in the memory of one process, and a store that several
//! nodes share keeps the same [`Count`]s by the same [`Key`]s. Times are milliseconds of whatever clock that place has; one that
//! goes back makes a wait longer by no more than the longest.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use crate::address::{ClientIp, Network};

/// Failures of an account or a device that cost nothing.
const FREE: u32 = 5;
/// Failures of an address that cost nothing: many people may share one.
const FREE_OF_ADDRESS: u32 = 30;
/// The longest wait: a quarter of an hour.
const LONGEST_MS: i64 = 15 * 60_000;
/// How long after the last failure all is forgotten: an hour.
const FORGET_MS: i64 = 60 * 60_000;
/// Counts remembered in memory, at most.
const MOST: usize = 1 << 16;

/// Who tries.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The account tried, as a hash of whatever names it, and of what is guessed: passwords and codes count apart.
    pub account: [u8; 32],
    /// From where.
    pub address: Option<ClientIp>,
    /// A device known to be of that account.
    pub device: Option<[u8; 32]>,
}

impl Who {
    /// What an attempt is counted under: the account or the device, and the address where there is no device.
    pub fn keys(&self) -> Vec<Key> {
        match (self.device, self.address) {
            (Some(device), _) => vec![Key::Device(device)],
            (None, None) => vec![Key::Account(self.account)],
            (None, Some(address)) => vec![Key::Account(self.account), Key::Address(address.near())],
        }
    }
}

/// It is too soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts")]
pub struct Slow {
    /// Seconds until then.
    pub retry_after: NonZeroU32,
}

/// What failures are counted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// An account.
    Account([u8; 32]),
    /// A device.
    Device([u8; 32]),
    /// What counts as one address.
    Address(Network),
}

impl Key {
    fn free(self) -> u32 {
        match self {
            Self::Address(_) => FREE_OF_ADDRESS,
            Self::Account(_) | Self::Device(_) => FREE,
        }
    }

    /// Whether a success begins anew: for an account or a device. Of an address, only that attempt is taken back, or whoever has
    /// one account would be free to guess at others.
    pub const fn begins_anew(self) -> bool {
        !matches!(self, Self::Address(_))
    }
}

/// The failures of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub failures: u32,
    /// When the last one was.
    pub last_ms: i64,
}

impl Count {
    /// Before which time a last failure is forgotten.
    pub const fn forgotten_before(now_ms: i64) -> i64 {
        now_ms.saturating_sub(FORGET_MS)
    }

    /// Whether nothing of it counts any more.
    fn forgotten(self, now_ms: i64) -> bool {
        self.last_ms <= Self::forgotten_before(now_ms)
    }

    /// Asks whether one of these may try at `now_ms`.
    ///
    /// # Errors
    /// [`Slow`]; nothing is to be counted then, so that asking again and again makes no wait longer.
    pub fn allow(self, key: Key, now_ms: i64) -> Result<(), Slow> {
        let Some(over) = self.failures.checked_sub(key.free()).filter(|_| !self.forgotten(now_ms)) else {
            return Ok(());
        };
        let wait = (1000_i64 << over.min(20)).min(LONGEST_MS);
        // A last failure that is yet to come is one that was just now.
        let left = self.last_ms.min(now_ms).saturating_add(wait).saturating_sub(now_ms);
        if left <= 0 {
            return Ok(());
        }
        let seconds = u32::try_from(left / 1000).unwrap_or(u32::MAX).saturating_add(1);
        Err(Slow { retry_after: NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN) })
    }

    /// The count with one more failure, at `now_ms`.
    #[must_use]
    pub fn and_one(this: Option<Self>, now_ms: i64) -> Self {
        let before = this.filter(|count| !count.forgotten(now_ms)).map_or(0, |count| count.failures);
        Self { failures: before.saturating_add(1), last_ms: now_ms }
    }
}

/// Counts failures, in the memory of this process.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Key, Count>>);

impl Failures {
    /// Begins an attempt at `now_ms`, which counts as failed until somebody says otherwise, unless it is too soon.
    ///
    /// # Errors
    /// [`Slow`]; nothing is counted then.
    pub fn begin(&self, keys: &[Key], now_ms: i64) -> Result<(), Slow> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            counts.get(key).map_or(Ok(()), |count| count.allow(*key, now_ms))?;
        }
        if counts.len() + keys.len() > MOST {
            make_room(&mut counts, now_ms);
        }
        for key in keys {
            let count = Count::and_one(counts.get(key).copied(), now_ms);
            counts.insert(*key, count);
        }
        Ok(())
    }

    /// The attempt did not fail.
    pub fn succeeded(&self, keys: &[Key]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if key.begins_anew() {
                counts.remove(key);
            } else {
                take_back(&mut counts, key);
            }
        }
    }

    /// The attempt came to no end that says anything about who tries: the host had no room, say.
    pub fn void(&self, keys: &[Key]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            take_back(&mut counts, key);
        }
    }
}

fn take_back(counts: &mut HashMap<Key, Count>, key: &Key) {
    if let Some(count) = counts.get_mut(key) {
        count.failures = count.failures.saturating_sub(1);
    }
}

/// Forgets what is old, and then half of what is left, those who failed least first.
fn make_room(counts: &mut HashMap<Key, Count>, now_ms: i64) {
    counts.retain(|_, count| !count.forgotten(now_ms));
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn who(account: u8, address: &str) -> Who {
        Who { account: [account; 32], address: Some(address.parse::<IpAddr>().unwrap().into()), device: None }
    }

    fn fail(failures: &Failures, who: &Who, now_ms: i64) -> bool {
        failures.begin(&who.keys(), now_ms).is_ok()
    }

    #[test]
    fn ten_thousand_guesses_at_once_are_five() {
        let failures = Failures::default();
        let let_through = (0..10_000).filter(|_| fail(&failures, &who(1, "192.0.2.1"), 7)).count();
        assert_eq!(let_through, 5);
        assert!(fail(&failures, &who(2, "192.0.2.2"), 7), "nobody else waits");
    }

    #[test]
    fn a_day_of_guessing_is_about_a_hundred_and_some() {
        let failures = Failures::default();
        // Each from another address, so that only the account counts.
        let let_through = (0..24 * 3_600_u32)
            .filter(|second| {
                let address = IpAddr::V4((0x0a00_0000 + second).into());
                let who = Who { account: [1; 32], address: Some(address.into()), device: None };
                fail(&failures, &who, i64::from(*second) * 1000)
            })
            .count();
        assert!((100..130).contains(&let_through), "{let_through}");
    }

    #[test]
    fn a_known_device_waits_for_nobody_else_and_has_its_own_count() {
        let failures = Failures::default();
        while fail(&failures, &who(1, "192.0.2.1"), 7) {}
        let known = Who { device: Some([9; 32]), ..who(1, "192.0.2.1") };
        failures.begin(&known.keys(), 7).unwrap();
        failures.succeeded(&known.keys());
        assert_eq!((0..100).filter(|_| fail(&failures, &known, 7)).count(), 5, "and is no way around");
        assert!(!fail(&failures, &who(1, "192.0.2.1"), 7), "its success forgives nobody else's failures");
    }

    #[test]
    fn success_begins_anew_for_the_account_and_not_for_the_address() {
        let failures = Failures::default();
        for round in 0..20 {
            let mine = who(200, "192.0.2.1");
            failures.begin(&mine.keys(), 7).unwrap();
            failures.succeeded(&mine.keys());
            assert!(fail(&failures, &who(round, "192.0.2.1"), 7));
        }
        let let_through = (20..120).filter(|account| fail(&failures, &who(*account, "192.0.2.1"), 7)).count();
        assert_eq!(let_through, 10, "thirty failures of an address are free, and twenty were used");
        for _ in 0..100 {
            let keys = who(201, "192.0.2.9").keys();
            failures.begin(&keys, 7).unwrap();
            failures.void(&keys);
        }
    }

    #[test]
    fn one_customer_is_one_address_and_a_clock_that_goes_back_ends_no_wait() {
        let failures = Failures::default();
        for account in 0..30 {
            assert!(fail(&failures, &who(account, "2001:db8::1"), 100_000));
        }
        assert!(!fail(&failures, &who(99, "2001:db8::ffff:1"), 100_000));
        assert!(fail(&failures, &who(99, "2001:db8:0:1::1"), 100_000));
        let count = Count { failures: 8, last_ms: 1_000_000 };
        let key = Key::Account([0; 32]);
        assert_eq!(count.allow(key, 1_000_000).unwrap_err().retry_after.get(), 9);
        assert_eq!(count.allow(key, 500_000).unwrap_err().retry_after.get(), 9);
        assert!(count.allow(key, 1_008_000).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_stay() {
        let failures = Failures::default();
        while fail(&failures, &who(1, "192.0.2.1"), 7) {}
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            let mut account = [0; 32];
            account[..4].copy_from_slice(&number.to_be_bytes());
            account[31] = 1;
            assert!(fail(&failures, &Who { account, address: None, device: None }, 7));
        }
        assert!(failures.0.lock().unwrap().len() <= MOST);
        assert!(!fail(&failures, &who(1, "192.0.2.77"), 7), "who waits is not forgotten for those who do not");
        assert!(fail(&failures, &who(1, "192.0.2.77"), 7 + FORGET_MS), "after an hour all is forgotten");
    }
}
