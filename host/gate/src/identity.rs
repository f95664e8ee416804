//! What the gate keeps in memory to tell who somebody is: the bounded place where passwords are hashed. Each node has its own.

use std::num::NonZeroU32;
use std::thread::available_parallelism;

use opsiq_identity::{Cost, Crowded, Passwords, SessionTimes};
use tokio::sync::OnceCell;

use crate::refusal::{Class, Refusal, Stage};
use crate::sso::Said;

/// Hashes made at once, at most: 19 MiB and a core each.
const AT_ONCE: usize = 4;
/// Those that wait for one of them.
const WAITING: usize = 64;

/// How people prove who they are, on this node.
pub(crate) struct Identity {
    passwords: OnceCell<Passwords>,
    pub(crate) times: SessionTimes,
    /// What providers said of themselves.
    pub(crate) sso: Said,
}

impl Default for Identity {
    fn default() -> Self {
        Self { passwords: OnceCell::new(), times: SessionTimes::USUAL, sso: Said::default() }
    }
}

impl Identity {
    /// Where passwords are hashed. Made at the first need.
    pub(crate) async fn passwords(&self) -> Result<&Passwords, Refusal> {
        let make = async || {
            let at_once = available_parallelism().map_or(1, usize::from).clamp(1, AT_ONCE);
            Passwords::new(Cost::OWASP, at_once, WAITING).map_err(crowded)
        };
        self.passwords.get_or_try_init(make).await
    }

    /// The work done on passwords so far.
    pub(crate) fn work(&self) -> u64 {
        self.passwords.get().map_or(0, Passwords::work)
    }
}

/// No room to hash a password.
pub(crate) fn crowded(why: Crowded) -> Refusal {
    let fix = "try again in a moment";
    let retry_after = Some(NonZeroU32::MIN);
    Refusal { retry_after, ..Refusal::new(Class::Busy, Stage::Authenticate, "login.busy", why.to_string(), fix) }
}
