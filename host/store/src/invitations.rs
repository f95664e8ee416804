//! Invitations to take up an account: each is good once, and is gone with its use.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::hash;
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "invitation";

/// One invitation.
#[derive(Debug, Clone)]
pub struct InvitationRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of its token.
    pub token_index: [u8; 32],
    /// Whom it invites.
    pub user: String,
    /// When it was made.
    pub created_ms: i64,
    /// Until when it is good.
    pub expires_ms: i64,
    /// Who invited. Place: table `invitation`, row `[id]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, i64, i64, Vec<u8>);

impl<D> InvitationRow<D> {
    fn of(tenant: &TenantId, (id, index, user, created_ms, expires_ms, doc): Columns) -> Result<Self, StoreError> {
        let (token_index, doc) = (hash(WHAT, &index)?, Sealed::from_stored(doc));
        Ok(Self { tenant: tenant.clone(), id, token_index, user, created_ms, expires_ms, doc })
    }
}

impl Store {
    /// The invitation with this blind index of its token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn invitation_by_token<D>(
        &self,
        tenant: &TenantId,
        index: &[u8; 32],
    ) -> Result<Option<InvitationRow<D>>, StoreError> {
        query_as(
            "SELECT id, token_index, user_id, created_ms, expires_ms, doc FROM invitation \
             WHERE tenant = $1 AND token_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| InvitationRow::of(tenant, columns))
        .transpose()
    }
}

impl WriteTx<'_> {
    /// Adds an invitation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such user; [`StoreError::Unavailable`].
    pub async fn invitation_insert<D>(&mut self, row: &InvitationRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO invitation (tenant, id, token_index, user_id, created_ms, expires_ms, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.token_index.as_slice())
        .bind(&row.user)
        .bind(row.created_ms)
        .bind(row.expires_ms)
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Uses an invitation up. Of many at once, one succeeds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is gone; [`StoreError::Unavailable`].
    pub async fn invitation_use(&mut self, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
        let query =
            query("DELETE FROM invitation WHERE tenant = $1 AND id = $2").bind(tenant.to_string()).bind(id.to_owned());
        self.run_one(WHAT, query).await
    }

    /// Removes what invites this user, if anything does.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn invitations_remove_of(&mut self, tenant: &TenantId, user: &str) -> Result<(), StoreError> {
        let query = query("DELETE FROM invitation WHERE tenant = $1 AND user_id = $2")
            .bind(tenant.to_string())
            .bind(user.to_owned());
        self.run(WHAT, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed, with_user};

    async fn an_invitation_is_good_once_and_in_its_tenant() {
        let (_dir, store) = with_user().await;
        let row = |number: u8| InvitationRow::<Doc> {
            tenant: id("acme"),
            id: fixture::uuid(number),
            token_index: [number; 32],
            user: "1".to_owned(),
            created_ms: 1,
            expires_ms: 9,
            doc: sealed(b"doc"),
        };
        let mut tx = store.begin().await.unwrap();
        for number in 1..4 {
            tx.invitation_insert(&row(number)).await.unwrap();
        }
        assert!(tx.invitation_insert(&InvitationRow { tenant: id("beta"), ..row(4) }).await.is_err());
        tx.invitation_use(&id("acme"), &fixture::uuid(1)).await.unwrap();
        assert!(tx.invitation_use(&id("acme"), &fixture::uuid(1)).await.is_err());
        assert!(tx.invitation_use(&id("beta"), &fixture::uuid(2)).await.is_err());
        tx.commit().await.unwrap();
        assert!(store.invitation_by_token::<Doc>(&id("acme"), &[1; 32]).await.unwrap().is_none());
        assert!(store.invitation_by_token::<Doc>(&id("beta"), &[2; 32]).await.unwrap().is_none());
        assert_eq!(store.invitation_by_token::<Doc>(&id("acme"), &[2; 32]).await.unwrap().unwrap().user, "1");
        let mut tx = store.begin().await.unwrap();
        tx.invitations_remove_of(&id("acme"), "1").await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.invitation_by_token::<Doc>(&id("acme"), &[3; 32]).await.unwrap().is_none());
    }

    crate::fixture::on_both_engines! {
        an_invitation_is_good_once_and_in_its_tenant
    }
}
