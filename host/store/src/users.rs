//! People of a tenant.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{hash, number, text_enum, unsigned};
use crate::db::{Target, query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "user";

text_enum! {
    /// Whether a user may act.
    pub UserState, "user" {
        /// May act.
        Active = "active",
        /// May not act any more.
        Disabled = "disabled",
    }
}

/// One user of a tenant.
#[derive(Debug, Clone)]
pub struct UserRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of the name, unique within the tenant.
    pub name_index: [u8; 32],
    /// Whether the user may act.
    pub state: UserState,
    /// When it was made.
    pub created_ms: i64,
    /// Grows by one with every change; part of the document's place.
    pub version: u64,
    /// Name, role and so on. Place: table `app_user`, row `[id]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, i64, i64, Vec<u8>);

impl<D> UserRow<D> {
    fn of(tenant: &TenantId, (id, index, state, created_ms, version, doc): Columns) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: tenant.clone(),
            id,
            name_index: hash(WHAT, &index)?,
            state: UserState::from_column(&state)?,
            created_ms,
            version: unsigned(WHAT, version)?,
            doc: Sealed::from_stored(doc),
        })
    }
}

async fn by_name<D>(
    db: impl Into<Target<'_>>,
    tenant: &TenantId,
    name_index: &[u8; 32],
) -> Result<Option<UserRow<D>>, StoreError> {
    query_as(
        "SELECT id, name_index, state, created_ms, version, doc FROM app_user WHERE tenant = $1 AND name_index = $2",
    )
    .bind(tenant.as_ref())
    .bind(name_index.as_slice())
    .fetch_optional(db)
    .await
    .map_err(|error| StoreError::of(WHAT, &error))?
    .map(|columns| UserRow::of(tenant, columns))
    .transpose()
}

impl Store {
    /// The user of `tenant` with this blind index of the name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn user_by_name<D>(
        &self,
        tenant: &TenantId,
        name_index: &[u8; 32],
    ) -> Result<Option<UserRow<D>>, StoreError> {
        by_name(self.reader(), tenant, name_index).await
    }

    /// All users of `tenant`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn users<D>(&self, tenant: &TenantId) -> Result<Vec<UserRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, state, created_ms, version, doc FROM app_user WHERE tenant = $1 \
             ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| UserRow::of(tenant, columns))
        .collect()
    }
}

impl WriteTx<'_> {
    /// As [`Store::user_by_name`], within the transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn user_by_name<D>(
        &mut self,
        tenant: &TenantId,
        name_index: &[u8; 32],
    ) -> Result<Option<UserRow<D>>, StoreError> {
        let found = by_name(self.connection().await?, tenant, name_index).await;
        self.noting(found)
    }

    /// Does nothing, if the user is still at this version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when they are not; [`StoreError::Unavailable`].
    pub async fn user_at(&mut self, tenant: &TenantId, id: &str, version: u64) -> Result<(), StoreError> {
        let found = query_as::<(i64,)>("SELECT version FROM app_user WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_ref())
            .bind(id)
            .fetch_optional(self.connection().await?)
            .await;
        match self.noting(found.map_err(|error| StoreError::of(WHAT, &error)))? {
            Some((found,)) if found == number(version) => Ok(()),
            _ => Err(StoreError::Conflict { what: WHAT }),
        }
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id or name is taken or there is no such tenant; [`StoreError::Unavailable`].
    pub async fn user_insert<D>(&mut self, row: &UserRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO app_user (tenant, id, name_index, state, created_ms, version, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.name_index.as_slice())
        .bind(row.state.as_str())
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces name, state, version and document of a user whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not, or the new name is taken; [`StoreError::Unavailable`].
    pub async fn user_update<D>(&mut self, row: &UserRow<D>, expected: u64) -> Result<(), StoreError> {
        let query = query(
            "UPDATE app_user SET name_index = $1, state = $2, version = $3, doc = $4 \
             WHERE tenant = $5 AND id = $6 AND version = $7",
        )
        .bind(row.name_index.as_slice())
        .bind(row.state.as_str())
        .bind(number(row.version))
        .bind(row.doc.as_bytes())
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(number(expected));
        self.run_one(WHAT, query).await
    }
}
