//! Keys, sealed values and secrets.
//!
//! Why a room of its own: everything a tenant stores passes through here, so that the database, its backups and whoever
//! holds them see only ciphertext, and a row moved, swapped or taken from another tenant does not open.
//!
//! The hierarchy, from the top:
//!
//! 1. the [`RootKey`] of the installation (a 0600 file, the environment, or a file that a KMS opens) exists only in memory here;
//! 2. each tenant has a random key-encryption key, stored as a [`WrappedKey`]; the host's own is in the [`KeyCheck`],
//!    which also proves at start that the root key is the right one;
//! 3. each sealed value has a random data key, wrapped by its tenant's key, so that rotation re-wraps keys and never
//!    touches data;
//! 4. AES-256-GCM seals the value with its [`Place`] (tenant, table, row, column, version) as additional data;
//! 5. what such a value says about a data subject is sealed once more, [`Apart`], under that subject's own key.
//!
//! Beside it stand the [`EpochKey`]s of backups, which are kept by the root key and destroyed after some weeks.
//!
//! A tenant's own secrets come in and do not come out again; a [`LeakGuard`] finds them where somebody else gives them
//! back.
//!
//! Fails closed: the wrong root key, an unknown format or key, and any changed byte are errors that name the place and
//! never the content. No I/O, no async, no SQL.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod buffer;
mod cipher;
mod epoch;
mod error;
mod key_id;
mod leak;
mod live;
mod place;
mod root;
mod sealed;
mod secret;
mod subject;
mod tenant;
mod vault;
mod wrapped;

pub use cipher::fresh;
pub use epoch::{BackupStream, EpochKey, epochs_root};
pub use error::{Tampering, VaultError};
pub use key_id::KeyId;
pub use leak::{KeyName, Leak, LeakGuard, LeakWatch, SECRET_MIN, SecretScan, Trace};
pub use place::Place;
pub use root::RootKey;
pub use sealed::Sealed;
pub use secret::{MacAlgorithm, Secret, verify_any};
pub use subject::{Apart, SubjectKey};
pub use tenant::{Form, TenantVault};
pub use vault::Vault;
pub use wrapped::{KeyCheck, WrappedKey};
