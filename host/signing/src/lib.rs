//! Signed requests and replies: RFC 9421 HTTP Message Signatures with `hmac-sha256`, content digests (RFC 9530), and the
//! window in which a request is taken once.
//!
//! Why a room of its own: whoever signs (the command, an example, a test) and whoever verifies (the front door) share one
//! reading of the standard, and nothing in it knows of users, tenants' rows or HTTP servers. The RFC leaves much open,
//! which is where such schemes break; here everything but one form is refused:
//!
//! - One signature, under any label, in one `Signature-Input` and one `Signature` field, both in the one spelling that
//!   structured fields serialise to (RFC 9651 §4.1). So a label, parameter or component given twice, a number with leading
//!   zeros, a fraction, and base64 that is not canonical do not parse as something else; they are refused.
//! - It covers `@method`, `@target-uri` and `content-digest`, each once, and `idempotency-key`, `content-encoding` and
//!   `if-match` exactly when the request has them, because each changes what the request does. It may cover `content-type`.
//!   Anything else is refused.
//! - Its parameters are `created`, `nonce` and `keyid`, and may be `expires`, and `alg` if that is `hmac-sha256`. Others are
//!   refused.
//! - The digest is of the body's bytes as they came: what `Content-Encoding` says is looked at after the signature, never before.
//!
//! A [`KeyId`] is `tenant/client/version`. It is signed like everything else, and it alone chooses the secret, which is
//! random and belongs to one client of one tenant; so a signature says whose it is and cannot be moved to another tenant,
//! client or version.
//!
//! A reply is signed with the same secret over `@status`, its own digest and the request's method, target and signature (RFC
//! 9421 §2.4), so a reply to one request is none to another. The two cannot be taken for one another: a reply always covers
//! `@status`, which a request never may.
//!
//! Fails closed: a body that does not match, a form that is not the one above, a time outside the window, a clock that jumped
//! ([`Watch`]) and a nonce that may have been seen ([`Nonces`]) are refusals, and of what is secret a refusal says one thing only:
//! that the signature does not verify.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod base;
mod clock;
mod digest;
mod error;
mod field;
mod idempotency;
mod key_id;
mod nonces;
mod origin;
mod params;
mod reply;
mod request;

pub use clock::{Jumped, Reading, Watch};
pub use digest::{CONTENT_DIGEST, content_digest, is_digest_of};
pub use error::Refused;
pub use idempotency::{IDEMPOTENCY_KEY, idempotency_key, write_idempotency_key};
pub use key_id::KeyId;
pub use nonces::{Nonces, NotTaken, Ticket, Writing};
pub use origin::Origin;
pub use params::{SIGNATURE, SIGNATURE_INPUT, WINDOW_S};
pub use reply::{Bound, sign_reply, verify_reply};
pub use request::{Presented, Request, sign_request};

/// The three fields of a signed message.
pub type SignedFields = [(http::HeaderName, http::HeaderValue); 3];
