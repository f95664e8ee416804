//! Sessions of people who signed in.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::hash;
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "session";

/// One session.
#[derive(Debug, Clone)]
pub struct SessionRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of its token.
    pub token_index: [u8; 32],
    /// Whose.
    pub user: String,
    /// When it began.
    pub created_ms: i64,
    /// When it ends at the latest.
    pub expires_ms: i64,
    /// When its user last showed a second factor.
    pub stepped_up_ms: i64,
    /// When it was last used, as far as that was written; its beginning otherwise.
    pub seen_ms: i64,
    /// From where, on what. Place: table `user_session`, row `[id]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, i64, i64, i64, Option<i64>, Vec<u8>);

impl<D> SessionRow<D> {
    fn of(tenant: &TenantId, columns: Columns) -> Result<Self, StoreError> {
        let (id, index, user, created_ms, expires_ms, stepped_up_ms, seen_ms, doc) = columns;
        Ok(Self {
            tenant: tenant.clone(),
            id,
            token_index: hash(WHAT, &index)?,
            user,
            created_ms,
            expires_ms,
            stepped_up_ms,
            seen_ms: seen_ms.unwrap_or(created_ms).max(created_ms),
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// The session with this blind index of its token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn session_by_token<D>(
        &self,
        tenant: &TenantId,
        index: &[u8; 32],
    ) -> Result<Option<SessionRow<D>>, StoreError> {
        query_as(
            "SELECT s.id, s.token_index, s.user_id, s.created_ms, s.expires_ms, s.stepped_up_ms, n.seen_ms, s.doc \
             FROM user_session s LEFT JOIN session_seen n ON n.tenant = s.tenant AND n.id = s.id \
             WHERE s.tenant = $1 AND s.token_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| SessionRow::of(tenant, columns))
        .transpose()
    }

    /// The sessions of a user, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions_of<D>(&self, tenant: &TenantId, user: &str) -> Result<Vec<SessionRow<D>>, StoreError> {
        query_as(
            "SELECT s.id, s.token_index, s.user_id, s.created_ms, s.expires_ms, s.stepped_up_ms, n.seen_ms, s.doc \
             FROM user_session s LEFT JOIN session_seen n ON n.tenant = s.tenant AND n.id = s.id \
             WHERE s.tenant = $1 AND s.user_id = $2 ORDER BY s.created_ms, s.id",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| SessionRow::of(tenant, columns))
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a session of a user who is active, also as another node knows it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such user; [`StoreError::Unavailable`].
    pub async fn session_insert<D>(&mut self, row: &SessionRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO user_session (tenant, id, token_index, user_id, created_ms, expires_ms, stepped_up_ms, doc) \
             SELECT $1, $2, $3, id, $5, $6, $7, $8 FROM app_user WHERE tenant = $1 AND id = $4 AND state = 'active'",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.token_index.as_slice())
        .bind(&row.user)
        .bind(row.created_ms)
        .bind(row.expires_ms)
        .bind(row.stepped_up_ms)
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Notes that its user showed a second factor.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is gone; [`StoreError::Unavailable`].
    pub async fn session_step_up(&mut self, tenant: &TenantId, id: &str, now_ms: i64) -> Result<(), StoreError> {
        let query = query("UPDATE user_session SET stepped_up_ms = $1 WHERE tenant = $2 AND id = $3")
            .bind(now_ms)
            .bind(tenant.to_string())
            .bind(id.to_owned());
        self.run_one(WHAT, query).await
    }

    /// Notes that a session is used, if there is one still. Of what several nodes note the latest stays.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn session_seen(&mut self, tenant: &TenantId, id: &str, now_ms: i64) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO session_seen (tenant, id, seen_ms) \
             SELECT tenant, id, $3 FROM user_session WHERE tenant = $1 AND id = $2 \
             ON CONFLICT (tenant, id) DO UPDATE SET seen_ms = excluded.seen_ms \
             WHERE session_seen.seen_ms < excluded.seen_ms",
        )
        .bind(tenant.to_string())
        .bind(id.to_owned())
        .bind(now_ms);
        self.run(WHAT, query).await.map(drop)
    }

    /// Ends a session of this user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when they have none by that id; [`StoreError::Unavailable`].
    pub async fn session_end(&mut self, tenant: &TenantId, user: &str, id: &str) -> Result<(), StoreError> {
        let query = query("DELETE FROM user_session WHERE tenant = $1 AND user_id = $2 AND id = $3")
            .bind(tenant.to_string())
            .bind(user.to_owned())
            .bind(id.to_owned());
        self.run_one(WHAT, query).await?;
        self.forget_seen(tenant).await
    }

    /// Ends a session that nobody used since `seen_ms`, as far as that was written.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody did, or it is gone; [`StoreError::Unavailable`].
    pub async fn session_end_unused(&mut self, tenant: &TenantId, id: &str, seen_ms: i64) -> Result<(), StoreError> {
        let query = query(
            "DELETE FROM user_session WHERE tenant = $1 AND id = $2 AND NOT EXISTS \
             (SELECT 1 FROM session_seen n WHERE n.tenant = $1 AND n.id = $2 AND n.seen_ms > $3)",
        )
        .bind(tenant.to_string())
        .bind(id.to_owned())
        .bind(seen_ms);
        self.run_one(WHAT, query).await?;
        self.forget_seen(tenant).await
    }

    /// Ends the sessions of all who have an identity of this issuer, but for the one by the id `except`, if any.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions_end_of_issuer(
        &mut self,
        tenant: &TenantId,
        issuer_index: &[u8; 32],
        except: Option<&str>,
    ) -> Result<(), StoreError> {
        let query = query(
            "DELETE FROM user_session WHERE tenant = $1 AND id <> $3 AND user_id IN \
             (SELECT user_id FROM sso_identity WHERE tenant = $1 AND issuer_index = $2)",
        )
        .bind(tenant.to_string())
        .bind(issuer_index.as_slice())
        .bind(except.unwrap_or_default().to_owned());
        self.run(WHAT, query).await?;
        self.forget_seen(tenant).await
    }

    /// Ends every session of this user, but for the one by the id `except`, if any. Answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions_end_of(
        &mut self,
        tenant: &TenantId,
        user: &str,
        except: Option<&str>,
    ) -> Result<u64, StoreError> {
        let query = query("DELETE FROM user_session WHERE tenant = $1 AND user_id = $2 AND id <> $3")
            .bind(tenant.to_string())
            .bind(user.to_owned())
            .bind(except.unwrap_or_default().to_owned());
        let ended = self.run(WHAT, query).await?;
        self.forget_seen(tenant).await?;
        Ok(ended)
    }

    /// Removes what is over of this user's sessions.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions_forget(&mut self, tenant: &TenantId, user: &str, now_ms: i64) -> Result<(), StoreError> {
        let query = query("DELETE FROM user_session WHERE tenant = $1 AND user_id = $2 AND expires_ms <= $3")
            .bind(tenant.to_string())
            .bind(user.to_owned())
            .bind(now_ms);
        self.run(WHAT, query).await?;
        self.forget_seen(tenant).await
    }

    async fn forget_seen(&mut self, tenant: &TenantId) -> Result<(), StoreError> {
        let query = query(
            "DELETE FROM session_seen WHERE tenant = $1 AND id NOT IN (SELECT id FROM user_session WHERE tenant = $1)",
        )
        .bind(tenant.to_string());
        self.run(WHAT, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed, with_user};
    use crate::{UserRow, UserState};

    fn row(number: u8) -> SessionRow<Doc> {
        SessionRow {
            tenant: id("acme"),
            id: fixture::uuid(number),
            token_index: [number; 32],
            user: "1".to_owned(),
            created_ms: i64::from(number),
            expires_ms: 100,
            stepped_up_ms: i64::from(number),
            seen_ms: 0,
            doc: sealed(b"doc"),
        }
    }

    async fn sessions_begin_are_seen_and_end() {
        let (_dir, store) = with_user().await;
        let acme = id("acme");
        let mut tx = store.begin().await.unwrap();
        for number in 1..5 {
            tx.session_insert(&row(number)).await.unwrap();
        }
        tx.session_seen(&acme, &row(1).id, 50).await.unwrap();
        tx.session_seen(&acme, &row(1).id, 60).await.unwrap();
        tx.session_seen(&acme, &row(1).id, 40).await.unwrap();
        tx.session_seen(&acme, &row(9).id, 60).await.unwrap();
        tx.session_step_up(&acme, &row(1).id, 55).await.unwrap();
        assert!(tx.session_step_up(&acme, &row(9).id, 55).await.is_err());
        tx.commit().await.unwrap();
        let found = store.session_by_token::<Doc>(&acme, &[1; 32]).await.unwrap().unwrap();
        assert_eq!((found.seen_ms, found.stepped_up_ms), (60, 55));
        assert_eq!(store.session_by_token::<Doc>(&acme, &[2; 32]).await.unwrap().unwrap().seen_ms, 2);
        assert!(store.session_by_token::<Doc>(&id("beta"), &[1; 32]).await.unwrap().is_none());
        let mut tx = store.begin().await.unwrap();
        assert!(tx.session_end(&acme, "2", &row(1).id).await.is_err(), "it is somebody else's");
        assert!(tx.session_end_unused(&acme, &row(1).id, 59).await.is_err(), "it was used since");
        tx.session_end_unused(&acme, &row(1).id, 60).await.unwrap();
        assert_eq!(tx.sessions_end_of(&acme, "1", Some(&row(3).id)).await.unwrap(), 2);
        tx.commit().await.unwrap();
        let left = store.sessions_of::<Doc>(&acme, "1").await.unwrap();
        assert_eq!(left.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [row(3).id]);
        let mut tx = store.begin().await.unwrap();
        tx.sessions_forget(&acme, "1", 99).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.sessions_of::<Doc>(&acme, "1").await.unwrap().len(), 1);
        let mut tx = store.begin().await.unwrap();
        tx.sessions_forget(&acme, "1", 100).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.sessions_of::<Doc>(&acme, "1").await.unwrap().is_empty());
    }

    async fn a_user_who_is_out_gets_none() {
        let (_dir, store) = with_user().await;
        let user = store.users::<Doc>(&id("acme")).await.unwrap().remove(0);
        let mut tx = store.begin().await.unwrap();
        tx.user_update(&UserRow { state: UserState::Disabled, version: 2, ..user }, 1).await.unwrap();
        assert!(matches!(tx.session_insert(&row(1)).await, Err(StoreError::Conflict { .. })));
        let nobody = SessionRow { user: "2".to_owned(), ..row(1) };
        assert!(matches!(tx.session_insert(&nobody).await, Err(StoreError::Conflict { .. })));
    }

    crate::fixture::on_both_engines! {
        sessions_begin_are_seen_and_end, a_user_who_is_out_gets_none
    }
}
