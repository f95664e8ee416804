//! Looking at a backup: whether it is whole and whose, which anybody can tell; and, with its keys, whether all of it opens.

use std::path::{Path, PathBuf};

use opsiq_audit::PublicKey;
use opsiq_contract::TenantId;
use opsiq_store::{DumpCell, DumpCounts, DumpRecord, DumpStream};
use opsiq_vault::{EpochKey, KeyCheck, RootKey, Vault, WrappedKey};
use serde::Serialize;
use tokio::sync::mpsc;

use super::WAITING;
use super::file::{BackupHeader, Reader, Whole};
use crate::ending::day;
use crate::epochs::{self, Keeper, Ring};
use crate::errors;
use crate::host::{Host, HostOptions};
use crate::refusal::{Class, Refusal, Stage};
use crate::root::Roots;

/// Which backup to look at.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The backup.
    pub file: PathBuf,
    /// The public key that must have signed it; without one, that which it names itself.
    pub key: Option<PublicKey>,
    /// The file of epoch keys, when it is not where a host with this root key and data directory keeps it.
    pub epochs: Option<PathBuf>,
}

/// What a backup is.
#[derive(Debug, Clone, Serialize)]
pub struct BackupVerified {
    /// What it says of itself.
    pub header: BackupHeader,
    /// Whether the key that signed it is one that was asked for, rather than that which it names itself.
    pub key_given: bool,
    /// Bytes that are signed.
    pub bytes: u64,
    /// Their SHA-256, in hex digits.
    pub sha256: String,
    /// Sealed pieces.
    pub pieces: u64,
    /// What it holds, when its keys were here: then every piece was opened, every row read, and every key of a tenant unwrapped.
    pub holds: Option<DumpCounts>,
    /// Keys of tenants that were unwrapped.
    pub tenant_keys: u64,
    /// Why it was not opened.
    pub sealed: Option<String>,
}

/// The keys of a backup.
pub(super) struct Keys {
    pub(super) root: RootKey,
    /// The root key's file, when it came from one.
    pub(super) root_file: Option<PathBuf>,
    pub(super) epoch: EpochKey,
    pub(super) ring: Ring,
    pub(super) epochs: PathBuf,
}

impl Host {
    /// Looks at a backup without restoring it. Needs no data directory, and no key: with the root key and the epoch key, all of
    /// it is opened.
    ///
    /// # Errors
    /// A file that is cut off, changed, or not signed by the key; with its keys, anything in it that does not open.
    pub async fn verify_backup(options: &HostOptions, verify: &VerifyOptions) -> Result<BackupVerified, Refusal> {
        let (path, given) = (verify.file.clone(), verify.key.clone());
        let key_given = given.is_some();
        let (reader, whole) = blocking(move || checked(&path, given)).await?;
        let header = reader.header.clone();
        let mut verified = BackupVerified {
            key_given,
            bytes: whole.bytes,
            sha256: hex::encode(whole.sha256),
            pieces: whole.pieces,
            holds: None,
            tenant_keys: 0,
            sealed: None,
            header,
        };
        match keys(options, &verified.header, verify.epochs.as_deref()) {
            Ok(keys) => {
                let (counts, tenant_keys) = open_all(reader, &keys).await?;
                (verified.holds, verified.tenant_keys) = (Some(counts), tenant_keys);
            }
            Err(refusal) => verified.sealed = Some(refusal.message),
        }
        Ok(verified)
    }
}

/// A backup that is whole and signed.
pub(super) fn checked(path: &Path, key: Option<PublicKey>) -> Result<(Reader, Whole), Refusal> {
    let mut reader = Reader::open(path)?;
    let own = || reader.header.key.parse().map_err(|_| unsigned(path, "names no key that signed it"));
    let key = match key {
        Some(key) => key,
        None => own()?,
    };
    let whole = reader.check(&key)?;
    Ok((reader, whole))
}

/// The keys that a backup needs, or a refusal that says which these are, and which were found.
pub(super) fn keys(options: &HostOptions, header: &BackupHeader, named: Option<&Path>) -> Result<Keys, Refusal> {
    let needs = format!("the backup needs root key {}", header.root);
    let loaded = Roots::of(options).and_then(|roots| Ok((roots.load(&options.root)?, roots)));
    let ((root, root_file), roots) = loaded.map_err(|mut refusal| {
        refusal.message = format!("{needs}, and none was found: {}", refusal.message);
        refusal
    })?;
    if root.id().to_string() != header.root {
        return Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "restore.root-key",
            format!("{needs}; the key given is {}", root.id()),
            "give the root key that was in use when the backup was made: --root-key-file FILE, or OPSIQ_ROOT_KEY",
        ));
    }
    let epochs = named.map_or_else(|| epochs::file(None, root_file.as_deref(), &options.data), Path::to_owned);
    let needs = format!("the backup needs epoch key {}", header.epoch);
    let mut ring = Ring::load(&epochs, &Keeper::Root(&root));
    if let (Err(_), Some(next)) = (&ring, &options.next_root) {
        // The file is kept under the root key of today, which is not that of an older backup.
        ring = Ring::load(&epochs, &Keeper::Root(&roots.load(next)?.0));
    }
    let ring = ring.map_err(|mut refusal| {
        refusal.message = format!("{needs}; {}", refusal.message);
        refusal
    })?;
    match ring.find(&header.epoch).map(|epoch| EpochKey::from_bytes(epoch.key.expose())) {
        Some(Some(epoch)) => Ok(Keys { root, root_file, epoch, ring, epochs }),
        _ => Err(no_epoch(header, &needs, &epochs, &ring)),
    }
}

fn no_epoch(header: &BackupHeader, needs: &str, epochs: &Path, ring: &Ring) -> Refusal {
    let held: Vec<_> = ring.epochs.iter().map(|epoch| epoch.key.id().to_string()).collect();
    let (at, until) = (epochs.display(), header.opens_until_ms);
    let got = match held.len() {
        0 if !epochs.exists() => format!("there is no file {at}"),
        0 => format!("{at} holds none"),
        _ => format!("{at} holds {}", held.join(", ")),
    };
    let over = if until <= crate::core::now_ms() {
        format!("; it was destroyed on {}, so nothing opens this backup any more", day(until))
    } else {
        String::new()
    };
    Refusal::new(
        Class::Denied,
        Stage::Admin,
        "restore.epoch-key",
        format!("{needs}; {got}{over}"),
        "give the newest copy of the file of epoch keys that the host kept beside its root key: --epochs FILE",
    )
}

/// Sends what is sealed in a backup, on a thread of its own.
pub(super) fn opened(
    reader: Reader,
    epoch: &EpochKey,
) -> Result<(DumpStream, tokio::task::JoinHandle<Result<(), Refusal>>), Refusal> {
    let mut pieces = reader.pieces(epoch)?;
    let (to, from) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.next()? {
            // Whoever stopped taking them knows why.
            if to.blocking_send(piece).is_err() {
                break;
            }
        }
        Ok(())
    });
    Ok((DumpStream::new(from), reading))
}

/// Opens everything and keeps nothing.
async fn open_all(reader: Reader, keys: &Keys) -> Result<(DumpCounts, u64), Refusal> {
    let failed = |error| errors::store(Stage::Admin, &error);
    let (mut stream, reading) = opened(reader, &keys.epoch)?;
    let mut counts = DumpCounts::default();
    let (mut table, mut check, mut wrapped) = (Table::default(), None, Vec::new());
    let read = async {
        while let Some(record) = stream.next().await? {
            match record {
                DumpRecord::Table { name, columns } => table = Table { name, columns },
                DumpRecord::Row(row) if table.name == "root_check" => check = table.bytes(&row, "wrapped"),
                DumpRecord::Row(row) if table.name == "tenant_key" => {
                    wrapped.push((table.text(&row, "tenant"), table.bytes(&row, "wrapped")));
                }
                DumpRecord::End(end) => counts = end,
                _ => {}
            }
        }
        Ok(())
    };
    let read: Result<(), opsiq_store::StoreError> = read.await;
    drop(stream);
    // A piece that does not open says more than that the rest did not come.
    reading.await.map_err(|_| errors::internal(Stage::Admin, "reading a backup ended abnormally"))??;
    read.map_err(failed)?;
    let vault = |error| errors::vault(Stage::Admin, &error);
    let damaged = || failed(opsiq_store::StoreError::Damaged { what: "backup" });
    let check = KeyCheck::from_stored(&check.ok_or_else(damaged)?).map_err(vault)?;
    let opened = Vault::open(&keys.root, &check).map_err(vault)?;
    for (tenant, key) in &wrapped {
        let tenant: TenantId = tenant.as_deref().and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
        let key = WrappedKey::from_stored(key.as_deref().ok_or_else(damaged)?).map_err(vault)?;
        opened.tenant(&tenant, &[key]).map_err(vault)?;
    }
    Ok((counts, wrapped.len() as u64))
}

/// The table whose rows come.
#[derive(Default)]
struct Table {
    name: String,
    columns: Vec<String>,
}

impl Table {
    fn cell<'r>(&self, row: &'r [DumpCell], column: &str) -> Option<&'r DumpCell> {
        self.columns.iter().zip(row).find(|(name, _)| *name == column).map(|(_, cell)| cell)
    }

    fn bytes(&self, row: &[DumpCell], column: &str) -> Option<Vec<u8>> {
        match self.cell(row, column) {
            Some(DumpCell::Bytes(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    fn text(&self, row: &[DumpCell], column: &str) -> Option<String> {
        match self.cell(row, column) {
            Some(DumpCell::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

/// Work that waits for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| errors::internal(Stage::Admin, "reading a backup ended abnormally"))?
}

fn unsigned(path: &Path, why: &str) -> Refusal {
    Refusal::new(
        Class::Tampered,
        Stage::Admin,
        "backup.damaged",
        format!("the backup {} {why}", path.display()),
        "use another backup; opsiq backup --verify FILE tells which are whole",
    )
}
