//! What can go wrong with the log.

use std::sync::Arc;

use opsiq_store::StoreError;
use opsiq_vault::{KeyId, VaultError};

/// Why something was not recorded, permitted or read.
///
/// Nothing that needed the record may happen after any of these.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The log could not be written within the time a caller may wait (2 s): the disk is full, failing or hanging, or the host
    /// is closing. Nothing is promised, and the caller must answer nothing. Only if the disk hung inside the commit
    /// itself may the record turn out to exist; an intent among it then ends as `interrupted`.
    #[error("the audit log cannot be written: {0}")]
    Unavailable(Arc<str>),
    /// This node was given up for lost, and others record its calls as interrupted. Nothing was recorded, and nothing will be
    /// until it has registered anew, which takes a moment.
    #[error("this node did not answer for too long and was given up: others end its calls, and it registers anew")]
    Fenced,
    /// The operation to be committed with the entries failed; it and the entries were rolled back together.
    #[error(transparent)]
    Operation(OpError),
    /// The log or its tree is not what the host wrote and signed. Fails closed: nothing is appended to such a log.
    #[error("the audit log was changed at entry {seq}: {why}")]
    Tampered {
        /// The number of the entry, from 0.
        seq: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// A read permit was asked for a call that needs a durable intent.
    #[error("this call may have an effect, so it needs an intent before it runs")]
    IntentNeeded,
    /// No entry among those that should end an invocation ends it.
    #[error("the records of an outcome hold none that ends the call")]
    NoOutcome,
    /// A field name outside a–z, 0–9, `_`, `-`, `.`, or longer than 64 bytes.
    #[error("an audit field has a name that is none")]
    Draft,
    /// A range of entries that the log does not have.
    #[error("the log has no such entries")]
    Range,
    /// The vault refused: no key for the log, or content that does not open.
    #[error(transparent)]
    Vault(#[from] Arc<VaultError>),
    /// The key of a data subject is missing although nobody erased it, or does not open.
    #[error("the key {0} of a data subject is missing or changed, and nobody erased it")]
    Subject(KeyId),
    /// A read of the store failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Writing an export failed.
    #[error("the export cannot be written: {0}")]
    Output(Arc<std::io::Error>),
}

impl AuditError {
    pub(crate) fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::Unavailable(why.to_string().into())
    }

    /// The error for a transaction that did not come about.
    pub(crate) fn of_write(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            error => Self::unavailable(error),
        }
    }

    pub(crate) fn tampered(seq: u64, why: &'static str) -> Self {
        Self::Tampered { seq, why }
    }
}

impl From<VaultError> for AuditError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Arc::new(error))
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Why an operation that was to commit with its audit entries did not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The operation itself refused: a state that does not allow it, say. The caller downcasts what it put in.
    #[error("{0}")]
    Refused(Arc<dyn std::error::Error + Send + Sync>),
}

impl OpError {
    /// A refusal by the operation.
    pub fn refused(why: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Refused(Arc::new(why))
    }
}

impl From<StoreError> for OpError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
