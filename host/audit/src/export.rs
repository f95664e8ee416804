//! Writing a log out, in memory that does not grow with it.
//!
//! The exporter believes its own database no more than a reader believes the export: every row is checked against its leaf, its
//! commitments and the tree whose root it is about to vouch for. A log that was changed yields an error that names the entry, and
//! no export that verifies.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use opsiq_store::AuditRow;
use opsiq_vault::TenantVault;

use crate::checkpoint::Checkpoint;
use crate::content::{self, Content};
use crate::error::AuditError;
use crate::format::{Entry, Field, Format, Head, Line, VERSION, time_text};
use crate::journal::Journal;
use crate::log::Log;
use crate::rows;
use crate::tree::{Hash, Nodes, Walk, cover, empty_root, range_hash};

/// Rows of one step; a power of two, so that most of the tree nodes a page needs are in it.
const PAGE: u64 = 64;

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first entry.
    pub from: u64,
    /// One past the last; `None` for all there are.
    pub to: Option<u64>,
    /// Whether hidden fields are written out too. Without them, their commitments alone are, as of what was about a data
    /// subject who is erased.
    pub reveal: bool,
}

impl Range {
    /// Everything, hidden fields included: what an owner takes out.
    pub const ALL: Self = Self { from: 0, to: None, reveal: true };
}

/// An export in progress. Bytes are asked for piece by piece, so a slow reader holds up nobody.
pub struct Export {
    journal: Journal,
    log: Log,
    vault: TenantVault,
    format: Format,
    reveal: bool,
    from: u64,
    to: u64,
    note: String,
    walk: Walk,
    /// What comes next besides entries.
    state: State,
    head: Option<Head>,
    entries: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Entries,
    Done,
}

impl Journal {
    /// Begins an export: signs the log as it is now, or the part up to `range.to`. What is recorded later is not part of it, and
    /// what is past its term is not there any more: [`Export::from`] says where content begins.
    ///
    /// # Errors
    /// [`AuditError::Range`]; [`AuditError::Tampered`]; [`AuditError::Unavailable`] when the head cannot be signed and kept.
    pub async fn export(&self, log: &Log, format: Format, range: &Range) -> Result<Export, AuditError> {
        let shared = self.shared();
        let vault = shared.vaults.vault(log).await?;
        let signed = self.head(log).await?;
        let to = range.to.unwrap_or(signed.size);
        // What is past its term is not shown: the hashes before the first entry prove that it was there.
        let from = range.from.max(shared.store.audit_content_from(log.column()).await?);
        if to > signed.size || from > to {
            return Err(AuditError::Range);
        }
        let left = Walk::left(from, to);
        let mut wanted = cover(&(0..to));
        wanted.extend(left.iter().flat_map(cover));
        let nodes = rows::fetch(&shared.store, log, &wanted).await?;
        let damaged = || AuditError::tampered(to, "tree nodes are missing");
        let root = if to == 0 { empty_root() } else { range_hash(&(0..to), &nodes).ok_or_else(damaged)? };
        let note = Checkpoint::sign(&shared.key, log, to, root, None);
        let left: Vec<Hash> =
            left.iter().map(|range| range_hash(range, &nodes)).collect::<Option<_>>().ok_or_else(damaged)?;
        let key = shared.key.public(log);
        let head = Head {
            version: VERSION,
            log: log.to_string(),
            key: format!("{}+{}", key.name(), hex::encode(key.id())),
            from,
            to,
            left: left.clone(),
            checkpoint: note.clone(),
        };
        let walk = Walk::begin(from, to, root, left).ok_or_else(damaged)?;
        Ok(Export {
            journal: self.clone(),
            log: log.clone(),
            vault,
            format,
            reveal: range.reveal,
            from,
            to,
            note,
            walk,
            state: State::Head,
            head: Some(head),
            entries: 0,
        })
    }
}

impl Export {
    /// The first entry of it: the one asked for, or the first whose content is kept.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The next bytes; `None` when all have been given.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] at the first entry that is not what was signed; [`AuditError::Store`], [`AuditError::Vault`]. What was given
    /// before an error does not verify.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        match self.state {
            State::Head => {
                let mut bytes = self.format.preamble();
                if let Some(head) = self.head.take() {
                    self.render(&Line::Export(head), &mut bytes)?;
                }
                self.state = State::Entries;
                Ok(Some(bytes))
            }
            State::Entries => {
                if let Some(first) = self.walk.next() {
                    return self.page(first).await.map(Some);
                }
                let mut bytes = Vec::new();
                self.render(&Line::Checkpoint(self.note.clone()), &mut bytes)?;
                self.state = State::Done;
                Ok(Some(bytes))
            }
            State::Done => Ok(None),
        }
    }

    /// Writes everything to `writer`, and flushes it. How many entries there were.
    ///
    /// # Errors
    /// As [`Export::next`]; [`AuditError::Output`] when the writer fails.
    pub async fn write(mut self, writer: &mut impl io::Write) -> Result<u64, AuditError> {
        let output = |error| AuditError::Output(Arc::new(error));
        while let Some(bytes) = self.next().await? {
            writer.write_all(&bytes).map_err(output)?;
        }
        writer.flush().map_err(output)?;
        Ok(self.entries)
    }

    async fn page(&mut self, first: u64) -> Result<Vec<u8>, AuditError> {
        let end = (first - first % PAGE + PAGE).min(self.to);
        let store = Arc::clone(&self.journal.shared().store);
        let limit = u32::try_from(end - first).unwrap_or(u32::MAX);
        let page = store.audit_page::<Content>(self.log.column(), first, limit).await?;
        // Before any proof is made of them, so that the row that was changed is the one that is named.
        let mut nodes = Nodes::new();
        let mut entries = Vec::with_capacity(page.len());
        for (seq, row) in (first..).zip(&page) {
            if row.seq != seq {
                return Err(AuditError::tampered(seq, "it is missing"));
            }
            entries.push(self.entry(row).await?);
            nodes.extend(rows::nodes_of(row)?);
        }
        let mut entries = entries.into_iter();
        let mut bytes = Vec::new();
        for seq in first..end {
            let mut entry = entries.next().ok_or_else(|| AuditError::tampered(seq, "it is missing"))?;
            let right = self.walk.right();
            let wanted: Vec<_> = right.iter().flat_map(cover).filter(|node| !nodes.contains_key(node)).collect();
            nodes.extend(rows::fetch(&store, &self.log, &wanted).await?);
            entry.proof = right
                .iter()
                .map(|range| range_hash(range, &nodes))
                .collect::<Option<_>>()
                .ok_or_else(|| AuditError::tampered(seq, "tree nodes are missing"))?;
            if !self.walk.step(&entry.leaf, &entry.proof) {
                return Err(AuditError::tampered(seq, "it is not the entry that was signed"));
            }
            self.render(&Line::Entry(entry), &mut bytes)?;
            self.entries += 1;
        }
        Ok(bytes)
    }

    /// The line of a row, but for its proof.
    async fn entry(&self, row: &AuditRow<Content>) -> Result<Entry, AuditError> {
        rows::kept(&self.journal.shared().store, &self.log, row).await?;
        let (header, record) = rows::checked(&self.log, row)?;
        let mut fields = BTreeMap::new();
        let vaults = self.journal.shared().vaults.as_ref();
        let opened = content::open(&self.log, row.seq, &record, &row.sealed, &self.vault, vaults).await?;
        for (field, (name, commitment)) in opened.into_iter().zip(record.commitments.iter()) {
            let (value, salt) = field.kept.filter(|_| self.reveal || !field.hidden).unzip();
            fields.insert(name.to_owned(), Field { value, salt, commitment: *commitment });
        }
        Ok(Entry {
            seq: header.seq,
            time: time_text(header.time_ms).ok_or_else(|| AuditError::tampered(row.seq, "its time is none"))?,
            kind: header.kind,
            clock_held: header.clock_held,
            invocation: header.invocation.map(String::from),
            fields,
            leaf: Hash(row.leaf),
            proof: Vec::new(),
        })
    }

    fn render(&self, line: &Line, bytes: &mut Vec<u8>) -> Result<(), AuditError> {
        let rendered = self.format.render(line);
        bytes.extend(rendered.ok_or_else(|| AuditError::Output(Arc::new(io::ErrorKind::InvalidData.into())))?);
        Ok(())
    }
}
