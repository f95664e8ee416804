//! The guard's use by one invocation.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opsiq_contract::InstallationId;

use super::{KeyName, LeakGuard};

/// A secret that was found. Never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The stable code of the rule that caught it, such as `result.secret`.
    pub rule: &'static str,
    /// Where: `result`, `log`, `body of a request by rule put`.
    pub place: Cow<'static, str>,
    /// Whose it is. The invocation's own key, where several have the value.
    pub key: KeyName,
    /// How often it was found there.
    pub times: u64,
}

/// Looks at what one invocation passes on, and remembers what was found.
#[derive(Debug)]
pub struct LeakWatch {
    guard: Arc<LeakGuard>,
    newer: OnceLock<Arc<LeakGuard>>,
    own: InstallationId,
    leaks: Mutex<Vec<Leak>>,
}

impl LeakWatch {
    /// A watch over an invocation of `own`, which began when `guard` was the tenant's.
    pub fn new(guard: Arc<LeakGuard>, own: InstallationId) -> Self {
        Self { guard, newer: OnceLock::new(), own, leaks: Mutex::default() }
    }

    /// From now on secrets that were put in since it began are looked for as well.
    pub fn renew(&self, guard: Arc<LeakGuard>) {
        if !Arc::ptr_eq(&guard, &self.guard) {
            // The first renewal stands; there is one, at the end.
            let _ = self.newer.set(guard);
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_idle(&self) -> bool {
        self.guard.is_empty() && self.newer.get().is_none_or(|guard| guard.is_empty())
    }

    /// Whether `text` holds a secret in any form: then it is remembered by `rule` and `place`, and the answer is the key
    /// as the invocation may hear of it. Another installation's key is not named.
    pub fn catches(&self, rule: &'static str, place: &'static str, text: &[u8]) -> Option<String> {
        self.catches_but(rule, || place.into(), text, |_| false)
    }

    /// The same, where the invocation's own keys that `may` says may stand there.
    pub fn catches_but(
        &self,
        rule: &'static str,
        place: impl FnOnce() -> Cow<'static, str>,
        text: &[u8],
        may: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let may = |key: &KeyName| key.installation == self.own && may(&key.key);
        let holders = [Some(&self.guard), self.newer.get()];
        let holders = holders.into_iter().flatten().find_map(|guard| guard.find(text, may))?;
        let own = holders.iter().find(|key| key.installation == self.own);
        let key = own.or_else(|| holders.first())?;
        self.remember(Leak { rule, place: place(), key: key.clone(), times: 1 });
        Some(own.map_or_else(|| "another key of the tenant".to_owned(), |key| format!("key `{}`", key.key)))
    }

    /// What was found so far, in order, each place and key once.
    pub fn leaks(&self) -> Vec<Leak> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, leak: Leak) {
        let mut leaks = self.leaks.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&mut Leak| (known.rule, &known.place, &known.key) == (leak.rule, &leak.place, &leak.key);
        match leaks.iter_mut().find(same) {
            Some(known) => known.times += 1,
            None => leaks.push(leak),
        }
    }
}
