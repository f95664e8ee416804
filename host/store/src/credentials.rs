//! What a user signs in with.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "credential";

/// What one user signs in with.
#[derive(Debug, Clone)]
pub struct CredentialRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// Whose.
    pub user: String,
    /// The last step of a code that was used, which is never used again.
    pub totp_step: u64,
    /// When it was made.
    pub created_ms: i64,
    /// Grows by one with every change of the document; part of its place.
    pub version: u64,
    /// Hashes and seed. Place: table `credential`, row `[user]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

impl Store {
    /// What this user signs in with; `None` before they enrolled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential<D>(&self, tenant: &TenantId, user: &str) -> Result<Option<CredentialRow<D>>, StoreError> {
        let found: Option<(i64, i64, i64, Vec<u8>)> =
            query_as("SELECT totp_step, created_ms, version, doc FROM credential WHERE tenant = $1 AND user_id = $2")
                .bind(tenant.as_ref())
                .bind(user)
                .fetch_optional(self.reader())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
        found
            .map(|(totp_step, created_ms, version, doc)| {
                Ok(CredentialRow {
                    tenant: tenant.clone(),
                    user: user.to_owned(),
                    totp_step: unsigned(WHAT, totp_step)?,
                    created_ms,
                    version: unsigned(WHAT, version)?,
                    doc: Sealed::from_stored(doc),
                })
            })
            .transpose()
    }

    /// The users of a tenant who have enrolled, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn enrolled(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String,)> = query_as("SELECT user_id FROM credential WHERE tenant = $1 ORDER BY user_id")
            .bind(tenant.as_ref())
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        Ok(found.into_iter().map(|(user,)| user).collect())
    }
}

impl WriteTx<'_> {
    /// Adds it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one already, or no such user; [`StoreError::Unavailable`].
    pub async fn credential_insert<D>(&mut self, row: &CredentialRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO credential (tenant, user_id, totp_step, created_ms, version, doc) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.user)
        .bind(number(row.totp_step))
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces the document of one whose version is `expected`; the last step stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn credential_update<D>(&mut self, row: &CredentialRow<D>, expected: u64) -> Result<(), StoreError> {
        let query =
            query("UPDATE credential SET version = $1, doc = $2 WHERE tenant = $3 AND user_id = $4 AND version = $5")
                .bind(number(row.version))
                .bind(row.doc.as_bytes())
                .bind(row.tenant.as_ref())
                .bind(&row.user)
                .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Uses up the step of a code, of a credential at `version`. Of many at once with one step, one succeeds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when that step or a later one was used, or the version is another;
    /// [`StoreError::Unavailable`].
    pub async fn credential_use_step(
        &mut self,
        tenant: &TenantId,
        user: &str,
        version: u64,
        step: u64,
    ) -> Result<(), StoreError> {
        let query = query(
            "UPDATE credential SET totp_step = $1 \
             WHERE tenant = $2 AND user_id = $3 AND version = $4 AND totp_step < $1",
        )
        .bind(number(step))
        .bind(tenant.to_string())
        .bind(user.to_owned())
        .bind(number(version));
        self.run_one(WHAT, query).await
    }

    /// Removes it, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential_remove(&mut self, tenant: &TenantId, user: &str) -> Result<(), StoreError> {
        let query = query("DELETE FROM credential WHERE tenant = $1 AND user_id = $2")
            .bind(tenant.to_string())
            .bind(user.to_owned());
        self.run(WHAT, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, sealed, with_user};

    fn row(step: u64) -> CredentialRow<Doc> {
        let (tenant, user) = (fixture::id("acme"), "1".to_owned());
        CredentialRow { tenant, user, totp_step: step, created_ms: 1, version: 1, doc: sealed(b"doc") }
    }

    async fn a_step_is_used_once_and_never_an_older_one() {
        let (_dir, store) = with_user().await;
        let acme = fixture::id("acme");
        let mut tx = store.begin().await.unwrap();
        tx.credential_insert(&row(10)).await.unwrap();
        for (step, version, used) in [
            (10, 1, false),
            (11, 2, false),
            (11, 1, true),
            (11, 1, false),
            (10, 1, false),
            (13, 1, true),
            (12, 1, false),
        ] {
            assert_eq!(tx.credential_use_step(&acme, "1", version, step).await.is_ok(), used, "{step} {version}");
        }
        tx.commit().await.unwrap();
        assert_eq!(store.credential::<Doc>(&acme, "1").await.unwrap().unwrap().totp_step, 13);
        assert_eq!(store.enrolled(&acme).await.unwrap(), ["1"]);
    }

    async fn the_last_step_outlives_a_change_of_the_document() {
        let (_dir, store) = with_user().await;
        let acme = fixture::id("acme");
        let mut tx = store.begin().await.unwrap();
        assert!(tx.credential_insert(&CredentialRow { user: "2".to_owned(), ..row(0) }).await.is_err(), "no such user");
        tx.credential_insert(&row(10)).await.unwrap();
        assert!(tx.credential_insert(&row(10)).await.is_err(), "there is one already");
        tx.credential_use_step(&acme, "1", 1, 12).await.unwrap();
        tx.credential_update(&CredentialRow { version: 2, ..row(0) }, 1).await.unwrap();
        assert!(tx.credential_update(&CredentialRow { version: 2, ..row(0) }, 1).await.is_err(), "changed meanwhile");
        tx.commit().await.unwrap();
        let found = store.credential::<Doc>(&acme, "1").await.unwrap().unwrap();
        assert_eq!((found.totp_step, found.version), (12, 2));
        let mut tx = store.begin().await.unwrap();
        tx.credential_remove(&acme, "1").await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.credential::<Doc>(&acme, "1").await.unwrap().is_none());
    }

    crate::fixture::on_both_engines! {
        a_step_is_used_once_and_never_an_older_one, the_last_step_outlives_a_change_of_the_document
    }
}
