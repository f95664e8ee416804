//! Living among other processes: being interrupted, and reading what a user types or pipes in.

use std::time::Duration;

use crate::failure::{Exit, Failure};

/// How long background work may still take once the command has ended.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Runs `work` until it ends or the user interrupts (SIGINT, SIGTERM). Work that is dropped half way is not undone here: the
/// audit log finishes its entries as `interrupted`, and `opsiq doctor` lists them.
pub(crate) async fn until_interrupted(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = work => ended,
        Ok(()) = tokio::signal::ctrl_c() => Err(interrupted()),
        () = terminate => Err(interrupted()),
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "cli.interrupted", "interrupted")
        .fix("opsiq doctor lists what had begun and did not end")
}
