//! Living among other processes: being interrupted, and asking a person.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};
use crate::text;

/// How long background work may still take once the command has ended.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// The user's wish to end: SIGINT or SIGTERM.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on, so that there is no moment in which a signal ends the process half way.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::internal("cannot listen for signals", &error));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Ends with the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs `work` until it ends or the user interrupts. Work that is dropped half way is not undone here: the audit log ends
/// its entries as `interrupted`, and `opsiq doctor` lists them.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        ended = work => ended,
        () = signals.next() => Err(interrupted()),
    }
}

/// How a command ends that the user stopped.
pub(crate) fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "cli.interrupted", "interrupted")
        .fix("opsiq doctor lists what had begun and did not end")
}

/// Whether there is a person to ask.
pub(crate) fn someone_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a yes-or-no question on the terminal; anything but `y` or `yes` is no.
pub(crate) async fn agrees(question: &str) -> Result<bool, Failure> {
    let _ = write!(io::stderr().lock(), "{} [y/N] ", text::line(question));
    let (answer, answered) = tokio::sync::oneshot::channel();
    // A thread of its own: it may wait for ever, and an interrupted command does not wait for it.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = answer.send(io::stdin().read_line(&mut line).map(|_| line));
    });
    match answered.await {
        Ok(Ok(line)) => Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")),
        Ok(Err(error)) => Err(Failure::internal("cannot read the answer", &error)),
        Err(_) => Ok(false),
    }
}
