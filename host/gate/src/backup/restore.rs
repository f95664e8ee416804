//! Making a data directory of a backup.
//!
//! Nothing has the directory's name before all of it is there, on disk; on a server, nothing opens the databases before the root
//! check is put into them, last of all. So a restore that was cut short leaves nothing that serves, and is begun anew.
//!
//! What a backup brings back is older than what was: that is never taken silently. The restore itself is an act, with a reason
//! on record in the host's log and in that of each tenant whose last signed checkpoint is newer. And some of what was must not
//! come back: keys that were destroyed since are destroyed again before anything opens, no request that was signed
//! before the restore is accepted after it, and sessions and invitations, which may have been ended or used since, are over.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opsiq_audit::{CheckpointKey, Kind, Log, field};
use opsiq_store::{DumpCounts, DumpProgress, ErasedSubjectRow, Restored, Store, StoreError};
use opsiq_vault::Vault;
use serde::Serialize;

use super::file::{BackupHeader, Reader};
use super::verify::{Keys, blocking, checked, keys, opened};
use crate::act::operator_draft;
use crate::actor::Actor;
use crate::config;
use crate::core::now_ms;
use crate::databases::store_options;
use crate::ending;
use crate::epochs::{self, Gone};
use crate::errors;
use crate::host::{Host, HostOptions, RootSource, sections};
use crate::refusal::{Class, Refusal, Stage};
use crate::rollback::Rollback;

/// What the directory is called until it is whole.
const PARTIAL: &str = "restoring";
/// How long a signed request is accepted, in milliseconds: what was signed before a restore is not accepted after it.
const SIGNED_MS: i64 = opsiq_signing::WINDOW_S * 1000;

/// Which backup to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The backup.
    pub file: PathBuf,
    /// The file of epoch keys, when it is not beside the root key's.
    pub epochs: Option<PathBuf>,
    /// Why, for the record.
    pub reason: String,
}

/// What was restored.
#[derive(Debug, Clone, Serialize)]
pub struct RestoredView {
    /// The data directory.
    pub data: PathBuf,
    /// What the backup says of itself.
    pub backup: BackupHeader,
    /// Rows of all tables.
    pub rows: u64,
    /// Plugin files.
    pub plugins: u64,
    /// Plugin files that were missing when the backup was made.
    pub missing: u64,
    /// Data subjects and tenants that were erased after the backup was made, and are again.
    pub erased_again: u64,
    /// Calls that had begun when the backup was made, and of which nobody knows how they ended.
    pub interrupted: u64,
    /// What is older than what was last signed, and was taken so.
    pub accepted: Vec<String>,
    /// The file of epoch keys that this host goes on with.
    pub epochs: PathBuf,
    /// Whether that is an older copy than the backup was made with, so that who was erased since is not known and may be back.
    pub epochs_are_older: bool,
}

impl Host {
    /// Makes `options.data` a data directory that holds what the backup does, on databases where no host is: in the directory, or
    /// on the server that `options.store` names.
    ///
    /// # Errors
    /// A directory that is not empty, or databases of a host; a backup that is damaged; its root key or its epoch key missing,
    /// naming the key needed and those found; a disk that does not serve. There is no data directory then, but after an error of
    /// the very last step, which says so.
    pub async fn restore(
        options: HostOptions,
        restore: &RestoreOptions,
        progress: Arc<DumpProgress>,
    ) -> Result<RestoredView, Refusal> {
        must_be_empty(&options.data)?;
        let path = restore.file.clone();
        let (reader, whole) = blocking(move || checked(&path, None)).await?;
        let header = reader.header.clone();
        let keys = keys(&options, &header, restore.epochs.as_deref())?;
        let partial = clear_partial(&options.data)?;
        let made = Box::pin(make(&options, &partial, reader, &header, &keys, &progress)).await;
        let Made { counts, erased_again, ring } = match made {
            Ok(made) => made,
            Err(refusal) => {
                // It is of no use; what stays of it, the next restore removes.
                let _ = std::fs::remove_dir_all(&partial);
                return Err(refusal);
            }
        };

        // From here on there is a data directory, which serves nothing until somebody says why it is older.
        let data = options.data.clone();
        let accept = Rollback::Accept { tenants: None, reason: format!("restored: {}", restore.reason) };
        let root = keys.root_file.map_or_else(|| options.root.clone(), RootSource::File);
        let host = Self::open(HostOptions { rollback: accept, root, ..options }).await.map_err(|mut refusal| {
            refusal.message = format!("all is restored, and the host does not open yet: {}", refusal.message);
            refusal.fix = format!("{}; then opsiq accept-restore --reason TEXT", refusal.fix);
            refusal
        })?;
        let epochs_are_older = keys.ring.written_ms < header.epochs_ms;
        let told = if epochs_are_older { "; with an older copy of the epoch keys" } else { "" };
        let detail = format!(
            "{} of {} bytes, sha256 {}, made {}: {} rows; erased again: {erased_again}{told}",
            restore.file.display(),
            whole.bytes,
            hex::encode(whole.sha256),
            ending::day(header.made_ms),
            counts.rows
        );
        let draft = operator_draft(&Actor::operator(), Kind::Admin, "restore")
            .field(field::OUTCOME, "ok")
            .field("reason", restore.reason.clone())
            .field(field::DETAIL, detail);
        let recorded = host.core().record(Log::Host, vec![draft]).await;
        let (accepted, interrupted) = (host.accepted().to_vec(), host.recovered().len() as u64);
        host.close().await?;
        recorded?;
        Ok(RestoredView {
            data,
            backup: header,
            rows: counts.rows,
            plugins: counts.blobs,
            missing: counts.missing,
            erased_again,
            interrupted,
            accepted,
            epochs: ring,
            epochs_are_older,
        })
    }
}

/// A directory that was made.
struct Made {
    counts: DumpCounts,
    erased_again: u64,
    /// The file of epoch keys that its host goes on with.
    ring: PathBuf,
}

/// Makes the directory, under another name until it is whole.
async fn make(
    options: &HostOptions,
    partial: &Path,
    reader: Reader,
    header: &BackupHeader,
    keys: &Keys,
    progress: &DumpProgress,
) -> Result<Made, Refusal> {
    let (stream, reading) = opened(reader, &keys.epoch)?;
    let databases = store_options(options)?;
    let restored = Store::restore(partial, &databases, stream, progress).await;
    reading.await.map_err(|_| errors::internal(Stage::Admin, "reading a backup ended abnormally"))??;
    let restored = restored.map_err(failed)?;
    let counts = restored.counts;
    let (erased_again, ring) = finish(restored, header, keys, &sections(options)?, &options.data).await?;
    put_in_place(partial, &options.data)?;
    Ok(Made { counts, erased_again, ring })
}

/// All that makes the store one that may be opened. Answers how many erasures were repeated, and where the file of epoch keys is.
async fn finish(
    restored: Restored,
    header: &BackupHeader,
    keys: &Keys,
    section: &str,
    data: &Path,
) -> Result<(u64, PathBuf), Refusal> {
    let Restored { store, check: (check, created_ms), files, .. } = restored;
    let vault = Vault::open(&keys.root, &check).map_err(|error| errors::vault(Stage::Admin, &error))?;
    let signed = CheckpointKey::derive(&vault).is_ok_and(|key| key.backup().to_string() == header.key);
    if !signed {
        return Err(Refusal::new(
            Class::Tampered,
            Stage::Admin,
            "backup.damaged",
            "the backup is not signed by the host whose keys it holds",
            "use another backup",
        ));
    }
    let mut erased = 0;
    for gone in &keys.ring.gone {
        erased += u64::from(erase_again(&store, &vault, gone).await?);
    }
    let mut tx = store.begin().await.map_err(failed)?;
    tx.nonces_bar(now_ms() + SIGNED_MS).await.map_err(failed)?;
    tx.tokens_end().await.map_err(failed)?;
    tx.mark_rows(&vault.host()).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    let text = files.into_iter().find(|(name, _)| name == config::FILE).map(|(_, bytes)| bytes).unwrap_or_default();
    config::put_back(store.dir(), &String::from_utf8_lossy(&text), section)?;
    let named = config::load(store.dir())?.1.epochs;
    let ring = epochs::file(named.as_deref(), keys.root_file.as_deref(), data);
    if ring != keys.epochs && !ring.exists() {
        copy(&keys.epochs, &ring)?;
    }
    store.root_check_insert(&check, created_ms).await.map_err(failed)?;
    store.close().await;
    Ok((erased, ring))
}

/// Destroys a key once more; whether it was there.
async fn erase_again(store: &Store, vault: &Vault, gone: &Gone) -> Result<bool, Refusal> {
    let Gone { tenant, subject, at_ms } = gone;
    let Some(key) = *subject else { return ending::bury_again(store, vault, tenant, *at_ms).await };
    let Some(row) = store.subject_key(tenant, key).await.map_err(failed)? else { return Ok(false) };
    if !store.subject_key_destroy(tenant, key).await.map_err(failed)? {
        return Ok(false);
    }
    if store.erased_subject(tenant, key).await.map_err(failed)?.is_none() {
        let (begun_ms, done_ms) = (*at_ms, Some(*at_ms));
        let erased = ErasedSubjectRow { tenant: tenant.clone(), key, subject: row.subject, begun_ms, done_ms };
        let mut tx = store.begin().await.map_err(failed)?;
        tx.erasure_begin(&erased).await.map_err(failed)?;
        tx.mark_rows(&vault.host()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
    }
    Ok(true)
}

fn must_be_empty(data: &Path) -> Result<(), Refusal> {
    let empty = match std::fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if empty {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "restore.not-empty",
        format!("{} is not an empty directory", data.display()),
        "name a new one with --data DIR; nothing is ever written over",
    ))
}

/// Where the directory is made, cleared of what a restore that was cut short left there.
fn clear_partial(data: &Path) -> Result<PathBuf, Refusal> {
    let partial = data.with_added_extension(PARTIAL);
    let cleared = || {
        if !partial.exists() {
            return Ok(());
        }
        if let Ok(lock) = std::fs::File::open(partial.join("lock"))
            && lock.try_lock().is_err()
        {
            return Err(std::io::ErrorKind::ResourceBusy.into());
        }
        std::fs::remove_dir_all(&partial)
    };
    cleared().map(|()| partial.clone()).map_err(|error: std::io::Error| file_failed(&partial, &error))
}

fn put_in_place(partial: &Path, data: &Path) -> Result<(), Refusal> {
    let placed = || {
        std::fs::File::open(partial)?.sync_all()?;
        // An empty directory of that name is replaced; one that is not any more is not.
        std::fs::rename(partial, data)?;
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(parent)?.sync_all()
    };
    placed().map_err(|error| file_failed(data, &error))
}

/// A copy of the file of epoch keys.
fn copy(from: &Path, to: &Path) -> Result<(), Refusal> {
    let copied = || {
        let bytes = std::fs::read(from)?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    copied().map_err(|error| file_failed(to, &error))
}

fn file_failed(path: &Path, error: &std::io::Error) -> Refusal {
    let message = format!("{} cannot be made: {}", path.display(), error.kind());
    let fix = "name a directory whose parent the host may write to, and that no other restore makes";
    Refusal::new(Class::Unavailable, Stage::Admin, "restore.directory", message, fix)
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn failed(error: StoreError) -> Refusal {
    match error {
        StoreError::Damaged { what: "backup" } => Refusal::new(
            Class::Tampered,
            Stage::Admin,
            "backup.damaged",
            "what the backup holds is not what a host writes",
            "use another backup",
        ),
        StoreError::Version(_) => Refusal::new(
            Class::Invalid,
            Stage::Admin,
            "restore.newer",
            "the backup was made by a newer version of opsiq, with tables that are not known here",
            "restore it with the version that made it, or a newer one",
        ),
        error => errors::store(Stage::Admin, &error),
    }
}
