//! Versions of the secrets tenants put in. Several live versions verify, the newest signs, a retired one is gone.

use opsiq_contract::{InstallationId, TenantId};
use opsiq_vault::{Sealed, Secret};

use crate::column::{id, number, text_enum, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "key version";

text_enum! {
    /// Whether a version of a key is in use.
    pub KeyState, "key version" {
        /// In use.
        Live = "live",
        /// Out of use; its secret is removed.
        Retired = "retired",
    }
}

/// One version of one key of an installation.
#[derive(Debug, Clone)]
pub struct KeyVersionRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// Which installation's.
    pub installation: InstallationId,
    /// The name the contract declares, which is public.
    pub name: String,
    /// Counts a key's versions upwards from 1.
    pub version: u64,
    /// Whether it is in use.
    pub state: KeyState,
    /// When it was put in.
    pub created_ms: i64,
    /// The secret; `None` once retired. Place: table `installation_key`, row `[installation, name]`, column `secret`,
    /// this version.
    pub secret: Option<Sealed<Secret>>,
    /// What may be shown of it, such as a fingerprint. Place: as the secret's, column `doc`.
    pub doc: Sealed<D>,
}

type Columns = (String, i64, String, i64, Option<Vec<u8>>, Vec<u8>);
/// With the installation.
type OfTenant = (String, i64, String, i64, Option<Vec<u8>>, Vec<u8>, String);

impl<D> KeyVersionRow<D> {
    fn of(tenant: &TenantId, installation: &InstallationId, columns: Columns) -> Result<Self, StoreError> {
        let (name, version, state, created_ms, secret, doc) = columns;
        Ok(Self {
            tenant: tenant.clone(),
            installation: installation.clone(),
            name,
            version: unsigned(WHAT, version)?,
            state: KeyState::from_column(&state)?,
            created_ms,
            secret: secret.map(Sealed::from_stored),
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// All versions of all keys of an installation, by name, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn key_versions<D>(
        &self,
        tenant: &TenantId,
        installation: &InstallationId,
    ) -> Result<Vec<KeyVersionRow<D>>, StoreError> {
        query_as(
            "SELECT name, version, state, created_ms, secret, doc FROM installation_key \
             WHERE tenant = $1 AND installation = $2 ORDER BY name, version DESC",
        )
        .bind(tenant.as_ref())
        .bind(installation.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| KeyVersionRow::of(tenant, installation, columns))
        .collect()
    }

    /// The live versions of all keys of a tenant, by installation and name, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Damaged`] for an installation's id that is none.
    pub async fn live_key_versions<D>(&self, tenant: &TenantId) -> Result<Vec<KeyVersionRow<D>>, StoreError> {
        query_as(
            "SELECT name, version, state, created_ms, secret, doc, installation FROM installation_key \
             WHERE tenant = $1 AND state = 'live' ORDER BY installation, name, version DESC",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|(name, version, state, created_ms, secret, doc, installation): OfTenant| {
            let columns = (name, version, state, created_ms, secret, doc);
            KeyVersionRow::of(tenant, &id(WHAT, &installation)?, columns)
        })
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a version of a key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the version exists or the installation does not; [`StoreError::Unavailable`].
    pub async fn key_version_insert<D>(&mut self, row: &KeyVersionRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO installation_key (tenant, installation, name, version, state, created_ms, secret, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.tenant.as_ref())
        .bind(row.installation.as_ref())
        .bind(&row.name)
        .bind(number(row.version))
        .bind(row.state.as_str())
        .bind(row.created_ms)
        .bind(row.secret.as_ref().map(Sealed::as_bytes))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Retires a live version and removes its secret.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such live version; [`StoreError::Unavailable`].
    pub async fn key_version_retire(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
        name: &str,
        version: u64,
    ) -> Result<(), StoreError> {
        let query = query(
            "UPDATE installation_key SET state = 'retired', secret = NULL \
             WHERE tenant = $1 AND installation = $2 AND name = $3 AND version = $4 AND state = 'live'",
        )
        .bind(tenant.as_ref())
        .bind(installation.as_ref())
        .bind(name)
        .bind(number(version));
        self.run_one(WHAT, query).await
    }
}

#[cfg(test)]
mod tests;
