//! Rows of the audit logs, and checkpoints. What they mean is the audit's; here they are numbers and bytes. No
//! statement here changes or deletes an entry; what takes content away once its term is over is in `retention`.

use std::sync::LazyLock;

use futures::Stream;
use futures::stream::{self, TryStreamExt as _};
use opsiq_contract::InvocationId;
use opsiq_vault::Sealed;

use crate::column::{hash, id, number, unsigned};
use crate::db::{Kind, query, query_as, query_scalar};
use crate::many::{LazyMany, Many};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "audit entry";
const CHECKPOINT: &str = "audit checkpoint";

/// Rows of one page of a stream.
const PAGE: u32 = 512;
/// Numbers of one look-up; shorter lists are filled by repeating the last.
const LOOKUP: usize = 32;

/// One entry of one log.
#[derive(Debug, Clone)]
pub struct AuditRow<D> {
    /// The tenant, or the empty text for the host's own log.
    pub log: String,
    /// Counts a log's entries upwards without gaps.
    pub seq: u64,
    /// When.
    pub time_ms: i64,
    /// The code of its kind.
    pub kind: u8,
    /// The run it belongs to, if any.
    pub invocation: Option<InvocationId>,
    /// The leaf's hash.
    pub leaf: [u8; 32],
    /// Hashes of the interior nodes this leaf completes.
    pub nodes: Vec<u8>,
    /// The clear part of the entry: commitments.
    pub header: Vec<u8>,
    /// Field values and salts. Its place is the audit's choice.
    pub sealed: Sealed<D>,
}

/// A signed head of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The tenant, or the empty text for the host's own log.
    pub log: String,
    /// How many entries it covers.
    pub size: u64,
    /// When it was signed.
    pub created_ms: i64,
    /// The signed note.
    pub note: String,
}

/// What the columns of an entry hold, in the order in which they are written.
const ENTRY: [Kind; 9] = [
    Kind::Text,
    Kind::Number,
    Kind::Number,
    Kind::Number,
    Kind::Text,
    Kind::Bytes,
    Kind::Bytes,
    Kind::Bytes,
    Kind::Bytes,
];

type Columns = (String, i64, i64, i64, Option<String>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

fn of<D>(
    (log, seq, time_ms, kind, invocation, leaf, nodes, header, sealed): Columns,
) -> Result<AuditRow<D>, StoreError> {
    Ok(AuditRow {
        log,
        seq: unsigned(WHAT, seq)?,
        time_ms,
        kind: u8::try_from(kind).map_err(|_| StoreError::damaged(WHAT))?,
        invocation: invocation.map(|text| id(WHAT, &text)).transpose()?,
        leaf: hash(WHAT, &leaf)?,
        nodes,
        header,
        sealed: Sealed::from_stored(sealed),
    })
}

impl Store {
    /// The last entry of a log; `None` when it is empty.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_last<D>(&self, log: &str) -> Result<Option<AuditRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, seq, time_ms, kind, invocation, leaf, nodes, header, sealed FROM audit_entry \
             WHERE tenant = $1 ORDER BY seq DESC LIMIT 1",
        )
        .bind(log)
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(of)
        .transpose()
    }

    /// The first entry of a log at `time_ms` or later; `None` when all are earlier. Times never decrease within a log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_first_since(&self, log: &str, time_ms: i64) -> Result<Option<u64>, StoreError> {
        let Some(last) = self.audit_last::<()>(log).await? else { return Ok(None) };
        if last.time_ms < time_ms {
            return Ok(None);
        }
        let (mut low, mut high) = (0, last.seq);
        while low < high {
            let middle = low + (high - low) / 2;
            let time: i64 = query_scalar("SELECT time_ms FROM audit_entry WHERE tenant = $1 AND seq = $2")
                .bind(log)
                .bind(number(middle))
                .fetch_one(self.reader())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
            if time < time_ms { low = middle + 1 } else { high = middle }
        }
        Ok(Some(low))
    }

    /// Entries of a log from `first` on, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_page<D>(&self, log: &str, first: u64, limit: u32) -> Result<Vec<AuditRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, seq, time_ms, kind, invocation, leaf, nodes, header, sealed FROM audit_entry \
             WHERE tenant = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
        )
        .bind(log)
        .bind(number(first))
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(of)
        .collect()
    }

    /// Entries `first` to `last` of a log, in order. Read page by page, so memory is bounded and a slow reader holds up
    /// nobody; entries are never changed, so pages fit together.
    pub fn audit_stream<'s, D: 's>(
        &'s self,
        log: &'s str,
        first: u64,
        last: u64,
    ) -> impl Stream<Item = Result<AuditRow<D>, StoreError>> + Send + 's {
        let page = move |from: u64| async move {
            if from > last {
                return Ok::<_, StoreError>(None);
            }
            let limit = u32::try_from((last - from).saturating_add(1)).unwrap_or(PAGE).min(PAGE);
            let rows = self.audit_page::<D>(log, from, limit).await?;
            let end = rows.last().map(|row| row.seq);
            Ok(end.map(|end| (stream::iter(rows.into_iter().map(Ok)), end + 1)))
        };
        stream::try_unfold(first, page).try_flatten()
    }

    /// The entries of a log with these numbers, in order of number; missing ones are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_at<D>(&self, log: &str, seqs: &[u64]) -> Result<Vec<AuditRow<D>>, StoreError> {
        static AT: LazyLock<&'static str> = LazyLock::new(|| {
            let marks: Vec<_> = (2..LOOKUP + 2).map(|at| format!("${at}")).collect();
            // Made once in the life of the process.
            format!(
                "SELECT tenant, seq, time_ms, kind, invocation, leaf, nodes, header, sealed FROM audit_entry \
                 WHERE tenant = $1 AND seq IN ({}) ORDER BY seq",
                marks.join(", ")
            )
            .leak()
        });
        let mut sorted: Vec<i64> = seqs.iter().map(|seq| number(*seq)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut found = Vec::with_capacity(sorted.len());
        for part in sorted.chunks(LOOKUP) {
            let mut query = query_as::<Columns>(*AT).bind(log);
            for at in 0..LOOKUP {
                query = query.bind(part[at.min(part.len() - 1)]);
            }
            let rows = query.fetch_all(self.reader()).await.map_err(|error| StoreError::of(WHAT, &error))?;
            for columns in rows {
                found.push(of(columns)?);
            }
        }
        Ok(found)
    }

    /// The entries of one invocation, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_of<D>(&self, log: &str, invocation: &InvocationId) -> Result<Vec<AuditRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, seq, time_ms, kind, invocation, leaf, nodes, header, sealed FROM audit_entry \
             WHERE tenant = $1 AND invocation = $2 ORDER BY seq",
        )
        .bind(log)
        .bind(invocation.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(of)
        .collect()
    }

    /// The newest checkpoint of a log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn checkpoint_last(&self, log: &str) -> Result<Option<CheckpointRow>, StoreError> {
        let found: Option<(i64, i64, String)> = query_as(
            "SELECT size, created_ms, note FROM audit_checkpoint WHERE tenant = $1 ORDER BY size DESC LIMIT 1",
        )
        .bind(log)
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(CHECKPOINT, &error))?;
        let of = |(size, created_ms, note)| {
            Ok(CheckpointRow { log: log.to_owned(), size: unsigned(CHECKPOINT, size)?, created_ms, note })
        };
        found.map(of).transpose()
    }

    /// All logs that have entries, the host's first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_logs(&self) -> Result<Vec<String>, StoreError> {
        query_scalar("SELECT tenant FROM audit_entry WHERE seq = 0 ORDER BY tenant")
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))
    }
}

impl WriteTx<'_> {
    /// Adds entries, of any logs, and commits the transaction: it is on disk when this returns. The bytes are taken out of
    /// `rows` rather than copied; the rows themselves keep their keys in use until they are dropped.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a number of a log is taken; [`StoreError::Unavailable`]. Nothing was written, with the
    /// exception that [`WriteTx::commit`] names.
    pub async fn commit_with<D>(self, rows: &mut [AuditRow<D>]) -> Result<(), StoreError> {
        static APPEND: LazyMany = LazyMany::new(|| {
            let insert = "INSERT INTO audit_entry \
                (tenant, seq, time_ms, kind, invocation, leaf, nodes, header, sealed) SELECT * FROM (";
            Many::new(insert, &ENTRY, ") AS entries WHERE column2 IS NOT NULL")
        });
        self.commit_many(WHAT, &APPEND, rows.iter_mut(), |row, values| {
            values.add(std::mem::take(&mut row.log))?;
            values.add(number(row.seq))?;
            values.add(row.time_ms)?;
            values.add(i64::from(row.kind))?;
            values.add(row.invocation.as_ref().map(AsRef::<str>::as_ref))?;
            values.add(row.leaf.as_slice())?;
            values.add(std::mem::take(&mut row.nodes))?;
            values.add(std::mem::take(&mut row.header))?;
            values.add(row.sealed.take_bytes())
        })
        .await
    }

    /// Keeps a checkpoint, in the place of an earlier one of the same size.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn checkpoint_put(&mut self, row: &CheckpointRow) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO audit_checkpoint (tenant, size, created_ms, note) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant, size) DO UPDATE SET created_ms = excluded.created_ms, note = excluded.note",
        )
        .bind(&row.log)
        .bind(number(row.size))
        .bind(row.created_ms)
        .bind(&row.note);
        self.run(CHECKPOINT, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
