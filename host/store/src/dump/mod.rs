//! Everything that is kept, as one stream of records that both engines write and read: what a backup is made of.
//!
//! Why not the engines' own copies: a backup of one engine is restored into the other, data and wrapped keys come from one
//! moment although they lie apart, and nothing has to lie on a disk twice. What is to be copied is not listed anywhere: it is
//! every table there is, so none can be forgotten. Rows are read in transactions that see one moment and keep nobody waiting.
//!
//! A stream is files, then tables with their rows, plugin files by digest, and an end that says how many there were. It says
//! nothing of keys or seals: who stores it seals it as a whole.
//!
//! Fails closed: a stream that is cut off or not well formed is an error, a table or a column that is not known here too, and
//! what was restored is no data directory before the root check is put into it, which is the caller's last step.

mod catalogue;
mod read;
mod restore;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

pub use read::{DumpCell, DumpRecord, DumpStream};
pub use restore::Restored;

/// Begins a file.
const FILE: u8 = b'F';
/// Begins a table, whose rows follow.
const TABLE: u8 = b'T';
/// Begins a row.
const ROW: u8 = b'R';
/// Begins a plugin's file.
const BLOB: u8 = b'B';
/// Ends it all.
const END: u8 = b'E';

const NULL: u8 = 0;
const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const BYTES: u8 = 3;

/// Bytes of a piece of a stream, about.
const PIECE: usize = 256 << 10;
/// Tables that are not copied: what the migrations of an engine keep for themselves, files, which have records of their own,
/// and which nodes there are.
const NOT_COPIED: [&str; 3] = ["_sqlx_migrations", "blob", "node"];
/// Columns that are not copied: whose call it is that has no end yet. Whoever restores it is the one to report it.
const OF_NODES: [(&str, &str); 2] = [("open_intent", "node"), ("open_intent", "epoch")];

const WHAT: &str = "backup";

/// How far a dump or a restore has come.
#[derive(Debug, Default)]
pub struct DumpProgress {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl DumpProgress {
    fn add(&self, rows: u64, bytes: usize) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Rows and bytes so far.
    pub fn so_far(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DumpCounts {
    /// Rows of all tables.
    pub rows: u64,
    /// Plugin files.
    pub blobs: u64,
    /// Plugin files that were not there, or not what their digest says.
    pub missing: u64,
}

#[cfg(test)]
mod tests;
