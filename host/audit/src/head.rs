//! The end of a log, kept in memory between commits: where the next entry goes.

use std::collections::HashMap;
use std::sync::Arc;

use opsiq_store::Store;

use crate::checkpoint::Checkpoint;
use crate::content::Content;
use crate::error::AuditError;
use crate::key::CheckpointKey;
use crate::log::Log;
use crate::rows;
use crate::tree::{Frontier, cover, empty_root, range_hash};

/// A signed head: how many entries, and the note.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) size: u64,
    pub(crate) note: Arc<str>,
}

/// The end of one log.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) frontier: Frontier,
    /// The time of the last entry.
    pub(crate) time_ms: i64,
    /// The newest checkpoint.
    pub(crate) signed: Option<Signed>,
}

impl Head {
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Whether there are entries that no checkpoint covers.
    pub(crate) fn is_dirty(&self) -> bool {
        self.signed.as_ref().map_or(0, |signed| signed.size) != self.size()
    }

    /// Signs the head unless it is signed. The note, and whether it is new.
    pub(crate) fn sign(&mut self, key: &CheckpointKey, log: &Log) -> (Signed, bool) {
        match &self.signed {
            Some(signed) if signed.size == self.size() => (signed.clone(), false),
            _ => {
                let note = Checkpoint::sign(key, log, self.size(), self.frontier.root()).into();
                let signed = Signed { size: self.size(), note };
                self.signed = Some(signed.clone());
                (signed, true)
            }
        }
    }

    /// Reads the end of a log, and checks that what was last signed is still there: the log is at least that long and its tree had
    /// that root.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] when it is not, [`AuditError::Store`] when reading fails.
    pub(crate) async fn load(store: &Store, key: &CheckpointKey, log: &Log) -> Result<Self, AuditError> {
        let last = store.audit_last::<Content>(log.column()).await?;
        let (size, time_ms) = last.map_or((0, i64::MIN), |row| (row.seq + 1, row.time_ms));
        let mut wanted = Frontier::nodes(size);
        let signed = store.checkpoint_last(log.column()).await?;
        if let Some(row) = &signed {
            if row.size > size {
                return Err(AuditError::tampered(size, "entries that were signed are missing"));
            }
            wanted.extend(cover(&(0..row.size)));
        }
        let nodes = rows::fetch(store, log, &wanted).await?;
        if let Some(row) = &signed {
            let opened = Checkpoint::open(&row.note, &key.public(log));
            let root = if row.size == 0 { Some(empty_root()) } else { range_hash(&(0..row.size), &nodes) };
            if !opened.is_ok_and(|opened| opened.size == row.size && Some(opened.root) == root) {
                return Err(AuditError::tampered(row.size, "the entries before it are not those that were signed"));
            }
        }
        let frontier =
            Frontier::resume(size, &nodes).ok_or_else(|| AuditError::tampered(size, "tree nodes are missing"))?;
        let signed = signed.map(|row| Signed { size: row.size, note: row.note.into() });
        Ok(Self { frontier, time_ms, signed })
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

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}
