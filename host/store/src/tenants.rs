//! Tenants.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{id, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "tenant";

/// One tenant.
#[derive(Debug, Clone)]
pub struct TenantRow<D> {
    /// Its name.
    pub id: TenantId,
    /// When it was made.
    pub created_ms: i64,
    /// Grows by one with every change; part of the document's place.
    pub version: u64,
    /// What is kept about it. Place: table `tenant`, row `[]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

type Columns = (String, i64, i64, Vec<u8>);

impl<D> TenantRow<D> {
    fn of((tenant, created_ms, version, doc): Columns) -> Result<Self, StoreError> {
        Ok(Self {
            id: id(WHAT, &tenant)?,
            created_ms,
            version: unsigned(WHAT, version)?,
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// The tenant called `tenant`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tenant<D>(&self, tenant: &TenantId) -> Result<Option<TenantRow<D>>, StoreError> {
        query_as("SELECT tenant, created_ms, version, doc FROM tenant WHERE tenant = $1")
            .bind(tenant.as_ref())
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?
            .map(TenantRow::of)
            .transpose()
    }

    /// All tenants, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tenants<D>(&self) -> Result<Vec<TenantRow<D>>, StoreError> {
        query_as("SELECT tenant, created_ms, version, doc FROM tenant ORDER BY tenant")
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?
            .into_iter()
            .map(TenantRow::of)
            .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a tenant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken; [`StoreError::Unavailable`].
    pub async fn tenant_insert<D>(&mut self, row: &TenantRow<D>) -> Result<(), StoreError> {
        let query = query("INSERT INTO tenant (tenant, created_ms, version, doc) VALUES ($1, $2, $3, $4)")
            .bind(row.id.as_ref())
            .bind(row.created_ms)
            .bind(number(row.version))
            .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces version and document of a tenant whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn tenant_update<D>(&mut self, row: &TenantRow<D>, expected: u64) -> Result<(), StoreError> {
        let query = query("UPDATE tenant SET version = $1, doc = $2 WHERE tenant = $3 AND version = $4")
            .bind(number(row.version))
            .bind(row.doc.as_bytes())
            .bind(row.id.as_ref())
            .bind(number(expected));
        self.run_one(WHAT, query).await
    }
}
