//! Whether a log is the one that was signed, asked without its content: what can still be asked of a log whose keys are
//! destroyed, since leaves are salted commitments.

use crate::checkpoint::Checkpoint;
use crate::content::Content;
use crate::error::AuditError;
use crate::journal::Journal;
use crate::log::Log;
use crate::rows;
use crate::tree::{Frontier, Hash};

/// Rows read at a time.
const PAGE: u32 = 256;

impl Journal {
    /// Recomputes every leaf of a log from its clear part and the whole tree from the leaves, and compares with the signed
    /// root. Answers how many entries there are.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] at the first entry that is not what was signed; [`AuditError::Store`];
    /// [`AuditError::Unavailable`] when the head cannot be signed.
    pub async fn check_tree(&self, log: &Log) -> Result<u64, AuditError> {
        let signed = self.head(log).await?;
        let key = self.shared().key.public(log);
        let damaged = |seq| AuditError::tampered(seq, "the tree is not the one that was signed");
        let root = Checkpoint::open(&signed.note, &key).map_err(|_| damaged(signed.size))?.root;
        let mut tree = Frontier::default();
        while tree.size() < signed.size {
            let rows = self.shared().store.audit_page::<Content>(log.column(), tree.size(), PAGE).await?;
            if rows.is_empty() {
                return Err(AuditError::tampered(tree.size(), "it is missing"));
            }
            for row in rows.iter().take_while(|row| row.seq < signed.size) {
                if row.seq != tree.size() {
                    return Err(AuditError::tampered(tree.size(), "it is missing"));
                }
                rows::checked(log, row)?;
                tree.push(Hash(row.leaf));
            }
        }
        if tree.root() == root { Ok(signed.size) } else { Err(damaged(signed.size)) }
    }
}
