//! Backups: one file of everything that is kept, made while calls go on, and of no use to anybody without two keys.
//!
//! - What is copied is one moment of data and wrapped keys together, see [`opsiq_store::Store::dump`].
//! - It is sealed under the key of an epoch, which is kept apart and destroyed within thirty days (`epochs`), and signed, so that a
//!   machine without any key tells whether it is whole and whose ([`file`]).
//! - Restoring ([`restore`]) makes a new data directory, destroys again what was erased since, and is on record.
//!
//! The operator makes them. One is made at a time.

mod file;
mod restore;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use opsiq_audit::{CheckpointKey, Kind, Log, field, sign_backup};
use opsiq_store::{DumpCounts, DumpProgress};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use file::BackupHeader;
use file::Writer;
pub use restore::{RestoreOptions, RestoredView};
pub use verify::{BackupVerified, VerifyOptions};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::config;
use crate::core::{Core, now_ms};
use crate::epochs::LIFE_MS;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// The act, as it is recorded and as doctor looks for it.
pub(crate) const ACT: &str = "backup";
/// Pieces that wait to be written.
const WAITING: usize = 4;

/// How a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is there.
    Done,
    /// It is not there.
    Failed,
}

/// A backup that is being made, or the one that was made last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupView {
    /// How it stands.
    pub state: BackupState,
    /// The file.
    pub file: PathBuf,
    /// When it was begun: it holds what was there then. In milliseconds since 1970.
    pub made_ms: i64,
    /// Rows so far, or of all tables.
    pub rows: u64,
    /// Bytes before sealing so far; of the whole file once it is there.
    pub bytes: u64,
    /// Plugin files.
    pub plugins: u64,
    /// Registered plugins whose files were missing or damaged and are not in it.
    pub missing: u64,
    /// The id of the root key it needs.
    pub root: String,
    /// The id of the epoch key it needs.
    pub epoch: String,
    /// When that key is destroyed, in milliseconds since 1970.
    pub opens_until_ms: i64,
    /// The file of epoch keys, without which it does not open.
    pub epochs: PathBuf,
    /// The SHA-256 that is signed, in hex digits.
    pub sha256: Option<String>,
    /// The public key that verifies it.
    pub key: String,
    /// Why it is not there.
    pub refusal: Option<Refusal>,
}

/// What is known of backups in this process.
#[derive(Default)]
pub(crate) struct BackupsHere {
    /// Held while the file of epoch keys is read and written.
    pub(crate) ring: tokio::sync::Mutex<()>,
    /// Held while one begins, so that two do not at once.
    beginning: tokio::sync::Mutex<()>,
    last: std::sync::Mutex<Option<(BackupView, Arc<DumpProgress>)>>,
}

impl BackupsHere {
    fn last(&self) -> Option<BackupView> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut view, progress) = last.clone()?;
        if view.state == BackupState::Running {
            (view.rows, view.bytes) = progress.so_far();
        }
        Some(view)
    }

    fn set(&self, view: BackupView, progress: Arc<DumpProgress>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((view, progress));
    }
}

/// Backups of this host. See [`Host::backups`](crate::Host::backups).
#[derive(Clone)]
pub struct Backups {
    pub(crate) core: Arc<Core>,
}

impl Backups {
    /// Begins a backup into a new file, which has its name once it is whole; [`Backups::last`] says how far it is.
    ///
    /// # Errors
    /// Not the operator; one is being made; a file that is there, or cannot be made; epoch keys that do not open.
    pub async fn begin(&self, actor: &Actor, file: &Path) -> Result<BackupView, Refusal> {
        let about = file.display().to_string();
        self.core.operate(actor, ACT, &about, Box::pin(self.begin_now(actor, file))).await
    }

    /// The backup that is being made, or the one this process made last.
    ///
    /// # Errors
    /// Not the operator; none was begun.
    pub async fn last(&self, actor: &Actor) -> Result<BackupView, Refusal> {
        let last = async {
            let none = || {
                let message = "no backup was begun since this host was opened";
                Refusal::new(Class::NotFound, Stage::Admin, "backup.none", message, "opsiq backup FILE")
            };
            self.core.backups.last().ok_or_else(none)
        };
        self.core.operate(actor, "backup show", "", last).await
    }

    async fn begin_now(&self, actor: &Actor, file: &Path) -> Result<BackupView, Refusal> {
        let core = &self.core;
        let _turn = core.backups.beginning.lock().await;
        if core.backups.last().is_some_and(|last| last.state == BackupState::Running) {
            let message = "a backup is being made already";
            return Err(Refusal::new(Class::Conflict, Stage::Admin, "backup.running", message, "wait for its end"));
        }
        if !file.is_absolute() {
            let message = "the file of a backup is named by its whole path";
            return Err(Refusal::new(Class::Invalid, Stage::Admin, "backup.path", message, "begin the path with /"));
        }
        let (epoch, epochs_ms) = core.epoch().await?;
        let (made_ms, opens_until_ms) = (now_ms(), epoch.began_ms + LIFE_MS);
        let engine = if core.store.is_shared() { "postgres" } else { "sqlite" };
        let (root, id, key) = (core.vault.root().to_string(), epoch.key.id().to_string(), core.signs()?.backup());
        let header = BackupHeader::new((made_ms, epochs_ms), engine, root.clone(), (id.clone(), opens_until_ms), &key);
        let writer = Writer::create(file, &header, &epoch.key)?;
        let detail = format!("into {}, of root key {root} and epoch key {id}", file.display());
        let draft = operator_draft(actor, Kind::Admin, ACT).field(field::OUTCOME, "begun").field(field::DETAIL, detail);
        core.record(Log::Host, vec![draft]).await?;
        let view = BackupView {
            state: BackupState::Running,
            file: file.to_owned(),
            made_ms,
            rows: 0,
            bytes: 0,
            plugins: 0,
            missing: 0,
            root,
            epoch: id,
            opens_until_ms,
            epochs: core.epochs_file(),
            sha256: None,
            key: key.to_string(),
            refusal: None,
        };
        let progress = Arc::new(DumpProgress::default());
        core.backups.set(view.clone(), progress.clone());
        let (core, actor, begun) = (core.clone(), actor.clone(), view.clone());
        tokio::spawn(async move {
            let _running = core.running.enter();
            let made = core.back_up(writer, &progress).await;
            let view = core.backed_up(&actor, begun, made).await;
            core.backups.set(view, progress);
        });
        Ok(view)
    }
}

impl Core {
    /// What signs backups.
    fn signs(&self) -> Result<CheckpointKey, Refusal> {
        let key = CheckpointKey::derive(&self.vault);
        key.map_err(|_| errors::internal(Stage::Admin, "the key that signs backups could not be derived"))
    }

    /// Everything there is, sealed and signed; how much it was, how long the file is, and its SHA-256.
    async fn back_up(&self, mut writer: Writer, progress: &DumpProgress) -> Result<(DumpCounts, u64, String), Refusal> {
        let gone = |_| errors::internal(Stage::Admin, "writing a backup ended abnormally");
        let config = config::text(self.store.dir())?;
        let (to, mut pieces) = mpsc::channel::<Vec<u8>>(WAITING);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                writer.add(&piece)?;
            }
            Ok::<_, Refusal>(writer)
        });
        let dumped = self.store.dump(&[(config::FILE, config.into_bytes())], to, progress).await;
        // What went wrong with the file says more than that nobody took the pieces.
        let writer = writing.await.map_err(gone)??;
        let counts = dumped.map_err(|error| errors::store(Stage::Admin, &error))?;
        let key = self.signs()?;
        let ended = tokio::task::spawn_blocking(move || writer.end(|bytes, sha256| sign_backup(&key, bytes, sha256)));
        let (bytes, sha256) = ended.await.map_err(gone)??;
        Ok((counts, bytes, hex::encode(sha256)))
    }

    /// Puts on record how a backup ended.
    async fn backed_up(
        &self,
        actor: &Actor,
        mut view: BackupView,
        made: Result<(DumpCounts, u64, String), Refusal>,
    ) -> BackupView {
        let file = view.file.display();
        let (outcome, detail) = match &made {
            Ok((counts, bytes, sha256)) => (
                "ok",
                format!(
                    "{file}: {} rows, {} plugin files ({} missing), {bytes} bytes, sha256 {sha256}",
                    counts.rows, counts.blobs, counts.missing
                ),
            ),
            Err(refusal) => ("failed", format!("{file}: {} ({})", refusal.message, refusal.code)),
        };
        let draft = operator_draft(actor, Kind::Admin, ACT).field(field::OUTCOME, outcome).field(field::DETAIL, detail);
        let recorded = self.record(Log::Host, vec![draft]).await;
        match made.and_then(|made| recorded.map(|()| made)) {
            Ok((counts, bytes, sha256)) => {
                view.state = BackupState::Done;
                (view.rows, view.plugins, view.missing) = (counts.rows, counts.blobs, counts.missing);
                (view.bytes, view.sha256) = (bytes, Some(sha256));
            }
            Err(refusal) => {
                tracing::error!(code = %refusal.code, why = refusal.message, "a backup was not made");
                (view.state, view.refusal) = (BackupState::Failed, Some(refusal));
            }
        }
        view
    }
}
