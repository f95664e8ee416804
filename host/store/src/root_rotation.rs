//! Putting wrapped keys under another root key, and destroying older keys of a tenant.
//!
//! Which root key each row is under, the row says itself; what is said here besides is only that a rotation began, and to
//! which key, so that a host with one of the two keys alone refuses to start instead of serving those tenants whose keys it
//! happens to open. The root check is moved last, in one transaction with the last look at all rows.

use opsiq_contract::TenantId;
use opsiq_vault::{KeyId, Vault, WrappedKey};

use crate::column::id;
use crate::db::sqlite::{empty_log, write_anew};
use crate::db::{Pool, query, query_as, query_scalar};
use crate::{Store, StoreError};

const WHAT: &str = "tenant key";
const ROTATION: &str = "root rotation";
/// Rows of one transaction.
const STEP: i64 = 64;

/// A wrapped key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantKeyRow {
    /// Whose.
    pub tenant: TenantId,
    /// Counts a tenant's keys upwards from 1.
    pub generation: i64,
    /// When it was made.
    pub created_ms: i64,
    /// The key; `None` when what is stored is not a key of that generation.
    pub wrapped: Option<WrappedKey>,
}

/// What re-wrapping under a root key came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RootRewrapped {
    /// Keys of tenants put under the new root key.
    pub moved: u64,
    /// Tenants with a key that does not unwrap. While there are any, the rotation does not end.
    pub stuck: Vec<TenantId>,
}

impl Store {
    /// The root key to which a rotation has begun and not ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn root_rotation(&self) -> Result<Option<KeyId>, StoreError> {
        let found: Option<Vec<u8>> = query_scalar("SELECT next FROM root_rotation WHERE only_row = 1")
            .fetch_optional(self.key_db())
            .await
            .map_err(|error| StoreError::of(ROTATION, &error))?;
        let of = |bytes: Vec<u8>| bytes.try_into().map(KeyId::from_bytes).map_err(|_| StoreError::damaged(ROTATION));
        found.map(of).transpose()
    }

    /// Every wrapped key of every tenant, by tenant and generation.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn all_tenant_keys(&self) -> Result<Vec<TenantKeyRow>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>, i64)> =
            query_as("SELECT tenant, generation, wrapped, created_ms FROM tenant_key ORDER BY tenant, generation")
                .fetch_all(self.key_db())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
        let of = |(tenant, generation, wrapped, created_ms): (String, i64, Vec<u8>, i64)| {
            let wrapped = WrappedKey::from_stored(&wrapped);
            let wrapped = wrapped.ok().filter(|key| i64::from(key.generation()) == generation);
            Ok(TenantKeyRow { tenant: id(WHAT, &tenant)?, generation, created_ms, wrapped })
        };
        rows.into_iter().map(of).collect()
    }

    /// Puts every wrapped key, and at last the root check, under the root key that wraps in `vault`. Notes first that it
    /// began; stopped anywhere, it goes on when called again. No copy of what was wrapped before stays in the files.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Key`] when the root check does not open.
    pub async fn rewrap_keys(&self, vault: &Vault, now_ms: i64) -> Result<RootRewrapped, StoreError> {
        let of = |error: sqlx::Error| StoreError::of(WHAT, &error);
        let begin = query(
            "INSERT INTO root_rotation (only_row, next, began_ms) VALUES (1, $1, $2) \
             ON CONFLICT (only_row) DO UPDATE SET next = excluded.next, began_ms = excluded.began_ms",
        );
        begin.bind(vault.root().as_bytes().as_slice()).bind(now_ms).execute(self.key_db()).await.map_err(of)?;
        let mut done = RootRewrapped::default();
        let (mut tenant, mut generation) = (String::new(), 0);
        loop {
            let mut tx = self.key_db().begin().await.map_err(of)?;
            let rows: Vec<(String, i64, Vec<u8>)> = query_as(
                "SELECT tenant, generation, wrapped FROM tenant_key WHERE (tenant, generation) > ($1, $2) \
                 ORDER BY tenant, generation LIMIT $3",
            )
            .bind(&tenant)
            .bind(generation)
            .bind(STEP)
            .fetch_all(&mut tx)
            .await
            .map_err(of)?;
            for (tenant, generation, wrapped) in &rows {
                let owner: TenantId = id(WHAT, tenant)?;
                match WrappedKey::from_stored(wrapped).and_then(|key| vault.rewrap(&owner, &key)) {
                    Ok(None) => {}
                    Ok(Some(key)) => {
                        query("UPDATE tenant_key SET wrapped = $1 WHERE tenant = $2 AND generation = $3")
                            .bind(key.as_bytes())
                            .bind(tenant)
                            .bind(generation)
                            .execute(&mut tx)
                            .await
                            .map_err(of)?;
                        done.moved += 1;
                    }
                    Err(error) => {
                        tracing::error!(tenant, generation, %error, "a tenant's key does not open");
                        done.stuck.push(owner);
                    }
                }
            }
            tx.commit().await.map_err(of)?;
            match rows.last() {
                Some((last, at, _)) => (tenant, generation) = (last.clone(), *at),
                None => break,
            }
        }
        if done.stuck.is_empty() {
            self.end_root_rotation(vault).await?;
        }
        self.empty_key_log().await?;
        Ok(done)
    }

    /// Moves the root check, unless a key under another root key has come in between.
    async fn end_root_rotation(&self, vault: &Vault) -> Result<(), StoreError> {
        let of = |error: sqlx::Error| StoreError::of(ROTATION, &error);
        let check = self.root_check().await?.ok_or(StoreError::damaged(ROTATION))?;
        let mut tx = self.key_db().begin().await.map_err(of)?;
        let keys: Vec<Vec<u8>> = query_scalar("SELECT wrapped FROM tenant_key").fetch_all(&mut tx).await.map_err(of)?;
        let here = |bytes: &Vec<u8>| WrappedKey::from_stored(bytes).is_ok_and(|key| key.root() == vault.root());
        if !keys.iter().all(here) {
            return Err(StoreError::Conflict { what: WHAT });
        }
        if let Some(check) = vault.rewrap_check(&check)? {
            let moved = query("UPDATE root_check SET wrapped = $1 WHERE only_row = 1").bind(check.as_bytes());
            moved.execute(&mut tx).await.map_err(of)?;
        }
        query("DELETE FROM root_rotation").execute(&mut tx).await.map_err(of)?;
        tx.commit().await.map_err(of)
    }

    /// Destroys the keys of a tenant that are older than generation `newest`: nothing sealed under them opens again, in any
    /// copy. No copy of them stays in the files.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the keys may then still exist, and it is to be repeated.
    pub async fn tenant_keys_retire(&self, tenant: &TenantId, newest: u32) -> Result<u64, StoreError> {
        let gone = query("DELETE FROM tenant_key WHERE tenant = $1 AND generation < $2")
            .bind(tenant.as_ref())
            .bind(i64::from(newest))
            .execute(self.key_db())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        self.empty_key_log().await?;
        Ok(gone)
    }

    /// Leaves no copy of a key that was removed or replaced in the files of the keys: writes the database anew, folds its
    /// write-ahead log into it and empties that. A server reuses the room of its rows now; what it keeps besides (its own log, copies it
    /// makes of that) lasts as long as its operator says.
    pub(crate) async fn empty_key_log(&self) -> Result<(), StoreError> {
        match self.key_db() {
            Pool::Sqlite(pool) => {
                let mut connection = pool.acquire().await.map_err(|error| StoreError::of(WHAT, &error))?;
                write_anew(&mut connection).await?;
                empty_log(&mut connection).await
            }
            keys @ Pool::Postgres(_) => {
                for vacuum in ["VACUUM tenant_key", "VACUUM subject_key", "VACUUM root_check"] {
                    query(vacuum).execute(keys).await.map_err(|error| StoreError::of(WHAT, &error))?;
                }
                Ok(())
            }
        }
    }

    /// Folds the write-ahead log of the data into the database and empties its file, so that nothing written over since
    /// stays in it. A database of at most 64 MiB is written anew before; in a larger one, bytes of rows that were moved may stay
    /// between those in use, sealed under keys that are gone. Writers wait meanwhile. A server does so in its own time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also when a long read keeps it from being emptied; to be repeated.
    pub async fn leave_no_trace(&self) -> Result<(), StoreError> {
        let _nobody_else = match self.folder() {
            Some(folder) => Some(folder.hold().await),
            None => None,
        };
        self.writer().leave_no_trace().await
    }
}

#[cfg(test)]
mod tests;
