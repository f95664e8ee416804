//! Whom the subjects of providers are, and what came back from providers and is spent.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::hash;
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "sso identity";
const SPENT: &str = "sso answer";

/// A subject of an issuer, and whose account that is.
#[derive(Debug, Clone)]
pub struct SsoIdentityRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of issuer and subject, unique within the tenant.
    pub identity_index: [u8; 32],
    /// Blind index of the issuer.
    pub issuer_index: [u8; 32],
    /// Whose account.
    pub user: String,
    /// When it was made.
    pub created_ms: i64,
    /// Who it is there. Place: table `sso_identity`, row `[id]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, Vec<u8>, String, i64, Vec<u8>);

impl<D> SsoIdentityRow<D> {
    fn of(tenant: &TenantId, (id, index, issuer, user, created_ms, doc): Columns) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: tenant.clone(),
            id,
            identity_index: hash(WHAT, &index)?,
            issuer_index: hash(WHAT, &issuer)?,
            user,
            created_ms,
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// The identity with this blind index of issuer and subject.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sso_identity<D>(
        &self,
        tenant: &TenantId,
        index: &[u8; 32],
    ) -> Result<Option<SsoIdentityRow<D>>, StoreError> {
        query_as(
            "SELECT id, identity_index, issuer_index, user_id, created_ms, doc FROM sso_identity \
             WHERE tenant = $1 AND identity_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| SsoIdentityRow::of(tenant, columns))
        .transpose()
    }

    /// The ids of a tenant's users who have an identity somewhere.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sso_users(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String,)> =
            query_as("SELECT DISTINCT user_id FROM sso_identity WHERE tenant = $1 ORDER BY user_id")
                .bind(tenant.as_ref())
                .fetch_all(self.reader())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
        Ok(found.into_iter().map(|(user,)| user).collect())
    }
}

impl Store {
    /// Whether an answer that is good once was given already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sso_is_spent(&self, tenant: &TenantId, what: &[u8; 32]) -> Result<bool, StoreError> {
        let found = query_as::<(i64,)>("SELECT expires_ms FROM sso_spent WHERE tenant = $1 AND what = $2")
            .bind(tenant.as_ref())
            .bind(what.as_slice())
            .fetch_optional(self.reader())
            .await;
        Ok(found.map_err(|error| StoreError::of(SPENT, &error))?.is_some())
    }
}

impl WriteTx<'_> {
    /// Adds an identity.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is somebody's already, or there is no such user; [`StoreError::Unavailable`].
    pub async fn sso_identity_insert<D>(&mut self, row: &SsoIdentityRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO sso_identity (tenant, id, identity_index, issuer_index, user_id, created_ms, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.identity_index.as_slice())
        .bind(row.issuer_index.as_slice())
        .bind(&row.user)
        .bind(row.created_ms)
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Removes the identities of a user. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sso_identities_remove(&mut self, tenant: &TenantId, user: &str) -> Result<u64, StoreError> {
        let query = query("DELETE FROM sso_identity WHERE tenant = $1 AND user_id = $2")
            .bind(tenant.to_string())
            .bind(user.to_owned());
        self.run(WHAT, query).await
    }

    /// Spends an answer that is good once: what came back from a provider, and forgets what cannot come back any more. Of many at once with one answer, on any node,
    /// one succeeds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is spent already; [`StoreError::Unavailable`].
    pub async fn sso_spend(
        &mut self,
        tenant: &TenantId,
        what: &[u8; 32],
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<(), StoreError> {
        let forget =
            query("DELETE FROM sso_spent WHERE tenant = $1 AND expires_ms <= $2").bind(tenant.to_string()).bind(now_ms);
        self.run(SPENT, forget).await?;
        let spend = query("INSERT INTO sso_spent (tenant, what, expires_ms) VALUES ($1, $2, $3)")
            .bind(tenant.to_string())
            .bind(what.as_slice())
            .bind(expires_ms);
        self.run_one(SPENT, spend).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed, with_user};

    async fn a_subject_is_one_account_and_another_tenant_does_not_know_it() {
        let (_dir, store) = with_user().await;
        let row = |number: u8, index: u8| SsoIdentityRow::<Doc> {
            tenant: id("acme"),
            id: fixture::uuid(number),
            identity_index: [index; 32],
            issuer_index: [9; 32],
            user: "1".to_owned(),
            created_ms: 1,
            doc: sealed(b"doc"),
        };
        let mut tx = store.begin().await.unwrap();
        tx.sso_identity_insert(&row(1, 1)).await.unwrap();
        assert!(matches!(tx.sso_identity_insert(&row(2, 1)).await, Err(StoreError::Conflict { .. })));
        tx.sso_identity_insert(&row(3, 2)).await.unwrap();
        let nobodys = SsoIdentityRow { user: "2".to_owned(), ..row(4, 3) };
        assert!(matches!(tx.sso_identity_insert(&nobodys).await, Err(StoreError::Conflict { .. })));
        tx.commit().await.unwrap();
        assert_eq!(store.sso_identity::<Doc>(&id("acme"), &[1; 32]).await.unwrap().unwrap().user, "1");
        assert!(store.sso_identity::<Doc>(&id("beta"), &[1; 32]).await.unwrap().is_none());
        assert_eq!(store.sso_users(&id("acme")).await.unwrap(), ["1"]);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.sso_identities_remove(&id("acme"), "1").await.unwrap(), 2);
        tx.commit().await.unwrap();
    }

    async fn an_answer_is_spent_once_until_it_could_not_come_again() {
        let (_dir, store) = with_user().await;
        let (acme, beta) = (id("acme"), id("beta"));
        let mut tx = store.begin().await.unwrap();
        tx.sso_spend(&acme, &[1; 32], 0, 10).await.unwrap();
        assert!(matches!(tx.sso_spend(&acme, &[1; 32], 9, 20).await, Err(StoreError::Conflict { .. })));
        tx.sso_spend(&beta, &[1; 32], 9, 20).await.unwrap();
        tx.sso_spend(&acme, &[1; 32], 10, 20).await.unwrap();
        tx.commit().await.unwrap();
    }

    crate::fixture::on_both_engines! {
        a_subject_is_one_account_and_another_tenant_does_not_know_it, an_answer_is_spent_once_until_it_could_not_come_again
    }
}
