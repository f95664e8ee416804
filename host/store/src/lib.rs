//! Where everything is kept: a data directory with plugin files and a lock, and two databases, in that directory (`SQLite`) or
//! on a server that several nodes share (`PostgreSQL`). The only SQL of the host.
//!
//! Why it is shaped like this:
//! - Content of a tenant comes in and goes out as `opsiq_vault::Sealed`, so plaintext in a tenant's column does not
//!   compile; names are found by blind index.
//! - Reads go to a pool, writes through one [`WriteTx`] at a time, so that many changes share one `fsync` and a
//!   change commits together with its audit entries or not at all. Other nodes' writes come in between only where a
//!   transaction holds nothing in common with them, see [`WriteTx::hold_logs`].
//! - Wrapped keys are in a database of their own (`keys.db`), so that they can be backed up, and destroyed, apart.
//! - A statement is one text for both engines; `db` runs it, and types here name no engine. See *Adding a table*.
//! - An older row put back is noticed: every change of a guarded row changes the head of its owner's rows, which signed
//!   checkpoints repeat.
//!
//! Fails closed: a failed write leaves the transaction unusable until it is rolled back, a full or broken disk is
//! [`StoreError::Unavailable`] and nothing was written, a second process is refused by the lock, a directory others can
//! read is refused, and a plugin file that is not what its digest says is not returned. A server that may lose what it commits,
//! or that is reached over a network without TLS 1.3, is not used; a commit whose end is not known is never believed.
//!
//! # Adding a table
//!
//! 1. A migration for each engine, in `migrations/sqlite` and `migrations/postgres` under the next free number, which need not be the
//!    same. The tenant leads the primary key. `PostgreSQL` says `TEXT COLLATE "C"` for `TEXT`, so that texts are ordered by their
//!    bytes as in `SQLite`, and `BYTEA` for `BLOB`; numbers, times and flags are `BIGINT` in both.
//! 2. A module with its row and statements: `use crate::db::{query, query_as, query_scalar}`, which are called like those of `sqlx`
//!    (`.bind(text, bytes or number)`, `.fetch_optional(self.reader())`), and in a transaction `self.run_one(WHAT, query)`,
//!    or `query_as(…).fetch_one(self.connection().await?)` through `self.noting(…)`. A function for both takes
//!    `db: impl Into<Target<'_>>`. Both engines know `$1`, `ON CONFLICT … DO UPDATE`, row values and `LIMIT`; neither
//!    `INSERT OR …`, `hex` nor an untyped `NULL` in a list of columns. Statements about many rows are in `many`.
//! 3. What decides what may happen goes into the list of guarded tables in `rows::table`, at its end; triggers on both engines are
//!    made of it. Sealed columns go into `SEALED_COLUMNS`. Tests name what was forgotten.
//! 4. Tests are listed in `fixture::on_both_engines!`, which runs each on both.
//!
//! Backups copy every table there is, by name of table and column, see [`Store::dump`]: columns keep their names and meaning, and what
//! is true of this node alone is named in `dump::OF_NODES`.
//!
//! Hosts of two versions may run on one server while nodes are replaced: a migration only adds what the older version can pass
//! over (a column that may be null or has a default); what is no longer used is removed by the version after.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account_networks;
mod address_rules;
mod api_clients;
mod audit;
mod blobs;
mod column;
mod confirmations;
mod credentials;
mod data_dir;
mod db;
mod devices;
mod dump;
mod engine;
mod error;
#[cfg(test)]
mod fixture;
mod folding;
mod hold;
mod idempotency;
mod installations;
mod intents;
mod invitations;
mod jobs;
mod keys;
mod kv;
mod many;
mod nodes;
mod nonces;
mod passkeys;
mod people;
mod plugins;
mod quarantines;
mod retention;
mod roles;
mod root_rotation;
mod rows;
mod sealed_columns;
mod sessions;
mod sign_in_failures;
mod sso;
mod sso_identities;
mod store;
mod subjects;
mod tenant_keys;
mod tenants;
mod tx;
mod users;

pub use account_networks::AccountNetworkRow;
pub use address_rules::AddressRuleRow;
pub use api_clients::{ApiClientKeyRow, ApiClientRow};
pub use audit::{AuditRow, CheckpointRow};
pub use blobs::Blobs;
pub use confirmations::{ConfirmationRow, ConfirmationState};
pub use credentials::CredentialRow;
pub use devices::DeviceRow;
pub use dump::{DumpCell, DumpCounts, DumpProgress, DumpRecord, DumpStream, Restored};
pub use engine::StoreOptions;
pub use error::{StoreError, Trouble};
pub use hold::LogEnd;
pub use idempotency::{Claim, IdempotencyKey};
pub use installations::InstallationRow;
pub use intents::OpenIntentRow;
pub use invitations::InvitationRow;
pub use jobs::{JobLease, JobState};
pub use keys::{KeyState, KeyVersionRow};
pub use kv::{KvEntryRow, KvKeyRow};
pub use nodes::LostNode;
pub use nonces::NonceRow;
pub use passkeys::PasskeyRow;
pub use plugins::PluginRow;
pub use quarantines::QuarantineRow;
pub use retention::{HoldRow, RetentionRow};
pub use roles::RoleRow;
pub use root_rotation::{RootRewrapped, TenantKeyRow};
pub use rows::{Changes, RowFault, RowFaultKind, RowHead};
pub use sealed_columns::{Cursor, Rewrapped, SEALED_COLUMNS, SealedColumn, SealedPlace, SealedValue};
pub use sessions::SessionRow;
pub use sign_in_failures::FailureRow;
pub use sso::SsoProviderRow;
pub use sso_identities::SsoIdentityRow;
pub use store::Store;
pub use subjects::{ErasedSubjectRow, SubjectKeyRow};
pub use tenants::TenantRow;
pub use tx::WriteTx;
pub use users::{UserRow, UserState};
