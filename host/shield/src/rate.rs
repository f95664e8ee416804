//! How many requests may come: by class of request, and of each from one address, one network around it, one account, one
//! API client and one tenant.
//!
//! Each of these has a bucket (the generic cell rate algorithm, ITU-T I.371): it holds as many requests as may come at once, and
//! fills again evenly. Buckets are in a table that is made once and never grows: whoever comes from a million addresses only
//! makes the buckets of others be forgotten that are nearly full. A bucket that is forgotten is a full one, so what is lost is
//! what somebody had used up, and those who used up most are kept. The networks around addresses bound a crowd of addresses.
//!
//! Places in the table are chosen by a hash whose key is drawn at start, so that nobody can aim at the bucket of somebody else.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A step by which somebody becomes somebody: passwords, codes, invitations.
    SignIn,
    /// It reads.
    Reads,
    /// It changes or runs something.
    Writes,
    /// It takes much out at once.
    Exports,
    /// Health, and what is for everybody, such as documents.
    Health,
}

impl Class {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::SignIn, Self::Reads, Self::Writes, Self::Exports, Self::Health];

    /// The word in rules and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Exports => "exports",
            Self::Health => "health",
        }
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of one IPv4 address, or one IPv6 network of 64 bits.
    Address,
    /// Those of one IPv4 network of 24 bits, or one IPv6 network of 48.
    Network,
    /// Those of one person. For sign-ins, those of one known device: an account that anybody can name must not be one that
    /// anybody can use up.
    Account,
    /// Those of one API client.
    Client,
    /// Those of one tenant.
    Tenant,
}

impl Scope {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Address, Self::Network, Self::Account, Self::Client, Self::Tenant];

    /// The word in rules and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Account => "account",
            Self::Client => "client",
            Self::Tenant => "tenant",
        }
    }
}

/// So many in such a time: all of them may come at once, and then as many again in that time, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

/// A second, a minute and an hour, as rates name them.
const UNITS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("min", Duration::from_mins(1)), ("h", Duration::from_hours(1))];

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, per)| *per == self.per).map_or("s", |(unit, _)| *unit);
        write!(f, "{}/{unit}", self.count)
    }
}

/// The text is no limit, or no list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be limits such as `address 600/min tenant 6000/min`: address, network, account, client or tenant, each once, \
     with a number per s, min or h, or off"
)]
pub struct NotARate;

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, unit) = text.split_once('/').ok_or(NotARate)?;
        let per = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotARate)?.1;
        Ok(Self { count: count.parse().map_err(|_| NotARate)?, per })
    }
}

/// The limits of every class and scope; what has none is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates([[Option<Rate>; Scope::ALL.len()]; Class::ALL.len()]);

impl Rates {
    /// The limit of a class and scope.
    pub fn of(&self, class: Class, scope: Scope) -> Option<Rate> {
        self.0[class as usize][scope as usize]
    }

    /// Sets the limits of a class that `text` names, such as `address 600/min tenant off`, and leaves the others as they are.
    ///
    /// # Errors
    /// [`NotARate`].
    pub fn set(&mut self, class: Class, text: &str) -> Result<(), NotARate> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let mut named = [false; Scope::ALL.len()];
        while let Some(word) = words.next() {
            let scope = *Scope::ALL.iter().find(|scope| scope.as_str() == word).ok_or(NotARate)?;
            if std::mem::replace(&mut named[scope as usize], true) {
                return Err(NotARate);
            }
            let rate = words.next().ok_or(NotARate)?;
            self.0[class as usize][scope as usize] = if rate == "off" { None } else { Some(rate.parse()?) };
        }
        Ok(())
    }
}

/// More came than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Of what.
    pub class: Class,
    /// From whom.
    pub scope: Scope,
    /// What may come.
    pub rate: Rate,
    /// Seconds until one more may.
    pub retry_after: NonZeroU32,
}

impl Exceeded {
    /// The rule that refuses: `rate.reads.address`.
    pub fn rule(&self) -> String {
        format!("rate.{}.{}", self.class.as_str(), self.scope.as_str())
    }
}

/// Buckets of one place in the table, and places.
const WAYS: usize = 8;
const PLACES: usize = 1 << 14;

/// When the bucket of a tag is full again, in nanoseconds since the limiter was made. Tag 0 is of nobody.
type Bucket = (u64, u64);

/// Counts requests, on this node.
pub struct Limiter {
    rates: Rates,
    keys: RandomState,
    began: Instant,
    places: Box<[Mutex<[Bucket; WAYS]>]>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rates", &self.rates).finish_non_exhaustive()
    }
}

impl Limiter {
    /// One that counts from `now` on.
    pub fn new(rates: Rates, now: Instant) -> Self {
        let places = (0..PLACES).map(|_| Mutex::new([(0, 0); WAYS])).collect();
        Self { rates, keys: RandomState::new(), began: now, places }
    }

    /// Counts one request of `class` from `whose` that comes at `now`, for as much as `cost` requests.
    ///
    /// # Errors
    /// [`Exceeded`]; then it is not counted.
    pub fn take(&self, class: Class, scope: Scope, whose: &[u8], cost: u32, now: Instant) -> Result<(), Exceeded> {
        self.asked(class, scope, whose, cost, now, true)
    }

    /// Whether one such request may come at `now`, without counting it: for what is not yet known to be new.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn has_room(&self, class: Class, scope: Scope, whose: &[u8], now: Instant) -> Result<(), Exceeded> {
        self.asked(class, scope, whose, 1, now, false)
    }

    fn asked(
        &self,
        class: Class,
        scope: Scope,
        whose: &[u8],
        cost: u32,
        now: Instant,
        counted: bool,
    ) -> Result<(), Exceeded> {
        let Some(rate) = self.rates.of(class, scope) else { return Ok(()) };
        let exceeded = |wait: u64| {
            let seconds = u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
            Exceeded { class, scope, rate, retry_after: NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN) }
        };
        let now = nanoseconds(now.saturating_duration_since(self.began));
        let all = nanoseconds(rate.per);
        let cost = (all / u64::from(rate.count.get())).saturating_mul(u64::from(cost)).min(all);
        let tag = self.keys.hash_one((class, scope, whose)).max(1);
        let place = usize::try_from(tag % PLACES as u64).unwrap_or(0);
        let mut place = self.places[place].lock().unwrap_or_else(PoisonError::into_inner);
        let ours = place.iter().position(|(of, _)| *of == tag);
        let full = ours.map_or(0, |at| place[at].1).max(now) + cost;
        if let Some(wait) = (full - now).checked_sub(all).filter(|wait| *wait > 0) {
            return Err(exceeded(wait));
        }
        if !counted {
            return Ok(());
        }
        // Whoever is nearest to a full one is forgotten.
        let at = ours.or_else(|| (0..WAYS).min_by_key(|at| place[*at].1)).unwrap_or(0);
        place[at] = (tag, full);
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(class: Class, limits: &str) -> (Limiter, Instant) {
        let (mut rates, now) = (Rates::default(), Instant::now());
        rates.set(class, limits).unwrap();
        (Limiter::new(rates, now), now)
    }

    fn come(limiter: &Limiter, scope: Scope, whose: &str, now: Instant) -> Result<(), u32> {
        let taken = limiter.take(Class::Reads, scope, whose.as_bytes(), 1, now);
        taken.map_err(|exceeded| exceeded.retry_after.get())
    }

    #[test]
    fn all_at_once_and_then_evenly() {
        let (limiter, now) = limiter(Class::Reads, "address 60/min");
        let come = |after: f64| come(&limiter, Scope::Address, "a", now + Duration::from_secs_f64(after));
        assert_eq!((0..100).filter(|_| come(0.0).is_ok()).count(), 60);
        assert_eq!(come(0.5), Err(1));
        assert_eq!(come(1.0), Ok(()));
        assert_eq!(come(1.0), Err(1));
        assert_eq!((0..100).filter(|_| come(11.0).is_ok()).count(), 10);
        assert_eq!((0..100).filter(|_| come(1000.0).is_ok()).count(), 60, "no more than the bucket holds");
    }

    #[test]
    fn asking_for_room_uses_up_nothing() {
        let (limiter, now) = limiter(Class::Reads, "client 5/min");
        let room =
            || limiter.has_room(Class::Reads, Scope::Client, b"till", now).map_err(|full| full.retry_after.get());
        assert_eq!((0..100).filter(|_| room().is_ok()).count(), 100);
        assert_eq!((0..100).filter(|_| come(&limiter, Scope::Client, "till", now).is_ok()).count(), 5);
        assert_eq!(room(), Err(12));
    }

    #[test]
    fn nobody_uses_up_what_is_somebody_elses() {
        let (limiter, now) = limiter(Class::Reads, "address 5/min, tenant 5/min");
        while come(&limiter, Scope::Tenant, "noisy", now).is_ok() {}
        assert!(come(&limiter, Scope::Tenant, "quiet", now).is_ok());
        assert!(come(&limiter, Scope::Address, "noisy", now).is_ok(), "another scope");
        assert!(limiter.take(Class::Writes, Scope::Tenant, b"noisy", 1, now).is_ok(), "another class, without a limit");
        let exceeded = limiter.take(Class::Reads, Scope::Tenant, b"noisy", 1, now).unwrap_err();
        assert_eq!((exceeded.rule().as_str(), exceeded.retry_after.get()), ("rate.reads.tenant", 12));
        assert_eq!(exceeded.rate.to_string(), "5/min");
    }

    #[test]
    fn who_costs_more_comes_less_often_and_never_not_at_all() {
        let (limiter, now) = limiter(Class::Reads, "address 60/min, tenant 3/min");
        let take = |scope| limiter.take(Class::Reads, scope, b"a", 10, now).is_ok();
        assert_eq!((0..100).filter(|_| take(Scope::Address)).count(), 6);
        assert_eq!((0..100).filter(|_| take(Scope::Tenant)).count(), 1);
    }

    #[test]
    fn a_crowd_of_addresses_takes_no_memory_and_does_not_free_who_is_refused() {
        let (limiter, now) = limiter(Class::Reads, "address 5/min");
        while come(&limiter, Scope::Address, "worst", now).is_ok() {}
        for number in 0..4 * WAYS * PLACES {
            assert!(come(&limiter, Scope::Address, &number.to_string(), now).is_ok(), "a new one is let through");
        }
        assert_eq!(come(&limiter, Scope::Address, "worst", now), Err(12), "who used up most is remembered");
    }

    #[test]
    fn limits_are_read_and_what_is_none_is_refused() {
        let mut rates = Rates::default();
        rates.set(Class::SignIn, "address 60/min, network 600/h account 3/s").unwrap();
        rates.set(Class::SignIn, "network off").unwrap();
        let told = |scope| rates.of(Class::SignIn, scope).map(|rate| rate.to_string());
        assert_eq!(told(Scope::Address).as_deref(), Some("60/min"));
        assert_eq!((told(Scope::Network), told(Scope::Account).as_deref()), (None, Some("3/s")));
        for bad in
            ["address", "address 0/min", "address 5/day", "address -1/s", "street 5/s", "address 5/s address 6/s"]
        {
            assert_eq!(rates.set(Class::Reads, bad), Err(NotARate), "{bad}");
        }
    }
}
