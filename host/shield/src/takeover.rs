//! Signs that an account is used by somebody else than its user.
//!
//! None of them proves anything, so none locks anybody out: what follows is that a risky act asks for the second factor anew,
//! and that the owners of the tenant are told. There is no data base of places; what is far away is another network, and what
//! is impossible is more networks in a time than a person moves through.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::address::{ClientIp, Network};

/// Networks within [`PACE_WITHIN`] from which on a user moves too fast, this one among them.
const PACE: usize = 4;
/// That time.
pub(crate) const PACE_WITHIN: Duration = Duration::from_mins(10);
/// Accounts within [`ACCOUNTS_WITHIN`] at which sign-ins of one address failed, from which on they are many.
const MANY_ACCOUNTS: usize = 10;
const ACCOUNTS_WITHIN: Duration = Duration::from_hours(1);
/// How long apart two uses are that count as one after the other and back.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// How long it is not told anew that a credential is used from two places.
const TOLD_AGAIN: Duration = Duration::from_hours(1);
/// Networks remembered of one credential, at most.
const NETWORKS: usize = 4;
/// Credentials, and addresses, remembered, at most.
const MOST: usize = 1 << 14;

/// Why somebody may not be whose account they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// They sign in from a device from which that account never signed in.
    NewDevice,
    /// They sign in from a network from which that account never signed in.
    NewNetwork,
    /// The account was used from more networks in a few minutes than a person moves through.
    Pace,
    /// A session, or a client's secret, is used from two networks at once.
    TwoPlaces,
    /// Sign-ins to many accounts failed from the address.
    ManyAccounts,
    /// A passkey of the account signed less often than it did before: there are two of it.
    ClonedPasskey,
}

impl Reason {
    /// The word in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewDevice => "new-device",
            Self::NewNetwork => "new-network",
            Self::Pace => "pace",
            Self::TwoPlaces => "two-places",
            Self::ManyAccounts => "many-accounts",
            Self::ClonedPasskey => "cloned-passkey",
        }
    }
}

/// What is known of a user at a sign-in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Whether the account signed in before, from anywhere: a first sign-in is new in every way.
    pub before: bool,
    /// Whether it did from this device.
    pub device: bool,
    /// Whether it did from this network; `None` when there is no network, as over the operator's socket.
    pub network: Option<bool>,
    /// From how many networks it did in the last [`Seen::PACE_WITHIN`], this one among them.
    pub lately: usize,
    /// Whether sign-ins to many accounts failed from the address.
    pub many_accounts: bool,
}

impl Seen {
    /// The time in which [`Seen::lately`] counts.
    pub const PACE_WITHIN: Duration = PACE_WITHIN;
}

/// Why a sign-in may not be its user's; nothing when there is no reason.
pub fn judge(seen: &Seen) -> Vec<Reason> {
    let reasons = [
        (Reason::NewDevice, seen.before && !seen.device),
        (Reason::NewNetwork, seen.before && seen.network == Some(false)),
        (Reason::Pace, seen.lately >= PACE),
        (Reason::ManyAccounts, seen.many_accounts),
    ];
    reasons.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
}

/// How a credential is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// From one place, as far as is known.
    Once,
    /// From two at once.
    Twice {
        /// Whether it was not told in the last hour.
        first: bool,
    },
}

/// Where one credential was used lately.
#[derive(Debug, Default)]
struct Uses {
    lately: VecDeque<(Network, Instant)>,
    told: Option<Instant>,
}

/// From where credentials are used, on this node.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<[u8; 32], Uses>>);

impl Places {
    /// Notes a use of a credential at `now`. It is used from two places at once when it comes from one network, from another,
    /// and from the first again within a minute: somebody who moves on does not come back that fast.
    pub fn used(&self, credential: [u8; 32], client: ClientIp, now: Instant) -> Used {
        let (network, mut places) = (client.wide(), self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let past = |at: Instant, most: Duration| now.saturating_duration_since(at) > most;
        if places.len() >= MOST && !places.contains_key(&credential) {
            places.retain(|_, uses| uses.lately.back().is_some_and(|(_, at)| !past(*at, BACK_WITHIN)));
            if places.len() >= MOST {
                // So many are in use at this minute that this one is not watched.
                return Used::Once;
            }
        }
        let Uses { lately, told } = places.entry(credential).or_default();
        match lately.back_mut() {
            Some((last, at)) if *last == network => *at = now,
            _ => lately.push_back((network, now)),
        }
        lately.retain(|(_, at)| !past(*at, BACK_WITHIN));
        if !lately.iter().rev().skip(1).any(|(before, _)| *before == network) {
            while lately.len() > NETWORKS {
                lately.pop_front();
            }
            return Used::Once;
        }
        *lately = VecDeque::from([(network, now)]);
        let first = told.is_none_or(|at| past(at, TOLD_AGAIN));
        if first {
            *told = Some(now);
        }
        Used::Twice { first }
    }
}

/// Since when, and at which.
type Accounts = (Instant, HashSet<[u8; 32]>);

/// At which accounts sign-ins failed from where, on this node.
#[derive(Debug, Default)]
pub struct Tried(Mutex<HashMap<Network, Accounts>>);

impl Tried {
    /// Notes that a sign-in to an account failed at `now`; answers whether it is a further one of many accounts.
    pub fn failed(&self, client: ClientIp, account: [u8; 32], now: Instant) -> bool {
        let (network, mut tried) = (client.near(), self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if tried.len() >= MOST && !tried.contains_key(&network) {
            tried.retain(|_, (since, _)| now.saturating_duration_since(*since) < ACCOUNTS_WITHIN);
            if tried.len() >= MOST {
                // Those who tried few are forgotten for those who come.
                let fewest = tried.iter().min_by_key(|(_, (_, accounts))| accounts.len()).map(|(network, _)| *network);
                fewest.map(|network| tried.remove(&network));
            }
        }
        let (since, accounts) = tried.entry(network).or_insert_with(|| (now, HashSet::new()));
        if now.saturating_duration_since(*since) >= ACCOUNTS_WITHIN {
            *since = now;
            accounts.clear();
        }
        if accounts.len() >= MANY_ACCOUNTS {
            return !accounts.contains(&account);
        }
        accounts.insert(account) && accounts.len() >= MANY_ACCOUNTS
    }

    /// Whether sign-ins to many accounts failed from there.
    pub fn many(&self, client: ClientIp, now: Instant) -> bool {
        let tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tried.get(&client.near()).is_some_and(|(since, accounts)| {
            accounts.len() >= MANY_ACCOUNTS && now.saturating_duration_since(*since) < ACCOUNTS_WITHIN
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(text: &str) -> ClientIp {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn each_reason_is_told_and_a_first_sign_in_is_none() {
        let usual = Seen { before: true, device: true, network: Some(true), lately: 1, many_accounts: false };
        for (seen, reasons) in [
            (usual, vec![]),
            (Seen { before: false, device: false, network: Some(false), ..usual }, vec![]),
            (Seen { device: false, ..usual }, vec![Reason::NewDevice]),
            (Seen { network: Some(false), ..usual }, vec![Reason::NewNetwork]),
            (Seen { network: None, ..usual }, vec![]),
            (Seen { lately: PACE, ..usual }, vec![Reason::Pace]),
            (Seen { lately: PACE - 1, ..usual }, vec![]),
            (Seen { many_accounts: true, ..usual }, vec![Reason::ManyAccounts]),
            (
                Seen { before: true, network: Some(false), lately: 9, many_accounts: true, device: false },
                vec![Reason::NewDevice, Reason::NewNetwork, Reason::Pace, Reason::ManyAccounts],
            ),
        ] {
            assert_eq!(judge(&seen), reasons, "{seen:?}");
        }
    }

    #[test]
    fn who_moves_on_is_in_one_place_and_who_is_back_at_once_is_in_two() {
        let (places, now) = (Places::default(), Instant::now());
        let (home, away) = (client("192.0.2.1"), client("203.0.113.1"));
        let used = |credential: u8, from: ClientIp, after: u64| {
            places.used([credential; 32], from, now + Duration::from_secs(after))
        };
        for (from, after) in [(home, 0), (client("192.0.2.99"), 1), (away, 2), (away, 3)] {
            assert_eq!(used(1, from, after), Used::Once);
        }
        assert_eq!(used(1, home, 4), Used::Twice { first: true });
        assert_eq!((used(1, home, 5), used(1, away, 6)), (Used::Once, Used::Once), "it begins anew");
        assert_eq!(used(1, home, 7), Used::Twice { first: false });
        for (from, after) in [(home, 0), (away, 61), (home, 200)] {
            assert_eq!(used(2, from, after), Used::Once, "who comes back later moved");
        }
        for number in 0..2 * u32::try_from(MOST).unwrap() {
            let mut credential = [3; 32];
            credential[..4].copy_from_slice(&number.to_be_bytes());
            places.used(credential, home, now);
        }
        assert!(places.0.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn many_accounts_are_counted_once_each() {
        let (tried, now, from) = (Tried::default(), Instant::now(), client("192.0.2.1"));
        for _ in 0..100 {
            assert!(!tried.failed(from, [1; 32], now), "one account, however often");
        }
        for account in 2..10 {
            assert!(!tried.failed(from, [account; 32], now));
        }
        assert!(!tried.many(from, now));
        assert!(tried.failed(from, [10; 32], now) && tried.failed(from, [11; 32], now));
        assert!(tried.many(from, now) && !tried.many(client("192.0.2.2"), now));
        let later = now + ACCOUNTS_WITHIN;
        assert!(!tried.many(from, later) && !tried.failed(from, [12; 32], later));
        for number in 0..2 * u32::try_from(MOST).unwrap() {
            tried.failed(IpAddr::V4(number.into()).into(), [0; 32], later);
        }
        assert!(tried.0.lock().unwrap().len() <= MOST);
    }
}
