//! What stands before the front door: where a request comes from, whether that address may come at all, how often, and
//! how it behaved before.
//!
//! Why a room of its own: these rules are asked at several doors (the network's, the sign-in, every act of a person) and must
//! be one and the same at each. Nothing in here reads a clock, a row or a socket; the gate and the front door bring those.
//!
//! - [`ClientIp`] is the one address of a request, and [`Proxies`] the one place that decides it. Limits, lists, entries of the
//!   audit log and sessions know no other.
//! - [`AddressList`] says whether an address may come. A block wins over every allowance.
//! - [`Limiter`] bounds how many requests come, by address, network, account, client and tenant, in memory that does not
//!   grow however many come.
//! - [`Failures`] slows who guesses, and cannot lock out who has a device that is known.
//! - [`Scores`] remembers for a while who behaves like a machine that looks for a way in.
//! - [`judge`] says why a sign-in may not be its user's; [`Places`] sees one credential used from two places at once.
//!
//! Fails closed: an address that cannot be told for certain is a refusal, an attempt nobody reports the end of counts as failed,
//! and what does not fit into memory is forgotten least where it matters most.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod list;
mod proxies;
mod rate;
mod score;
mod takeover;
mod throttle;

pub use address::{ClientIp, Network};
pub use list::{AddressList, Decision, NotANetwork, Verdict, network};
pub use proxies::{Ambiguous, HopHeader, NotAHopHeader, Proxies};
pub use rate::{Class, Exceeded, Limiter, NotARate, Rate, Rates, Scope};
pub use score::{ScoreView, Scored, Scores, Signal, Standing, Thresholds};
pub use takeover::{Places, Reason, Seen, Tried, Used, judge};
pub use throttle::{Count, Failures, Key, Slow, Who};
