//! A change that commits together with its audit entries.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_store::WriteTx;

use crate::error::{AuditError, OpError};

/// How long one change may take: all callers wait for it.
const CHANGE_WITHIN: Duration = Duration::from_secs(1);

/// What the committer runs: a change whose answer waits elsewhere.
pub(crate) type Change = Box<dyn for<'t> FnOnce(&'t mut WriteTx<'_>) -> BoxFuture<'t, Result<(), OpError>> + Send>;

/// Writes to be made in the transaction of the audit entries, inside a savepoint of their own: either both are durable or
/// neither is. If the operation fails, its entries are not written and the caller is told.
pub struct Op<T> {
    change: Option<Change>,
    answer: Arc<Mutex<Option<T>>>,
}

impl Op<()> {
    /// No change: entries alone.
    pub fn none() -> Self {
        Self { change: None, answer: Arc::new(Mutex::new(Some(()))) }
    }
}

impl<T: Send + 'static> Op<T> {
    /// A change. It runs on the one task that writes, so it should do nothing but write to the store; the transaction itself
    /// (commit, rollback) is not its own to end.
    ///
    /// ```no_run
    /// # use opsiq_audit::Op;
    /// # fn op(row: opsiq_store::CheckpointRow) -> Op<()> {
    /// Op::new(|tx| Box::pin(async move {
    ///     tx.checkpoint_put(&row).await?;
    ///     Ok(())
    /// }))
    /// # }
    /// ```
    pub fn new<F>(run: F) -> Self
    where
        F: for<'t> FnOnce(&'t mut WriteTx<'_>) -> BoxFuture<'t, Result<T, OpError>> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let change: Change = Box::new(move |tx| {
            let run = run(tx);
            async move {
                let value = run.await?;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                Ok(())
            }
            .boxed()
        });
        Self { change: Some(change), answer }
    }
}

/// Where the answer of a change will be once it is durable.
pub(crate) struct Answer<T>(Arc<Mutex<Option<T>>>);

impl<T> Op<T> {
    /// The change for the committer and the place of its answer for the caller.
    pub(crate) fn split(self) -> (Option<Change>, Answer<T>) {
        (self.change, Answer(self.answer))
    }
}

impl<T> Answer<T> {
    /// The answer. To be taken only after the commit.
    pub(crate) fn take(self) -> Result<T, AuditError> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answer.take().ok_or_else(|| AuditError::unavailable("the change left no answer"))
    }
}

/// Runs a change inside a savepoint. The outer error ends the whole transaction; the inner one only this change.
pub(crate) async fn run(change: Change, tx: &mut WriteTx<'_>) -> Result<Result<(), OpError>, AuditError> {
    tx.savepoint().map_err(AuditError::unavailable)?;
    // A panic in one caller's change must not end the log for all.
    let done = AssertUnwindSafe(async { change(tx).await }).catch_unwind();
    let done = tokio::time::timeout(CHANGE_WITHIN, done).await;
    let done = done.map_err(|_| AuditError::unavailable("a change did not end"))?;
    match done.unwrap_or_else(|_| Err(OpError::refused(Panicked))) {
        Ok(()) => {
            tx.release().await.map_err(AuditError::unavailable)?;
            Ok(Ok(()))
        }
        Err(OpError::Store(error)) if error.is_unavailable() => Err(AuditError::unavailable(error)),
        Err(error) => {
            tx.rollback_to().await.map_err(AuditError::unavailable)?;
            Ok(Err(error))
        }
    }
}

/// The code of a change panicked.
#[derive(Debug, thiserror::Error)]
#[error("the change failed by a fault of the host")]
struct Panicked;
