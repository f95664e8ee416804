//! Folding the write-ahead log of the data into the database, beside the writer.
//!
//! Why not in a commit, as the engine does it by itself: folding thousands of pages takes the disk for tens of
//! milliseconds, and whoever happens to commit then, and everybody who waits for that commit, would pay for what others
//! wrote. Here a connection of its own folds while commits go on, a few MiB at a time, since commits and folding share a
//! disk. A fold that nothing is added to meanwhile lets the next commit begin the log anew. Where commits never pause, a log
//! that has become long is folded to its end with the writer held, between two transactions; and one that grows faster than
//! it is folded holds the writer until it is. So its file is bounded.
//!
//! A commit is as durable as ever, since it is in the log on disk before it answers; what is folded is flushed before the
//! log is begun anew, whoever folds (<https://sqlite.org/wal.html#ckpt>).

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::StoreError;
use crate::tx::Writer;

/// How long a log may be, in pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// So many are folded at once. Pages at the end of a log are written again with every commit, so the more, the fewer are
    /// folded twice; and the longer the disk is busy.
    fold: i64,
    /// For a log of this length the writer may wait,
    long: i64,
    /// if no more than these are left over: a few milliseconds.
    rest: i64,
    /// For one of this length it waits whatever is left over.
    most: i64,
}

impl Default for Sizes {
    /// With pages of 8 KiB: 4 MiB at once, a file of 64 MiB for commits without pause, 128 MiB at most.
    fn default() -> Self {
        Self { fold: 512, long: 8_000, rest: 128, most: 16_000 }
    }
}

/// How long a log that has become too long may keep the writer waiting for readers of its beginning.
const READERS: Duration = Duration::from_millis(300);

/// How soon after a commit the log is looked at, so that a thousand commits cost a few looks.
const LOOK: Duration = Duration::from_millis(50);

const WHAT: &str = "write-ahead log";

/// The connection that folds. Locking it keeps everybody else from folding: the engine lets one at a time, and refuses the
/// other.
pub(crate) struct Folder {
    options: SqliteConnectOptions,
    sizes: Sizes,
    connection: Mutex<Option<SqliteConnection>>,
}

/// How long the log is, and how much of it is folded, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length {
    written: i64,
    folded: i64,
}

impl Length {
    fn left(self) -> i64 {
        self.written - self.folded
    }
}

impl Folder {
    /// One that connects at the first need.
    pub(crate) fn new(options: SqliteConnectOptions, sizes: Sizes) -> Self {
        Self { options: options.busy_timeout(READERS), sizes, connection: Mutex::new(None) }
    }

    /// Keeps anybody from folding while it is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, Option<SqliteConnection>> {
        self.connection.lock().await
    }

    /// Ends the connection and who uses it, once nothing is being folded.
    pub(crate) async fn close(&self, folding: &mut Folding) {
        let mut slot = self.hold().await;
        folding.stop().await;
        if let Some(connection) = slot.take() {
            // It holds nothing that could be lost.
            let _ = connection.close().await;
        }
    }

    /// Folds the log if it is long enough. After an error the next look begins with a new connection.
    async fn look(&self, writer: &Writer) -> Result<(), StoreError> {
        let mut slot = self.hold().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|error| StoreError::of(WHAT, &error))?,
        };
        let Sizes { fold: enough, long, rest, most } = self.sizes;
        if length(&mut connection).await?.left() >= enough {
            let now = fold(&mut connection).await?;
            if now.written >= most {
                let _writer = writer.hold().await;
                restart(&mut connection).await?;
            } else if now.written >= long && now.left() <= rest {
                let _writer = writer.hold().await;
                fold(&mut connection).await?;
            }
        }
        *slot = Some(connection);
        Ok(())
    }
}

/// Looks, without folding.
async fn length(connection: &mut SqliteConnection) -> Result<Length, StoreError> {
    ask(connection, "PRAGMA wal_checkpoint(NOOP)").await
}

/// Folds what no reader needs as it was, without waiting for anybody.
async fn fold(connection: &mut SqliteConnection) -> Result<Length, StoreError> {
    ask(connection, "PRAGMA wal_checkpoint(PASSIVE)").await
}

/// Folds all of it, and lets the next commit begin it anew: waits for readers of what it holds, which are cut short by
/// nobody, and gives up when they take long.
async fn restart(connection: &mut SqliteConnection) -> Result<Length, StoreError> {
    ask(connection, "PRAGMA wal_checkpoint(RESTART)").await
}

async fn ask(connection: &mut SqliteConnection, statement: &'static str) -> Result<Length, StoreError> {
    let (_, written, folded): (i64, i64, i64) =
        sqlx::query_as(statement).fetch_one(connection).await.map_err(|error| StoreError::of(WHAT, &error))?;
    Ok(Length { written, folded })
}

/// Folds beside a writer until it is dropped.
pub(crate) struct Folding(Option<JoinHandle<()>>);

impl Folding {
    pub(crate) fn start(folder: Arc<Folder>, writer: Arc<Writer>) -> Self {
        Self(Some(tokio::spawn(async move {
            let mut failing = false;
            loop {
                writer.wrote().await;
                tokio::time::sleep(LOOK).await;
                let looked = folder.look(&writer).await;
                if let Err(error) = &looked
                    && !failing
                {
                    tracing::warn!(%error, "the write-ahead log is not folded; it grows until it can be");
                }
                failing = looked.is_err();
            }
        })))
    }

    /// Ends it, unless it has ended.
    pub(crate) async fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // It was told to end, so how it ended says nothing.
            let _ = task.await;
        }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
