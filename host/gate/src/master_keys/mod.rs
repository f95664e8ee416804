//! The keys above all content: the root key, and one key for each tenant. They rotate while calls go on, and whatever
//! moment a rotation is stopped at, everything opens and the rotation can go on. See [`Host::master_keys`].
//!
//! - Of a tenant ([`tenant`]): the new key is durable before anything is sealed by it; then everything sealed from that
//!   moment is; then what is stored is put under it; then the old key is destroyed.
//! - Of the root ([`root`]): the same, one storey higher, where there are only wrapped keys to move.
//!
//! The operator does it, and it is recorded in the host's log, and a tenant's in the tenant's own too.

mod root;
mod status;
mod tenant;
mod verify;

use std::path::Path;
use std::sync::Arc;

use opsiq_contract::TenantId;
use serde::Serialize;

pub use root::RootRotated;
pub use status::{KeyGeneration, KeyStatus, TenantKeysView};
pub use tenant::{Moved, TenantRotated};
pub use verify::{ColumnCount, KeyFault, KeysVerified};

use crate::actor::Actor;
use crate::core::Core;
use crate::refusal::Refusal;

/// How far a walk over sealed values has come.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Walked<'a> {
    /// Whose values.
    pub tenant: &'a str,
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// Values looked at in this column so far; while re-wrapping, those that were moved.
    pub values: u64,
}

/// Who is told how far a walk has come.
pub type Watch<'a> = &'a (dyn Fn(Walked<'_>) + Send + Sync);

/// The root key and the keys of tenants. See [`Host::master_keys`](crate::Host::master_keys).
#[derive(Clone)]
pub struct MasterKeys {
    pub(crate) core: Arc<Core>,
}

impl MasterKeys {
    /// Gives a tenant a new key and destroys the old one, while calls go on; or goes on with a rotation that was stopped.
    ///
    /// # Errors
    /// Not the operator; no such tenant; a value that does not open, naming it, in which case the old key stays; a disk that
    /// does not serve. Whatever the error, everything opens as before, and calling it again goes on.
    pub async fn rotate_tenant(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        watch: Watch<'_>,
    ) -> Result<TenantRotated, Refusal> {
        let about = format!("tenant {tenant}");
        let done = self.core.rotate_tenant(actor, tenant, watch);
        self.core.operate(actor, "keys rotate", &about, done).await
    }

    /// Puts every key under a new root key, while calls go on; or goes on with a rotation that was stopped. A root key from a
    /// file is replaced there by a new one; for one given as text, or from a file that is not the host's to replace, the next one
    /// is given as [`HostOptions::next_root`](crate::HostOptions::next_root).
    ///
    /// # Errors
    /// Not the operator; no next root key where one must be given; a key that does not open; a disk that does not serve.
    /// Whatever the error, a host that is given both root keys opens everything, and calling it again goes on.
    pub async fn rotate_root(&self, actor: &Actor) -> Result<RootRotated, Refusal> {
        self.core.operate(actor, "keys rotate", "root key", self.core.rotate_root(actor)).await
    }

    /// Opens every wrapped key and every sealed value, and says what does not open and what is under an older key.
    ///
    /// # Errors
    /// Not the operator; a disk that does not serve. What does not open is no error here but a finding.
    pub async fn verify(&self, actor: &Actor, watch: Watch<'_>) -> Result<KeysVerified, Refusal> {
        self.core.operate(actor, "keys verify", "", self.core.verify_keys(actor, watch)).await
    }

    /// Makes a new root key in a file of its own, of mode 0600, to be rotated to; answers its id.
    ///
    /// # Errors
    /// When the file exists, or cannot be written.
    pub fn generate_root(path: &Path) -> Result<String, Refusal> {
        crate::root::generate(path).map(|key| key.id().to_string())
    }
}
