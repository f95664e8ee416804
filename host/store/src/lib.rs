//! Where everything is kept: one data directory with two databases, plugin files and a lock. The only SQL of the host.
//!
//! Why it is shaped like this:
//! - Content of a tenant comes in and goes out as `opsiq_vault::Sealed`, so plaintext in a tenant's column does not
//!   compile; names are found by blind index.
//! - Reads go to a pool, writes through one [`WriteTx`] at a time, so that many changes share one `fsync` and a
//!   change commits together with its audit entries or not at all.
//! - Wrapped keys are in a database of their own (`keys.db`), so that they can be backed up, and destroyed, apart.
//! - The statements keep to what `SQLite` and `PostgreSQL` share, and types here name no engine, so another
//!   engine can stand behind them without a change for callers.
//! - An older row put back is noticed: every change of a guarded row changes the head of its owner's rows, which signed
//!   checkpoints repeat.
//!
//! Fails closed: a failed write leaves the transaction unusable until it is rolled back, a full or broken disk is
//! [`StoreError::Unavailable`] and nothing was written, a second process is refused by the lock, a directory others can
//! read is refused, and a plugin file that is not what its digest says is not returned.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api_clients;
mod audit;
mod blobs;
mod column;
mod confirmations;
mod credentials;
mod data_dir;
mod devices;
mod error;
#[cfg(test)]
mod fixture;
mod idempotency;
mod installations;
mod intents;
mod invitations;
mod keys;
mod kv;
mod many;
mod nonces;
mod plugins;
mod quarantines;
mod roles;
mod root_rotation;
mod rows;
mod sealed_columns;
mod sessions;
mod store;
mod subjects;
mod tenant_keys;
mod tenants;
mod tx;
mod users;

pub use api_clients::{ApiClientKeyRow, ApiClientRow};
pub use audit::{AuditRow, CheckpointRow};
pub use blobs::Blobs;
pub use confirmations::{ConfirmationRow, ConfirmationState};
pub use credentials::CredentialRow;
pub use devices::DeviceRow;
pub use error::{StoreError, Trouble};
pub use idempotency::{Claim, IdempotencyKey};
pub use installations::InstallationRow;
pub use intents::OpenIntentRow;
pub use invitations::InvitationRow;
pub use keys::{KeyState, KeyVersionRow};
pub use kv::{KvEntryRow, KvKeyRow};
pub use nonces::NonceRow;
pub use plugins::PluginRow;
pub use quarantines::QuarantineRow;
pub use roles::RoleRow;
pub use root_rotation::{RootRewrapped, TenantKeyRow};
pub use rows::{RowFault, RowFaultKind, RowHead};
pub use sealed_columns::{Cursor, Rewrapped, SEALED_COLUMNS, SealedColumn, SealedPlace, SealedValue};
pub use sessions::SessionRow;
pub use store::Store;
pub use subjects::{ErasedSubjectRow, SubjectKeyRow};
pub use tenants::TenantRow;
pub use tx::WriteTx;
pub use users::{UserRow, UserState};
