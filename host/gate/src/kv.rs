//! The storage of one installation, for the sandbox: keys found by blind index, keys and values sealed, writes batched
//! with everybody's through the journal's one writer.

use std::sync::Arc;

use async_trait::async_trait;
use opsiq_audit::{AuditError, Log, Op, OpError};
use opsiq_contract::{Installation, InstallationId};
use opsiq_sandbox::{Kv, KvEntry, KvError};
use opsiq_store::{KvEntryRow, StoreError};
use opsiq_vault::{Place, VaultError};

use crate::core::Core;
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::TenantState;

/// The storage of one installation.
pub(crate) struct InstallationKv {
    core: Arc<Core>,
    tenant: Arc<TenantState>,
    installation: Arc<Installation>,
}

impl InstallationKv {
    pub(crate) fn new(core: Arc<Core>, tenant: Arc<TenantState>, installation: Arc<Installation>) -> Self {
        Self { core, tenant, installation }
    }

    fn id(&self) -> &InstallationId {
        &self.installation.id
    }

    fn index(&self, key: &str) -> [u8; 32] {
        let mut name = self.id().as_str().as_bytes().to_vec();
        name.push(b'/');
        name.extend_from_slice(key.as_bytes());
        self.tenant.vault.blind_index("kv key", &name)
    }

    async fn commit<T: Send + 'static>(&self, op: Op<T>) -> Result<T, KvError> {
        let done = self.core.journal.commit(&Log::Tenant(self.tenant.id.clone()), Vec::new(), op).await;
        done.map_err(|error| match &error {
            AuditError::Operation(OpError::Refused(inner)) => {
                inner.downcast_ref::<KvError>().cloned().unwrap_or(KvError::Unavailable)
            }
            _ => unavailable(&error),
        })
    }
}

/// A plugin is told nothing of what is wrong below; the operator is.
fn unavailable(error: &dyn std::fmt::Display) -> KvError {
    tracing::warn!(%error, "key-value storage did not serve");
    KvError::Unavailable
}

fn conflict(current: u64) -> OpError {
    OpError::refused(KvError::Conflict(current))
}

#[async_trait]
impl Kv for InstallationKv {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        let index = self.index(key);
        let found = self.core.store.kv_get::<String, Vec<u8>>(&self.tenant.id, self.id(), &index).await;
        let Some(row) = found.map_err(|error| unavailable(&error))? else { return Ok(None) };
        let hex = hex::encode(index);
        let place = [self.id().as_str(), hex.as_str()];
        let value = self.tenant.vault.open(&value_place(&place, row.version), &row.value);
        Ok(Some(KvEntry { value: value.map_err(|error| unavailable(&error))?, version: row.version }))
    }

    async fn set(&self, key: &str, value: Vec<u8>, expected: Option<u64>, max_total: u64) -> Result<u64, KvError> {
        let index = self.index(key);
        let (tenant, installation) = (self.tenant.clone(), self.id().clone());
        let bytes = (key.len() + value.len()) as u64;
        let sealed_key = tenant.vault.seal(&key_place(&[installation.as_str()]), &key.to_owned());
        let sealed_key = sealed_key.map_err(|error| unavailable(&error))?;
        self.commit(Op::new(move |tx| {
            Box::pin(async move {
                let found = tx.kv_get::<String, Vec<u8>>(&tenant.id, &installation, &index).await?;
                let (current, held) = found.map_or((0, 0), |row| (row.version, row.bytes));
                if expected.is_some_and(|expected| expected != current) {
                    return Err(conflict(current));
                }
                let total = tx.kv_bytes(&tenant.id, &installation).await? - held + bytes;
                if total > max_total {
                    let message = format!("this would be {total} bytes; the contract's [kv] max is {max_total}");
                    return Err(OpError::refused(KvError::Full(message)));
                }
                let (version, hex) = (current + 1, hex::encode(index));
                let place = [installation.as_str(), hex.as_str()];
                let value = tenant.vault.seal(&value_place(&place, version), &value).map_err(OpError::refused)?;
                let row = KvEntryRow { key_index: index, version, bytes, key: sealed_key, value };
                tx.kv_set(&tenant.id, &installation, &row, current).await?;
                Ok(version)
            })
        }))
        .await
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), KvError> {
        let index = self.index(key);
        let (tenant, installation) = (self.tenant.id.clone(), self.id().clone());
        self.commit(Op::new(move |tx| {
            Box::pin(async move {
                let found = tx.kv_get::<String, Vec<u8>>(&tenant, &installation, &index).await?;
                let current = found.map_or(0, |row| row.version);
                if expected.is_some_and(|expected| expected != current) {
                    return Err(conflict(current));
                }
                if current > 0 {
                    tx.kv_delete(&tenant, &installation, &index, current).await?;
                }
                Ok(())
            })
        }))
        .await
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, KvError> {
        let rows = self.core.store.kv_keys::<String>(&self.tenant.id, self.id()).await;
        let mut keys = Vec::new();
        for row in rows.map_err(|error: StoreError| unavailable(&error))? {
            let key = self.tenant.vault.open(&key_place(&[self.id().as_str()]), &row.key);
            let key = key.map_err(|error| unavailable(&error))?;
            if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }
}

fn key_place<'a>(row: &'a [&'a str]) -> Place<'a> {
    Place { table: "kv", row, column: "key", version: 0 }
}

fn value_place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
    Place { table: "kv", row, column: "value", version }
}

/// Opens every entry of an installation; answers how many there are.
pub(crate) async fn all_open(
    core: &Core,
    tenant: &TenantState,
    installation: &InstallationId,
) -> Result<usize, Refusal> {
    let failed = |error: StoreError| errors::store(Stage::Admin, &error);
    let rows = core.store.kv_keys::<String>(&tenant.id, installation).await.map_err(failed)?;
    for row in &rows {
        let sealed = |error: VaultError| errors::vault(Stage::Admin, &error);
        tenant.vault.open(&key_place(&[installation.as_str()]), &row.key).map_err(sealed)?;
        let found = core.store.kv_get::<String, Vec<u8>>(&tenant.id, installation, &row.key_index).await;
        if let Some(entry) = found.map_err(failed)? {
            let hex = hex::encode(row.key_index);
            let place = [installation.as_str(), hex.as_str()];
            tenant.vault.open(&value_place(&place, entry.version), &entry.value).map_err(sealed)?;
        }
    }
    Ok(rows.len())
}
