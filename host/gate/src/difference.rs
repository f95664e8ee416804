//! What another version of an installed plugin would change, in plain words, worst first: the text an owner reads before
//! accepting an upgrade. It is made from the two contracts alone, never from anything a plugin says at run time.
//!
//! Acceptance is bound to the hash of it: over both digests, the installation with its revision, grant and config, the
//! operator's ceiling, and the words themselves. Whatever of these changes makes another difference, to be shown anew.

use opsiq_contract::diff::{Change, Risk, diff};
use opsiq_contract::{Ceiling, Contract, Digest, Installation, Permission, PluginRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plan;
use crate::refusal::Fault;
use crate::state::Installed;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeChange {
    /// What it is about, such as `http:refunds`; the name to withhold it by where it is a permission.
    pub item: String,
    /// What changes, in a sentence.
    pub text: String,
}

/// Changes of one weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeGroup {
    /// The weight they share.
    pub risk: Risk,
    /// A heading in plain words.
    pub title: String,
    /// The changes, in the contract's order.
    pub changes: Vec<UpgradeChange>,
}

/// What an upgrade would change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpgradePlan {
    /// The version that is installed.
    pub from: PluginRef,
    /// The version to be.
    pub plugin: PluginRef,
    /// The digest of the version to be, which the grant would be bound to.
    pub digest: Digest,
    /// Title of the version to be, as its contract says it.
    pub title: String,
    /// The changes, worst first.
    pub groups: Vec<ChangeGroup>,
    /// Whether it asks for more than was granted, so that an owner or admin has to accept it.
    pub asks_more: bool,
    /// What the tenant withholds now and would still withhold.
    pub withheld: Vec<String>,
    /// Keys that it asks for and that have no value yet. They can be set before it is accepted.
    pub needs_keys: Vec<String>,
    /// JSON Schema of its config, when that changes.
    pub config_schema: Option<Value>,
    /// What the config lacks for it, by path.
    pub config_faults: Vec<Fault>,
    /// The hash of all this and of what it stands on: what accepting is bound to.
    pub difference: Digest,
}

/// The difference from what is installed to `contract`, whose bytes are `digest`, under `ceiling`.
pub(crate) fn plan(installed: &Installed, contract: &Contract, digest: Digest, ceiling: &Ceiling) -> UpgradePlan {
    let Installed { installation, contract: old, .. } = installed;
    let plugin = contract.plugin_ref();
    let mut changes = diff(old, contract);
    if plugin.version < installation.plugin.version {
        let text = format!(
            "goes back from {} to {}: what was mended since then is broken again",
            installation.plugin.version, plugin.version
        );
        changes.push(Change { about: "plugin".to_owned(), risk: Risk::Ordinary, text });
    }
    if installation.grant.digest != installation.digest {
        let text = "the present grant was given to other bytes than the installed ones".to_owned();
        changes.push(Change { about: "plugin".to_owned(), risk: Risk::High, text });
    }
    let groups = grouped(&changes, contract, ceiling);
    let faults = plan_config(contract, &installation.config);
    let withheld = installation.grant.permissions(old).into_iter().filter(|(_, granted)| !granted);
    let still =
        |(permission, _)| installation.grant.permissions(contract).iter().any(|(asked, _)| *asked == permission);
    let withheld: Vec<Permission> =
        withheld.filter(|one| still(one.clone())).map(|(permission, _)| permission).collect();
    let lacks =
        |name: &&String| !installed.keys.names.contains(name) && !withheld.contains(&Permission::Key((*name).clone()));
    UpgradePlan {
        difference: hash(installation, digest, ceiling, &groups),
        from: installation.plugin.clone(),
        plugin,
        digest,
        title: plan::shown(&contract.plugin.title),
        asks_more: changes.iter().any(|change| change.risk.asks_more()),
        needs_keys: contract.keys.iter().map(|key| &key.name).filter(lacks).cloned().collect(),
        withheld: withheld.iter().map(ToString::to_string).collect(),
        config_schema: contract
            .config
            .as_ref()
            .filter(|schema| old.config.as_ref() != Some(schema))
            .map(|schema| schema.source().clone()),
        config_faults: faults,
        groups,
    }
}

fn plan_config(contract: &Contract, present: &Value) -> Vec<Fault> {
    let config = config(contract, present, None);
    crate::installations::checked_config(contract, &config).map_or_else(|refusal| refusal.faults.into(), |_| Vec::new())
}

/// The config for `contract`: what is set now, as far as it still can be, and over it what is `given`, name by name.
pub(crate) fn config(contract: &Contract, present: &Value, given: Option<&Value>) -> Value {
    let declared = |name: &String| {
        contract.config.as_ref().is_some_and(|schema| {
            let open = schema.source().get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
            open || schema.properties().any(|(known, _)| known == name)
        })
    };
    let members = present.as_object().into_iter().flatten().filter(|(name, _)| declared(name));
    let mut members: Map<String, Value> = members.map(|(name, value)| (name.clone(), value.clone())).collect();
    match given {
        Some(Value::Object(given)) => members.extend(given.clone()),
        // Refused by the schema, as it should be.
        Some(other) => return other.clone(),
        None => {}
    }
    Value::Object(members)
}

fn grouped(changes: &[Change], contract: &Contract, ceiling: &Ceiling) -> Vec<ChangeGroup> {
    let family = contract.plugin_ref().family();
    let mut groups: Vec<ChangeGroup> = Vec::new();
    for Change { about, risk, text } in changes {
        let mut text = plan::shown(text);
        let denied = |permission| !plan::allowed(ceiling.plugin(&family), &permission);
        if risk.asks_more() && about.parse::<Permission>().is_ok_and(denied) {
            text.push_str("; not allowed by the operator");
        }
        let change = UpgradeChange { item: plan::shown(about), text };
        match groups.iter_mut().find(|group| group.risk == *risk) {
            Some(group) => group.changes.push(change),
            None => groups.push(ChangeGroup { risk: *risk, title: title(*risk).to_owned(), changes: vec![change] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.risk));
    groups
}

fn title(risk: Risk) -> &'static str {
    match risk {
        Risk::High => "Asks for more, and of weight: changes, secrets, destinations, or a guard taken away",
        Risk::Ordinary => "Asks for more",
        Risk::Less => "Asks for less",
        Risk::Notice => "Says it in other words",
    }
}

fn hash(installation: &Installation, digest: Digest, ceiling: &Ceiling, groups: &[ChangeGroup]) -> Digest {
    let words = groups.iter().flat_map(|group| &group.changes).flat_map(|change| [&change.item, &change.text]);
    let config = installation.config.to_string();
    let (grant, ceiling) = (installation.grant.fingerprint(), ceiling.fingerprint());
    let revision = installation.revision.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![
        installation.tenant.as_str().as_bytes(),
        installation.id.as_str().as_bytes(),
        &revision,
        installation.digest.as_bytes(),
        digest.as_bytes(),
        grant.as_bytes(),
        config.as_bytes(),
        ceiling.as_bytes(),
    ];
    words.for_each(|word| parts.push(word.as_bytes()));
    Digest::of_parts("opsiq upgrade 1", parts)
}
