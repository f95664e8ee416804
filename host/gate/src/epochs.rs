//! The file of epoch keys: what backups open with beside the root key, and what must not come back from them.
//!
//! It lies outside the databases and is sealed by the root key. A backup is made under the key of the epoch; a new epoch
//! begins with the first backup after [`EPOCH_MS`], and a key is destroyed [`LIFE_MS`] after its epoch began, so that whatever was
//! erased is then gone from every backup as well. Until then this file says what was erased: restoring an older backup destroys
//! those keys again before anybody can use them. So the file has to be kept like the root key's, but never an older copy of
//! it: that is why there is one, written over in place, and no history. Of nodes that share databases, each that makes backups
//! has its own, and looks several times a minute for what was erased on others.
//!
//! A clock that jumps by weeks would destroy every key at once: after a jump, keys are destroyed once it went its way for a day.
//!
//! Fails closed: a backup whose epoch key is not here does not open; a file that does not open stops both backing up and
//! erasing, rather than letting an erasure be forgotten.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opsiq_contract::TenantId;
use opsiq_vault::{EpochKey, KeyId, RootKey, Vault, VaultError};
use zeroize::Zeroizing;

use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::retention::{JOB, goes_its_way};

/// What the file begins with.
const PREFIX: &str = "opsiq-epochs-1 ";
/// Longer files are none of ours.
const MOST: u64 = 16 << 20;
/// How long backups are made under one key: a week.
pub(crate) const EPOCH_MS: i64 = 7 * 24 * 3600 * 1000;
/// How long after its epoch began a key is destroyed: within the thirty days that are promised, a day before they end.
pub(crate) const LIFE_MS: i64 = 29 * 24 * 3600 * 1000;

/// One epoch.
pub(crate) struct Epoch {
    pub(crate) began_ms: i64,
    pub(crate) key: EpochKey,
}

/// A key that is destroyed and may still lie in a backup that opens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gone {
    pub(crate) tenant: TenantId,
    /// Of a data subject; `None` when all the tenant's are.
    pub(crate) subject: Option<KeyId>,
    pub(crate) at_ms: i64,
}

/// What the file says.
#[derive(Default)]
pub(crate) struct Ring {
    /// When it was last written.
    pub(crate) written_ms: i64,
    /// Oldest first.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) gone: Vec<Gone>,
}

/// What opens and seals the file.
pub(crate) enum Keeper<'k> {
    Root(&'k RootKey),
    Vault(&'k Vault),
}

impl Keeper<'_> {
    fn open(&self, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        match self {
            Self::Root(root) => root.open_epochs(stored),
            Self::Vault(vault) => vault.open_epochs(stored),
        }
    }

    fn seal(&self, ring: &[u8]) -> Vec<u8> {
        match self {
            Self::Root(root) => root.seal_epochs(ring),
            Self::Vault(vault) => vault.seal_epochs(ring),
        }
    }
}

impl Ring {
    /// The ring in the file at `path`; an empty one when there is no file.
    pub(crate) fn load(path: &Path, keeper: &Keeper<'_>) -> Result<Self, Refusal> {
        let mut text = String::new();
        match std::fs::File::open(path) {
            Ok(file) => {
                let mode = file.metadata().map_err(|error| failed(path, "read", &error))?.permissions().mode();
                if mode & 0o077 != 0 {
                    let said = format!("the file of epoch keys {} may be read by others", path.display());
                    let fix = format!("chmod 600 {}", path.display());
                    return Err(Refusal::new(Class::Denied, Stage::Admin, "epochs.exposed", said, fix));
                }
                file.take(MOST).read_to_string(&mut text).map_err(|error| failed(path, "read", &error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(path, "read", &error)),
        }
        let stored = text.trim_end().strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
        let stored = stored.ok_or_else(|| not_ours(path, "it is none of this host's"))?;
        let plain = keeper.open(&stored).map_err(|error| not_ours(path, &error.to_string()))?;
        Self::parse(&plain).ok_or_else(|| not_ours(path, "what it holds is not of this version"))
    }

    /// Puts the ring into the place of the file, whose old bytes are then overwritten, as far as the file system writes over
    /// them in place.
    pub(crate) fn store(&self, path: &Path, keeper: &Keeper<'_>) -> Result<(), Refusal> {
        let text = format!("{PREFIX}{}\n", STANDARD.encode(keeper.seal(&self.text())));
        let replaced = || {
            let new = path.with_added_extension("new");
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let old = OpenOptions::new().write(true).open(path).ok();
            std::fs::rename(&new, path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::File::open(parent)?.sync_all()?;
            if let Some(mut old) = old {
                let length = old.metadata()?.len().min(MOST);
                old.write_all(&vec![0; usize::try_from(length).unwrap_or_default()])?;
                old.sync_all()?;
            }
            Ok(())
        };
        replaced().map_err(|error| failed(path, "written", &error))
    }

    fn text(&self) -> Zeroizing<Vec<u8>> {
        // Made large enough at once, so that no part of it is left behind where it grew.
        let mut out = Zeroizing::new(String::with_capacity(64 + 128 * (self.epochs.len() + self.gone.len())));
        let _ = writeln!(out, "written {}", self.written_ms);
        for Epoch { began_ms, key } in &self.epochs {
            let hex = Zeroizing::new(hex::encode(key.expose()));
            let _ = writeln!(out, "epoch {began_ms} {}", hex.as_str());
        }
        for Gone { tenant, subject, at_ms } in &self.gone {
            let subject = subject.map_or_else(|| "-".to_owned(), |subject| subject.to_string());
            let _ = writeln!(out, "gone {at_ms} {tenant} {subject}");
        }
        Zeroizing::new(out.as_bytes().to_vec())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut ring = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["written", at] => ring.written_ms = at.parse().ok()?,
                ["epoch", began, hex] => {
                    let mut bytes = Zeroizing::new([0; 32]);
                    hex::decode_to_slice(hex, bytes.as_mut_slice()).ok()?;
                    let key = EpochKey::from_bytes(bytes.as_slice())?;
                    ring.epochs.push(Epoch { began_ms: began.parse().ok()?, key });
                }
                ["gone", at, tenant, subject] => {
                    let subject = match subject {
                        "-" => None,
                        hex => {
                            let mut id = [0; 8];
                            hex::decode_to_slice(hex, &mut id).ok()?;
                            Some(KeyId::from_bytes(id))
                        }
                    };
                    ring.gone.push(Gone { tenant: tenant.parse().ok()?, subject, at_ms: at.parse().ok()? });
                }
                _ => return None,
            }
        }
        Some(ring)
    }

    /// The key of this epoch; a new one when the newest is older than one.
    pub(crate) fn current(&mut self, now: i64) -> &Epoch {
        if self.epochs.last().is_none_or(|newest| now - newest.began_ms >= EPOCH_MS) {
            self.epochs.push(Epoch { began_ms: now, key: EpochKey::generate() });
        }
        self.epochs.last().expect("one was just put there")
    }

    /// The key called so.
    pub(crate) fn find(&self, id: &str) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.key.id().to_string() == id)
    }

    /// Destroys keys whose time is up, and forgets what only backups under them held; whether there were any.
    fn expire(&mut self, now: i64) -> bool {
        let before = (self.epochs.len(), self.gone.len());
        self.epochs.retain(|epoch| now - epoch.began_ms < LIFE_MS);
        let since = self.epochs.first().map_or(i64::MAX, |oldest| oldest.began_ms);
        self.gone.retain(|gone| gone.at_ms >= since);
        before != (self.epochs.len(), self.gone.len())
    }

    /// Notes keys that are destroyed and may lie in a backup that opens; whether any was not known.
    fn note(&mut self, gone: impl Iterator<Item = Gone>) -> bool {
        let Some(since) = self.epochs.first().map(|oldest| oldest.began_ms) else { return false };
        let before = self.gone.len();
        for one in gone.filter(|gone| gone.at_ms >= since) {
            let known = |known: &Gone| (&known.tenant, known.subject) == (&one.tenant, one.subject);
            if !self.gone.iter().any(known) {
                self.gone.push(one);
            }
        }
        self.gone.len() > before
    }
}

impl Core {
    /// Where the file of epoch keys is.
    pub(crate) fn epochs_file(&self) -> PathBuf {
        file(self.settings.epochs.as_deref(), self.root_file.as_deref(), &self.data)
    }

    /// Destroys epoch keys whose time is up, and notes what was erased since; nothing happens before the first backup.
    pub(crate) async fn tend_epochs(&self) -> Result<(), Refusal> {
        let path = self.epochs_file();
        if !path.exists() {
            return Ok(());
        }
        let (gone, now) = (self.gone().await?, now_ms());
        let may_expire = self.clock_goes(now).await?;
        let _turn = self.backups.ring.lock().await;
        let keeper = Keeper::Vault(&self.vault);
        let mut ring = Ring::load(&path, &keeper)?;
        let changed = may_expire && ring.expire(now);
        if ring.note(gone.into_iter()) || changed {
            ring.written_ms = now;
            ring.store(&path, &keeper)?;
        }
        Ok(())
    }

    /// The file of epoch keys under the root key that wraps now.
    pub(crate) async fn reseal_epochs(&self) -> Result<(), Refusal> {
        let path = self.epochs_file();
        if !path.exists() {
            return Ok(());
        }
        let _turn = self.backups.ring.lock().await;
        let keeper = Keeper::Vault(&self.vault);
        Ring::load(&path, &keeper)?.store(&path, &keeper)
    }

    /// The key of this epoch, and when the file was written, which has it when this returns.
    pub(crate) async fn epoch(&self) -> Result<(Epoch, i64), Refusal> {
        let (gone, now) = (self.gone().await?, now_ms());
        let may_expire = self.clock_goes(now).await?;
        let path = self.epochs_file();
        let _turn = self.backups.ring.lock().await;
        let keeper = Keeper::Vault(&self.vault);
        let mut ring = Ring::load(&path, &keeper)?;
        if may_expire {
            ring.expire(now);
        }
        ring.note(gone.into_iter());
        let Epoch { began_ms, key } = ring.current(now);
        let key = EpochKey::from_bytes(key.expose());
        let epoch = Epoch { began_ms: *began_ms, key: key.expect("it is the key of a ring") };
        ring.written_ms = now;
        ring.store(&path, &keeper)?;
        Ok((epoch, now))
    }

    /// Whether the clock may destroy keys: not when it just jumped, since no backup would open any more. Where nobody looks at it,
    /// as where no host serves, it is believed.
    async fn clock_goes(&self, now: i64) -> Result<bool, Refusal> {
        let state = self.store.job(JOB).await.map_err(|error| errors::store(Stage::Admin, &error))?;
        Ok(state.is_none_or(|state| goes_its_way(&state, now)))
    }

    /// All keys that were ever destroyed by erasing somebody.
    async fn gone(&self) -> Result<Vec<Gone>, Refusal> {
        let erased = self.store.all_erasures().await.map_err(|error| errors::store(Stage::Admin, &error))?;
        let subjects = erased.into_iter().map(|one| {
            // One that has not ended yet: a backup that is being made may hold the key.
            let at_ms = one.done_ms.unwrap_or_else(now_ms);
            Gone { tenant: one.tenant, subject: Some(one.key), at_ms }
        });
        let tenants = self.tenants.all_erased().into_iter().map(|(tenant, erased)| {
            let at_ms = erased.tombstone.erased_ms.unwrap_or_else(now_ms);
            Gone { tenant, subject: None, at_ms }
        });
        Ok(subjects.chain(tenants).collect())
    }
}

/// Where the file is: where the operator says, beside the root key's file, or beside the data directory.
pub(crate) fn file(named: Option<&Path>, root: Option<&Path>, data: &Path) -> PathBuf {
    match (named, root) {
        (Some(named), _) => named.to_owned(),
        (None, Some(root)) => root.with_added_extension("epochs"),
        (None, None) => data.canonicalize().unwrap_or_else(|_| data.to_owned()).with_added_extension("epochs"),
    }
}

fn not_ours(path: &Path, why: &str) -> Refusal {
    Refusal::new(
        Class::Tampered,
        Stage::Admin,
        "epochs.file",
        format!("the file of epoch keys {} does not open: {why}", path.display()),
        "give the newest copy of it together with the root key that it is kept under; without it no backup opens. If it is \
         lost for good, remove it: the next backup makes a new one",
    )
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Refusal {
    let message = format!("the file of epoch keys {} cannot be {what}: {}", path.display(), error.kind());
    let fix = "let the host write it, or name another place in opsiq.toml: [backup] epochs = \"PATH\"";
    Refusal::new(Class::Unavailable, Stage::Admin, "epochs.unavailable", message, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    fn gone(tenant: &str, id: u8, at_ms: i64) -> Gone {
        Gone { tenant: tenant.parse().unwrap(), subject: Some(KeyId::from_bytes([id; 8])), at_ms }
    }

    #[test]
    fn an_epoch_lasts_a_week_and_its_key_less_than_thirty_days() {
        let mut ring = Ring::default();
        let first = ring.current(DAY).key.id();
        assert_eq!(ring.current(DAY + EPOCH_MS - 1).key.id(), first);
        let second = ring.current(DAY + EPOCH_MS).key.id();
        assert_ne!(second, first);
        assert!(!ring.expire(DAY + LIFE_MS - 1));
        assert!(ring.expire(DAY + 30 * DAY - 1));
        assert_eq!(ring.epochs.iter().map(|epoch| epoch.key.id()).collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn what_is_gone_is_known_as_long_as_a_backup_may_hold_it() {
        let mut ring = Ring::default();
        assert!(!ring.note([gone("acme", 1, 5)].into_iter()), "there is no backup yet");
        ring.current(10);
        assert!(!ring.note([gone("acme", 1, 5)].into_iter()), "it was gone before");
        assert!(ring.note([gone("acme", 2, 15), gone("beta", 2, 16)].into_iter()));
        assert!(!ring.note([gone("acme", 2, 15)].into_iter()));
        ring.current(10 + EPOCH_MS);
        assert!(ring.note([gone("acme", 3, 20 + EPOCH_MS)].into_iter()));
        assert!(ring.expire(10 + LIFE_MS));
        assert_eq!(ring.gone, [gone("acme", 3, 20 + EPOCH_MS)]);
    }

    #[test]
    fn the_file_says_again_what_it_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let (path, root) = (dir.path().join("epochs"), RootKey::generate());
        assert!(Ring::load(&path, &Keeper::Root(&root)).unwrap().epochs.is_empty());
        let mut ring = Ring { written_ms: 7, ..Ring::default() };
        let id = ring.current(1).key.id();
        ring.note([gone("acme", 2, 15), Gone { subject: None, ..gone("beta", 0, 9) }].into_iter());
        ring.store(&path, &Keeper::Root(&root)).unwrap();
        ring.store(&path, &Keeper::Root(&root)).unwrap();
        let again = Ring::load(&path, &Keeper::Root(&root)).unwrap();
        assert_eq!((again.written_ms, &again.gone), (7, &ring.gone));
        assert_eq!(again.find(&id.to_string()).unwrap().key.expose(), ring.epochs[0].key.expose());
        let other = Ring::load(&path, &Keeper::Root(&RootKey::generate())).err().unwrap();
        assert_eq!(other.code, "epochs.file");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
