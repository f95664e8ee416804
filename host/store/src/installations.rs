//! Installations of plugins by tenants.

use opsiq_contract::{Digest, InstallState, InstallationId, TenantId};
use opsiq_vault::Sealed;

use crate::column::{hash, id, number, unsigned};
use crate::db::{Target, query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "installation";

/// A tenant's named use of one plugin version.
#[derive(Debug, Clone)]
pub struct InstallationRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: InstallationId,
    /// Blind index of its name, unique within the tenant.
    pub name_index: [u8; 32],
    /// The plugin it runs.
    pub digest: Digest,
    /// Whether it runs.
    pub state: InstallState,
    /// Grows by one with every change; part of the document's place and of what confirmations are bound to.
    pub revision: u64,
    /// When it was made.
    pub created_ms: i64,
    /// Name, grant, config. Place: table `installation`, row `[id]`, column `doc`, version `revision`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, String, i64, i64, Vec<u8>);

impl<D> InstallationRow<D> {
    fn of(tenant: &TenantId, columns: Columns) -> Result<Self, StoreError> {
        let (installation, index, digest, state, revision, created_ms, doc) = columns;
        Ok(Self {
            tenant: tenant.clone(),
            id: id(WHAT, &installation)?,
            name_index: hash(WHAT, &index)?,
            digest: id(WHAT, &digest)?,
            state: id(WHAT, &state)?,
            revision: unsigned(WHAT, revision)?,
            created_ms,
            doc: Sealed::from_stored(doc),
        })
    }
}

async fn by_id<D>(
    db: impl Into<Target<'_>>,
    tenant: &TenantId,
    installation: &InstallationId,
) -> Result<Option<InstallationRow<D>>, StoreError> {
    query_as(
        "SELECT id, name_index, digest, state, revision, created_ms, doc FROM installation \
         WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_ref())
    .bind(installation.as_ref())
    .fetch_optional(db)
    .await
    .map_err(|error| StoreError::of(WHAT, &error))?
    .map(|columns| InstallationRow::of(tenant, columns))
    .transpose()
}

impl Store {
    /// An installation by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn installation<D>(
        &self,
        tenant: &TenantId,
        installation: &InstallationId,
    ) -> Result<Option<InstallationRow<D>>, StoreError> {
        by_id(self.reader(), tenant, installation).await
    }

    /// An installation by the blind index of its name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn installation_by_name<D>(
        &self,
        tenant: &TenantId,
        name_index: &[u8; 32],
    ) -> Result<Option<InstallationRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, digest, state, revision, created_ms, doc FROM installation \
             WHERE tenant = $1 AND name_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(name_index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| InstallationRow::of(tenant, columns))
        .transpose()
    }

    /// All installations of `tenant`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn installations<D>(&self, tenant: &TenantId) -> Result<Vec<InstallationRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, digest, state, revision, created_ms, doc FROM installation \
             WHERE tenant = $1 ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| InstallationRow::of(tenant, columns))
        .collect()
    }
}

impl WriteTx<'_> {
    /// As [`Store::installation`], within the transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn installation<D>(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
    ) -> Result<Option<InstallationRow<D>>, StoreError> {
        let found = by_id(self.connection().await?, tenant, installation).await;
        self.noting(found)
    }

    /// Adds an installation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id or name is taken, or tenant or plugin do not exist;
    /// [`StoreError::Unavailable`].
    pub async fn installation_insert<D>(&mut self, row: &InstallationRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO installation (tenant, id, name_index, digest, state, revision, created_ms, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.tenant.as_ref())
        .bind(row.id.as_ref())
        .bind(row.name_index.as_slice())
        .bind(row.digest.to_string())
        .bind(row.state.as_str())
        .bind(number(row.revision))
        .bind(row.created_ms)
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces name, digest, state, revision and document of an installation whose revision is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn installation_update<D>(&mut self, row: &InstallationRow<D>, expected: u64) -> Result<(), StoreError> {
        let query = query(
            "UPDATE installation SET name_index = $1, digest = $2, state = $3, revision = $4, doc = $5 \
             WHERE tenant = $6 AND id = $7 AND revision = $8",
        )
        .bind(row.name_index.as_slice())
        .bind(row.digest.to_string())
        .bind(row.state.as_str())
        .bind(number(row.revision))
        .bind(row.doc.as_bytes())
        .bind(row.tenant.as_ref())
        .bind(row.id.as_ref())
        .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Removes an installation whose revision is `expected`, with its keys and key-value entries. Its confirmations and
    /// audit entries stay.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn installation_remove(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
        expected: u64,
    ) -> Result<(), StoreError> {
        self.savepoint()?;
        let removed = self.remove(tenant, installation, expected).await;
        match removed {
            Ok(()) => self.release().await,
            Err(error) => {
                self.rollback_to().await?;
                Err(error)
            }
        }
    }

    async fn remove(&mut self, tenant: &TenantId, id: &InstallationId, expected: u64) -> Result<(), StoreError> {
        let keys = query("DELETE FROM installation_key WHERE tenant = $1 AND installation = $2");
        self.run(WHAT, keys.bind(tenant.as_ref()).bind(id.as_ref())).await?;
        let kv = query("DELETE FROM kv WHERE tenant = $1 AND installation = $2");
        self.run(WHAT, kv.bind(tenant.as_ref()).bind(id.as_ref())).await?;
        let row = query("DELETE FROM installation WHERE tenant = $1 AND id = $2 AND revision = $3");
        self.run_one(WHAT, row.bind(tenant.as_ref()).bind(id.as_ref()).bind(number(expected))).await
    }
}

#[cfg(test)]
mod tests;
