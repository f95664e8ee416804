//! Whether the database is the one that was last signed: looked at when the host opens, before anything is served.
//!
//! An older row, or an older database, is authentic in every part, so nothing else would notice. A tenant whose rows or log are
//! not those last signed is not served; if the host's own are not, nothing is. An operator who put a backup back on purpose
//! says so, with a reason that stays on record.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use opsiq_audit::{AuditError, CheckpointFile, CheckpointFileError, CheckpointKey, Kind, Log, Op, OpError, field};
use opsiq_contract::TenantId;
use opsiq_store::Store;
use opsiq_vault::TenantVault;

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::Core;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// What opening does when rows or logs are not those last signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rollback {
    /// Serves no tenant concerned, and does not open when the host itself is.
    #[default]
    Refuse,
    /// Opens to be examined by [`Host::doctor`](crate::Host::doctor); serves no tenant concerned.
    Examine,
    /// Takes them for what they are now.
    Accept {
        /// Whose: tenants by name; the host's own are taken with any. None means everybody's.
        tenants: Option<Vec<TenantId>>,
        /// Why, for the record.
        reason: String,
    },
}

impl Rollback {
    fn accepts(&self, log: &Log) -> bool {
        match (self, log) {
            (Self::Accept { .. }, Log::Host) | (Self::Accept { tenants: None, .. }, _) => true,
            (Self::Accept { tenants: Some(tenants), .. }, Log::Tenant(tenant)) => tenants.contains(tenant),
            _ => false,
        }
    }
}

/// What is wrong, by log.
pub(crate) type Faults = BTreeMap<Log, Vec<String>>;

/// What opening found.
pub(crate) struct Examined {
    /// The file of checkpoints, unless it is missing.
    pub(crate) outside: Option<CheckpointFile>,
    /// What is wrong and stays so.
    pub(crate) faults: Faults,
    /// What is wrong and is to be accepted.
    pub(crate) accepted: Faults,
}

/// Where checkpoints are kept unless the configuration says otherwise: beside the data directory, so that a copy of the
/// directory that is put back does not bring its own.
pub(crate) fn default_file(data: &Path) -> PathBuf {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    data.with_added_extension("checkpoints")
}

/// Makes the file, unless there is an empty one.
pub(crate) fn make_file(path: &Path) -> Result<(), Refusal> {
    CheckpointFile::create(path).map_err(|error| unusable(&error))
}

/// Holds the database against what was last signed.
pub(crate) async fn examine(
    path: &Path,
    rollback: &Rollback,
    store: &Store,
    key: &CheckpointKey,
    host: &TenantVault,
) -> Result<Examined, Refusal> {
    let mut accepted = Faults::new();
    let mut faults = Faults::new();
    let outside = match CheckpointFile::open(path) {
        Ok(file) => Some(file),
        Err(error @ CheckpointFileError::Missing(_)) => {
            match rollback {
                Rollback::Refuse => return Err(unusable(&error)),
                Rollback::Examine => drop(faults.insert(Log::Host, vec![error.to_string()])),
                Rollback::Accept { .. } => {
                    accepted.insert(Log::Host, vec![error.to_string()]);
                    make_file(path)?;
                }
            }
            CheckpointFile::open(path).ok()
        }
        Err(error) => return Err(unusable(&error)),
    };
    let found = opsiq_audit::examine(store, key, host, outside.as_ref()).await;
    for (log, told) in found.map_err(|error| errors::audit(Stage::Admin, &error))? {
        for why in &told {
            tracing::error!(%log, why, "this is not what was last signed");
        }
        let kept = if rollback.accepts(&log) { &mut accepted } else { &mut faults };
        kept.entry(log).or_default().extend(told);
    }
    match (faults.get(&Log::Host), rollback) {
        (Some(_), Rollback::Examine) | (None, _) => Ok(Examined { outside, faults, accepted }),
        (Some(told), _) => Err(rolled_back("the host's own records", told)),
    }
}

/// The refusal of everything that would rest on records that are not those last signed.
pub(crate) fn rolled_back(whose: &str, told: &[String]) -> Refusal {
    const SHOWN: usize = 5;
    let mut list = told.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if told.len() > SHOWN {
        let _ = write!(list, "; and {} more", told.len() - SHOWN);
    }
    Refusal::new(
        Class::Tampered,
        Stage::Admin,
        "tenant.tampered",
        format!("{whose} are not those last written: {list}"),
        "see opsiq doctor, and restore the newest database; if an older one was put back on purpose, the operator says \
         so: opsiq accept-restore --reason TEXT",
    )
}

fn unusable(error: &CheckpointFileError) -> Refusal {
    let (class, fix) = match error {
        CheckpointFileError::Missing(_) => (
            Class::Tampered,
            "put it back, or move it along with the data directory; if it is lost: opsiq accept-restore --reason TEXT",
        ),
        CheckpointFileError::Taken(_) => (
            Class::Conflict,
            "if that host is gone for good, remove the file; else choose another data directory, or another place for \
             this host's in opsiq.toml: [audit] checkpoints = \"PATH\"",
        ),
        CheckpointFileError::Exposed { .. } => (Class::Denied, "take the right to write it from others"),
        CheckpointFileError::Line { .. } => (Class::Tampered, "restore the file; see opsiq doctor"),
        CheckpointFileError::Io { .. } => {
            (Class::Unavailable, "repair it, or name another place in opsiq.toml: [audit] checkpoints = \"PATH\"")
        }
    };
    Refusal::new(class, Stage::Admin, "checkpoints.file", error.to_string(), fix)
}

impl Core {
    /// Takes what is wrong for what it is now, on record in the host's log and in that of each tenant concerned.
    pub(crate) async fn accept_rollback(&self, accepted: &Faults, reason: &str) -> Result<(), Refusal> {
        const MOST: usize = 4096;
        let failed = |error: AuditError| errors::audit(Stage::Admin, &error);
        let act = "accept-restore";
        let operator = Actor::operator();
        for (log, told) in accepted {
            let detail: String = told.join("; ").chars().take(MOST).collect();
            let draft = operator_draft(&operator, Kind::Admin, act)
                .field(field::OUTCOME, "ok")
                .field("log", log.to_string())
                .field("reason", reason)
                .field(field::DETAIL, detail);
            let owner = match log {
                Log::Host => String::new(),
                Log::Tenant(tenant) => tenant.to_string(),
            };
            let found = self.store.row_head(&owner).await.map_err(|error| errors::store(Stage::Admin, &error))?;
            let (changes, host) = (found.map_or(0, |head| head.changes), self.vault.host());
            let accept = Op::new(move |tx| {
                Box::pin(async move { tx.accept_rows(&owner, changes, &host).await.map_err(OpError::from) })
            });
            self.journal.commit(log, vec![draft.clone()], accept).await.map_err(failed)?;
            if *log != Log::Host {
                self.record(Log::Host, vec![draft]).await?;
            }
            self.journal.checkpoint(log).await.map_err(failed)?;
        }
        Ok(())
    }
}
