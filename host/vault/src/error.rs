//! What can go wrong, without ever saying what a value was.

use crate::KeyId;

/// Why a sealed value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Tampering {
    /// The bytes, or the place they were found in, are not the ones that were sealed.
    #[error("its content or its place was changed")]
    Changed,
    /// Sealed under a key this tenant does not hold: taken from elsewhere, or the key was destroyed.
    #[error("it is sealed under key {0}, which is not a live key of this tenant")]
    ForeignKey(KeyId),
    /// Not a format this host writes.
    #[error("it is not in a known sealed format")]
    Format,
}

/// Errors of the vault. None carries a secret or a plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The root key given is not the one this data was made with.
    #[error("wrong root key: the data expects key {expected}, the key given is {found}")]
    WrongRoot {
        /// The key the stored check was made with.
        expected: KeyId,
        /// The key given.
        found: KeyId,
    },
    /// The text is not a root key; says in which way.
    #[error("not a root key: {0}")]
    RootText(String),
    /// The text is not a usable secret; says in which way, without repeating it.
    #[error("not a usable secret: {0}")]
    SecretText(&'static str),
    /// A stored wrapped key was changed, or belongs to another tenant.
    #[error("a stored key does not open: {0}")]
    Key(Tampering),
    /// A ring of epoch keys was changed, or is none.
    #[error("the file of epoch keys does not open: {0}")]
    Epochs(Tampering),
    /// A piece of a backup is not what was sealed in its place.
    #[error("the backup does not open: {0}")]
    Backup(Tampering),
    /// The tenant has no key: it was never made, or was destroyed, and with it everything sealed under it.
    #[error("the tenant {0} has no live key; what was sealed under its keys cannot be opened")]
    NoKey(String),
    /// A sealed value does not open where it was found.
    #[error("tampering: a value of {table}.{column} does not open: {why}")]
    Tampered {
        /// The table it was found in.
        table: &'static str,
        /// The column it was found in.
        column: &'static str,
        /// How it fails.
        why: Tampering,
    },
    /// The value opened, is authentic, and is not of the type asked for.
    #[error("a value of {table}.{column} is authentic and not of the expected form")]
    Form {
        /// The table it was found in.
        table: &'static str,
        /// The column it was found in.
        column: &'static str,
    },
}

impl VaultError {
    /// Whether this means that stored bytes were changed by someone else, which is to be reported and never retried.
    pub fn is_tampering(&self) -> bool {
        matches!(self, Self::Tampered { .. } | Self::Key(_) | Self::Epochs(_) | Self::Backup(_))
    }
}
