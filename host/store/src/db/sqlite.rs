//! `SQLite`: the databases in the data directory.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::migrations::SQLITE;
use super::{Connection, Pool};
use crate::StoreError;
use crate::folding::{Folder, Sizes};

/// How long a statement waits for a lock another connection holds.
const BUSY: Duration = Duration::from_secs(1);
/// How long a read waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS: u32 = 4;
/// Page cache of a connection: a negative number is KiB (<https://sqlite.org/pragma.html#pragma_cache_size>).
const PAGE_CACHE: &str = "-16384";
/// Pages in the write-ahead log of the keys before a commit folds them into their database.
const CHECKPOINT_PAGES: &str = "1000";
/// No commit folds the log of the data: see [`Folder`].
const NO_CHECKPOINT: &str = "0";
/// Bytes of a page of a new database of data. An audit entry takes about 1,400, of which 4 KiB hold two and 8 KiB five,
/// and each page written costs two calls of the kernel.
const DATA_PAGE: u32 = 8 << 10;
/// Bytes of data that are written anew while writers wait, at most: some tenths of a second.
const WRITTEN_ANEW: i64 = 64 << 20;
/// Distinct statements kept prepared on a connection; more than this crate has.
const STATEMENTS: usize = 200;

/// Where the two databases are.
pub(crate) struct Files {
    data: SqliteConnectOptions,
    keys: SqliteConnectOptions,
}

impl Files {
    /// The databases at these paths.
    pub(crate) fn at(data: &Path, keys: &Path) -> Self {
        let data = options(data).page_size(DATA_PAGE).pragma("wal_autocheckpoint", NO_CHECKPOINT);
        Self { data, keys: options(keys) }
    }

    /// Brings their tables up to date.
    pub(crate) async fn migrate(&self, data: &'static str, keys: &'static str) -> Result<(), StoreError> {
        tokio::try_join!(migrate(data, &self.data, &SQLITE.data), migrate(keys, &self.keys, &SQLITE.keys)).map(drop)
    }

    /// Who folds the write-ahead log of the data.
    pub(crate) fn folder(&self) -> Folder {
        Folder::new(self.data.clone(), Sizes::default())
    }

    /// Connections that read the data.
    pub(crate) fn readers(&self) -> Pool {
        Pool::Sqlite(lasting(READERS).connect_lazy_with(self.data.clone().read_only(true)))
    }

    /// The one connection to the keys.
    pub(crate) fn keys(&self) -> Pool {
        Pool::Sqlite(lasting(1).connect_lazy_with(self.keys.clone()))
    }

    /// Connections to the data and to the keys, each in a transaction that sees the moment of its first statement.
    pub(crate) async fn still(&self) -> Result<(Connection, Connection), sqlx::Error> {
        let (mut data, mut keys) = (self.data.clone().connect().await?, self.keys.clone().connect().await?);
        for connection in [&mut data, &mut keys] {
            sqlx::raw_sql("PRAGMA query_only = ON; BEGIN").execute(connection).await?;
        }
        Ok((Connection::Sqlite(data), Connection::Sqlite(keys)))
    }

    /// A connection that writes to the data, prepared by `first`.
    pub(crate) async fn writer(&self, first: &'static str) -> Result<Connection, sqlx::Error> {
        let mut connection = self.data.connect().await?;
        sqlx::raw_sql(first).execute(&mut connection).await?;
        Ok(Connection::Sqlite(connection))
    }
}

fn lasting(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// A commit is on disk when it answers (`synchronous=FULL`), references are enforced, sorting needs no files, and what is
/// deleted or written over is overwritten in the file: a wrapped key, or a value as it was under an older key.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", PAGE_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("secure_delete", "ON")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn migrate(name: &'static str, options: &SqliteConnectOptions, migrator: &Migrator) -> Result<(), StoreError> {
    let of = |error: sqlx::Error| StoreError::of(name, &error);
    let mut connection = options.connect().await.map_err(of)?;
    migrator.run(&mut connection).await.map_err(|error| StoreError::of_migration(name, &error))?;
    sqlx::Connection::close(connection).await.map_err(of)
}

/// Writes the database behind a connection anew. What is deleted is overwritten where it lay, but where rows were moved from
/// page to page, bytes of them stay between those in use, until others take their place.
pub(crate) async fn write_anew(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let done = sqlx::raw_sql("VACUUM").execute(connection).await;
    done.map(drop).map_err(|error| StoreError::of("database", &error))
}

/// The same for one that is small enough for writers to wait.
pub(crate) async fn write_anew_if_small(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let bytes: Result<(i64,), _> = sqlx::query_as(size).fetch_one(&mut *connection).await;
    let (bytes,) = bytes.map_err(|error| StoreError::of("database", &error))?;
    if bytes > WRITTEN_ANEW { Ok(()) } else { write_anew(connection).await }
}

/// Empties the write-ahead log behind a connection (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>).
pub(crate) async fn empty_log(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let done: Result<(i64, i64, i64), _> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await;
    match done.map_err(|error| StoreError::of("write-ahead log", &error))? {
        (0, ..) => Ok(()),
        _ => Err(StoreError::unavailable(crate::Trouble::Busy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text` lies anywhere in the file.
    fn lies_in(file: &Path, text: &[u8]) -> bool {
        std::fs::read(file).unwrap().windows(text.len()).any(|window| window == text)
    }

    /// Pages fill and are split while some of what lies on them is replaced, as keys and sealed values are.
    #[tokio::test]
    async fn nothing_deleted_stays_between_rows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small.db");
        let mut connection = options(&file).create_if_missing(true).connect().await.unwrap();
        let make = "CREATE TABLE t (id INTEGER PRIMARY KEY, old BLOB, more BLOB)";
        sqlx::raw_sql(make).execute(&mut connection).await.unwrap();
        for round in 0..40_i64 {
            for n in 0..30_i64 {
                let insert = sqlx::query("INSERT INTO t VALUES ($1, CAST('the old key' AS BLOB), zeroblob($2))");
                insert.bind(n * 1_000 + round * 7 % 40).bind(n * 7 % 90).execute(&mut connection).await.unwrap();
            }
            let grow = sqlx::query("UPDATE t SET more = zeroblob(length(more) + 60) WHERE id % 3 = $1");
            grow.bind(round % 3).execute(&mut connection).await.unwrap();
        }
        let replace = "UPDATE t SET old = CAST('replaced it' AS BLOB)";
        sqlx::raw_sql(replace).execute(&mut connection).await.unwrap();
        empty_log(&mut connection).await.unwrap();
        assert!(lies_in(&file, b"replaced it"));
        assert!(lies_in(&file, b"the old key"), "the twin: rows were moved, and overwriting them leaves bytes behind");
        write_anew_if_small(&mut connection).await.unwrap();
        empty_log(&mut connection).await.unwrap();
        assert!(lies_in(&file, b"replaced it") && !lies_in(&file, b"the old key"));
    }
}
