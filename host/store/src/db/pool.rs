//! Connections, many or one, to either engine.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Postgres, Sqlite};

use super::Dialect;

/// How long a statement on the writer's connection to a server may take before the connection is given up. The server gives up
/// earlier; this is for one that does not answer at all.
const WRITE_WITHIN: Duration = Duration::from_secs(3);
/// The same for reads.
const READ_WITHIN: Duration = Duration::from_secs(35);

/// Connections to share.
#[derive(Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One connection.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A transaction on a connection of a pool; rolled back when dropped.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Where a statement runs.
pub(crate) enum Target<'c> {
    Sqlite(&'c mut SqliteConnection),
    SqlitePool(&'c SqlitePool),
    Postgres(&'c mut PgConnection),
    PostgresPool(&'c PgPool),
}

impl Pool {
    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => Transaction::Postgres(read(pool.begin()).await?),
        })
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => Box::pin(pool.close()).await,
        }
    }

    /// Which engine answers.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

impl Transaction {
    /// Makes it durable.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => within(WRITE_WITHIN, tx.commit()).await,
        }
    }
}

impl Connection {
    /// Runs a statement that has no values and answers nothing.
    pub(crate) async fn control(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => sqlx::query(statement).execute(connection).await.map(drop),
            // One message there and back, and more than one statement where that saves a round trip.
            Self::Postgres(connection) => {
                within(WRITE_WITHIN, sqlx::raw_sql(statement).execute(connection)).await.map(drop)
            }
        }
    }

    /// Ends the connection.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => within(WRITE_WITHIN, connection.close()).await,
        }
    }
}

/// An answer of a server, which is waited for on the heap: what waits for `SQLite` is no larger for it.
type Answer<'a, T> = BoxFuture<'a, Result<T, sqlx::Error>>;

/// Waits for a server, and not for ever.
fn within<'a, T: Send + 'a>(
    time: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> Answer<'a, T> {
    let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    Box::pin(async move { tokio::time::timeout(time, answer).await.unwrap_or_else(late) })
}

/// As [`within`], for a statement on one connection.
pub(super) fn write<'a, T: Send + 'a>(
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> Answer<'a, T> {
    within(WRITE_WITHIN, answer)
}

/// As [`within`], for a statement on a connection of a pool.
pub(super) fn read<'a, T: Send + 'a>(
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> Answer<'a, T> {
    within(READ_WITHIN, answer)
}

impl<'c> From<&'c Pool> for Target<'c> {
    fn from(pool: &'c Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => Self::SqlitePool(pool),
            Pool::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'c> From<&'c mut Connection> for Target<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::Sqlite(connection) => Self::Sqlite(connection),
            Connection::Postgres(connection) => Self::Postgres(connection),
        }
    }
}

impl<'c> From<&'c mut Transaction> for Target<'c> {
    fn from(tx: &'c mut Transaction) -> Self {
        match tx {
            Transaction::Sqlite(tx) => Self::Sqlite(&mut *tx),
            Transaction::Postgres(tx) => Self::Postgres(&mut *tx),
        }
    }
}
