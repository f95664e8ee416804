//! Whole-system tests in one binary: they drive the built `opsiq` over real sockets with real plugins.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod admission;
mod canary;
mod crash;
mod disk;
mod egress;
mod ending;
mod foreign_keys;
mod github;
mod hygiene;
mod languages;
mod limits;
mod opsiq;
mod orders;
mod redact;
mod rollback;
mod rooms;
mod rotation;
mod s3;
mod slack;
mod sql;
mod subjects;
mod tamper;
mod testkit;
mod upgrade;
mod upstream;
