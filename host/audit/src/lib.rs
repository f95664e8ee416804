//! The audit logs: append-only, tamper-evident, verifiable offline.
//!
//! Why a room of its own: what this host promises stands or falls with the record of what it did. So the record is a condition,
//! not a courtesy: a call that may have an effect runs only on a [`Permit`], which only a durable intent makes; a caller is answered
//! only after the entry is durable; a change and the entries about it commit together.
//!
//! - Every tenant has a [`Log`], and the host one for what belongs to no tenant. Entries are numbered without gaps, and each is
//!   a leaf of the log's RFC 6962 Merkle [`tree`]. A leaf is a clear header and one salted commitment per field ([`entry`]); values
//!   and salts are sealed.
//! - The [`Journal`] appends, many callers to one `fsync`, and signs heads as C2SP checkpoints ([`checkpoint`], [`key`]).
//! - An [`export`] carries what a stranger with the public key needs to [`verify`] it offline, down to the first bad entry.
//! - Checkpoints also stand in a [`CheckpointFile`] outside the database, so that an older database put back is noticed
//!   ([`examine`]).
//!
//! Fails closed: if the log cannot be written, nothing is permitted and nothing is answered, within 2 s; if it is not what was signed,
//! nothing is appended to it, and no export of it verifies.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backup_note;
pub mod checkpoint;
mod committer;
mod content;
mod draft;
pub mod entry;
mod error;
pub mod export;
mod format;
mod head;
mod journal;
mod keeper;
pub mod key;
mod kind;
mod list;
mod log;
mod op;
mod outside;
mod permit;
mod recover;
mod request;
mod rider;
mod rows;
mod shape;
mod stage;
pub mod tree;
mod turns;
pub mod verify;

pub use backup_note::{open_backup, sign_backup};
pub use content::{Content, prove_apart, prove_content};
pub use draft::{Draft, field};
pub use error::{AuditError, OpError};
pub use export::Export;
pub use format::Format;
pub use journal::{Interruptions, Journal, Vaults};
pub use key::{CheckpointKey, PublicKey};
pub use kind::{Kind, NotAKind};
pub use list::{Filter, Page, Shown, View};
pub use log::{Log, NotALog};
pub use op::Op;
pub use outside::{CheckpointFile, CheckpointFileError, examine};
pub use permit::{Open, Permit};
pub use recover::InterruptedIntent;
pub use rider::Rider;
