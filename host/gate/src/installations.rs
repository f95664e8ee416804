//! Installations: a tenant's named use of one plugin version. Granting narrows or widens within the contract, never
//! beyond it; every change raises the revision, which voids confirmations that were asked under the old one.

use opsiq_contract::{Digest, Effect, InstallState, InstallationId, PluginRef, Role};
use serde::Serialize;
use serde_json::Value;

/// What to install, and how much of what it asks to allow.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// The installation's name, unique in the tenant.
    pub name: String,
    /// `publisher/id@version`, `publisher/id`, `id`, or a digest.
    pub plugin: String,
    /// Items not to grant, such as `http:refunds` or `action:refund-order`.
    pub without: Vec<String>,
    /// Write actions that shall wait for a person although the contract does not say so.
    pub confirm: Vec<String>,
    /// The config, an object valid against the contract's `[config]`; `{}` when it has none.
    pub config: Value,
}

/// One action as an installation offers it.
#[derive(Debug, Clone, Serialize)]
pub struct ActionView {
    /// The name to call it by.
    pub name: String,
    /// Title, as the contract says it.
    pub title: String,
    /// The effect in force, after the tenant's raise.
    pub effect: Effect,
    /// The scope a program must hold.
    pub scope: String,
    /// Roles that may run it.
    pub roles: Vec<Role>,
    /// Whether the grant includes it.
    pub allowed: bool,
    /// The preview template of its confirmation.
    pub preview: Option<String>,
    /// JSON Schema of its parameters.
    pub params: Value,
    /// JSON Schema of its result.
    pub result: Value,
}

/// An installation.
#[derive(Debug, Clone, Serialize)]
pub struct InstallationView {
    /// Its id, for ever.
    pub id: InstallationId,
    /// Its name in the tenant.
    pub name: String,
    /// `publisher/id@version`.
    pub plugin: PluginRef,
    /// The component's digest, which the grant is bound to.
    pub digest: Digest,
    /// The plugin's title.
    pub title: String,
    /// `enabled`, `paused` or `quarantined`.
    pub state: InstallState,
    /// Grows by one with each change of grant, config or state.
    pub revision: u64,
    /// Granted keys that are not set yet; while there is one, no action runs.
    pub needs_keys: Vec<String>,
    /// The config; fields marked secret or pii are redacted.
    pub config: Value,
    /// What is granted, as items.
    pub allowed: Vec<String>,
    /// What the contract asks for and the tenant withholds, as items.
    pub withheld: Vec<String>,
    /// Writes the tenant raised to wait for a person.
    pub confirm: Vec<String>,
    /// Its actions.
    pub actions: Vec<ActionView>,
    /// When installed, in milliseconds since 1970.
    pub created_ms: i64,
}
