//! Custom roles of a tenant.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{hash, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "role";

/// One custom role.
#[derive(Debug, Clone)]
pub struct RoleRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of the name, unique within the tenant.
    pub name_index: [u8; 32],
    /// When it was made.
    pub created_ms: i64,
    /// Grows by one with every change; part of the document's place.
    pub version: u64,
    /// What it is. Place: table `custom_role`, row `[id]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, i64, i64, Vec<u8>);

impl<D> RoleRow<D> {
    fn of(tenant: &TenantId, (id, index, created_ms, version, doc): Columns) -> Result<Self, StoreError> {
        let (name_index, version) = (hash(WHAT, &index)?, unsigned(WHAT, version)?);
        Ok(Self { tenant: tenant.clone(), id, name_index, created_ms, version, doc: Sealed::from_stored(doc) })
    }
}

impl Store {
    /// The custom roles of a tenant, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn roles<D>(&self, tenant: &TenantId) -> Result<Vec<RoleRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, created_ms, version, doc FROM custom_role WHERE tenant = $1 ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| RoleRow::of(tenant, columns))
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a role.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken; [`StoreError::Unavailable`].
    pub async fn role_insert<D>(&mut self, row: &RoleRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO custom_role (tenant, id, name_index, created_ms, version, doc) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.name_index.as_slice())
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces the document of a role whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn role_update<D>(&mut self, row: &RoleRow<D>, expected: u64) -> Result<(), StoreError> {
        let query =
            query("UPDATE custom_role SET version = $1, doc = $2 WHERE tenant = $3 AND id = $4 AND version = $5")
                .bind(number(row.version))
                .bind(row.doc.as_bytes())
                .bind(row.tenant.as_ref())
                .bind(&row.id)
                .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Removes a role.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is gone; [`StoreError::Unavailable`].
    pub async fn role_remove(&mut self, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
        let query =
            query("DELETE FROM custom_role WHERE tenant = $1 AND id = $2").bind(tenant.to_string()).bind(id.to_owned());
        self.run_one(WHAT, query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed};

    async fn a_name_is_one_role_of_each_tenant() {
        let (_dir, store, _) = fixture::shop().await;
        let row = |tenant: &str, number: u8| RoleRow::<Doc> {
            tenant: id(tenant),
            id: fixture::uuid(number),
            name_index: [7; 32],
            created_ms: 1,
            version: 1,
            doc: sealed(b"doc"),
        };
        let mut tx = store.begin().await.unwrap();
        tx.role_insert(&row("acme", 1)).await.unwrap();
        tx.role_insert(&row("beta", 1)).await.unwrap();
        assert!(tx.role_insert(&row("acme", 2)).await.is_err());
        tx.role_update(&RoleRow { version: 2, ..row("acme", 1) }, 1).await.unwrap();
        assert!(tx.role_update(&RoleRow { version: 2, ..row("acme", 1) }, 1).await.is_err());
        tx.role_remove(&id("beta"), &fixture::uuid(1)).await.unwrap();
        assert!(tx.role_remove(&id("beta"), &fixture::uuid(1)).await.is_err());
        tx.commit().await.unwrap();
        assert_eq!(store.roles::<Doc>(&id("acme")).await.unwrap()[0].version, 2);
        assert!(store.roles::<Doc>(&id("beta")).await.unwrap().is_empty());
    }

    crate::fixture::on_both_engines! {
        a_name_is_one_role_of_each_tenant
    }
}
