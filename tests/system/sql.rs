//! The database's thief: statements without the host.

use std::collections::BTreeMap;
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

/// Every row of every table, as text.
pub(crate) fn dump(database: &Path) -> BTreeMap<String, Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection: SqliteConnection = options.connect().await.unwrap();
        let mut query = async |text: String| -> Vec<String> {
            let text: &'static str = text.leak();
            sqlx::query_scalar::<_, String>(text).fetch_all(&mut connection).await.unwrap()
        };
        let tables = query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name".to_owned()).await;
        let mut all = BTreeMap::new();
        for table in tables {
            let columns = query(format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let row = columns.iter().map(|name| format!("quote(\"{name}\")")).collect::<Vec<_>>().join(" || ',' || ");
            let rows = query(format!("SELECT {row} FROM \"{table}\" ORDER BY 1")).await;
            all.insert(table, rows);
        }
        connection.close().await.unwrap();
        all
    })
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
