//! What may not run, and for whom to know of it. What a row selects is in clear, since it is asked about at every start;
//! why and by whom is sealed by the vault of whoever placed it.

use opsiq_contract::{Digest, TenantId};
use opsiq_vault::Sealed;
use sqlx::AssertSqlSafe;

use crate::column::id;
use crate::db::{query, query_as, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "quarantine";
/// Digests of one statement.
const DIGESTS: usize = 500;

/// One quarantine.
#[derive(Debug, Clone)]
pub struct QuarantineRow<D> {
    /// Who placed it: a tenant, or the operator.
    pub tenant: Option<TenantId>,
    /// What kind of thing it selects.
    pub kind: String,
    /// Which one.
    pub value: String,
    /// When it was placed.
    pub created_ms: i64,
    /// Why and by whom.
    pub doc: Sealed<D>,
}

type Columns = (String, String, String, i64, Vec<u8>);

/// The owner as a column.
fn owner(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(String::new, TenantId::to_string)
}

impl<D> QuarantineRow<D> {
    fn of((tenant, kind, value, created_ms, doc): Columns) -> Result<Self, StoreError> {
        let tenant = if tenant.is_empty() { None } else { Some(id(WHAT, &tenant)?) };
        Ok(Self { tenant, kind, value, created_ms, doc: Sealed::from_stored(doc) })
    }
}

impl Store {
    /// All of them, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn quarantines<D>(&self) -> Result<Vec<QuarantineRow<D>>, StoreError> {
        query_as("SELECT tenant, kind, value, created_ms, doc FROM quarantine ORDER BY created_ms, tenant, kind, value")
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?
            .into_iter()
            .map(QuarantineRow::of)
            .collect()
    }

    /// The tenants that have one of these components installed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tenants_with(&self, digests: &[Digest]) -> Result<Vec<TenantId>, StoreError> {
        let mut tenants = Vec::new();
        for digests in digests.chunks(DIGESTS) {
            let marks: Vec<_> = (1..=digests.len()).map(|at| format!("${at}")).collect();
            let select = format!("SELECT DISTINCT tenant FROM installation WHERE digest IN ({})", marks.join(", "));
            let mut select = query_scalar::<String>(AssertSqlSafe(select));
            for digest in digests {
                select = select.bind(digest.to_string());
            }
            let found =
                select.fetch_all(self.reader()).await.map_err(|error| StoreError::of("installation", &error))?;
            for tenant in found {
                tenants.push(id("installation", &tenant)?);
            }
        }
        tenants.sort();
        tenants.dedup();
        Ok(tenants)
    }
}

impl WriteTx<'_> {
    /// Places one, or places it anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn quarantine_put<D>(&mut self, row: &QuarantineRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO quarantine (tenant, kind, value, created_ms, doc) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, kind, value) DO UPDATE SET created_ms = excluded.created_ms, doc = excluded.doc",
        )
        .bind(owner(row.tenant.as_ref()))
        .bind(row.kind.clone())
        .bind(row.value.clone())
        .bind(row.created_ms)
        .bind(row.doc.as_bytes().to_vec());
        self.run_one(WHAT, query).await
    }

    /// Lifts one, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn quarantine_remove(
        &mut self,
        tenant: Option<&TenantId>,
        kind: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let query = query("DELETE FROM quarantine WHERE tenant = $1 AND kind = $2 AND value = $3")
            .bind(owner(tenant))
            .bind(kind.to_owned())
            .bind(value.to_owned());
        self.run(WHAT, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed};

    fn row(tenant: Option<&str>, value: &str) -> QuarantineRow<Doc> {
        let (tenant, kind, value) = (tenant.map(id), "publisher".to_owned(), value.to_owned());
        QuarantineRow { tenant, kind, value, created_ms: 3, doc: sealed(b"why") }
    }

    async fn each_owner_places_and_lifts_its_own() {
        let (_dir, store, _) = fixture::shop().await;
        let mut tx = store.begin().await.unwrap();
        tx.quarantine_put(&row(None, "opsiq")).await.unwrap();
        tx.quarantine_put(&row(Some("acme"), "opsiq")).await.unwrap();
        tx.quarantine_put(&row(None, "opsiq")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.quarantines::<Doc>().await.unwrap().len(), 2);
        let mut tx = store.begin().await.unwrap();
        tx.quarantine_remove(None, "publisher", "opsiq").await.unwrap();
        tx.quarantine_remove(None, "publisher", "opsiq").await.unwrap();
        tx.commit().await.unwrap();
        let left = store.quarantines::<Doc>().await.unwrap();
        assert_eq!(left.iter().map(|row| row.tenant.clone()).collect::<Vec<_>>(), [Some(id("acme"))]);
    }

    async fn who_has_a_component_installed_is_known() {
        let (_dir, store, row) = fixture::shop().await;
        assert_eq!(store.tenants_with(&[row.digest, Digest::of(b"none")]).await.unwrap(), [id("acme")]);
        assert!(store.tenants_with(&[Digest::of(b"none")]).await.unwrap().is_empty());
    }

    crate::fixture::on_both_engines! {
        each_owner_places_and_lifts_its_own,
        who_has_a_component_installed_is_known,
    }
}
