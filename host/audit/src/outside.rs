//! Checkpoints kept outside the database, and what they show when the host starts.
//!
//! Why: whoever puts yesterday's database back puts yesterday's checkpoints back with it, all of it authentic. Only something
//! that was not put back can tell. So every signed checkpoint also goes to one file elsewhere: by default beside the data
//! directory, better on another volume.
//!
//! A line per checkpoint is appended and flushed once a log that grew is signed, about once a second; the last line of a log
//! counts. A line that a crash cut off is none.
//!
//! Fails closed: a missing file is an error, since removing it would hide what it shows.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _, PermissionsExt as _};
use opsiq_store::Store;
use opsiq_vault::TenantVault;
use serde::{Deserialize, Serialize};

use crate::error::AuditError;
use crate::head::Head;
use crate::key::CheckpointKey;
use crate::log::Log;

/// Longest file read, in bytes: a hundred thousand logs.
const MOST: u64 = 64 << 20;
/// Lines beyond one a log before the file is written anew.
const SPARE_LINES: usize = 256;

/// Why the file of checkpoints does not serve.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFileError {
    /// There is none.
    #[error("the checkpoint file {} is missing: without it nobody can tell whether the database is older than it was", .0.display())]
    Missing(PathBuf),
    /// It holds checkpoints already, where a new one was to be.
    #[error("{} holds the checkpoints of another host, perhaps of one whose data directory was removed", .0.display())]
    Taken(PathBuf),
    /// Others may write it.
    #[error("the checkpoint file {} has mode {mode:o}: others may change it; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line of it is not one of the host's.
    #[error("line {line} of the checkpoint file {} is not one the host wrote", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Reading or writing failed.
    #[error("the checkpoint file {} cannot be used: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    log: String,
    note: String,
}

/// The file of checkpoints.
pub struct CheckpointFile {
    path: PathBuf,
    dir: Dir,
    name: PathBuf,
    file: File,
    kept: BTreeMap<Log, String>,
    /// Lines in the file.
    lines: usize,
    /// Checkpoints that are not in the file yet.
    waiting: BTreeMap<Log, String>,
}

impl CheckpointFile {
    /// Makes an empty file of mode 0600 at `path`, unless there is one.
    ///
    /// # Errors
    /// [`CheckpointFileError::Taken`], [`CheckpointFileError::Io`].
    pub fn create(path: &Path) -> Result<(), CheckpointFileError> {
        let failed = |error| CheckpointFileError::Io { path: path.to_owned(), error };
        let (dir, name) = place(path).map_err(failed)?;
        let file = dir.open_with(&name, OpenOptions::new().append(true).create(true).mode(0o600)).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > 0 {
            return Err(CheckpointFileError::Taken(path.to_owned()));
        }
        file.sync_all().and_then(|()| sync(&dir)).map_err(failed)
    }

    /// Opens the file at `path` and reads what it keeps.
    ///
    /// # Errors
    /// See [`CheckpointFileError`].
    pub fn open(path: &Path) -> Result<Self, CheckpointFileError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => CheckpointFileError::Missing(path.to_owned()),
            _ => CheckpointFileError::Io { path: path.to_owned(), error },
        };
        let (dir, name) = place(path).map_err(failed)?;
        let file = dir.open_with(&name, OpenOptions::new().read(true).append(true)).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(CheckpointFileError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        (&file).take(MOST).read_to_string(&mut text).map_err(failed)?;
        let mut kept = BTreeMap::new();
        let mut lines = 0;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for (at, line) in text[..whole].lines().enumerate() {
            let read = || -> Option<(Log, String)> {
                let Line { log, note } = serde_json::from_str(line).ok()?;
                Some((log.parse().ok()?, note))
            };
            let (log, note) = read().ok_or(CheckpointFileError::Line { path: path.to_owned(), line: at + 1 })?;
            kept.insert(log, note);
            lines = at + 1;
        }
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), dir, name, file, kept, lines, waiting: BTreeMap::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest checkpoint of each log, as a signed note.
    pub fn kept(&self) -> &BTreeMap<Log, String> {
        &self.kept
    }

    /// Takes a checkpoint to be written.
    pub(crate) fn add(&mut self, log: Log, note: String) {
        self.waiting.insert(log, note);
    }

    /// Writes what waits; it is on disk when this returns.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&encode(&self.waiting)?).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stand before the next.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.lines += self.waiting.len();
        self.kept.append(&mut self.waiting);
        if self.lines > self.kept.len() + SPARE_LINES {
            self.renew()?;
        }
        Ok(())
    }

    /// Writes the file anew with one line a log.
    fn renew(&mut self) -> io::Result<()> {
        let new = self.name.with_added_extension("new");
        let mut file =
            self.dir.open_with(&new, OpenOptions::new().write(true).create(true).truncate(true).mode(0o600))?;
        file.write_all(&encode(&self.kept)?)?;
        file.sync_all()?;
        self.dir.rename(&new, &self.dir, &self.name)?;
        sync(&self.dir)?;
        self.file = self.dir.open_with(&self.name, OpenOptions::new().read(true).append(true))?;
        self.lines = self.kept.len();
        Ok(())
    }
}

impl std::fmt::Debug for CheckpointFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckpointFile({}, {} logs)", self.path.display(), self.kept.len())
    }
}

fn encode(notes: &BTreeMap<Log, String>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (log, note) in notes {
        serde_json::to_writer(&mut text, &Line { log: log.to_string(), note: note.clone() })?;
        text.push(b'\n');
    }
    Ok(text)
}

/// The folder of a path, opened, and the name in it.
fn place(path: &Path) -> io::Result<(Dir, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Dir::open_ambient_dir(parent, ambient_authority())?, PathBuf::from(name)))
}

fn sync(dir: &Dir) -> io::Result<()> {
    dir.open(".")?.sync_all()
}

/// Holds everything against what was last written and signed: every guarded row against the head of its owner's rows, every
/// log and head against the checkpoint kept outside. Answers what is wrong, by log: nothing when all is well.
///
/// # Errors
/// [`AuditError::Store`] when reading fails.
pub async fn examine(
    store: &Store,
    key: &CheckpointKey,
    host: &TenantVault,
    outside: Option<&CheckpointFile>,
) -> Result<BTreeMap<Log, Vec<String>>, AuditError> {
    let mut wrong: BTreeMap<Log, Vec<String>> = BTreeMap::new();
    for (owner, faults) in store.check_rows(host).await? {
        let log = Log::from_column(&owner).unwrap_or(Log::Host);
        wrong.entry(log).or_default().extend(faults.iter().map(ToString::to_string));
    }
    let Some(outside) = outside else { return Ok(wrong) };
    for (log, note) in outside.kept() {
        let held = match Head::load(store, key, log).await {
            Ok(head) => head.hold(store, key, log, note).await,
            Err(error) => Err(error),
        };
        match held {
            Ok(_) => {}
            Err(AuditError::Tampered { seq, why }) => {
                let at = outside.path().display();
                let told = format!("older than the checkpoint in {at}, or changed: at entry {seq}, {why}");
                wrong.entry(log.clone()).or_default().push(told);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests;
