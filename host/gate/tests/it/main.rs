//! The gate with everything real below it: a data directory, an audit log, and a plugin small enough to read.
#![allow(clippy::unwrap_used)]

mod admin;
mod backups;
mod calls;
mod clients;
mod confirmations;
mod crash;
mod door;
mod ending;
mod nodes;
mod people;
mod repeat;
mod roles;
mod rotation;
mod signed;
mod sso;
mod upgrades;
mod world;
