//! Entries as a person reads them: newest first, opened, with what is hidden marked.

use std::collections::BTreeMap;
use std::fmt;

use opsiq_contract::InvocationId;
use opsiq_store::AuditRow;
use opsiq_vault::TenantVault;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::content::{self, Content};
use crate::draft::field;
use crate::error::AuditError;
use crate::journal::Journal;
use crate::kind::Kind;
use crate::log::Log;
use crate::rows;

/// Rows read at a time.
const PAGE: u64 = 128;
/// Most rows opened in search of matches before a page is given back short.
const SEARCH: u64 = 16_384;

/// Which entries to list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only this action.
    pub action: Option<String>,
    /// Only this invocation.
    pub invocation: Option<InvocationId>,
    /// Only entries with a lower number: [`Page::next`] of the page before.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Some entries, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries.
    pub entries: Vec<View>,
    /// Where to go on, as [`Filter::before`]; `None` at the beginning of the log, or of what is kept of it. A page may be short, even empty, and have
    /// a next: a search gives back what it found after 16,384 entries.
    pub next: Option<u64>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its number, from 0.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Whether the clock stood before the previous entry's time.
    pub clock_held: bool,
    /// What it is about.
    pub kind: Kind,
    /// The call it belongs to.
    pub invocation: Option<InvocationId>,
    /// Its fields.
    pub fields: BTreeMap<String, Shown>,
}

/// The value of a field in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The value.
    Text(String),
    /// A value that lists do not show.
    Hidden,
    /// A value about a data subject who was erased.
    Erased,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::Hidden => "[sealed]",
            Self::Erased => "[erased]",
        })
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::Text)
    }
}

impl Journal {
    /// Lists entries of a log. Each is checked against its leaf and its commitments. Reading is itself to be recorded: the caller
    /// does so, before.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] at the first entry that is not what was recorded; [`AuditError::Store`], [`AuditError::Vault`].
    pub async fn list(&self, log: &Log, filter: &Filter) -> Result<Page, AuditError> {
        let shared = self.shared();
        let vault = shared.vaults.vault(log).await?;
        let end = filter.before.unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        if let Some(invocation) = &filter.invocation {
            let rows = shared.store.audit_of::<Content>(log.column(), invocation).await?;
            let mut rows = rows.iter().rev().filter(|row| row.seq < end);
            let next = self.take(&mut rows, log, &vault, filter, &mut entries).await?;
            return Ok(Page { entries, next: next.filter(|_| rows.next().is_some()) });
        }
        let last = shared.store.audit_last::<Content>(log.column()).await?;
        // What is before has a place and a time, and nothing that could be shown.
        let begin = shared.store.audit_content_from(log.column()).await?;
        let mut end = last.map_or(0, |row| row.seq + 1).min(end);
        let stop = end.saturating_sub(SEARCH).max(begin);
        while end > stop {
            let first = end.saturating_sub(PAGE).max(begin);
            let limit = u32::try_from(end - first).unwrap_or(u32::MAX);
            let rows = shared.store.audit_page::<Content>(log.column(), first, limit).await?;
            if !rows.iter().map(|row| row.seq).eq(first..end) {
                let missing = (first..end).zip(&rows).find(|(seq, row)| *seq != row.seq);
                let seq = missing.map_or(first + rows.len() as u64, |(seq, _)| seq);
                return Err(AuditError::tampered(seq, "it is missing"));
            }
            if let Some(next) = self.take(&mut rows.iter().rev(), log, &vault, filter, &mut entries).await? {
                return Ok(Page { entries, next: Some(next).filter(|next| *next > begin) });
            }
            end = first;
        }
        Ok(Page { entries, next: Some(end).filter(|end| *end > begin) })
    }

    /// Takes matching rows until there are enough: then the number of the last one taken.
    async fn take<'r>(
        &self,
        rows: &mut impl Iterator<Item = &'r AuditRow<Content>>,
        log: &Log,
        vault: &TenantVault,
        filter: &Filter,
        entries: &mut Vec<View>,
    ) -> Result<Option<u64>, AuditError> {
        for row in rows {
            if filter.kind.is_some_and(|kind| kind.code() != row.kind) {
                continue;
            }
            let view = self.view(row, log, vault).await?;
            let action = view.fields.get(field::ACTION);
            if filter.action.as_ref().is_none_or(|wanted| action == Some(&Shown::Text(wanted.clone()))) {
                entries.push(view);
                if entries.len() >= filter.limit {
                    return Ok(Some(row.seq));
                }
            }
        }
        Ok(None)
    }

    async fn view(&self, row: &AuditRow<Content>, log: &Log, vault: &TenantVault) -> Result<View, AuditError> {
        rows::kept(&self.shared().store, log, row).await?;
        let (header, record) = rows::checked(log, row)?;
        let vaults = self.shared().vaults.as_ref();
        let fields = content::open(log, row.seq, &record, &row.sealed, vault, vaults).await?;
        let fields = fields.into_iter().map(|field| {
            let shown = match field.kept {
                Some(_) if field.hidden => Shown::Hidden,
                Some((value, _)) => Shown::Text(value),
                None => Shown::Erased,
            };
            (field.name.into_owned(), shown)
        });
        Ok(View {
            seq: header.seq,
            time_ms: header.time_ms,
            clock_held: header.clock_held,
            kind: header.kind,
            invocation: header.invocation,
            fields: fields.collect(),
        })
    }
}
