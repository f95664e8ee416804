//! Providers at which people of a tenant sign in.

use opsiq_contract::TenantId;
use opsiq_vault::{Sealed, Secret};

use crate::column::{hash, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "sso provider";

/// One provider.
#[derive(Debug, Clone)]
pub struct SsoProviderRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of the name, unique within the tenant.
    pub name_index: [u8; 32],
    /// When it was made.
    pub created_ms: i64,
    /// Grows by one with every change; part of both places.
    pub version: u64,
    /// What proves the host to it. Place: table `sso_provider`, row `[id]`, column `secret`, this version.
    pub secret: Sealed<Secret>,
    /// What it is. Place: the same with column `doc`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, i64, i64, Vec<u8>, Vec<u8>);

impl Store {
    /// The providers of a tenant, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sso_providers<D>(&self, tenant: &TenantId) -> Result<Vec<SsoProviderRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, created_ms, version, secret, doc FROM sso_provider WHERE tenant = $1 \
             ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|(id, index, created_ms, version, secret, doc): Columns| {
            Ok(SsoProviderRow {
                tenant: tenant.clone(),
                id,
                name_index: hash(WHAT, &index)?,
                created_ms,
                version: unsigned(WHAT, version)?,
                secret: Sealed::from_stored(secret),
                doc: Sealed::from_stored(doc),
            })
        })
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a provider.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken; [`StoreError::Unavailable`].
    pub async fn sso_provider_insert<D>(&mut self, row: &SsoProviderRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO sso_provider (tenant, id, name_index, created_ms, version, secret, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.name_index.as_slice())
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.secret.as_bytes())
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces secret and document of a provider whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn sso_provider_update<D>(&mut self, row: &SsoProviderRow<D>, expected: u64) -> Result<(), StoreError> {
        let query = query(
            "UPDATE sso_provider SET version = $1, secret = $2, doc = $3 WHERE tenant = $4 AND id = $5 AND version = $6",
        )
        .bind(number(row.version))
        .bind(row.secret.as_bytes())
        .bind(row.doc.as_bytes())
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Does nothing, if the provider is still at this version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn sso_provider_at(&mut self, tenant: &TenantId, id: &str, version: u64) -> Result<(), StoreError> {
        let found = query_as::<(i64,)>("SELECT version FROM sso_provider WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_ref())
            .bind(id)
            .fetch_optional(self.connection().await?)
            .await;
        match self.noting(found.map_err(|error| StoreError::of(WHAT, &error)))? {
            Some((found,)) if found == number(version) => Ok(()),
            _ => Err(StoreError::Conflict { what: WHAT }),
        }
    }

    /// Removes a provider. Who signed in there keeps their account.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is gone; [`StoreError::Unavailable`].
    pub async fn sso_provider_remove(&mut self, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
        let query = query("DELETE FROM sso_provider WHERE tenant = $1 AND id = $2")
            .bind(tenant.to_string())
            .bind(id.to_owned());
        self.run_one(WHAT, query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed};

    async fn a_provider_has_one_name_and_changes_by_version() {
        let (_dir, store, _) = fixture::shop().await;
        let row = |tenant: &str, number: u8| SsoProviderRow::<Doc> {
            tenant: id(tenant),
            id: fixture::uuid(number),
            name_index: [7; 32],
            created_ms: 1,
            version: 1,
            secret: sealed(b"secret"),
            doc: sealed(b"doc"),
        };
        let mut tx = store.begin().await.unwrap();
        tx.sso_provider_insert(&row("acme", 1)).await.unwrap();
        tx.sso_provider_insert(&row("beta", 1)).await.unwrap();
        assert!(tx.sso_provider_insert(&row("acme", 2)).await.is_err());
        tx.sso_provider_update(&SsoProviderRow { version: 2, ..row("acme", 1) }, 1).await.unwrap();
        assert!(tx.sso_provider_update(&SsoProviderRow { version: 2, ..row("acme", 1) }, 1).await.is_err());
        tx.sso_provider_at(&id("acme"), &fixture::uuid(1), 2).await.unwrap();
        assert!(tx.sso_provider_at(&id("acme"), &fixture::uuid(1), 1).await.is_err());
        assert!(tx.sso_provider_at(&id("acme"), &fixture::uuid(2), 1).await.is_err());
        tx.sso_provider_remove(&id("beta"), &fixture::uuid(1)).await.unwrap();
        assert!(tx.sso_provider_remove(&id("beta"), &fixture::uuid(1)).await.is_err());
        tx.commit().await.unwrap();
        assert_eq!(store.sso_providers::<Doc>(&id("acme")).await.unwrap()[0].version, 2);
        assert!(store.sso_providers::<Doc>(&id("beta")).await.unwrap().is_empty());
    }

    crate::fixture::on_both_engines! {
        a_provider_has_one_name_and_changes_by_version
    }
}
