//! Signing in at a tenant's own provider: `OpenID` Connect Core 1.0 with the authorization code flow (RFC 6749), PKCE (RFC
//! 7636), and the advice of RFC 9700.
//!
//! The protocol alone: what is asked, and whether what comes back may be believed. Nothing here dials or reads a clock; who
//! calls brings a [`Fetch`], which is the host's guarded way out, and the time. Whose account it is then, is the gate's to say.
//!
//! Small and our own, since the ready-made clients bring a second generation of every cryptographic crate and believe more
//! than is needed. Signatures are verified by the library that TLS uses.
//!
//! Fails closed: a token that names no key, a key that is there twice, a claim of another form, a document for another issuer
//! and anything that is not asked for here is refused, by a rule the audit log names. Nothing a provider sent is quoted in what
//! is told.

mod claims;
mod fetch;
mod flow;
mod jwks;
mod jws;
mod metadata;
mod redeem;
#[cfg(test)]
mod tests;

pub use claims::{Expected, believe_token};
pub use fetch::{Fetch, FetchRequest, Fetched};
pub use flow::{Asking, Flow};
pub use jwks::KeySet;
pub use metadata::Metadata;
pub use redeem::{OidcClient, Tokens};
