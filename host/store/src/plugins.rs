//! The operator's catalogue. It belongs to no tenant, and a contract is public, so nothing here is sealed.

use opsiq_contract::{Digest, PluginRef};

use crate::column::{id, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "plugin";

/// What the column `state` holds, as it did when there were others: row marks cover it.
const STATE: &str = "active";

/// One registered plugin version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    /// What names it: the digest of its file.
    pub digest: Digest,
    /// Its name, which names one digest only.
    pub plugin: PluginRef,
    /// Its contract as canonical JSON.
    pub contract: Vec<u8>,
    /// When it was registered.
    pub registered_ms: i64,
    /// Bytes of its file.
    pub size: u64,
}

type Columns = (String, String, String, String, Vec<u8>, i64, i64);

fn of((digest, publisher, name, version, contract, registered_ms, size): Columns) -> Result<PluginRow, StoreError> {
    Ok(PluginRow {
        digest: id(WHAT, &digest)?,
        plugin: PluginRef { publisher, id: name, version: id(WHAT, &version)? },
        contract,
        registered_ms,
        size: unsigned(WHAT, size)?,
    })
}

impl Store {
    /// The plugin of this digest.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn plugin(&self, digest: &Digest) -> Result<Option<PluginRow>, StoreError> {
        query_as("SELECT digest, publisher, id, version, contract, registered_ms, size FROM plugin WHERE digest = $1")
            .bind(digest.to_string())
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?
            .map(of)
            .transpose()
    }

    /// All registered versions of the plugin called `id` of `publisher`, oldest registration first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn plugin_versions(&self, publisher: &str, id: &str) -> Result<Vec<PluginRow>, StoreError> {
        query_as(
            "SELECT digest, publisher, id, version, contract, registered_ms, size FROM plugin \
             WHERE publisher = $1 AND id = $2 ORDER BY registered_ms, digest",
        )
        .bind(publisher)
        .bind(id)
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(of)
        .collect()
    }

    /// The whole catalogue, by name and registration.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn plugins(&self) -> Result<Vec<PluginRow>, StoreError> {
        query_as(
            "SELECT digest, publisher, id, version, contract, registered_ms, size FROM plugin \
             ORDER BY publisher, id, registered_ms, digest",
        )
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(of)
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a plugin.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the digest or `publisher/id@version` is registered; [`StoreError::Unavailable`].
    pub async fn plugin_insert(&mut self, row: &PluginRow) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO plugin (digest, publisher, id, version, contract, state, registered_ms, size) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.digest.to_string())
        .bind(&row.plugin.publisher)
        .bind(&row.plugin.id)
        .bind(row.plugin.version.to_string())
        .bind(&row.contract)
        .bind(STATE)
        .bind(row.registered_ms)
        .bind(number(row.size));
        self.run_one(WHAT, query).await
    }
}
