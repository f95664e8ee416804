//! The one writer and its transactions.
//!
//! Why one: `SQLite` has one writer anyway, and audit entries of many callers must share one commit. After trouble in the
//! middle of a transaction the engine may already have rolled it back, and a further statement would then commit on its
//! own; so a transaction that met trouble refuses every further statement and its commit, and the next one starts by
//! rolling back or reconnecting. That is also how the host recovers once a full disk has space again.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::StoreError;
use crate::error::Trouble;
use crate::root_rotation::empty_log;
use crate::rows::TRIGGERS;

const TRANSACTION: &str = "transaction";

/// The writer's connection and whether a transaction may be open on it.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
    /// Told of every commit.
    wrote: Notify,
}

struct Slot {
    connection: Option<SqliteConnection>,
    /// Set before `BEGIN`, cleared when `COMMIT` or `ROLLBACK` has answered. Stays set when a caller is cancelled.
    open: bool,
}

impl Writer {
    /// A writer that connects at the first transaction.
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, slot: Mutex::new(Slot { connection: None, open: false }), wrote: Notify::new() }
    }

    pub(crate) async fn begin(&self) -> Result<WriteTx<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        slot.settle().await;
        if slot.connection.is_none() {
            slot.connection = Some(self.connect().await.map_err(|error| StoreError::of("database", &error))?);
        }
        Ok(WriteTx { slot, wrote: &self.wrote, troubled: false, unset: 0, written: false })
    }

    /// Waits until something was committed since the last time.
    pub(crate) async fn wrote(&self) {
        self.wrote.notified().await;
    }

    /// Keeps transactions from beginning, once the one in progress has ended, until it is dropped.
    pub(crate) async fn hold(&self) -> impl Sized + '_ {
        self.slot.lock().await
    }

    /// A connection that notices which guarded rows it changes.
    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql(*TRIGGERS).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Folds the write-ahead log into the database and empties its file.
    pub(crate) async fn empty_log(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        slot.settle().await;
        match &mut slot.connection {
            Some(connection) => empty_log(connection).await,
            None => empty_log(&mut self.connect().await.map_err(|error| StoreError::of("database", &error))?).await,
        }
    }

    /// Ends the connection, rolling back what was not committed.
    pub(crate) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        slot.settle().await;
        if let Some(connection) = slot.connection.take() {
            // nothing is open on it any more, so there is nothing to lose
            let _ = connection.close().await;
        }
    }
}

impl Slot {
    /// Ends a transaction that was left open; drops the connection when that fails, which ends it as well.
    async fn settle(&mut self) {
        if !self.open {
            return;
        }
        if let Some(connection) = &mut self.connection
            && sqlx::query("ROLLBACK").execute(connection).await.is_err()
        {
            self.connection = None;
        }
        self.open = false;
    }
}

/// The write transaction in progress; there is one at a time. Dropped without [`WriteTx::commit`], nothing of it
/// remains. It begins with its first statement, and may end with its last: a statement goes to the connection's own thread
/// and back, so one that also begins and commits costs a third.
pub struct WriteTx<'s> {
    slot: MutexGuard<'s, Slot>,
    wrote: &'s Notify,
    troubled: bool,
    /// Points asked for since the last write. They cost nothing until there is something to go back from: many changes
    /// turn out to write nothing.
    unset: u32,
    /// Whether a statement ran.
    written: bool,
}

impl WriteTx<'_> {
    /// Marks a point to go back to. Points nest.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn savepoint(&mut self) -> Result<(), StoreError> {
        self.untroubled()?;
        self.unset += 1;
        Ok(())
    }

    /// Keeps what was done since the last point, and forgets the point.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn release(&mut self) -> Result<(), StoreError> {
        if self.unset > 0 {
            self.unset -= 1;
            return Ok(());
        }
        self.run("savepoint", sqlx::query("RELEASE SAVEPOINT op")).await.map(drop)
    }

    /// Undoes what was done since the last point, and forgets the point.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when trouble has already undone the whole transaction.
    pub async fn rollback_to(&mut self) -> Result<(), StoreError> {
        if self.unset > 0 {
            self.untroubled()?;
            self.unset -= 1;
            return Ok(());
        }
        self.run("savepoint", sqlx::query("ROLLBACK TO SAVEPOINT op")).await?;
        self.release().await
    }

    /// Makes everything durable: it is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; nothing was written.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.has_begun() {
            self.run(TRANSACTION, sqlx::query("COMMIT")).await?;
        }
        self.ended();
        Ok(())
    }

    /// Undoes everything now, rather than when the next transaction begins.
    pub async fn rollback(mut self) {
        self.slot.settle().await;
    }

    /// Whether anything may have changed.
    pub(crate) fn has_written(&self) -> bool {
        self.written
    }

    /// Whether a statement of it ran, or was about to.
    pub(crate) fn has_begun(&self) -> bool {
        self.slot.open
    }

    /// It was committed.
    pub(crate) fn ended(&mut self) {
        if std::mem::take(&mut self.slot.open) {
            self.wrote.notify_one();
        }
    }

    fn untroubled(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if self.troubled {
            return Err(StoreError::unavailable(Trouble::Ended));
        }
        self.slot.connection.as_mut().ok_or(StoreError::unavailable(Trouble::Ended))
    }

    /// The connection, for reading within the transaction. Results go through [`WriteTx::noting`].
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if !self.has_begun() {
            self.untroubled()?;
            self.slot.open = true;
            let begun = sqlx::query("BEGIN IMMEDIATE").execute(self.untroubled()?).await;
            self.noting(begun.map_err(|error| StoreError::of(TRANSACTION, &error)))?;
        }
        self.untroubled()
    }

    /// Passes `result` on, and refuses everything further when it tells of trouble. A violated constraint undoes only
    /// its own statement, so it is none.
    pub(crate) fn noting<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && !matches!(error, StoreError::Conflict { .. } | StoreError::NotFound { .. })
        {
            self.troubled = true;
        }
        result
    }

    /// Runs a statement about `what`; answers how many rows it changed.
    pub(crate) async fn run(
        &mut self,
        what: &'static str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<u64, StoreError> {
        while self.unset > 0 {
            let set = sqlx::query("SAVEPOINT op").execute(self.connection().await?).await;
            self.noting(set.map_err(|error| StoreError::of("savepoint", &error)))?;
            self.unset -= 1;
        }
        self.written = true;
        let result = query.execute(self.connection().await?).await;
        self.noting(result.map(|done| done.rows_affected()).map_err(|error| StoreError::of(what, &error)))
    }

    /// Runs a statement that begins the transaction unless it has begun, and commits it.
    pub(crate) async fn run_whole(
        &mut self,
        what: &'static str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<(), StoreError> {
        self.untroubled()?;
        self.slot.open = true;
        let result = query.execute(self.untroubled()?).await;
        self.noting(result.map_err(|error| StoreError::of(what, &error)))?;
        self.ended();
        Ok(())
    }

    /// Runs a statement that must change exactly one row of `what`, else it changed or vanished since it was read.
    pub(crate) async fn run_one(
        &mut self,
        what: &'static str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<(), StoreError> {
        match self.run(what, query).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict { what }),
        }
    }
}

impl std::fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTx").field("troubled", &self.troubled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
