//! A real data directory for tests, and rows to put in it.

use opsiq_contract::{Digest, InstallState, InstallationId, InvocationId, PluginRef, TenantId};
use opsiq_vault::Sealed;
use tempfile::TempDir;

use crate::{InstallationRow, PluginRow, Store, TenantRow, UserRow, UserState, WriteTx};

/// Stands for the type of a sealed document.
#[derive(Debug, Clone)]
pub(crate) struct Doc;

/// A new data directory, opened. The directory goes when the first is dropped.
pub(crate) async fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    Store::init(dir.path()).await.unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    (dir, store)
}

/// A store with tenants `acme` and `beta`, one plugin, and an installation of it by `acme`.
pub(crate) async fn shop() -> (TempDir, Store, InstallationRow<Doc>) {
    let (dir, store) = store().await;
    let row = installation("acme", 1);
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("acme")).await.unwrap();
    tx.tenant_insert(&tenant("beta")).await.unwrap();
    tx.plugin_insert(&plugin()).await.unwrap();
    tx.installation_insert(&row).await.unwrap();
    tx.commit().await.unwrap();
    (dir, store, row)
}

/// A store with tenants `acme` and `beta`, and a user of `acme` whose id is `1`.
pub(crate) async fn with_user() -> (TempDir, Store) {
    let (dir, store, _) = shop().await;
    let mut tx = store.begin().await.unwrap();
    let row = UserRow::<Doc> {
        tenant: id("acme"),
        id: "1".to_owned(),
        name_index: [1; 32],
        state: UserState::Active,
        created_ms: 1,
        version: 1,
        doc: sealed(b"user"),
    };
    tx.user_insert(&row).await.unwrap();
    tx.commit().await.unwrap();
    (dir, store)
}

pub(crate) fn id(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn sealed<T>(bytes: &[u8]) -> Sealed<T> {
    Sealed::from_stored(bytes.to_vec())
}

pub(crate) fn tenant(name: &str) -> TenantRow<Doc> {
    TenantRow { id: id(name), created_ms: 1, version: 1, doc: sealed(b"doc") }
}

pub(crate) fn plugin() -> PluginRow {
    let plugin: PluginRef = "opsiq/orders@0.1.0".parse().unwrap();
    let digest = Digest::of(b"component");
    PluginRow { digest, plugin, contract: b"{}".to_vec(), registered_ms: 2, size: 9 }
}

/// Changes the plugin's row, which is the host's.
pub(crate) async fn change_plugin(tx: &mut WriteTx<'_>) {
    tx.run_one("plugin", sqlx::query("UPDATE plugin SET size = size + 1")).await.unwrap();
}

pub(crate) fn installation(tenant: &str, number: u8) -> InstallationRow<Doc> {
    InstallationRow {
        tenant: id(tenant),
        id: installation_id(number),
        name_index: [number; 32],
        digest: plugin().digest,
        state: InstallState::Enabled,
        revision: 1,
        created_ms: i64::from(number),
        doc: sealed(b"installation"),
    }
}

pub(crate) fn installation_id(number: u8) -> InstallationId {
    uuid(number).parse().unwrap()
}

pub(crate) fn invocation(number: u8) -> InvocationId {
    uuid(number).parse().unwrap()
}

/// A version 7 UUID that tells `number`.
pub(crate) fn uuid(number: u8) -> String {
    format!("01890a5d-ac96-774b-bcce-b302099a80{number:02x}")
}
