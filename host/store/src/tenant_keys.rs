//! Wrapped keys, in a database of their own. Its pages are overwritten when a row is deleted, so a destroyed key is gone
//! from the file as well.

use opsiq_contract::TenantId;
use opsiq_vault::{KeyCheck, WrappedKey};

use crate::db::{query, query_scalar};
use crate::subjects::forget_keys;
use crate::{Store, StoreError};

const WHAT: &str = "tenant key";
const ROOT: &str = "root check";

impl Store {
    /// The check that proves the root key right; `None` before the first start.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Key`] when it is in no known form.
    pub async fn root_check(&self) -> Result<Option<KeyCheck>, StoreError> {
        let found: Option<Vec<u8>> = query_scalar("SELECT wrapped FROM root_check WHERE only_row = 1")
            .fetch_optional(self.key_db())
            .await
            .map_err(|error| StoreError::of(ROOT, &error))?;
        Ok(found.map(|bytes| KeyCheck::from_stored(&bytes)).transpose()?)
    }

    /// Keeps the check of a new installation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one; [`StoreError::Unavailable`].
    pub async fn root_check_insert(&self, check: &KeyCheck, now_ms: i64) -> Result<(), StoreError> {
        query("INSERT INTO root_check (only_row, created_ms, wrapped) VALUES (1, $1, $2)")
            .bind(now_ms)
            .bind(check.as_bytes())
            .execute(self.key_db())
            .await
            .map(drop)
            .map_err(|error| StoreError::of(ROOT, &error))
    }

    /// The wrapped keys of a tenant, oldest first. Empty for a tenant that never had one, or whose keys are destroyed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Key`] when one is in no known form.
    pub async fn tenant_keys(&self, tenant: &TenantId) -> Result<Vec<WrappedKey>, StoreError> {
        let rows: Vec<Vec<u8>> = query_scalar("SELECT wrapped FROM tenant_key WHERE tenant = $1 ORDER BY generation")
            .bind(tenant.as_ref())
            .fetch_all(self.key_db())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        rows.iter().map(|bytes| WrappedKey::from_stored(bytes).map_err(StoreError::Key)).collect()
    }

    /// Keeps a tenant's key, durable when this returns. It is kept before anything is sealed under it; one without
    /// content is harmless.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the tenant has a key of that generation; [`StoreError::Unavailable`].
    pub async fn tenant_key_insert(&self, tenant: &TenantId, key: &WrappedKey, now_ms: i64) -> Result<(), StoreError> {
        query("INSERT INTO tenant_key (tenant, generation, created_ms, wrapped) VALUES ($1, $2, $3, $4)")
            .bind(tenant.as_ref())
            .bind(i64::from(key.generation()))
            .bind(now_ms)
            .bind(key.as_bytes())
            .execute(self.key_db())
            .await
            .map(drop)
            .map_err(|error| StoreError::of(WHAT, &error))
    }

    /// Destroys all keys of a tenant, and those of its data subjects: nothing sealed under them opens again. The
    /// write-ahead log is emptied as well.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the keys may then still exist, and it is to be repeated.
    pub async fn tenant_keys_destroy(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let of = |error: sqlx::Error| StoreError::of(WHAT, &error);
        let mut tx = self.key_db().begin().await.map_err(of)?;
        let gone = query("DELETE FROM tenant_key WHERE tenant = $1").bind(tenant.as_ref()).execute(&mut tx).await;
        let gone = gone.map_err(of)? + forget_keys(tenant, &mut tx).await.map_err(of)?;
        tx.commit().await.map_err(of)?;
        self.empty_key_log().await?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
