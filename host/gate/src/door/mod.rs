//! The front door's part of the gate: who knocks becomes an [`Actor`](crate::Actor), or is refused.
//!
//! A person takes up an account with an invitation, a password and an authenticator ([`Door::accept`], [`Door::enrol`]),
//! signs in with both ([`Door::login`], [`Door::code`]), and is then whoever their session's token stands for
//! ([`Door::session`]), looked up anew at every request. A program signs each request ([`Door::signed`]). Between two steps nothing is stored: what the first found out is
//! sealed and handed to whoever knocks, so any node takes the second. There is no session without a second factor.
//!
//! Who signs in at a provider of the tenant leaves for it and comes back ([`Door::sso_leave`], [`Door::sso_return`]); a second factor
//! is asked for here, unless the provider asked for it.
//!
//! A program signs each request, and is whoever holds the secret it signed with ([`Door::signed`]).
//!
//! Fails closed, and tells little: a tenant, a user or a password that is wrong is one answer after the same work and, to
//! 50 ms, the same time. Whoever guesses waits.

mod enrol;
mod factor;
mod idempotency;
mod login;
mod pending;
mod refused;
mod reply;
mod session;
pub(crate) mod sessions;
mod signed;
mod sso;
mod sso_account;
mod sso_saml;
mod window;

use std::fmt;
use std::sync::Arc;

use opsiq_shield::ClientIp;
use zeroize::Zeroizing;

use crate::core::Core;

pub use enrol::{Enrolled, Enrolment, Invited};
pub use idempotency::{KeyRule, idempotency_key};
pub use login::{Login, Pending, SignedIn};
pub use pending::ShownOnce;
pub(crate) use pending::index;
pub(crate) use refused::{network as network_of, slow};
pub use reply::ReplySigner;
pub use session::SessionView;
pub use sessions::DeviceView;
pub use signed::SignedHead;
pub use sso::{SsoAnswer, SsoAway, SsoEntered, SsoLeave};
pub use sso_account::SsoEnrolled;
pub(crate) use window::Window;

/// Lets people in. See [`Host::door`](crate::Host::door).
#[derive(Clone)]
pub struct Door {
    pub(crate) core: Arc<Core>,
}

impl Door {
    /// The work done on passwords so far, in KiB times passes: for a metric, and for whoever asks whether an account that
    /// is not there costs less.
    pub fn password_work(&self) -> u64 {
        self.core.identity.work()
    }
}

/// Who knocks, as the front door sees them.
#[derive(Clone, Default)]
pub struct Knock {
    /// From where.
    pub address: Option<ClientIp>,
    /// What the device says it is, such as a browser's name; shown in lists, and believed in nothing.
    pub device: String,
    /// The token of a device from which somebody signed in before, as [`SignedIn::device`] gave it.
    pub known: Option<Zeroizing<String>>,
}

impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knock").field("address", &self.address).field("device", &self.device).finish_non_exhaustive()
    }
}
