//! What happened, on disk before it is answered.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

/// An append-only file of JSON Lines, or nothing.
pub(crate) struct Ledger(Option<File>);

impl Ledger {
    /// Opens or creates the file.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, String> {
        path.map(|path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        })
        .transpose()
        .map(Self)
    }

    /// Adds one line and waits until the disk has it.
    pub(crate) fn append(&mut self, line: &Value) -> std::io::Result<()> {
        let Some(file) = &mut self.0 else {
            return Ok(());
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }
}
