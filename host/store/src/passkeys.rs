//! Passkeys of people.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{hash, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "passkey";

/// One passkey.
#[derive(Debug, Clone)]
pub struct PasskeyRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of what its authenticator calls it, unique within the tenant.
    pub credential_index: [u8; 32],
    /// Whose.
    pub user: String,
    /// When it was enrolled.
    pub created_ms: i64,
    /// Grows by one with every change of the document; part of its place.
    pub version: u64,
    /// Key, count and name. Place: table `passkey`, row `[id]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, i64, i64, Vec<u8>);

impl<D> PasskeyRow<D> {
    fn of(tenant: &TenantId, (id, index, user, created_ms, version, doc): Columns) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: tenant.clone(),
            id,
            credential_index: hash(WHAT, &index)?,
            user,
            created_ms,
            version: unsigned(WHAT, version)?,
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// The passkey with this blind index.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn passkey_by_credential<D>(
        &self,
        tenant: &TenantId,
        index: &[u8; 32],
    ) -> Result<Option<PasskeyRow<D>>, StoreError> {
        query_as(
            "SELECT id, credential_index, user_id, created_ms, version, doc FROM passkey \
             WHERE tenant = $1 AND credential_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| PasskeyRow::of(tenant, columns))
        .transpose()
    }

    /// The passkeys of a user, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn passkeys_of<D>(&self, tenant: &TenantId, user: &str) -> Result<Vec<PasskeyRow<D>>, StoreError> {
        query_as(
            "SELECT id, credential_index, user_id, created_ms, version, doc FROM passkey \
             WHERE tenant = $1 AND user_id = $2 ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| PasskeyRow::of(tenant, columns))
        .collect()
    }

    /// The users of a tenant who have passkeys, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn passkey_users(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String,)> = query_as("SELECT DISTINCT user_id FROM passkey WHERE tenant = $1 ORDER BY user_id")
            .bind(tenant.as_ref())
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        Ok(found.into_iter().map(|(user,)| user).collect())
    }
}

impl WriteTx<'_> {
    /// Adds a passkey.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the tenant knows it already, or there is no such user; [`StoreError::Unavailable`].
    pub async fn passkey_insert<D>(&mut self, row: &PasskeyRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO passkey (tenant, id, credential_index, user_id, created_ms, version, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.credential_index.as_slice())
        .bind(&row.user)
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces the document of one whose version is `expected`. Of two who show one passkey at once, one succeeds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not, or the passkey is gone; [`StoreError::Unavailable`].
    pub async fn passkey_update<D>(&mut self, row: &PasskeyRow<D>, expected: u64) -> Result<(), StoreError> {
        let query = query("UPDATE passkey SET version = $1, doc = $2 WHERE tenant = $3 AND id = $4 AND version = $5")
            .bind(number(row.version))
            .bind(row.doc.as_bytes())
            .bind(row.tenant.as_ref())
            .bind(&row.id)
            .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Removes one of a user's passkeys.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when they have no such one; [`StoreError::Unavailable`].
    pub async fn passkey_remove(&mut self, tenant: &TenantId, user: &str, id: &str) -> Result<(), StoreError> {
        let query = query("DELETE FROM passkey WHERE tenant = $1 AND user_id = $2 AND id = $3")
            .bind(tenant.to_string())
            .bind(user.to_owned())
            .bind(id.to_owned());
        self.run_one(WHAT, query).await
    }

    /// Removes all of a user's passkeys. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn passkeys_remove_of(&mut self, tenant: &TenantId, user: &str) -> Result<u64, StoreError> {
        let query = query("DELETE FROM passkey WHERE tenant = $1 AND user_id = $2")
            .bind(tenant.to_string())
            .bind(user.to_owned());
        self.run(WHAT, query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed, with_user};

    fn row(number: u8) -> PasskeyRow<Doc> {
        PasskeyRow {
            tenant: id("acme"),
            id: fixture::uuid(number),
            credential_index: [number; 32],
            user: "1".to_owned(),
            created_ms: i64::from(number),
            version: 1,
            doc: sealed(b"doc"),
        }
    }

    async fn a_passkey_is_one_users_and_changes_by_version() {
        let (_dir, store) = with_user().await;
        let acme = id("acme");
        let mut tx = store.begin().await.unwrap();
        tx.passkey_insert(&row(1)).await.unwrap();
        tx.passkey_insert(&row(2)).await.unwrap();
        let again = PasskeyRow { id: fixture::uuid(3), ..row(1) };
        assert!(matches!(tx.passkey_insert(&again).await, Err(StoreError::Conflict { .. })), "it is known");
        let nobody = PasskeyRow { user: "2".to_owned(), ..row(4) };
        assert!(tx.passkey_insert(&nobody).await.is_err(), "no such user");
        tx.passkey_update(&PasskeyRow { version: 2, ..row(1) }, 1).await.unwrap();
        assert!(tx.passkey_update(&PasskeyRow { version: 2, ..row(1) }, 1).await.is_err(), "changed meanwhile");
        tx.commit().await.unwrap();
        let found = store.passkey_by_credential::<Doc>(&acme, &[1; 32]).await.unwrap().unwrap();
        assert_eq!((found.id, found.version, found.user.as_str()), (fixture::uuid(1), 2, "1"));
        assert!(store.passkey_by_credential::<Doc>(&id("beta"), &[1; 32]).await.unwrap().is_none());
        assert_eq!(store.passkeys_of::<Doc>(&acme, "1").await.unwrap().len(), 2);
        assert_eq!(store.passkey_users(&acme).await.unwrap(), ["1"]);
        let mut tx = store.begin().await.unwrap();
        assert!(tx.passkey_remove(&acme, "2", &fixture::uuid(1)).await.is_err(), "not theirs");
        tx.passkey_remove(&acme, "1", &fixture::uuid(1)).await.unwrap();
        assert!(tx.passkey_remove(&acme, "1", &fixture::uuid(1)).await.is_err(), "gone");
        assert_eq!(tx.passkeys_remove_of(&acme, "1").await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert!(store.passkeys_of::<Doc>(&acme, "1").await.unwrap().is_empty());
    }

    crate::fixture::on_both_engines! {
        a_passkey_is_one_users_and_changes_by_version
    }
}
