//! The journal against a real store: what is durable, what is refused, what is found when something was changed.
#![allow(clippy::unwrap_used)]

mod calls;
mod commit;
mod engines;
mod export;
mod fault;
mod host;
mod list;
mod nodes;
mod recover;
mod riders;
mod subjects;
mod tamper;
