//! A batch on its way into one transaction: places and times given, rows ready, nothing believed yet.

use std::collections::HashMap;

use opsiq_store::{AuditRow, CheckpointRow, OpenIntentRow, RowHead};

use crate::content::{Content, Prepared};
use crate::entry::Header;
use crate::head::{Head, Signed};
use crate::key::CheckpointKey;
use crate::log::Log;

/// What one commit will write, and the ends of logs as they are once it has.
pub(crate) struct Stage {
    /// The wall clock for all entries of the batch, in milliseconds since 1970.
    now_ms: i64,
    pub(crate) heads: HashMap<Log, Head>,
    pub(crate) rows: Vec<AuditRow<Content>>,
    pub(crate) opened: Vec<OpenIntentRow>,
    pub(crate) checkpoints: Vec<CheckpointRow>,
}

impl Stage {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self { now_ms, heads: HashMap::new(), rows: Vec::new(), opened: Vec::new(), checkpoints: Vec::new() }
    }

    /// The end of a log within the batch; `known` is where it was before.
    fn head(&mut self, log: &Log, known: &Head) -> &mut Head {
        if !self.heads.contains_key(log) {
            self.heads.insert(log.clone(), known.clone());
        }
        self.heads.get_mut(log).expect("inserted above if it was not there")
    }

    /// Gives an entry the next place of its log. Time never goes back within a log: where the clock does, the entry has the time of
    /// the one before it and says so. The number it got.
    pub(crate) fn append(&mut self, log: &Log, known: &Head, entry: Prepared) -> u64 {
        let Prepared { kind, invocation, id, commitments, sealed } = entry;
        let now_ms = self.now_ms;
        let head = self.head(log, known);
        let clock_held = now_ms < head.time_ms;
        let header = Header {
            log: log.clone(),
            seq: head.size(),
            time_ms: now_ms.max(head.time_ms),
            clock_held,
            kind,
            invocation,
        };
        let leaf = header.leaf(&commitments);
        head.time_ms = header.time_ms;
        let nodes = head.frontier.push(leaf).iter().flat_map(|hash| hash.0).collect();
        self.rows.push(AuditRow {
            log: log.column().to_owned(),
            seq: header.seq,
            time_ms: header.time_ms,
            kind: header.kind.code(),
            invocation: header.invocation,
            leaf: leaf.0,
            nodes,
            header: commitments.record(&id, clock_held),
            sealed,
        });
        header.seq
    }

    /// Notes that rows of the log's owner changed.
    pub(crate) fn rows_changed(&mut self, log: &Log, known: &Head, rows: RowHead) {
        self.head(log, known).rows = Some(rows);
    }

    /// Signs a log's end as it is within the batch.
    pub(crate) fn sign(&mut self, key: &CheckpointKey, log: &Log, known: &Head) -> Signed {
        let created_ms = self.now_ms;
        let (signed, new) = self.head(log, known).sign(key, log);
        if new {
            self.checkpoints.push(CheckpointRow {
                log: log.column().to_owned(),
                size: signed.size,
                created_ms,
                note: signed.note.to_string(),
            });
        }
        signed
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.opened.is_empty() && self.checkpoints.is_empty()
    }
}

#[cfg(test)]
mod tests;
