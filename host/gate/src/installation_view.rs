//! An installation as its tenant is shown it.

use std::borrow::Cow;

use opsiq_contract::{Action, Digest, Effect, InstallationId, PluginRef, Role, visible};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::control::QuarantineView;
use crate::core::Core;
use crate::state::Installed;
use crate::upgrades::HeldUpgrade;

/// One action as an installation offers it.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    pub state: Cow<'static, str>,
    /// Why nothing of it runs although it is enabled.
    pub quarantine: Option<QuarantineView>,
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
    /// A version that asks for more and waits to be accepted.
    pub held: Option<HeldUpgrade>,
    /// Its actions.
    pub actions: Vec<ActionView>,
    /// When installed, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Shows one.
pub(crate) fn view(core: &Core, installed: &Installed) -> InstallationView {
    let Installed { installation, contract, .. } = installed;
    let quarantine = core.quarantines.covering(installation).map(|quarantine| quarantine.view());
    let grant = &installation.grant;
    let items = |wanted: bool| {
        let of = grant.permissions(contract).into_iter().filter(move |(_, has)| *has == wanted);
        of.map(|(permission, _)| permission.to_string()).collect()
    };
    let action = |action: &Action| ActionView {
        name: action.name.clone(),
        title: visible(&action.title, 120).text,
        effect: match action.effect {
            Effect::Write if grant.confirm.contains(&action.name) => Effect::RiskyWrite,
            effect => effect,
        },
        scope: action.scope.clone(),
        roles: action.roles.iter().copied().collect(),
        allowed: grant.actions.contains(&action.name),
        preview: action.preview.as_ref().map(ToString::to_string),
        params: action.params.source().clone(),
        result: action.result.source().clone(),
    };
    InstallationView {
        id: installation.id.clone(),
        name: installation.name.clone(),
        plugin: installation.plugin.clone(),
        digest: installation.digest,
        title: visible(&contract.plugin.title, 120).text,
        state: if quarantine.is_some() { "quarantined" } else { installation.state.as_str() }.into(),
        quarantine,
        revision: installation.revision,
        needs_keys: installed.needs_keys(),
        config: match &contract.config {
            Some(schema) => schema.redact(&installation.config),
            None => installation.config.clone(),
        },
        allowed: items(true),
        withheld: items(false),
        confirm: grant.confirm.iter().cloned().collect(),
        held: installed.held.as_ref().map(HeldUpgrade::of),
        actions: contract.actions.iter().map(action).collect(),
        created_ms: installed.created_ms,
    }
}
