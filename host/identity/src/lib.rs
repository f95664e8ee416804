//! How a person proves who they are: what they know, what they hold, and the tokens that stand for both afterwards.
//!
//! Why a room of its own: these rules are the same whatever door is knocked at and whatever store remembers, so they are
//! here without either. Nothing in here reads a clock of its own, a row or a socket; the gate brings those.
//!
//! - [`Passwords`] hashes with argon2id and bounds how much of the machine that may take; an account that is not there
//!   costs as much as one that is.
//! - [`Password::choose`] is NIST SP 800-63B: length and a list of what everybody takes, no rules of composition.
//! - [`Seed`] is RFC 6238 with what every authenticator can do; a step is good once.
//! - [`RecoveryCode`] stands in for a lost authenticator, each once.
//! - [`Token`] is 256 random bits that name their tenant; of it only a keyed hash is ever stored.
//! - [`oidc`] and [`saml`] are signing in at a provider that a tenant trusts, and all that must be true of what it says. Either
//!   ends in one [`Believed`].
//!
//! Fails closed: what does not parse is wrong, and a clock that goes backward never makes a used code good again.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod believed;
mod lifetime;
pub mod oidc;
mod password;
mod public_key;
mod qr;
mod recovery;
mod rules;
pub mod saml;
mod sso_fault;
mod token;
mod totp;

pub use believed::Believed;
pub use lifetime::{Lifetime, SessionTimes, Standing};
pub use password::{Checked, Cost, Crowded, Password, PasswordHash, Passwords};
pub use qr::{QrError, qr_svg, qr_terminal};
pub use recovery::{RECOVERY_CODES, RecoveryCode};
pub use rules::{PasswordFault, SHORTEST};
pub use sso_fault::SsoFault;
pub use token::{Token, TokenKind};
pub use totp::{Code, Seed};
