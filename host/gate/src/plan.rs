//! What a plugin asks for, in plain words, grouped by risk: the text of the install review and of every later look at a
//! grant. It is made from the contract alone, never from anything the plugin says at run time.

use opsiq_contract::{
    Ceiling, Contract, Digest, Effect, Grant, HttpRule, Limits, Permission, PluginCeiling, PluginRef, show_size,
    show_time, visible,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much harm an ask could do, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Changes that wait for a person each time.
    RiskyWrite,
    /// Changes that happen at once.
    Write,
    /// Secrets it may use.
    Secrets,
    /// Places it may contact.
    Network,
    /// Things it may look up.
    Read,
    /// What it keeps and records on this host.
    Keeps,
}

/// One thing asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// The name to withhold or allow it by, such as `http:refunds`.
    pub item: String,
    /// What it means, in one sentence.
    pub text: String,
    /// Exact terms: method and URL, roles, limits.
    pub detail: String,
    /// Whether the grant at hand includes it.
    pub granted: bool,
}

/// Asks of one risk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskGroup {
    /// The risk they share.
    pub risk: Risk,
    /// A heading in plain words.
    pub title: String,
    /// The asks, in the contract's order.
    pub asks: Vec<Ask>,
}

/// The install review.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstallPlan {
    /// `publisher/id@version`.
    pub plugin: PluginRef,
    /// SHA-256 over the component's bytes; a grant is bound to it.
    pub digest: Digest,
    /// Title, as the contract says it.
    pub title: String,
    /// Summary, as the contract says it.
    pub summary: String,
    /// What to know before the asks, a sentence each.
    pub notes: Vec<String>,
    /// The asks, worst risk first.
    pub groups: Vec<AskGroup>,
    /// Limits in force under the operator's ceiling: name and value with unit.
    pub limits: Vec<(String, String)>,
    /// Keys to be set before any action can run.
    pub needs_keys: Vec<String>,
    /// JSON Schema of the config, when the contract has one.
    pub config_schema: Option<Value>,
}

/// The review of `contract` under `ceiling`, with what `grant` includes.
pub(crate) fn plan(
    contract: &Contract,
    digest: Digest,
    ceiling: &Ceiling,
    grant: &Grant,
    needs_keys: Vec<String>,
) -> InstallPlan {
    let plugin = contract.plugin_ref();
    let family = plugin.family();
    let mut groups: Vec<AskGroup> = Vec::new();
    for (permission, granted) in grant.permissions(contract) {
        let Some((risk, ask)) = ask(contract, ceiling.plugin(&family), grant, &permission, granted) else { continue };
        match groups.iter_mut().find(|group| group.risk == risk) {
            Some(group) => group.asks.push(ask),
            None => groups.push(AskGroup { risk, title: risk.title().to_owned(), asks: vec![ask] }),
        }
    }
    groups.sort_by_key(|group| group.risk);
    let limits = ceiling.limits_of(&family, &contract.limits);
    InstallPlan {
        plugin,
        digest,
        title: shown(&contract.plugin.title),
        summary: shown(&contract.plugin.summary),
        notes: notes(contract, ceiling),
        groups,
        limits: told(&limits),
        needs_keys,
        config_schema: contract.config.as_ref().map(|schema| schema.source().clone()),
    }
}

/// What is unlike other plugins.
fn notes(contract: &Contract, ceiling: &Ceiling) -> Vec<String> {
    let Some(world) = contract.plugin.world else { return Vec::new() };
    let foreign = format!(
        "This is {}, not for this host ({world}). It runs in compatibility mode: without files, environment and sockets, \
         with what is listed here and nothing else.",
        world.what()
    );
    let denied = ceiling.world_denial(contract).map(|denial| format!("{denial}."));
    [foreign].into_iter().chain(denied).collect()
}

impl Risk {
    fn title(self) -> &'static str {
        match self {
            Self::RiskyWrite => "Change things, each time only after a person approves",
            Self::Write => "Change things at once, without asking",
            Self::Secrets => "Use these secrets of yours, without ever seeing them",
            Self::Network => "Contact these addresses, and no others",
            Self::Read => "Look things up",
            Self::Keeps => "Keep and record things on this host",
        }
    }
}

/// What `permission` means for a person who decides about it.
fn ask(
    contract: &Contract,
    own: Option<&PluginCeiling>,
    grant: &Grant,
    permission: &Permission,
    granted: bool,
) -> Option<(Risk, Ask)> {
    let (risk, text, mut detail) = match permission {
        Permission::Action(name) => {
            let action = contract.action(name)?;
            let raised = action.effect == Effect::Write && grant.confirm.contains(name);
            let risk = match action.effect {
                Effect::Read => Risk::Read,
                Effect::Write if !raised => Risk::Write,
                _ => Risk::RiskyWrite,
            };
            let roles = action.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
            let detail = format!("{}; for {roles}; scope {}", action.effect, action.scope);
            (risk, shown(&action.title), detail)
        }
        Permission::Http(name) => {
            let rule = contract.rule(name)?;
            let detail = rule_detail(rule, grant);
            (Risk::Network, format!("{} {}", rule.methods.join(", "), rule.url), detail)
        }
        Permission::Key(name) => {
            let key = contract.key(name)?;
            let uses = key.uses.iter().map(|used| used.as_str()).collect::<Vec<_>>().join(", ");
            (Risk::Secrets, format!("{name}: {}", shown(&key.purpose)), format!("for: {uses}"))
        }
        Permission::Audit(event) => (Risk::Keeps, format!("Record `{event}` in your audit log"), String::new()),
        Permission::Kv => {
            let most = contract.kv?.max;
            (Risk::Keeps, format!("Keep up to {} of its own data, sealed", show_size(most)), String::new())
        }
        Permission::Confirm(_) => return None,
    };
    if !allowed(own, permission) {
        detail.push_str(if detail.is_empty() { "" } else { "; " });
        detail.push_str("not allowed by the operator");
    }
    Some((risk, Ask { item: permission.to_string(), text, detail, granted }))
}

/// Whether the operator lets this plugin have `permission` at all.
pub(crate) fn allowed(own: Option<&PluginCeiling>, permission: &Permission) -> bool {
    let Some(own) = own else { return true };
    let (only, name) = match permission {
        Permission::Action(name) => (&own.actions, name),
        Permission::Http(name) => (&own.http, name),
        Permission::Key(name) => (&own.keys, name),
        Permission::Audit(_) | Permission::Kv | Permission::Confirm(_) => return !own.denied,
    };
    !own.denied && only.as_ref().is_none_or(|only| only.contains(name))
}

fn rule_detail(rule: &HttpRule, grant: &Grant) -> String {
    let mut terms = Vec::new();
    if let Some(origin) = grant.origins.get(&rule.name) {
        terms.push(format!("at {origin}"));
    }
    if let Some(inject) = &rule.inject {
        terms.push(format!("the host adds `{}: {}`", inject.header, inject.value));
    }
    if !rule.query.is_empty() {
        terms.push(format!("query: {}", rule.query.join(", ")));
    }
    if rule.safe && !rule.has_safe_methods() {
        terms.push("the publisher claims it changes nothing".to_owned());
    }
    if rule.redirects > 0 {
        terms.push(format!("follows up to {} redirects", rule.redirects));
    }
    terms.push(format!("sends up to {}, receives up to {}", show_size(rule.request_max), show_size(rule.response_max)));
    terms.join("; ")
}

/// The limits people ask about, with units.
fn told(limits: &Limits) -> Vec<(String, String)> {
    let mut told = vec![
        ("memory".to_owned(), show_size(limits.memory_bytes)),
        ("CPU time".to_owned(), show_time(limits.cpu_ms)),
        ("time in all".to_owned(), show_time(limits.wall_ms)),
        ("result".to_owned(), show_size(limits.result_bytes)),
        ("calls of the host".to_owned(), limits.host_calls.to_string()),
        ("HTTP requests".to_owned(), limits.http.requests.to_string()),
        ("bytes sent and received".to_owned(), show_size(limits.http.egress_bytes)),
    ];
    if let Some(fuel) = limits.fuel {
        told.push(("fuel".to_owned(), fuel.to_string()));
    }
    told
}

pub(crate) fn shown(text: &str) -> String {
    visible(text, 500).text
}
