//! Finds a tenant's secrets in what leaves a run, in any usual encoding.
//!
//! A plugin never holds a secret's bytes, but an outside system may tell it one. So whatever a run passes on is looked
//! through for every live secret of the tenant, those of its other installations too. One [`LeakGuard`] does that for a
//! tenant: it is made of the secrets as they are, made anew when one of them changes, and wiped when the last call that
//! uses it is over. A [`LeakWatch`] is its use by one invocation, and remembers what was found, for the audit log.
//!
//! An ordinary automaton over all secrets would copy them into tables that nobody wipes. The [`SecretScan`] below needs
//! none: of each encoded form it takes one window of eight bytes, keeps a keyed fingerprint of it in a filter, and looks
//! at every window of a text; where the filter says "perhaps", the whole form is compared. Every table is exact in size
//! from the start, so that growing leaves no copy behind, and wiped on drop. Two choices keep the search itself from
//! telling a plugin anything by its time:
//!
//! - a window has eight bytes and is either right or not, so no secret can be guessed byte by byte; what is compared after
//!   it is compared in constant time;
//! - the window lies in the middle of a form, because the beginning and the end of many secrets are known (`sk_live_`,
//!   `-----BEGIN`).
//!
//! Encodings come in two ways. Those that turn a secret into other characters (base64, hex) are forms to search for.
//! Those that replace single characters (percent-encoding, JSON escapes) are taken off the text, twice if need be, so
//! that it does not matter which characters somebody chose to escape.
//!
//! What is not found: a secret cut in parts, encrypted, compressed or encoded in a way of one's own; one shorter than
//! [`SECRET_MIN`]; and a retired one, because its bytes are destroyed when it is retired.

use std::ops::ControlFlow;

use opsiq_contract::InstallationId;

use crate::Secret;

mod decoded;
mod forms;
mod scan;
mod watch;

pub use scan::{SECRET_MIN, SecretScan, Trace};
pub use watch::{Leak, LeakWatch};

/// Layers of escapes that are taken off a text: JSON within JSON, a URL within a URL.
const LAYERS: u8 = 2;

/// A key of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// Whose.
    pub installation: InstallationId,
    /// The name its contract declares.
    pub key: String,
}

/// Finds the live secrets of one tenant.
#[derive(Default)]
pub struct LeakGuard {
    scan: SecretScan,
    /// The keys that have the secret of that number as their value.
    holders: Vec<Vec<KeyName>>,
    /// Whether a `+` may stand for a character of a secret.
    spaces: bool,
}

impl LeakGuard {
    /// A guard for these secrets. Several keys may have the same value.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (KeyName, &'a Secret)>) -> Self {
        let mut distinct: Vec<&Secret> = Vec::new();
        let mut holders: Vec<Vec<KeyName>> = Vec::new();
        for (key, secret) in secrets {
            if let Some(at) = distinct.iter().position(|known| known.ct_eq(secret)) {
                holders[at].push(key);
            } else {
                distinct.push(secret);
                holders.push(vec![key]);
            }
        }
        let spaces = distinct.iter().any(|secret| secret.expose().contains(&b' '));
        Self { scan: SecretScan::new(distinct), holders, spaces }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.scan.is_empty()
    }

    /// The keys of the first secret that `text` holds in any form, but for secrets one of whose keys `may` stand there.
    pub fn find(&self, text: &[u8], may: impl Fn(&KeyName) -> bool) -> Option<&[KeyName]> {
        if self.scan.is_empty() { None } else { self.look(text, &may, LAYERS) }
    }

    fn look(&self, text: &[u8], may: &dyn Fn(&KeyName) -> bool, layers: u8) -> Option<&[KeyName]> {
        let found = self.scan.each(text, |trace| {
            let holders = &self.holders[trace.secret];
            if holders.iter().any(may) { ControlFlow::Continue(()) } else { ControlFlow::Break(holders.as_slice()) }
        });
        if let ControlFlow::Break(holders) = found {
            return Some(holders);
        }
        let layers = layers.checked_sub(1)?;
        let plus = || if self.spaces { decoded::percent(text, true) } else { None };
        let views: [&dyn Fn() -> Option<_>; 3] = [&|| decoded::percent(text, false), &plus, &|| decoded::escapes(text)];
        views.iter().find_map(|view| self.look(&view()?, may, layers))
    }
}

/// Counts; the rest is secret.
impl std::fmt::Debug for LeakGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeakGuard").field("secrets", &self.holders.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
