//! Where the stores of a test are: in its directory, or on a real server.

use std::sync::Arc;

use opsiq_store::StoreOptions;

#[path = "../../../store/src/fixture/server.rs"]
mod server;

pub(crate) use server::Server;

tokio::task_local! {
    static SERVER: Arc<Server>;
}

/// Runs each of these tests on both engines.
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$test().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                $crate::engines::on_server(super::$test()).await;
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

/// The server of this test.
pub(crate) fn server() -> Option<Arc<Server>> {
    SERVER.try_with(Arc::clone).ok()
}

/// Where the stores of this test are.
pub(crate) fn databases() -> StoreOptions {
    let Some(server) = server() else { return StoreOptions::default() };
    StoreOptions::server(&server.data(), &server.keys(), None).unwrap()
}
