//! Errors of the rooms below, as refusals. Messages of the database and the file system are not carried on: only which
//! trouble it is, and what to do.

use opsiq_audit::{AuditError, OpError};
use opsiq_store::StoreError;
use opsiq_vault::VaultError;

use crate::refusal::{Class, Refusal, Stage};

/// An error of the store at `stage`.
pub(crate) fn store(stage: Stage, error: &StoreError) -> Refusal {
    let message = error.to_string();
    let (class, code, fix) = match error {
        StoreError::Unavailable { .. } => (
            Class::Unavailable,
            "store.unavailable",
            "free or repair the disk, or the database server, then try again; see opsiq doctor",
        ),
        StoreError::Fenced => return fenced(stage, message),
        StoreError::Locked { .. } => {
            (Class::Unavailable, "data.locked", "end that process, or wait longer: --wait SECONDS")
        }
        StoreError::Exposed { .. } => (Class::Denied, "data.exposed", "take the permissions away and try again"),
        StoreError::NotInitialised(_) => (Class::NotFound, "data.not-initialised", "opsiq init"),
        StoreError::AlreadyInitialised(_) => {
            (Class::Conflict, "data.initialised", "use it, or choose another directory")
        }
        StoreError::Conflict { .. } => (Class::Conflict, "changed.meanwhile", "look again, then repeat the command"),
        StoreError::Damaged { .. } | StoreError::BlobChanged(_) => {
            (Class::Tampered, "store.damaged", "restore from a backup; see opsiq doctor")
        }
        StoreError::Key(error) => return vault(stage, error),
        StoreError::Url(_) | StoreError::OtherEngine(_) => {
            (Class::Invalid, "store.url", "name the databases as the documentation of [store] says")
        }
        StoreError::Unfit(_) => (Class::Unavailable, "store.unfit", "change that setting of the server, and try again"),
        StoreError::Version(_) => (Class::Internal, "store.version", "use the version of opsiq that wrote it"),
        _ => (Class::Internal, "store.failed", "see opsiq doctor"),
    };
    Refusal::new(class, stage, code, message, fix)
}

/// An error of the vault at `stage`.
pub(crate) fn vault(stage: Stage, error: &VaultError) -> Refusal {
    let message = error.to_string();
    if error.is_tampering() {
        return Refusal::new(
            Class::Tampered,
            stage,
            "store.tampered",
            message,
            "restore from a backup; see opsiq doctor",
        );
    }
    Refusal::new(Class::Internal, stage, "vault.failed", message, "see opsiq doctor")
}

/// An error of the audit log at `stage`. A refusal that an operation put in comes out as it went in.
pub(crate) fn audit(stage: Stage, error: &AuditError) -> Refusal {
    let message = error.to_string();
    match error {
        AuditError::Unavailable(_) => unavailable(stage, message),
        AuditError::Fenced => fenced(stage, message),
        AuditError::Operation(OpError::Refused(inner)) => match inner.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.clone(),
            None => Refusal::new(Class::Internal, stage, "store.failed", message, "see opsiq doctor"),
        },
        AuditError::Operation(OpError::Store(error)) | AuditError::Store(error) => store(stage, error),
        AuditError::Vault(error) => vault(stage, error),
        AuditError::Subject(_) => Refusal::new(
            Class::Tampered,
            stage,
            "subject.key-missing",
            message,
            "restore keys.db from a backup; see opsiq keys verify",
        ),
        AuditError::Range => Refusal::new(
            Class::NotFound,
            stage,
            "audit.no-such-entries",
            message,
            "opsiq audit list shows the last one",
        ),
        AuditError::Tampered { .. } => {
            Refusal::new(Class::Tampered, stage, "audit.tampered", message, "restore from a backup; see opsiq doctor")
        }
        _ => Refusal::new(Class::Internal, stage, "audit.failed", message, "see opsiq doctor"),
    }
}

/// Nothing may happen here, because others believe this node lost.
fn fenced(stage: Stage, message: String) -> Refusal {
    let fix = "nothing: try again in a moment, here or at another node; what was running is reported as interrupted";
    Refusal::new(Class::Unavailable, stage, "node.fenced", message, fix)
}

/// Nothing may happen, because it could not be recorded.
pub(crate) fn unavailable(stage: Stage, message: String) -> Refusal {
    Refusal::new(
        Class::Unavailable,
        stage,
        "audit.unavailable",
        message,
        "free or repair the disk, or the database server, then try again; see opsiq doctor",
    )
}

/// Something that cannot be by construction; fails closed all the same.
pub(crate) fn internal(stage: Stage, message: impl Into<String>) -> Refusal {
    Refusal::new(Class::Internal, stage, "internal", message, "see opsiq doctor and report it")
}
