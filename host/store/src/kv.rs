//! The key-value entries of installations. Keys are sealed as well: a plugin may put personal data in one.

use opsiq_contract::{InstallationId, TenantId};
use opsiq_vault::Sealed;

use crate::column::{hash, number, unsigned};
use crate::db::{Target, query, query_as, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "key-value entry";

/// One entry.
#[derive(Debug, Clone)]
pub struct KvEntryRow<K, V> {
    /// Blind index of the key, unique within the installation.
    pub key_index: [u8; 32],
    /// Grows by one with every write; never 0.
    pub version: u64,
    /// Bytes of key and value before sealing, which is what counts against the contract's `[kv] max`.
    pub bytes: u64,
    /// The key. Place: table `kv`, row `[installation]`, column `key`, version 0.
    pub key: Sealed<K>,
    /// The value. Place: table `kv`, row `[installation, hex of key_index]`, column `value`, this version.
    pub value: Sealed<V>,
}

/// An entry without its value.
#[derive(Debug, Clone)]
pub struct KvKeyRow<K> {
    /// Blind index of the key.
    pub key_index: [u8; 32],
    /// As in [`KvEntryRow`].
    pub version: u64,
    /// As in [`KvEntryRow`].
    pub bytes: u64,
    /// As in [`KvEntryRow`].
    pub key: Sealed<K>,
}

async fn get<K, V>(
    db: impl Into<Target<'_>>,
    tenant: &TenantId,
    installation: &InstallationId,
    key_index: &[u8; 32],
) -> Result<Option<KvEntryRow<K, V>>, StoreError> {
    let found: Option<(i64, i64, Vec<u8>, Vec<u8>)> = query_as(
        "SELECT version, bytes, key, value FROM kv WHERE tenant = $1 AND installation = $2 AND key_index = $3",
    )
    .bind(tenant.as_ref())
    .bind(installation.as_ref())
    .bind(key_index.as_slice())
    .fetch_optional(db)
    .await
    .map_err(|error| StoreError::of(WHAT, &error))?;
    let of = |(version, bytes, key, value)| {
        Ok(KvEntryRow {
            key_index: *key_index,
            version: unsigned(WHAT, version)?,
            bytes: unsigned(WHAT, bytes)?,
            key: Sealed::from_stored(key),
            value: Sealed::from_stored(value),
        })
    };
    found.map(of).transpose()
}

impl Store {
    /// The entry of this key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn kv_get<K, V>(
        &self,
        tenant: &TenantId,
        installation: &InstallationId,
        key_index: &[u8; 32],
    ) -> Result<Option<KvEntryRow<K, V>>, StoreError> {
        get(self.reader(), tenant, installation, key_index).await
    }

    /// All keys of an installation in no particular order: they are sealed, so the caller opens, filters and sorts. Their
    /// number is bounded by the contract's `[kv] max`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn kv_keys<K>(
        &self,
        tenant: &TenantId,
        installation: &InstallationId,
    ) -> Result<Vec<KvKeyRow<K>>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, i64, Vec<u8>)> =
            query_as("SELECT key_index, version, bytes, key FROM kv WHERE tenant = $1 AND installation = $2")
                .bind(tenant.as_ref())
                .bind(installation.as_ref())
                .fetch_all(self.reader())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
        let of = |(index, version, bytes, key): (Vec<u8>, i64, i64, Vec<u8>)| {
            Ok(KvKeyRow {
                key_index: hash(WHAT, &index)?,
                version: unsigned(WHAT, version)?,
                bytes: unsigned(WHAT, bytes)?,
                key: Sealed::from_stored(key),
            })
        };
        rows.into_iter().map(of).collect()
    }
}

impl WriteTx<'_> {
    /// As [`Store::kv_get`], within the transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn kv_get<K, V>(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
        key_index: &[u8; 32],
    ) -> Result<Option<KvEntryRow<K, V>>, StoreError> {
        let found = get(self.connection().await?, tenant, installation, key_index).await;
        self.noting(found)
    }

    /// The sum of [`KvEntryRow::bytes`] of an installation, to hold a write against `[kv] max` in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn kv_bytes(&mut self, tenant: &TenantId, installation: &InstallationId) -> Result<u64, StoreError> {
        let sum: Result<i64, _> = query_scalar(
            "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM kv WHERE tenant = $1 AND installation = $2",
        )
        .bind(tenant.as_ref())
        .bind(installation.as_ref())
        .fetch_one(self.connection().await?)
        .await
        .map_err(|error| StoreError::of(WHAT, &error));
        let sum = self.noting(sum)?;
        unsigned(WHAT, sum)
    }

    /// Writes an entry when the current version is `expected`, 0 when there is none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not, or there is no such installation; [`StoreError::Unavailable`].
    pub async fn kv_set<K, V>(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
        row: &KvEntryRow<K, V>,
        expected: u64,
    ) -> Result<(), StoreError> {
        let statement = if expected == 0 {
            query(
                "INSERT INTO kv (version, bytes, key, value, tenant, installation, key_index) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
        } else {
            query(
                "UPDATE kv SET version = $1, bytes = $2, key = $3, value = $4 \
                 WHERE tenant = $5 AND installation = $6 AND key_index = $7 AND version = $8",
            )
        };
        let statement = statement
            .bind(number(row.version))
            .bind(number(row.bytes))
            .bind(row.key.as_bytes())
            .bind(row.value.as_bytes())
            .bind(tenant.as_ref())
            .bind(installation.as_ref())
            .bind(row.key_index.as_slice());
        let statement = if expected == 0 { statement } else { statement.bind(number(expected)) };
        self.run_one(WHAT, statement).await
    }

    /// Deletes an entry whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none of that version; [`StoreError::Unavailable`].
    pub async fn kv_delete(
        &mut self,
        tenant: &TenantId,
        installation: &InstallationId,
        key_index: &[u8; 32],
        expected: u64,
    ) -> Result<(), StoreError> {
        let query = query("DELETE FROM kv WHERE tenant = $1 AND installation = $2 AND key_index = $3 AND version = $4")
            .bind(tenant.as_ref())
            .bind(installation.as_ref())
            .bind(key_index.as_slice())
            .bind(number(expected));
        self.run_one(WHAT, query).await
    }
}

#[cfg(test)]
mod tests;
