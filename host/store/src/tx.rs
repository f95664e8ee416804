//! The one writer and its transactions.
//!
//! Why one: `SQLite` has one writer anyway, and audit entries of many callers must share one commit. After trouble in the
//! middle of a transaction the engine may already have rolled it back, and a further statement would then commit on its
//! own; so a transaction that met trouble refuses every further statement and its commit, and the next one starts by
//! rolling back or reconnecting. That is also how the host recovers once a full disk has space again.
//!
//! On a server other nodes write as well. What two of them must not do at once they do while holding the logs it is recorded
//! in, see [`WriteTx::hold_logs`].

use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::StoreError;
use crate::db::{Connection, Dialect, Query, sqlite};
use crate::engine::Engine;
use crate::error::Trouble;
use crate::nodes::NodeEpoch;

const TRANSACTION: &str = "transaction";
const SAVEPOINT: &str = "savepoint";
const DATABASE: &str = "database";

/// The writer's connection and whether a transaction may be open on it.
pub(crate) struct Writer {
    engine: Engine,
    slot: Mutex<Slot>,
    /// Told of every commit.
    wrote: Notify,
    /// As what this node registered, and whether it knows that others gave it up since.
    pub(crate) node: NodeEpoch,
}

struct Slot {
    connection: Option<Connection>,
    /// Set before `BEGIN`, cleared when `COMMIT` or `ROLLBACK` has answered. Stays set when a caller is cancelled.
    open: bool,
}

impl Writer {
    /// A writer that connects at the first transaction.
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            slot: Mutex::new(Slot { connection: None, open: false }),
            wrote: Notify::new(),
            node: NodeEpoch::default(),
        }
    }

    pub(crate) async fn begin(&self) -> Result<WriteTx<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        slot.settle().await;
        if slot.connection.is_none() {
            slot.connection = Some(self.connect().await?);
        }
        Ok(WriteTx {
            writer: self,
            slot,
            troubled: false,
            unset: 0,
            undoable: false,
            written: false,
            accepted: Vec::new(),
        })
    }

    /// What makes connections.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Connects already, since the first transaction would wait for it. What goes wrong is told then.
    pub(crate) async fn connect_early(&self) {
        let mut slot = self.slot.lock().await;
        if slot.connection.is_none() {
            slot.connection = self.connect().await.ok();
        }
    }

    /// Waits until something was committed since the last time.
    pub(crate) async fn wrote(&self) {
        self.wrote.notified().await;
    }

    /// Keeps transactions from beginning, once the one in progress has ended, until it is dropped.
    pub(crate) async fn hold(&self) -> impl Sized + '_ {
        self.slot.lock().await
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        self.engine.writer().await.map_err(|error| StoreError::of(DATABASE, &error))
    }

    /// Ends what a dropped transaction left open.
    pub(crate) async fn let_go(&self) {
        self.slot.lock().await.settle().await;
    }

    /// Writes the database anew if it is small, folds the write-ahead log into it and empties its file.
    pub(crate) async fn leave_no_trace(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        slot.settle().await;
        match &mut slot.connection {
            Some(connection) => leave_no_trace(connection).await,
            None => leave_no_trace(&mut self.connect().await?).await,
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

/// A server keeps its own log, of which it lets go in its own time.
async fn leave_no_trace(connection: &mut Connection) -> Result<(), StoreError> {
    match connection {
        Connection::Sqlite(connection) => {
            sqlite::write_anew_if_small(connection).await?;
            sqlite::empty_log(connection).await
        }
        Connection::Postgres(_) => Ok(()),
    }
}

impl Slot {
    /// Ends a transaction that was left open; drops the connection when that fails, which ends it as well.
    async fn settle(&mut self) {
        if !self.open {
            return;
        }
        if let Some(connection) = &mut self.connection
            && connection.control("ROLLBACK").await.is_err()
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
    writer: &'s Writer,
    slot: MutexGuard<'s, Slot>,
    troubled: bool,
    /// Points asked for since the last write. They cost nothing until there is something to go back from: many changes
    /// turn out to write nothing.
    unset: u32,
    /// Whether a point is set from which the last statement can be undone. `PostgreSQL` needs one: there a violated constraint
    /// undoes the whole transaction, or all since the last point.
    undoable: bool,
    /// Whether a statement ran.
    written: bool,
    /// Owners whose head is to be written anew although no row of theirs may be touched.
    pub(crate) accepted: Vec<String>,
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
        self.control(SAVEPOINT, "RELEASE SAVEPOINT op").await
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
        match self.dialect() {
            Dialect::Sqlite => {
                self.control(SAVEPOINT, "ROLLBACK TO SAVEPOINT op").await?;
                self.release().await
            }
            Dialect::Postgres => self.control(SAVEPOINT, "ROLLBACK TO SAVEPOINT op; RELEASE SAVEPOINT op").await,
        }
    }

    /// Makes everything durable: it is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. Nothing was written, unless the connection broke at that moment: then only the rows can tell,
    /// once another transaction holds what this one held.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.has_begun() {
            // `PostgreSQL` answers the commit of a transaction that failed with success, and rolls back. Any other statement
            // fails, and the commit after it is then not looked at.
            let commit = self.dialect().pick("COMMIT", "SELECT; COMMIT");
            self.control(TRANSACTION, commit).await?;
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
            self.writer.wrote.notify_one();
        }
    }

    /// As what this node registered.
    pub(crate) fn node_epoch(&self) -> &NodeEpoch {
        &self.writer.node
    }

    /// Which engine answers.
    pub(crate) fn dialect(&self) -> Dialect {
        self.writer.engine.dialect()
    }

    fn untroubled(&mut self) -> Result<&mut Connection, StoreError> {
        if self.troubled {
            return Err(StoreError::unavailable(Trouble::Ended));
        }
        self.slot.connection.as_mut().ok_or(StoreError::unavailable(Trouble::Ended))
    }

    /// The connection, for reading within the transaction. Results go through [`WriteTx::noting`].
    pub(crate) async fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if !self.has_begun() {
            self.begin_with(self.dialect().pick("BEGIN IMMEDIATE", "BEGIN")).await?;
        }
        self.untroubled()
    }

    /// Begins with this statement, which must be its first.
    pub(crate) async fn begin_with(&mut self, begin: &'static str) -> Result<(), StoreError> {
        self.untroubled()?;
        if self.has_begun() {
            return self.noting(Err(StoreError::unavailable(Trouble::Ended)));
        }
        self.slot.open = true;
        let of = |error: sqlx::Error| StoreError::of(TRANSACTION, &error);
        let mut done = self.untroubled()?.control(begin).await.map_err(of);
        if matches!(done, Err(StoreError::Unavailable { trouble: Trouble::Away })) {
            // The server may have ended the connection while nobody used it. Nothing was asked of it yet.
            self.slot.connection = None;
            done = match self.writer.connect().await {
                Ok(connection) => self.slot.connection.insert(connection).control(begin).await.map_err(of),
                Err(error) => Err(error),
            };
        }
        self.noting(done)
    }

    /// Runs a statement that only moves the transaction on.
    async fn control(&mut self, what: &'static str, statement: &'static str) -> Result<(), StoreError> {
        self.undoable = false;
        let done = self.connection().await?.control(statement).await;
        self.noting(done.map_err(|error| StoreError::of(what, &error)))
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

    /// Sets the points that were asked for, and one to undo the next statement from, where a statement that fails does more than
    /// undo itself.
    async fn set_points(&mut self) -> Result<(), StoreError> {
        while self.unset > 0 {
            let set = if self.undoable { "RELEASE SAVEPOINT statement; SAVEPOINT op" } else { "SAVEPOINT op" };
            self.control(SAVEPOINT, set).await?;
            self.unset -= 1;
        }
        if self.dialect() == Dialect::Postgres {
            let set =
                if self.undoable { "RELEASE SAVEPOINT statement; SAVEPOINT statement" } else { "SAVEPOINT statement" };
            self.control(SAVEPOINT, set).await?;
            self.undoable = true;
        }
        Ok(())
    }

    /// Runs a statement about `what`; answers how many rows it changed.
    pub(crate) async fn run(&mut self, what: &'static str, query: Query<'_>) -> Result<u64, StoreError> {
        self.set_points().await?;
        self.written = true;
        let result = query.execute(self.connection().await?).await;
        let result = self.noting(result.map_err(|error| StoreError::of(what, &error)));
        if result.is_err() && self.undoable && !self.troubled {
            let undone = self.untroubled()?.control("ROLLBACK TO SAVEPOINT statement").await;
            self.noting(undone.map_err(|error| StoreError::of(what, &error)))?;
        }
        result
    }

    /// Runs a statement that begins the transaction unless it has begun, and commits it.
    pub(crate) async fn run_whole(&mut self, what: &'static str, query: Query<'_>) -> Result<(), StoreError> {
        self.untroubled()?;
        self.slot.open = true;
        let result = query.execute(self.untroubled()?).await;
        self.noting(result.map_err(|error| StoreError::of(what, &error)))?;
        self.ended();
        Ok(())
    }

    /// Runs a statement that must change exactly one row of `what`, else it changed or vanished since it was read.
    pub(crate) async fn run_one(&mut self, what: &'static str, query: Query<'_>) -> Result<(), StoreError> {
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
