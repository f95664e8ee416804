//! A real data directory for tests, and rows to put in it.

use std::path::Path;
use std::sync::Arc;

use opsiq_contract::{Digest, InstallState, InstallationId, InvocationId, PluginRef, TenantId};
use opsiq_vault::Sealed;
use tempfile::TempDir;

use crate::db::{Dialect, Pool, query_scalar};
use crate::{InstallationRow, PluginRow, Store, StoreOptions, TenantRow, UserRow, UserState, WriteTx};

mod server;

use server::Server;

tokio::task_local! {
    /// Where the stores of a test are, when they are on a server.
    static SERVER: Arc<Server>;
}

/// Runs each of these tests on both engines.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$test().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                $crate::fixture::on_server(super::$test()).await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// Runs a test whose stores are on a server.
pub(crate) async fn on_server(test: impl Future<Output = ()>) {
    if let Some(server) = Server::new().await {
        SERVER.scope(Arc::new(server), test).await;
    }
}

/// Runs a part of a test on databases of its own.
pub(crate) async fn on_others(part: impl Future<Output = ()>) {
    if SERVER.try_with(|_| ()).is_ok() { Box::pin(on_server(part)).await } else { part.await }
}

/// Stands for the type of a sealed document.
#[derive(Debug, Clone)]
pub(crate) struct Doc;

/// A data directory, and where its databases are. Both go when it is dropped.
pub(crate) struct Dir {
    dir: TempDir,
    server: Option<Arc<Server>>,
}

impl Dir {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: SERVER.try_with(Arc::clone).ok() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let server = self.server.as_ref();
        server.map_or_else(StoreOptions::default, |server| {
            StoreOptions::server(&server.data(), &server.keys(), None).unwrap()
        })
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open_with(self.path(), &self.options()).await.unwrap()
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_deref()
    }
}

/// A new data directory, opened.
pub(crate) async fn store() -> (Dir, Store) {
    let dir = Dir::new();
    Store::init_with(dir.path(), &dir.options()).await.unwrap();
    let store = dir.open().await;
    (dir, store)
}

/// A store with tenants `acme` and `beta`, one plugin, and an installation of it by `acme`.
pub(crate) async fn shop() -> (Dir, Store, InstallationRow<Doc>) {
    let (dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    let row = furnish(&mut tx).await;
    tx.commit().await.unwrap();
    (dir, store, row)
}

/// Writes what is in a shop.
pub(crate) async fn furnish(tx: &mut WriteTx<'_>) -> InstallationRow<Doc> {
    let row = installation("acme", 1);
    tx.tenant_insert(&tenant("acme")).await.unwrap();
    tx.tenant_insert(&tenant("beta")).await.unwrap();
    tx.plugin_insert(&plugin()).await.unwrap();
    tx.installation_insert(&row).await.unwrap();
    row
}

/// The tables of a database, each with its columns, of the type `bytes` alone where that is asked for.
pub(crate) async fn schema(pool: &Pool, only_bytes: bool) -> Vec<(String, Vec<String>)> {
    let (tables, columns) = match pool.dialect() {
        Dialect::Sqlite => (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '_sqlx%'",
            "SELECT name FROM pragma_table_info($1) WHERE type = 'BLOB' OR $2 = 0",
        ),
        Dialect::Postgres => (
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() \
             AND table_name NOT LIKE '\\_sqlx%'",
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() \
             AND table_name = $1 AND (data_type = 'bytea' OR $2 = 0)",
        ),
    };
    let mut schema = Vec::new();
    for table in query_scalar::<String>(tables).fetch_all(pool).await.unwrap() {
        let columns = query_scalar(columns).bind(&table).bind(i64::from(only_bytes));
        let columns = columns.fetch_all(pool).await.unwrap();
        schema.push((table, columns));
    }
    schema
}

/// A store with tenants `acme` and `beta`, and a user of `acme` whose id is `1`.
pub(crate) async fn with_user() -> (Dir, Store) {
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
    tx.run_one("plugin", crate::db::query("UPDATE plugin SET size = size + 1")).await.unwrap();
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
