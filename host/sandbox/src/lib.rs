//! Runs plugins: one engine, a fresh store and instance for each call, and nothing that survives it.
//!
//! Why: a plugin is code of someone else. It gets memory, time and the imports of its world, each within a limit that
//! is armed before its first instruction runs; it reaches secrets, storage and the network only through host
//! functions that ask its authority. [`Sandbox::run`] takes only an [`Authorized`](opsiq_contract::Authorized), which
//! one function makes, together with a [`Permit`](opsiq_audit::Permit), which only the audit log makes.
//! [`Sandbox::rehearse`] needs no permit, since what a rehearsed call can reach is made within it and leads nowhere.
//!
//! Components are compiled in a child process that is bounded and confined, and their code is kept under a MAC.
//!
//! What fails closed: a permit, digest or fuel limit that does not fit refuses the run; compiled code whose MAC does
//! not hold is not loaded; a limit met, a panic of the host and the kill switch each end that call alone, with a
//! typed [`Fault`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod bindings;
mod class;
mod compile;
mod compiled;
mod config;
mod engine;
mod facts;
mod fault;
mod http;
mod journal;
mod keys;
mod kv;
mod limits;
mod live;
mod meter;
mod plugin;
mod rehearse;
mod run;
mod sandbox;
mod state;
mod straight;
mod ticker;
mod wasi;

pub use admission::{Full, Place};
pub use compile::{COMPILE_CHILD, Compiler, compile_child};
pub use config::{CompiledCache, MEMORY_MAX, Pool, SandboxConfig, TABLE_MAX};
pub use engine::open_page_map;
pub use fault::{Failure, Fault, FaultCode, RunError};
pub use journal::{Event, LogLevel, LogLine};
pub use keys::KeySet;
pub use kv::{Kv, KvEntry, KvError};
pub use live::{Live, Phase, Seen};
pub use meter::Meter;
pub use plugin::{LoadError, Plugin};
pub use rehearse::{MemoryKv, Moment, Rehearsal};
pub use run::{Capabilities, NoPlace, Run, RunReport};
pub use sandbox::{Sandbox, SandboxError, Stats};
