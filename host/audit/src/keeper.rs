//! Writes checkpoints outside the database, beside the committer: only whoever closes the log waits for that file's disk.

use std::io;

use opsiq_store::CheckpointRow;
use tokio::task::{JoinError, JoinHandle};

use crate::log::Log;
use crate::outside::CheckpointFile;

/// The file, and what goes there.
pub(crate) struct Keeper {
    /// While nothing is being written. Gone for good when there is none, or a write panicked.
    file: Option<CheckpointFile>,
    writing: Option<JoinHandle<(CheckpointFile, io::Result<()>)>>,
    /// Signed while a write went on.
    next: Vec<(Log, String)>,
}

impl Keeper {
    /// Keeps them in `file`, if there is one.
    pub(crate) fn new(file: Option<CheckpointFile>) -> Self {
        Self { file, writing: None, next: Vec::new() }
    }

    /// Begins to write what was signed, or has it written after what is being written. What cannot be written now is
    /// written with the next.
    pub(crate) async fn add(&mut self, signed: &[CheckpointRow]) {
        if self.file.is_none() && self.writing.is_none() {
            return;
        }
        let named = |row: &CheckpointRow| Some((Log::from_column(&row.log)?, row.note.clone()));
        self.next.extend(signed.iter().filter_map(named));
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.written().await;
        }
        self.begin();
    }

    /// Waits for a write that goes on, and begins the next if more was signed meanwhile; for ever when none goes on. May
    /// be dropped at any time.
    pub(crate) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let ended = writing.await;
        self.writing = None;
        self.ended(ended);
        self.begin();
    }

    /// Waits until all is written.
    pub(crate) async fn finish(&mut self) {
        while self.writing.is_some() {
            self.written().await;
        }
    }

    fn begin(&mut self) {
        if self.next.is_empty() || self.writing.is_some() {
            return;
        }
        let Some(mut file) = self.file.take() else { return };
        for (log, note) in self.next.drain(..) {
            file.add(log, note);
        }
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let written = file.write();
            (file, written)
        }));
    }

    fn ended(&mut self, ended: Result<(CheckpointFile, io::Result<()>), JoinError>) {
        match ended {
            Ok((file, written)) => {
                if let Err(error) = written {
                    tracing::error!(%error, "checkpoints cannot be kept outside the database");
                }
                self.file = Some(file);
            }
            Err(error) => tracing::error!(%error, "checkpoints are not kept outside the database any more"),
        }
    }
}
