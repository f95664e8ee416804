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
use crate::installation::Installation;
use crate::limits::Limits;
use crate::model::{Action, DeriveDecl, HttpRule, Inject, KeyUse, is_safe_method};
use crate::plugin_ref::PluginRef;
use crate::standing::{Reach, Standing};
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

impl GrantedRule {
    /// Whether every method is safe by itself, without the publisher's claim.
    pub(crate) fn has_safe_methods(&self) -> bool {
        self.methods.iter().all(|method| is_safe_method(method))
    }
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

/// Who calls what, for those who tell of a call: it allows nothing. Cheap to clone.
#[derive(Clone)]
pub struct About {
    standing: Arc<Standing>,
    action: usize,
    caller: Arc<Caller>,
}

impl About {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The action.
    pub fn action(&self) -> &Action {
        &self.standing.contract.actions[self.action]
    }

    /// Of which installation.
    pub fn installation(&self) -> &Installation {
        &self.standing.installation
    }
}

/// Proof that contract, ceiling, grant and role allow one invocation, with everything it may use.
pub struct Authorized {
    pub(crate) facts: Facts,
}

/// What an [`Authorized`] holds. Its own type so that only this crate can fill it in. All but the invocation is shared with
/// other calls of the installation.
pub(crate) struct Facts {
    pub(crate) standing: Arc<Standing>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) invocation: InvocationId,
    /// Whether the caller's custom role makes every write wait for a person.
    pub(crate) raised: bool,
}

impl Authorized {
    /// Whose data.
    pub fn tenant(&self) -> &TenantId {
        &self.facts.standing.installation.tenant
    }

    /// Which installation.
    pub fn installation(&self) -> &InstallationId {
        &self.facts.standing.installation.id
    }

    /// The name the tenant gave it.
    pub fn installation_name(&self) -> &str {
        &self.facts.standing.installation.name
    }

    /// The installation's revision that was decided on.
    pub fn revision(&self) -> u64 {
        self.facts.standing.installation.revision
    }

    /// The plugin's bytes.
    pub fn digest(&self) -> &Digest {
        &self.facts.standing.installation.digest
    }

    /// The plugin's name and version.
    pub fn plugin(&self) -> &PluginRef {
        &self.facts.standing.installation.plugin
    }

    /// `publisher/id` of the plugin, whatever its version, as its contract says.
    pub fn family(&self) -> &str {
        &self.facts.standing.family
    }

    /// The action.
    pub fn action(&self) -> &Action {
        &self.facts.standing.contract.actions[self.facts.reach.action]
    }

    /// The effect after the raises by the tenant and by the caller's custom role; never less than the contract says.
    pub fn effect(&self) -> Effect {
        match self.facts.reach.effect {
            Effect::Write if self.facts.raised => Effect::RiskyWrite,
            effect => effect,
        }
    }

    /// The HTTP rules it may use, in the order of the contract.
    pub fn rules(&self) -> &[GrantedRule] {
        &self.facts.reach.rules
    }

    /// The other rules of the contract, and why each may not be used.
    pub fn denied_rules(&self) -> &[DeniedRule] {
        &self.facts.reach.denied_rules
    }

    /// The keys it may open itself.
    pub fn keys(&self) -> &[GrantedKey] {
        &self.facts.reach.keys
    }

    /// The keys the host injects for its rules, which the plugin may not open.
    pub fn injected_keys(&self) -> BTreeSet<&str> {
        self.rules().iter().filter_map(|rule| rule.inject.as_ref()).flat_map(|inject| inject.value.keys()).collect()
    }

    /// The audit events it may emit.
    pub fn audit_events(&self) -> &BTreeSet<String> {
        &self.facts.reach.audit_events
    }

    /// Bytes of storage, when it may use storage.
    pub fn kv_max(&self) -> Option<u64> {
        self.facts.reach.kv_max
    }

    /// The private destinations the operator opened to it.
    pub fn private_targets(&self) -> &[PrivateTarget] {
        &self.facts.reach.private_targets
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.facts.standing.limits
    }

    /// The tenant's config.
    pub fn config(&self) -> &Value {
        &self.facts.standing.installation.config
    }

    /// Who calls.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.facts.caller
    }

    /// The one invocation this is for.
    pub fn invocation(&self) -> &InvocationId {
        &self.facts.invocation
    }

    /// The policy version: the fingerprint of the ceiling decided on. `None` for a read, which nobody confirms.
    pub fn ceiling(&self) -> Option<&Digest> {
        self.facts.reach.ceiling.as_ref()
    }

    /// Who calls what, without the leave to do it.
    pub fn about(&self) -> About {
        let Facts { standing, reach, caller, .. } = &self.facts;
        About { standing: Arc::clone(standing), action: reach.action, caller: Arc::clone(caller) }
    }

    /// Whether a durable audit intent must come first: for every write, and for a read that may use a rule whose unsafe
    /// method only its publisher claims to be safe.
    pub fn needs_intent(&self) -> bool {
        self.facts.reach.needs_intent
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
