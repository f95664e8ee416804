//! The gate with everything real below it: a data directory, an audit log, and a plugin small enough to read.
#![allow(clippy::unwrap_used)]

mod admin;
mod calls;
mod confirmations;
mod crash;
mod ending;
mod nodes;
mod rotation;
mod upgrades;
mod world;
