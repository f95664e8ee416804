//! Holds a plugin against cases, offline: each says what is called, what the outside answered when it was recorded, and
//! what the plugin is to make of it.
//!
//! A case is a TOML file beside the plugin, as its contract is: one format for an author to know, with comments, and with
//! errors that name a line. It runs in the real sandbox under the real authority; only the network, the clock, chance,
//! storage and secrets are replaced, so that the same case always runs the same. A case pins all that leaves the plugin
//! (requests, events, storage, denials), because what it does not expect is what it should find.
//!
//! Start at [`Kit`]. [`Case`] reads a file, [`record`] writes one from the real outside, [`junit`] tells other programs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod case;
mod compare;
mod fault;
mod file;
pub mod junit;
mod kit;
pub mod record;
mod script;
mod write;

pub use case::{Case, CaseError, End, Exchange, Expect, ExpectedFailure, Request, find};
pub use compare::Mismatch;
pub use fault::{Fault, FaultExpect};
pub use kit::{Kit, Report, Verdict};
pub use script::{Script, masked};
