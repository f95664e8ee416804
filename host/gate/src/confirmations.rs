//! Risky writes wait here for a person. What is shown is what was validated and what later runs: the preview and the
//! hash are the host's, made from the sealed canonical parameters.

use opsiq_contract::{Digest, InvocationId, PluginRef, Role};
use serde::Serialize;
use serde_json::Value;

/// The life of a confirmation; only `pending` can move, and only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConfirmationState {
    /// Waits for a person.
    Pending,
    /// Approved and running.
    Running,
    /// Approved, ran, and has an outcome.
    Done,
    /// A person said no.
    Denied,
    /// Nobody said yes in time.
    Expired,
    /// Something it was bound to changed, so it can never run.
    Void,
    /// The host stopped while it ran; what it did outside is unknown.
    Interrupted,
}

/// A confirmation, as a person must see it before deciding.
#[derive(Debug, Clone, Serialize)]
pub struct ConfirmationView {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: ConfirmationState,
    /// The installation's name.
    pub installation: String,
    /// The plugin version it will run.
    pub plugin: PluginRef,
    /// The plugin's title.
    pub connector: String,
    /// The action's name.
    pub action: String,
    /// The action's title.
    pub action_title: String,
    /// One sentence made by the host from the contract's template and the validated parameters.
    pub preview: String,
    /// Every argument, by name; fields marked secret or pii are redacted.
    pub arguments: Vec<(String, Value)>,
    /// The hash of all it is bound to.
    pub hash: Digest,
    /// Who asked.
    pub requester: String,
    /// In which role.
    pub role: Role,
    /// When, in milliseconds since 1970.
    pub requested_ms: i64,
    /// Until when it can be approved, in milliseconds since 1970.
    pub expires_ms: i64,
    /// Who decided.
    pub decided_by: Option<String>,
    /// The invocation that ran it.
    pub invocation: Option<InvocationId>,
}
