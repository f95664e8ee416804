//! A tenant's named use of one plugin version.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::words;
use crate::digest::Digest;
use crate::grant::Grant;
use crate::id::{InstallationId, TenantId};
use crate::plugin_ref::PluginRef;

/// Whether the tenant lets an installation run. Whether a quarantine covers it as well is the gate's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallState {
    /// Its actions may run.
    Enabled,
    /// The tenant stopped it.
    Paused,
}

words!(InstallState, "a state", "enabled or paused", Enabled = "enabled", Paused = "paused");

/// A tenant's named use of one plugin version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: InstallationId,
    /// The name the tenant gave it.
    pub name: String,
    /// Which plugin version.
    pub plugin: PluginRef,
    /// Which bytes of it.
    pub digest: Digest,
    /// Whether it runs.
    pub state: InstallState,
    /// Grows by one with every change of grant, config, state or version.
    pub revision: u64,
    /// What the tenant allowed.
    pub grant: Grant,
    /// What the tenant set: an object valid against the contract's `[config]`.
    pub config: Value,
}
