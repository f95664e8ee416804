//! Programs of a tenant, and the secrets they sign with.

use opsiq_contract::TenantId;
use opsiq_vault::{Sealed, Secret};

use crate::column::{hash, number, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "API client";
const KEY: &str = "API client's key";

/// One API client of a tenant.
#[derive(Debug, Clone)]
pub struct ApiClientRow<D> {
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
    /// Name, role, scopes, state and the versions of its secret. Place: table `api_client`, row `[id]`, column `doc`, this
    /// version.
    pub doc: Sealed<D>,
}

/// One version of the secret of an API client.
#[derive(Debug, Clone)]
pub struct ApiClientKeyRow {
    /// Whose client.
    pub tenant: TenantId,
    /// The client's id.
    pub client: String,
    /// Counts from 1.
    pub version: u64,
    /// When it was made.
    pub created_ms: i64,
    /// Place: table `api_client_key`, row `[client]`, column `secret`, this version.
    pub secret: Sealed<Secret>,
}

type Columns = (String, Vec<u8>, i64, i64, Vec<u8>);

impl Store {
    /// All API clients of `tenant`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn api_clients<D>(&self, tenant: &TenantId) -> Result<Vec<ApiClientRow<D>>, StoreError> {
        query_as(
            "SELECT id, name_index, created_ms, version, doc FROM api_client WHERE tenant = $1 ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|(id, index, created_ms, version, doc): Columns| {
            Ok(ApiClientRow {
                tenant: tenant.clone(),
                id,
                name_index: hash(WHAT, &index)?,
                created_ms,
                version: unsigned(WHAT, version)?,
                doc: Sealed::from_stored(doc),
            })
        })
        .collect()
    }

    /// The secrets of all API clients of `tenant`, by client and version.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn api_client_keys(&self, tenant: &TenantId) -> Result<Vec<ApiClientKeyRow>, StoreError> {
        query_as(
            "SELECT client, version, created_ms, secret FROM api_client_key WHERE tenant = $1 ORDER BY client, version",
        )
        .bind(tenant.as_ref())
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(KEY, &error))?
        .into_iter()
        .map(|(client, version, created_ms, secret): (String, i64, i64, Vec<u8>)| {
            Ok(ApiClientKeyRow {
                tenant: tenant.clone(),
                client,
                version: unsigned(KEY, version)?,
                created_ms,
                secret: Sealed::from_stored(secret),
            })
        })
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds an API client.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id or name is taken or there is no such tenant; [`StoreError::Unavailable`].
    pub async fn api_client_insert<D>(&mut self, row: &ApiClientRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO api_client (tenant, id, name_index, created_ms, version, doc) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.name_index.as_slice())
        .bind(row.created_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Replaces version and document of an API client whose version is `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not; [`StoreError::Unavailable`].
    pub async fn api_client_update<D>(&mut self, row: &ApiClientRow<D>, expected: u64) -> Result<(), StoreError> {
        let query =
            query("UPDATE api_client SET version = $1, doc = $2 WHERE tenant = $3 AND id = $4 AND version = $5")
                .bind(number(row.version))
                .bind(row.doc.as_bytes())
                .bind(row.tenant.as_ref())
                .bind(&row.id)
                .bind(number(expected));
        self.run_one(WHAT, query).await
    }

    /// Adds a version of the secret of an API client.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the version exists or the client does not; [`StoreError::Unavailable`].
    pub async fn api_client_key_insert(&mut self, row: &ApiClientKeyRow) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO api_client_key (tenant, client, version, created_ms, secret) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.client)
        .bind(number(row.version))
        .bind(row.created_ms)
        .bind(row.secret.as_bytes());
        self.run_one(KEY, query).await
    }

    /// Destroys the secrets of an API client older than `before`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn api_client_keys_remove(
        &mut self,
        tenant: &TenantId,
        client: &str,
        before: u64,
    ) -> Result<(), StoreError> {
        let query = query("DELETE FROM api_client_key WHERE tenant = $1 AND client = $2 AND version < $3")
            .bind(tenant.as_ref())
            .bind(client.to_owned())
            .bind(number(before));
        self.run(KEY, query).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed};

    fn client(name: u8) -> ApiClientRow<Doc> {
        ApiClientRow {
            tenant: id("acme"),
            id: format!("client-{name}"),
            name_index: [name; 32],
            created_ms: 1,
            version: 1,
            doc: sealed(b"doc"),
        }
    }

    fn key(version: u64) -> ApiClientKeyRow {
        let client = "client-1".to_owned();
        ApiClientKeyRow { tenant: id("acme"), client, version, created_ms: 2, secret: sealed(b"secret") }
    }

    async fn a_client_has_one_name_and_its_secrets_come_and_go() {
        let (_dir, store, _) = fixture::shop().await;
        let mut tx = store.begin().await.unwrap();
        tx.api_client_insert(&client(1)).await.unwrap();
        for version in 1..=3 {
            tx.api_client_key_insert(&key(version)).await.unwrap();
        }
        assert!(matches!(tx.api_client_key_insert(&key(3)).await, Err(StoreError::Conflict { .. })));
        let same_name = ApiClientRow { id: "client-2".to_owned(), ..client(1) };
        assert!(matches!(tx.api_client_insert(&same_name).await, Err(StoreError::Conflict { .. })));
        tx.api_client_update(&ApiClientRow { version: 2, ..client(1) }, 1).await.unwrap();
        let stale = tx.api_client_update(&ApiClientRow { version: 2, ..client(1) }, 1).await;
        assert!(matches!(stale, Err(StoreError::Conflict { .. })));
        tx.api_client_keys_remove(&id("acme"), "client-1", 3).await.unwrap();
        tx.commit().await.unwrap();
        let clients = store.api_clients::<Doc>(&id("acme")).await.unwrap();
        assert_eq!((clients.len(), clients[0].version), (1, 2));
        let keys = store.api_client_keys(&id("acme")).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.version).collect::<Vec<_>>(), [3]);
    }

    crate::fixture::on_both_engines! {
        a_client_has_one_name_and_its_secrets_come_and_go
    }
}
