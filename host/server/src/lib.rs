//! The front door: HTTPS, the API under `/v1`, and what the operator watches.
//!
//! Why a room of its own: here the network ends. A connection is bounded before it is believed, a request's form is looked
//! at before who sent it, and who sent it before what it asks for; then the gate decides. There is no rule here that the
//! gate does not have, and nothing is answered that it did not say.
//!
//! - [`Settings`] is `[server]` of `opsiq.toml` and of the environment, each value with where it came from.
//! - [`Server`] listens: the API over TLS 1.3; health and metrics in clear for the operator; the API once more, as the
//!   operator or any user, over a socket in the data directory that only who could open the directory reaches.
//! - [`Authenticate`] is where the rooms that prove who calls are put in.
//!
//! What fails closed: without a proof every request over the network is refused; a sealed host answers nothing but that it
//! is; what is not known, twice there or framed in two ways is refused; a limit that is met is told by name.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acme;
mod api;
mod ask;
mod auth;
mod body;
mod counts;
mod door;
mod form;
mod front;
mod guard;
mod health;
mod knock;
mod listen;
mod metrics;
mod once;
mod openapi;
mod pages;
mod patience;
mod problem;
mod routes;
mod schema;
mod server;
mod settings;
mod tls;
mod viewer;

pub use acme::{AcmeError, Standing, standing};
pub use auth::{AS, Authenticate, Caller, Covers, Head, Peer, SignReply};
pub use door::HostDoor;
pub use server::{SOCKET, Server, StartError};
pub use settings::{AcmeSettings, ENVIRONMENT, Explained, Origin, Settings, ShieldSettings};
pub use tls::{Certificates, OWN_CERTIFICATE, TlsError, config as tls_config};
