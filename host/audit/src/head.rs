//! The end of a log, kept in memory between commits: where the next entry goes.

use std::collections::HashMap;
use std::sync::Arc;

use opsiq_store::{RowHead, Store};

use crate::checkpoint::Checkpoint;
use crate::content::Content;
use crate::error::AuditError;
use crate::key::CheckpointKey;
use crate::log::Log;
use crate::rows;
use crate::tree::{Frontier, cover, empty_root, range_hash};

/// A signed head: how many entries, how many changes of rows, and the note.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) size: u64,
    pub(crate) changes: u64,
    pub(crate) note: Arc<str>,
}

/// The end of one log.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) frontier: Frontier,
    /// The time of the last entry.
    pub(crate) time_ms: i64,
    /// The head of the owner's rows.
    pub(crate) rows: Option<RowHead>,
    /// The newest checkpoint.
    pub(crate) signed: Option<Signed>,
}

impl Head {
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    fn changes(&self) -> u64 {
        self.rows.map_or(0, |rows| rows.changes)
    }

    /// Whether there are entries or changes of rows that no checkpoint covers.
    pub(crate) fn is_dirty(&self) -> bool {
        let signed = self.signed.as_ref().map_or((0, 0), |signed| (signed.size, signed.changes));
        signed != (self.size(), self.changes())
    }

    /// Signs the head unless it is signed. The note, and whether it is new.
    pub(crate) fn sign(&mut self, key: &CheckpointKey, log: &Log) -> (Signed, bool) {
        match &self.signed {
            Some(signed) if !self.is_dirty() => (signed.clone(), false),
            _ => {
                let note = Checkpoint::sign(key, log, self.size(), self.frontier.root(), self.rows).into();
                let signed = Signed { size: self.size(), changes: self.changes(), note };
                self.signed = Some(signed.clone());
                (signed, true)
            }
        }
    }

    /// Reads the end of a log, and checks that what was last signed is still there: the log is at least that long, its tree had
    /// that root, and the rows have changed at least that often.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] when it is not, [`AuditError::Store`] when reading fails.
    pub(crate) async fn load(store: &Store, key: &CheckpointKey, log: &Log) -> Result<Self, AuditError> {
        let last = store.audit_last::<Content>(log.column()).await?;
        let (size, time_ms) = last.map_or((0, i64::MIN), |row| (row.seq + 1, row.time_ms));
        let rows = store.row_head(log.column()).await?;
        let nodes = rows::fetch(store, log, &Frontier::nodes(size)).await?;
        let frontier =
            Frontier::resume(size, &nodes).ok_or_else(|| AuditError::tampered(size, "tree nodes are missing"))?;
        let mut head = Self { frontier, time_ms, rows, signed: None };
        if let Some(row) = store.checkpoint_last(log.column()).await? {
            let kept = head.hold(store, key, log, &row.note).await?;
            if kept.size != row.size {
                return Err(AuditError::tampered(row.size, "the checkpoint of these entries is one of others"));
            }
            let changes = kept.rows.map_or(0, |rows| rows.changes);
            head.signed = Some(Signed { size: kept.size, changes, note: row.note.into() });
        }
        Ok(head)
    }

    /// Holds the log and its owner's rows against a checkpoint of earlier; answers it.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] when they are older than it or not a continuation, [`AuditError::Store`].
    pub(crate) async fn hold(
        &self,
        store: &Store,
        key: &CheckpointKey,
        log: &Log,
        note: &str,
    ) -> Result<Checkpoint, AuditError> {
        let kept = Checkpoint::open(note, &key.public(log));
        let kept = kept.map_err(|_| AuditError::tampered(self.size(), "its checkpoint is not one of this host"))?;
        if kept.size > self.size() {
            return Err(AuditError::tampered(self.size(), "entries that were signed are missing"));
        }
        let root = if kept.size == self.size() {
            Some(self.frontier.root())
        } else if kept.size == 0 {
            Some(empty_root())
        } else {
            range_hash(&(0..kept.size), &rows::fetch(store, log, &cover(&(0..kept.size))).await?)
        };
        if Some(kept.root) != root {
            return Err(AuditError::tampered(kept.size, "the entries before it are not those that were signed"));
        }
        let changes = kept.rows.map_or(0, |rows| rows.changes);
        if changes > self.changes() {
            return Err(AuditError::tampered(self.size(), "rows are older than they were when last signed"));
        }
        if changes == self.changes() && kept.rows != self.rows {
            return Err(AuditError::tampered(self.size(), "rows are not those that were signed"));
        }
        Ok(kept)
    }
}

/// The ends of the logs in use. Emptied after any failed commit, since memory and disk may then disagree.
#[derive(Default)]
pub(crate) struct Heads(HashMap<Log, Head>);

impl Heads {
    /// The end of a log, read from the store when it is not known.
    pub(crate) async fn get(&mut self, store: &Store, key: &CheckpointKey, log: &Log) -> Result<&Head, AuditError> {
        if !self.0.contains_key(log) {
            self.0.insert(log.clone(), Head::load(store, key, log).await?);
        }
        Ok(&self.0[log])
    }

    /// Takes over the ends of logs after a commit.
    pub(crate) fn accept(&mut self, heads: HashMap<Log, Head>) {
        self.0.extend(heads);
    }

    /// The logs whose ends are known.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.0.keys()
    }

    /// Forgets the end of a log.
    pub(crate) fn forget_one(&mut self, log: &Log) {
        self.0.remove(log);
    }

    /// Forgets the end of a log unless it is after so many entries and changes of rows.
    pub(crate) fn forget_unless(&mut self, log: &Log, size: u64, changes: u64) {
        if self.0.get(log).is_some_and(|head| (head.size(), head.changes()) != (size, changes)) {
            self.0.remove(log);
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}
