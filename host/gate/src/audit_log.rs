//! Reading the audit log: owners only, and each reading is itself an entry, durable before anything is shown.

use std::collections::BTreeMap;

use opsiq_contract::InvocationId;
use serde::Serialize;

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only entries after this sequence number; without it, the newest `limit`.
    pub after: Option<u64>,
    /// At most this many; 0 means 100, at most 10,000.
    pub limit: u32,
    /// Only this kind, such as `refused`.
    pub kind: Option<String>,
    /// Only entries of this invocation.
    pub invocation: Option<InvocationId>,
}

/// One opened entry.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    /// Its place in the log, gapless.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// The kind, such as `intent`.
    pub kind: String,
    /// The invocation it belongs to.
    pub invocation: Option<InvocationId>,
    /// Its fields by name.
    pub fields: BTreeMap<String, String>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180, with cells that a spreadsheet would run made inert.
    Csv,
}

/// What an export wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// Number of entries.
    pub entries: u64,
}
