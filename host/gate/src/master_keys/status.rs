//! What can be said of keys without any: which root key is expected, whether the one given is it, and which generations
//! each tenant has. It works while the host is sealed, and shows nothing a tenant stored.

use std::collections::BTreeMap;
use std::path::Path;

use opsiq_contract::TenantId;
use opsiq_store::{Store, StoreError};
use serde::Serialize;

use crate::core::Core;
use crate::databases::open_store;
use crate::errors;
use crate::host::{Host, HostOptions};
use crate::refusal::{Refusal, Stage};
use crate::unseal::unseal;

/// One key of a tenant.
#[derive(Debug, Clone, Serialize)]
pub struct KeyGeneration {
    /// Counts a tenant's keys upwards from 1.
    pub generation: i64,
    /// Its id; `None` when what is stored is no key.
    pub key: Option<String>,
    /// The id of the root key it is under.
    pub root: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// The keys of a tenant.
#[derive(Debug, Clone, Serialize)]
pub struct TenantKeysView {
    /// Whose.
    pub tenant: TenantId,
    /// Whether a rotation began and did not end.
    pub rotating: bool,
    /// Oldest first.
    pub keys: Vec<KeyGeneration>,
}

/// The state of the keys of a data directory.
#[derive(Debug, Clone, Serialize)]
pub struct KeyStatus {
    /// Whether the root key given does not open it.
    pub sealed: bool,
    /// Why not.
    pub why: Option<String>,
    /// The id of the root key it expects.
    pub expected_root: String,
    /// The id of the root key to which a rotation began and did not end.
    pub rotating_to: Option<String>,
    /// By name.
    pub tenants: Vec<TenantKeysView>,
}

impl Host {
    /// The state of the keys of a data directory, whether or not its root key is there. Nothing is recovered or recorded.
    ///
    /// # Errors
    /// No data directory there, another process in it, a disk that does not serve.
    pub async fn key_status(options: &HostOptions) -> Result<KeyStatus, Refusal> {
        let store = open_store(options).await?;
        let why = unseal(&store, options).await.err().map(|refusal| refusal.message);
        let status = status(&store, &options.data, why).await;
        store.close().await;
        status
    }
}

impl Core {
    /// The same of the directory that is open.
    pub(crate) async fn key_status(&self) -> Result<KeyStatus, Refusal> {
        status(&self.store, &self.data, None).await
    }
}

async fn status(store: &Store, data: &Path, why: Option<String>) -> Result<KeyStatus, Refusal> {
    let failed = |error: StoreError| errors::store(Stage::Admin, &error);
    let check = store.root_check().await.map_err(failed)?;
    let check = check.ok_or_else(|| failed(StoreError::NotInitialised(data.to_owned())))?;
    let rotating_to = store.root_rotation().await.map_err(failed)?;
    let mut tenants: BTreeMap<TenantId, Vec<KeyGeneration>> = BTreeMap::new();
    for row in store.all_tenant_keys().await.map_err(failed)? {
        let of = |read: fn(&opsiq_vault::WrappedKey) -> opsiq_vault::KeyId| {
            row.wrapped.as_ref().map(|key| read(key).to_string())
        };
        let (key, root) = (of(opsiq_vault::WrappedKey::id), of(opsiq_vault::WrappedKey::root));
        let view = KeyGeneration { generation: row.generation, key, root, created_ms: row.created_ms };
        tenants.entry(row.tenant).or_default().push(view);
    }
    Ok(KeyStatus {
        sealed: why.is_some(),
        why,
        expected_root: check.root().to_string(),
        rotating_to: rotating_to.map(|to| to.to_string()),
        tenants: tenants
            .into_iter()
            .map(|(tenant, keys)| TenantKeysView { tenant, rotating: keys.len() > 1, keys })
            .collect(),
    })
}
