//! The database's thief: statements without the host.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

/// Runs statements, each of which must change something.
pub(crate) fn sql(database: &Path, statements: &[&'static str]) {
    run(database, statements, true);
}

/// Keeps what a query finds as a table beside the others.
pub(crate) fn table(database: &Path, name: &str, select: &str) {
    run(database, &[format!("CREATE TABLE {name} AS {select}").leak()], false);
}

fn run(database: &Path, statements: &[&'static str], changes: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database).foreign_keys(false);
        let mut connection: SqliteConnection = options.connect().await.unwrap();
        for statement in statements {
            let done = connection.execute(*statement).await.unwrap();
            assert!(!changes || done.rows_affected() > 0, "changed nothing: {statement}");
        }
        connection.close().await.unwrap();
    });
}
