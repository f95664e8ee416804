//! Stored rows, read back and checked: nothing of a row is believed before its leaf has been recomputed.

use opsiq_store::{AuditRow, Store};

use crate::content::Content;
use crate::entry::{Header, Record};
use crate::error::AuditError;
use crate::kind::Kind;
use crate::log::Log;
use crate::tree::{Hash, Node, Nodes};

/// The nodes a row stores: its leaf and what the leaf completes.
pub(crate) fn nodes_of(row: &AuditRow<Content>) -> Result<Vec<(Node, Hash)>, AuditError> {
    let (hashes, rest) = row.nodes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() as u64 != u64::from((row.seq + 1).trailing_zeros()) {
        return Err(AuditError::tampered(row.seq, "its tree nodes are damaged"));
    }
    let hashes = std::iter::once(&row.leaf).chain(hashes);
    Ok((0..).zip(hashes).map(|(level, hash)| (Node { level, index: row.seq >> level }, Hash(*hash))).collect())
}

/// Reads nodes of a log's tree from the rows that hold them.
///
/// # Errors
/// [`AuditError::Tampered`] when a row is missing or damaged, [`AuditError::Store`] when reading fails.
pub(crate) async fn fetch(store: &Store, log: &Log, wanted: &[Node]) -> Result<Nodes, AuditError> {
    let mut nodes = Nodes::new();
    if wanted.is_empty() {
        return Ok(nodes);
    }
    let seqs: Vec<u64> = wanted.iter().map(|node| node.row()).collect();
    for row in store.audit_at::<Content>(log.column(), &seqs).await? {
        nodes.extend(nodes_of(&row)?);
    }
    match wanted.iter().find(|node| !nodes.contains_key(node)) {
        Some(node) => Err(AuditError::tampered(node.row(), "it is missing")),
        None => Ok(nodes),
    }
}

/// Refuses a row whose content is gone: because its term was over, or because somebody took it.
///
/// # Errors
/// [`AuditError::Range`] in the first case, [`AuditError::Tampered`] in the second; [`AuditError::Store`].
pub(crate) async fn kept(store: &Store, log: &Log, row: &AuditRow<Content>) -> Result<(), AuditError> {
    if !row.header.is_empty() {
        return Ok(());
    }
    // It may have gone since it was asked where content begins.
    if row.seq < store.audit_content_from(log.column()).await? {
        return Err(AuditError::Range);
    }
    Err(AuditError::tampered(row.seq, "its content is missing, and its term is not over"))
}

/// Reads a row's clear part and checks that its leaf is theirs. Whether the leaf is the tree's is for the caller.
///
/// # Errors
/// [`AuditError::Tampered`].
pub(crate) fn checked(log: &Log, row: &AuditRow<Content>) -> Result<(Header, Record), AuditError> {
    let changed = |why| AuditError::tampered(row.seq, why);
    let record = Record::decode(&row.header).ok_or_else(|| changed("its commitments are damaged"))?;
    let header = Header {
        log: log.clone(),
        seq: row.seq,
        time_ms: row.time_ms,
        clock_held: record.clock_held,
        kind: Kind::from_code(row.kind).ok_or_else(|| changed("its kind is none"))?,
        invocation: row.invocation.clone(),
    };
    if header.leaf(&record.commitments).0 == row.leaf {
        Ok((header, record))
    } else {
        Err(changed("its clear part is not what its leaf says"))
    }
}
