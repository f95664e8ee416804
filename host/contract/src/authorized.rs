//! The sealed value that lets an action run.
//!
//! Only [`authority`](crate::authority()) makes an [`Authorized`]; it cannot be copied, so one decision runs one invocation.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::caller::{Caller, Effect};
use crate::ceiling::PrivateTarget;
use crate::denial::Denial;
use crate::digest::Digest;
use crate::id::{InstallationId, InvocationId, TenantId};
use crate::limits::Limits;
use crate::model::{Action, DeriveDecl, HttpRule, Inject, KeyUse, is_safe_method};
use crate::plugin_ref::PluginRef;
use crate::template::ResolvedUrl;

/// An HTTP rule that this invocation may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedRule {
    /// Its name in the contract.
    pub name: String,
    /// Upper-case methods.
    pub methods: Vec<String>,
    /// The URLs it covers, with the tenant's config in them.
    pub url: ResolvedUrl,
    /// The query names allowed.
    pub query: Vec<String>,
    /// The header the host adds.
    pub inject: Option<Inject>,
    /// Bytes of a request body, at most: the smaller of rule and limits.
    pub request_max: u64,
    /// Decoded bytes of an answer's body, at most: the smaller of rule and limits.
    pub response_max: u64,
    /// The publisher's claim that its unsafe methods change nothing.
    pub safe: bool,
    /// Redirects followed.
    pub redirects: u8,
}

/// An HTTP rule of the contract that this invocation may not use, and why. Kept so that a refused request can be told the
/// line that would have allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedRule {
    /// The rule.
    pub rule: Arc<HttpRule>,
    /// Its URLs, when the config values fit.
    pub url: Option<ResolvedUrl>,
    /// Why it may not be used.
    pub denial: Denial,
}

/// A key that this invocation may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedKey {
    /// Its name in the contract.
    pub name: String,
    /// What may be done with it.
    pub uses: BTreeSet<KeyUse>,
    /// How keys are derived from it.
    pub derive: Option<DeriveDecl>,
}

/// Proof that contract, ceiling, grant and role allow one invocation, with everything it may use.
pub struct Authorized {
    pub(crate) facts: Facts,
}

/// What an [`Authorized`] holds. Its own type so that only this crate can fill it in.
pub(crate) struct Facts {
    pub(crate) tenant: TenantId,
    pub(crate) installation: InstallationId,
    pub(crate) installation_name: String,
    pub(crate) revision: u64,
    pub(crate) digest: Digest,
    pub(crate) plugin: PluginRef,
    pub(crate) action: Action,
    pub(crate) effect: Effect,
    pub(crate) rules: Vec<GrantedRule>,
    pub(crate) denied_rules: Vec<DeniedRule>,
    pub(crate) keys: Vec<GrantedKey>,
    pub(crate) audit_events: BTreeSet<String>,
    pub(crate) kv_max: Option<u64>,
    pub(crate) private_targets: Vec<PrivateTarget>,
    pub(crate) limits: Limits,
    pub(crate) config: Value,
    pub(crate) caller: Caller,
    pub(crate) invocation: InvocationId,
    pub(crate) ceiling: Option<Digest>,
}

impl Authorized {
    /// Whose data.
    pub fn tenant(&self) -> &TenantId {
        &self.facts.tenant
    }

    /// Which installation.
    pub fn installation(&self) -> &InstallationId {
        &self.facts.installation
    }

    /// The name the tenant gave it.
    pub fn installation_name(&self) -> &str {
        &self.facts.installation_name
    }

    /// The installation's revision that was decided on.
    pub fn revision(&self) -> u64 {
        self.facts.revision
    }

    /// The plugin's bytes.
    pub fn digest(&self) -> &Digest {
        &self.facts.digest
    }

    /// The plugin's name and version.
    pub fn plugin(&self) -> &PluginRef {
        &self.facts.plugin
    }

    /// The action.
    pub fn action(&self) -> &Action {
        &self.facts.action
    }

    /// The effect after the tenant's raise; never less than the contract says.
    pub fn effect(&self) -> Effect {
        self.facts.effect
    }

    /// The HTTP rules it may use, in the order of the contract.
    pub fn rules(&self) -> &[GrantedRule] {
        &self.facts.rules
    }

    /// The other rules of the contract, and why each may not be used.
    pub fn denied_rules(&self) -> &[DeniedRule] {
        &self.facts.denied_rules
    }

    /// The keys it may open itself.
    pub fn keys(&self) -> &[GrantedKey] {
        &self.facts.keys
    }

    /// The keys the host injects for its rules, which the plugin may not open.
    pub fn injected_keys(&self) -> BTreeSet<&str> {
        self.facts.rules.iter().filter_map(|rule| rule.inject.as_ref()).flat_map(|inject| inject.value.keys()).collect()
    }

    /// The audit events it may emit.
    pub fn audit_events(&self) -> &BTreeSet<String> {
        &self.facts.audit_events
    }

    /// Bytes of storage, when it may use storage.
    pub fn kv_max(&self) -> Option<u64> {
        self.facts.kv_max
    }

    /// The private destinations the operator opened to it.
    pub fn private_targets(&self) -> &[PrivateTarget] {
        &self.facts.private_targets
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.facts.limits
    }

    /// The tenant's config.
    pub fn config(&self) -> &Value {
        &self.facts.config
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.facts.caller
    }

    /// The one invocation this is for.
    pub fn invocation(&self) -> &InvocationId {
        &self.facts.invocation
    }

    /// The policy version: the fingerprint of the ceiling decided on. `None` for a read, which nobody confirms.
    pub fn ceiling(&self) -> Option<&Digest> {
        self.facts.ceiling.as_ref()
    }

    /// Whether a durable audit intent must come first: for every write, and for a read that may use a rule whose unsafe
    /// method only its publisher claims to be safe.
    pub fn needs_intent(&self) -> bool {
        self.effect() > Effect::Read
            || self.rules().iter().any(|rule| rule.methods.iter().any(|method| !is_safe_method(method)))
    }
}

impl fmt::Debug for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized")
            .field("tenant", self.tenant())
            .field("plugin", self.plugin())
            .field("action", &self.action().name)
            .field("invocation", self.invocation())
            .finish_non_exhaustive()
    }
}
