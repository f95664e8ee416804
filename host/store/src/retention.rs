//! How long the content of audit logs is kept, what keeps it longer, and the one statement that takes it away. What goes is the
//! content of an entry and its commitments; its place, its time and its hashes stay, so that the tree proves what it did.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{number, unsigned};
use crate::db::{query, query_as, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "audit retention";
const HOLD: &str = "legal hold";

/// How long the content of a log is kept, and which of it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRow {
    /// The tenant, or the empty text for the host's own log.
    pub log: String,
    /// For so many months.
    pub months: u32,
    /// The content of the entries before this one is gone.
    pub content_from: u64,
    /// That of the entries before this one is going; equal when none is.
    pub until: u64,
}

/// What keeps the content of a log however old it is.
#[derive(Debug, Clone)]
pub struct HoldRow<D> {
    /// The tenant, or the empty text for the host's own log.
    pub log: String,
    /// A UUID.
    pub id: String,
    /// When it was placed.
    pub created_ms: i64,
    /// Why and by whom. Place: table `audit_hold`, row `[id]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, i64, i64, i64);

fn of((log, months, content_from, until): Columns) -> Result<RetentionRow, StoreError> {
    let months = u32::try_from(months).map_err(|_| StoreError::damaged(WHAT))?;
    Ok(RetentionRow { log, months, content_from: unsigned(WHAT, content_from)?, until: unsigned(WHAT, until)? })
}

impl Store {
    /// What is said of a log, if anything is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retention(&self, log: &str) -> Result<Option<RetentionRow>, StoreError> {
        let found = query_as("SELECT tenant, months, content_from, until FROM audit_retention WHERE tenant = $1");
        let found = found.bind(log).fetch_optional(self.reader()).await;
        found.map_err(|error| StoreError::of(WHAT, &error))?.map(of).transpose()
    }

    /// The first entry of a log whose content is kept: 0 unless some is past its term.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_content_from(&self, log: &str) -> Result<u64, StoreError> {
        Ok(self.retention(log).await?.map_or(0, |row| row.content_from))
    }

    /// What holds a log, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn holds<D>(&self, log: &str) -> Result<Vec<HoldRow<D>>, StoreError> {
        let found =
            query_as("SELECT tenant, id, created_ms, doc FROM audit_hold WHERE tenant = $1 ORDER BY created_ms, id");
        let found: Vec<(String, String, i64, Vec<u8>)> =
            found.bind(log).fetch_all(self.reader()).await.map_err(|error| StoreError::of(HOLD, &error))?;
        let row = |(log, id, created_ms, doc)| HoldRow { log, id, created_ms, doc: Sealed::from_stored(doc) };
        Ok(found.into_iter().map(row).collect())
    }

    /// Whether anything holds a tenant's log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_held(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let count = query_scalar::<i64>(COUNT).bind(tenant.as_ref()).fetch_one(self.reader()).await;
        count.map(|count| count > 0).map_err(|error| StoreError::of(HOLD, &error))
    }
}

const COUNT: &str = "SELECT COUNT(*) FROM audit_hold WHERE tenant = $1";

impl WriteTx<'_> {
    /// What is said of a log, as it stands in this transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retention(&mut self, log: &str) -> Result<Option<RetentionRow>, StoreError> {
        let found = query_as("SELECT tenant, months, content_from, until FROM audit_retention WHERE tenant = $1");
        let found = found.bind(log).fetch_optional(self.connection().await?).await;
        self.noting(found.map_err(|error| StoreError::of(WHAT, &error)))?.map(of).transpose()
    }

    /// Whether anything holds a log, as it stands in this transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_held(&mut self, log: &str) -> Result<bool, StoreError> {
        let count = query_scalar::<i64>(COUNT).bind(log).fetch_one(self.connection().await?).await;
        self.noting(count.map(|count| count > 0).map_err(|error| StoreError::of(HOLD, &error)))
    }

    /// Says it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retention_put(&mut self, row: &RetentionRow) -> Result<(), StoreError> {
        let put = query(
            "INSERT INTO audit_retention (tenant, months, content_from, until) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant) DO UPDATE SET months = excluded.months, content_from = excluded.content_from, \
             until = excluded.until",
        );
        let put = put.bind(&row.log).bind(i64::from(row.months)).bind(number(row.content_from));
        self.run_one(WHAT, put.bind(number(row.until))).await
    }

    /// Takes the content of entries `from` up to `to` of a log away; how many there were. What is written over is overwritten in
    /// the file.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_expire(&mut self, log: &str, from: u64, to: u64) -> Result<u64, StoreError> {
        const NOTHING: &[u8] = &[];
        let expire = query(
            "UPDATE audit_entry SET header = $1, sealed = $2, invocation = NULL \
             WHERE tenant = $3 AND seq >= $4 AND seq < $5",
        );
        let expire = expire.bind(NOTHING).bind(NOTHING).bind(log).bind(number(from)).bind(number(to));
        self.run("audit entry", expire).await
    }

    /// Places a hold.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that id; [`StoreError::Unavailable`].
    pub async fn hold_insert<D>(&mut self, row: &HoldRow<D>) -> Result<(), StoreError> {
        let insert = query("INSERT INTO audit_hold (tenant, id, created_ms, doc) VALUES ($1, $2, $3, $4)");
        let insert = insert.bind(&row.log).bind(&row.id).bind(row.created_ms).bind(row.doc.as_bytes());
        self.run_one(HOLD, insert).await
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none of that id; [`StoreError::Unavailable`].
    pub async fn hold_remove(&mut self, log: &str, id: &str) -> Result<(), StoreError> {
        self.run_one(HOLD, query("DELETE FROM audit_hold WHERE tenant = $1 AND id = $2").bind(log).bind(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, invocation, sealed};
    use crate::{AuditRow, SEALED_COLUMNS};

    fn entry(seq: u64) -> AuditRow<Doc> {
        AuditRow {
            log: "acme".to_owned(),
            seq,
            time_ms: i64::try_from(seq).unwrap(),
            kind: 1,
            invocation: Some(invocation(1)),
            leaf: [7; 32],
            nodes: vec![8; 32],
            header: b"commitments".to_vec(),
            sealed: sealed(b"content"),
        }
    }

    async fn content_goes_and_hashes_stay() {
        let (_dir, store) = fixture::store().await;
        let mut rows: Vec<_> = (0..6).map(entry).collect();
        store.begin().await.unwrap().commit_with(&mut rows).await.unwrap();
        assert_eq!(store.audit_content_from("acme").await.unwrap(), 0);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.audit_expire("acme", 0, 4).await.unwrap(), 4);
        let row = RetentionRow { log: "acme".to_owned(), months: 12, content_from: 4, until: 4 };
        tx.retention_put(&row).await.unwrap();
        assert_eq!(tx.retention("acme").await.unwrap(), Some(row));
        tx.commit().await.unwrap();
        assert_eq!(store.audit_content_from("acme").await.unwrap(), 4);
        for (at, row) in store.audit_page::<Doc>("acme", 0, 10).await.unwrap().iter().enumerate() {
            let kept = at >= 4;
            assert_eq!((row.leaf, row.nodes.len(), row.time_ms), ([7; 32], 32, i64::try_from(at).unwrap()));
            assert_eq!((row.header.is_empty(), row.sealed.as_bytes().is_empty()), (!kept, !kept));
            assert_eq!(row.invocation.is_some(), kept);
        }
        // What walks over sealed values passes over what is not there.
        let column = SEALED_COLUMNS.iter().find(|column| column.table == "audit_entry").unwrap();
        assert_eq!(store.sealed_values(column, "acme", None).await.unwrap().0.len(), 2);
    }

    async fn holds_are_placed_and_lifted_by_log() {
        let (_dir, store) = fixture::store().await;
        let hold = |log: &str, id: &str| HoldRow::<Doc> {
            log: log.to_owned(),
            id: id.to_owned(),
            created_ms: 1,
            doc: sealed(b"why"),
        };
        let mut tx = store.begin().await.unwrap();
        tx.hold_insert(&hold("acme", "a")).await.unwrap();
        tx.hold_insert(&hold("", "a")).await.unwrap();
        assert!(tx.is_held("acme").await.unwrap() && !tx.is_held("beta").await.unwrap());
        tx.commit().await.unwrap();
        assert!(store.is_held(&id("acme")).await.unwrap());
        assert_eq!(store.holds::<Doc>("").await.unwrap().len(), 1);
        let mut tx = store.begin().await.unwrap();
        tx.hold_remove("acme", "a").await.unwrap();
        assert!(matches!(tx.hold_remove("acme", "a").await, Err(StoreError::Conflict { .. })));
        tx.commit().await.unwrap();
        assert!(!store.is_held(&id("acme")).await.unwrap());
        assert_eq!(store.holds::<Doc>("").await.unwrap().len(), 1);
    }

    crate::fixture::on_both_engines! {
        content_goes_and_hashes_stay,
        holds_are_placed_and_lifted_by_log,
    }
}
