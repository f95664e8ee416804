//! Passkeys (Web Authentication Level 3): what must be true of what a browser brings before a key is kept for an account, and
//! before somebody who shows it is let in.
//!
//! A passkey is believed only with user verification, so it is two factors in one: the device, and what opens it. Attestation is
//! not asked for: which make an authenticator is says nothing here, so no statement about it is read, and none is trusted.
//!
//! Fails closed: what does not parse wholly, holds a name twice, or leaves bytes over is refused, and the rule is named. Signatures
//! are checked by the same library as everything else here; three algorithms are taken, see [`ALGORITHMS`].

mod authenticator;
mod cbor;
mod ceremony;
mod client;
mod cose;
mod fault;
mod handle;
mod party;
#[cfg(test)]
mod tests;

pub use ceremony::{Assertion, Kept, Known, Registration, Shown, prove, register};
pub use cose::ALGORITHMS;
pub use fault::PasskeyFault;
pub use handle::{user_handle, whose_handle};
pub use party::{Challenge, Party};
