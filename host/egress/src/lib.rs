//! The one way out of the host.
//!
//! A plugin names a URL; it does not get to say where packets go. The rule is chosen by method and URL, the name is
//! resolved once, every answer is checked against the [special-purpose table](address), the connection goes to a checked
//! address under TLS 1.3, the credential of exactly that rule is added by the host, and what comes back is counted,
//! timed, decoded and rid of the credential. Every check fails closed. A connection outlives its request only in
//! [`Kept`], which belongs to one installation.
//!
//! [`Session`] is the HTTP of one invocation. [`Egress::reach`] is the same way out for other parts of the host, and
//! [`Egress::call`] a whole exchange of theirs.
//! [`Egress::rehearsal`] is the same way once more, with an [`Upstream`] in memory where the network would be.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
mod body;
mod call;
mod connection;
mod decode;
mod dial;
mod egress;
mod exchange;
pub mod failure;
mod hop;
mod inject;
mod kept;
mod leaking;
mod record;
mod redirect;
mod rehearsal;
mod request;
pub mod resolve;
mod scrub;
mod session;
mod tls;
mod vet;
mod wire;

pub use body::{BodyStream, MAX_PIECE};
pub use call::{CallFailure, Called};
pub use egress::{Egress, EgressConfig, EgressError, Protocol, Reached};
pub use failure::{HttpFailure, Reason};
pub use inject::Injector;
pub use kept::{Kept, Share};
pub use record::{HttpRecord, Verdict};
pub use rehearsal::{Answered, Asked, Reply, Upstream};
pub use request::GuestRequest;
pub use resolve::{Resolve, ResolveError, SystemResolver};
pub use scrub::Scrub;
pub use session::{Budget, EgressGrant, GuestResponse, Session, Usage};
pub use tls::TlsError;
pub use wire::Stream;
