//! The one decision: contract ∩ ceiling ∩ grant ∩ the caller's role and scopes.
//!
//! [`authority`] is the only maker of [`Authorized`]. It asks in one fixed order, never stops asking (so that
//! `action explain` shows every reason), and answers with the first rule that refused. Whatever is missing, unknown or does
//! not fit is a refusal.

use std::sync::Arc;

use serde::Serialize;

use crate::authorized::{Authorized, DeniedRule, Facts, GrantedKey, GrantedRule};
use crate::caller::{Caller, Effect};
use crate::ceiling::PluginCeiling;
use crate::denial::Denial;
use crate::grant::{Permission, grant_command};
use crate::id::InvocationId;
use crate::installation::InstallState;
use crate::limits::AXES;
use crate::model::{Action, HttpRule, KeyUse};
use crate::standing::{Reach, Standing};
use crate::template::ResolvedUrl;

/// What is asked.
#[derive(Debug, Clone)]
pub struct AuthorityRequest<'a> {
    /// Installation, contract and ceiling, as they stand now.
    pub standing: &'a Arc<Standing>,
    /// Who calls.
    pub caller: &'a Arc<Caller>,
    /// The action's name.
    pub action: &'a str,
    /// The one invocation it is for.
    pub invocation: InvocationId,
}

/// How one rule answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It allows.
    Allowed,
    /// It refuses, and so refuses the whole.
    Refused,
    /// It takes something away, and the rest goes on.
    Narrowed,
    /// It asks for more approval.
    Raised,
}

/// One rule asked, for `action explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The stage of the invocation: `resolve` or `authority`.
    pub stage: &'static str,
    /// Stable code of the rule.
    pub rule: &'static str,
    /// How it answered.
    pub verdict: Verdict,
    /// What it looked at, in words.
    pub detail: String,
}

/// The decision, and how it came about.
#[derive(Debug)]
pub struct Decision {
    /// The proof, or the first rule that refused.
    pub outcome: Result<Authorized, Denial>,
    /// Every rule asked, in order.
    pub steps: Vec<Step>,
}

/// Decides whether `request` may run, and with what, and tells every rule it asked.
pub fn authority(request: &AuthorityRequest<'_>) -> Decision {
    hear(request, true)
}

/// The same decision for those who do not ask how it came about: nothing is written down but refusals.
///
/// # Errors
/// The first rule that refused.
pub fn decide(request: &AuthorityRequest<'_>) -> Result<Authorized, Denial> {
    hear(request, false).outcome
}

fn hear(request: &AuthorityRequest<'_>, explain: bool) -> Decision {
    let standing = request.standing;
    let own = standing.ceiling.plugin(&standing.family);
    let mut court = Court { request, own, explain, steps: Vec::new(), refusal: None };
    court.installation();
    let Some((at, action)) = court.action() else { return court.refused() };
    court.ceiling(action);
    court.grant(action);
    court.role(action);
    if court.refusal.is_some() && !explain {
        return court.refused();
    }
    let reach = court.reach(at, action);
    if court.refusal.is_some() {
        return court.refused();
    }
    let raised = court.raised(&reach);
    let facts = Facts {
        raised,
        standing: Arc::clone(standing),
        reach,
        caller: Arc::clone(request.caller),
        invocation: request.invocation.clone(),
    };
    Decision { outcome: Ok(Authorized { facts }), steps: court.steps }
}

struct Court<'a> {
    request: &'a AuthorityRequest<'a>,
    own: Option<&'a PluginCeiling>,
    explain: bool,
    steps: Vec<Step>,
    refusal: Option<Denial>,
}

const RESOLVE: &str = "resolve";
const AUTHORITY: &str = "authority";

impl<'a> Court<'a> {
    fn say(&mut self, stage: &'static str, rule: &'static str, verdict: Verdict, detail: impl FnOnce() -> String) {
        if self.explain {
            self.steps.push(Step { stage, rule, verdict, detail: detail() });
        }
    }

    /// Records the answer of one rule: allowed with `detail`, or refused.
    fn ask(
        &mut self,
        stage: &'static str,
        rule: &'static str,
        detail: impl FnOnce() -> String,
        refusal: Option<Denial>,
    ) {
        match refusal {
            None => self.say(stage, rule, Verdict::Allowed, detail),
            Some(denial) => {
                self.say(stage, denial.code, Verdict::Refused, || denial.to_string());
                self.refusal.get_or_insert(denial);
            }
        }
    }

    fn standing(&self) -> &'a Standing {
        self.request.standing
    }

    fn refused(self) -> Decision {
        let denial = self.refusal.unwrap_or_else(|| Denial::new("authority.none", "nothing allows it", ""));
        Decision { outcome: Err(denial), steps: self.steps }
    }

    fn installation(&mut self) {
        let Standing { installation, plugin: asked, .. } = self.standing();
        let name = &installation.name;
        let refusal = match installation.state {
            InstallState::Enabled => None,
            InstallState::Paused => Some(Denial::new(
                "installation.paused",
                format!("the installation `{name}` is paused"),
                format!("opsiq connector resume {name}, by an owner or admin of the tenant"),
            )),
        };
        self.ask(RESOLVE, "installation.state", || format!("`{name}` is {}", installation.state), refusal);

        let refusal = (*asked != installation.plugin).then(|| {
            Denial::new(
                "installation.other-plugin",
                format!("`{name}` is an installation of {}, not of {asked}", installation.plugin),
                "install that plugin, or accept the upgrade, by an owner or admin of the tenant",
            )
        });
        self.ask(RESOLVE, "installation.plugin", || asked.to_string(), refusal);

        let refusal = (installation.grant.digest != installation.digest).then(|| {
            Denial::new(
                "grant.other-digest",
                format!("the grant of `{name}` was given to other bytes of {asked}"),
                format!(
                    "opsiq connector upgrade {name} --to {}, by an owner or admin of the tenant, shows what it asks for",
                    installation.digest
                ),
            )
        });
        self.ask(RESOLVE, "grant.digest", || format!("granted to {}", installation.digest), refusal);
    }

    /// The action, and its place in the contract.
    fn action(&mut self) -> Option<(usize, &'a Action)> {
        let contract = &self.standing().contract;
        let found = contract.actions.iter().enumerate().find(|(_, action)| action.name == self.request.action);
        let refusal = found.is_none().then(|| {
            let asked = crate::visible::visible(self.request.action, 64).text;
            let fix = if let Some(near) = contract.nearest_action(self.request.action) {
                format!("did you mean `{near}`?")
            } else {
                let names: Vec<&str> = contract.actions.iter().map(|action| action.name.as_str()).collect();
                format!("its actions are {}", names.join(", "))
            };
            Denial::new("action.unknown", format!("{} has no action `{asked}`", contract.plugin_ref()), fix)
        });
        let detail = || found.map(|(_, action)| format!("`{}`: {}", action.name, action.title)).unwrap_or_default();
        self.ask(RESOLVE, "action.known", detail, refusal);
        found
    }

    /// What a ceiling line would have to say, in `opsiq.toml`.
    fn ceiling_fix(&self, field: &str, name: &str) -> String {
        format!(
            "add \"{name}\" to {field} under [ceiling.plugin.\"{}\"] in opsiq.toml, by the operator",
            self.standing().family
        )
    }

    fn ceiling(&mut self, action: &Action) {
        let plugin = &self.standing().family;
        let refusal = self.own.is_some_and(|own| own.denied).then(|| {
            Denial::new(
                "ceiling.plugin-denied",
                format!("the operator does not allow {plugin}"),
                format!("remove denied = true under [ceiling.plugin.\"{plugin}\"] in opsiq.toml, by the operator"),
            )
        });
        self.ask(AUTHORITY, "ceiling.plugin", || format!("{plugin} is allowed"), refusal);

        if let Some(world) = self.standing().contract.plugin.world {
            let refusal = self.standing().ceiling.world_denial(&self.standing().contract);
            self.ask(AUTHORITY, "ceiling.wasi", || format!("{world} is allowed"), refusal);
        }

        let listed = self.own.and_then(|own| own.actions.as_ref()).is_none_or(|only| only.contains(&action.name));
        let refusal = (!listed).then(|| {
            Denial::new(
                "ceiling.action-denied",
                format!("the operator does not allow `{}` of {plugin}", action.name),
                self.ceiling_fix("actions", &action.name),
            )
        });
        self.ask(AUTHORITY, "ceiling.action", || format!("`{}` is allowed", action.name), refusal);
    }

    /// What the tenant would have to do to grant something.
    fn grant_fix(&self, permission: &Permission) -> String {
        format!("{}, by an owner or admin of the tenant", grant_command(&self.standing().installation.name, permission))
    }

    fn grant(&mut self, action: &Action) {
        let granted = self.standing().installation.grant.actions.contains(&action.name);
        let refusal = (!granted).then(|| {
            Denial::new(
                "grant.action-missing",
                format!("the tenant did not grant `{}` to `{}`", action.name, self.standing().installation.name),
                self.grant_fix(&Permission::Action(action.name.clone())),
            )
        });
        self.ask(AUTHORITY, "grant.action", || format!("`{}` is granted", action.name), refusal);
    }

    fn role(&mut self, action: &Action) {
        let caller = self.request.caller;
        let refusal = (!action.roles.contains(&caller.role)).then(|| {
            let roles: Vec<&str> = action.roles.iter().map(|role| role.as_str()).collect();
            Denial::new(
                "role.not-allowed",
                format!("`{}` is for {}; {} is {}", action.name, roles.join(" and "), caller.principal, caller.role),
                format!("ask {} to call it; an owner can change a user's role", roles.join(" or ")),
            )
        });
        self.ask(AUTHORITY, "role.allowed", || format!("{} is {}", caller.principal, caller.role), refusal);

        if let Some(custom) = &caller.custom {
            let family = &self.standing().family;
            let refusal = (!custom.covers(family, action)).then(|| {
                Denial::new(
                    "role.narrowed",
                    format!(
                        "the role `{}` is {} without `{}` of {family}; {} has it",
                        custom.name, custom.base, action.name, caller.principal
                    ),
                    format!(
                        "an owner of the tenant makes a role with {family}/{} or the scope {}: opsiq role create",
                        action.name, action.scope
                    ),
                )
            });
            self.ask(AUTHORITY, "role.custom", || format!("`{}` covers it", custom.name), refusal);
        }

        let Some(scopes) = &caller.scopes else {
            return self
                .say(AUTHORITY, "scope.held", Verdict::Allowed, || "a person is not limited by scopes".to_owned());
        };
        let refusal = (!scopes.contains(&action.scope)).then(|| {
            let held = if scopes.is_empty() {
                "none".to_owned()
            } else {
                scopes.iter().cloned().collect::<Vec<_>>().join(", ")
            };
            Denial::new(
                "scope.missing",
                format!("`{}` needs the scope {}; held: {held}", action.name, action.scope),
                format!("give {} the scope {}, by an owner of the tenant", caller.principal, action.scope),
            )
        });
        self.ask(AUTHORITY, "scope.held", || action.scope.clone(), refusal);
    }

    /// Whether the caller's custom role makes this write wait for a person.
    fn raised(&mut self, reach: &Reach) -> bool {
        let custom = self.request.caller.custom.as_ref().filter(|custom| custom.confirm_writes);
        let Some(custom) = custom.filter(|_| reach.effect == Effect::Write) else { return false };
        self.say(AUTHORITY, "role.confirm", Verdict::Raised, || {
            format!("write, raised by the role `{}` to risky-write", custom.name)
        });
        true
    }

    fn effect(&mut self, action: &Action) -> Effect {
        if action.effect == Effect::Write && self.standing().installation.grant.confirm.contains(&action.name) {
            self.say(AUTHORITY, "grant.confirm", Verdict::Raised, || {
                "write, raised by the tenant to risky-write".to_owned()
            });
            return Effect::RiskyWrite;
        }
        self.say(AUTHORITY, "contract.effect", Verdict::Allowed, || action.effect.to_string());
        action.effect
    }

    /// What the action reaches. It depends on nothing of the call, so it is worked out for the first one and kept; told,
    /// it is worked out anew by the same code.
    fn reach(&mut self, at: usize, action: &'a Action) -> Arc<Reach> {
        match self.standing().kept(at).filter(|_| !self.explain) {
            Some(kept) => Arc::clone(kept.get_or_init(|| Arc::new(self.weigh(at, action)))),
            None => Arc::new(self.weigh(at, action)),
        }
    }

    fn weigh(&mut self, at: usize, action: &'a Action) -> Reach {
        let effect = self.effect(action);
        self.limits();
        let (rules, denied_rules) = self.rules(action);
        let keys = self.keys(action);
        let Standing { installation, contract, ceiling, family, .. } = self.standing();
        let granted = |event: &String| installation.grant.audit.contains(event);
        Reach {
            action: at,
            effect,
            needs_intent: effect > Effect::Read || rules.iter().any(|rule| !rule.has_safe_methods()),
            rules,
            denied_rules,
            keys,
            audit_events: contract.audit.iter().map(|audit| audit.event.clone()).filter(granted).collect(),
            kv_max: contract.kv.filter(|_| installation.grant.kv).map(|kv| kv.max),
            private_targets: ceiling.private_targets_of(family),
            ceiling: (effect > Effect::Read).then(|| ceiling.fingerprint()),
        }
    }

    /// Tells which limits the ceiling makes stricter than asked.
    fn limits(&mut self) {
        if !self.explain {
            return;
        }
        let Standing { ceiling, contract, .. } = self.standing();
        for axis in AXES {
            let allowed = self.own.and_then(|own| own.limits.get(axis)).or(ceiling.limits.get(axis)).or(axis.default);
            let asked = contract.limits.get(axis).or(axis.default);
            if let (Some(allowed), Some(asked)) = (allowed, asked)
                && axis.stricter(Some(asked), Some(allowed)) != Some(asked)
            {
                let (asked, allowed) = (axis.unit.show(asked), axis.unit.show(allowed));
                let detail = format!(
                    "{} is {allowed} of the {asked} asked; {} under [ceiling.limits] in opsiq.toml raises it",
                    axis.key, axis.key
                );
                self.say(AUTHORITY, "ceiling.limit", Verdict::Narrowed, || detail);
            }
        }
    }

    /// Whether the key may be used at all.
    fn key_refusal(&self, name: &str) -> Option<Denial> {
        if !self.own.and_then(|own| own.keys.as_ref()).is_none_or(|only| only.contains(name)) {
            let message = format!("the operator does not allow the key `{name}` of {}", self.standing().family);
            return Some(Denial::new("ceiling.key-denied", message, self.ceiling_fix("keys", name)));
        }
        if !self.standing().installation.grant.keys.contains(name) {
            let message =
                format!("the tenant did not grant the key `{name}` to `{}`", self.standing().installation.name);
            return Some(Denial::new("grant.key-missing", message, self.grant_fix(&Permission::Key(name.to_owned()))));
        }
        None
    }

    fn rule_refusal(&self, action: &Action, rule: &HttpRule, url: Result<&ResolvedUrl, Denial>) -> Option<Denial> {
        let installation = &self.standing().installation;
        if !action.http.contains(&rule.name) {
            return Some(Denial::new(
                "contract.rule-not-listed",
                format!("the action `{}` does not list the rule `{}`", action.name, rule.name),
                format!(
                    "add \"{}\" to http of the action `{}` in contract.toml, by the publisher, in a new version",
                    rule.name, action.name
                ),
            ));
        }
        if !self.own.and_then(|own| own.http.as_ref()).is_none_or(|only| only.contains(&rule.name)) {
            let message = format!("the operator does not allow the rule `{}` of {}", rule.name, self.standing().family);
            return Some(Denial::new("ceiling.http-denied", message, self.ceiling_fix("http", &rule.name)));
        }
        if !installation.grant.http.contains(&rule.name) {
            let message = format!("the tenant did not grant the rule `{}` to `{}`", rule.name, installation.name);
            return Some(Denial::new(
                "grant.http-missing",
                message,
                self.grant_fix(&Permission::Http(rule.name.clone())),
            ));
        }
        let url = match url {
            Ok(url) => url,
            Err(denial) => return Some(denial),
        };
        if !rule.url.origin_config().is_empty() && installation.grant.origins.get(&rule.name) != Some(url.origin()) {
            return Some(Denial::new(
                "grant.origin-changed",
                format!("the rule `{}` now goes to {}, which the tenant did not grant", rule.name, url.origin()),
                self.grant_fix(&Permission::Http(rule.name.clone())),
            ));
        }
        rule.inject.iter().flat_map(|inject| inject.value.keys()).find_map(|key| self.key_refusal(key))
    }

    fn rules(&mut self, action: &Action) -> (Vec<GrantedRule>, Vec<DeniedRule>) {
        let limits = &self.standing().limits.http;
        let (mut granted, mut denied) = (Vec::new(), Vec::new());
        for rule in &self.standing().contract.http {
            let url = rule.url.resolve(&self.standing().installation.config);
            let tried = url.as_ref().map_err(|error| {
                Denial::new(error.code, format!("rule `{}`: {}", rule.name, error.message), error.fix.clone())
            });
            let refusal = self.rule_refusal(action, rule, tried);
            match (refusal, url) {
                (None, Ok(url)) => {
                    self.say(AUTHORITY, "http.rule", Verdict::Allowed, || {
                        format!("`{}`: {} {}", rule.name, rule.methods.join(" "), rule.url)
                    });
                    granted.push(GrantedRule {
                        name: rule.name.clone(),
                        methods: rule.methods.clone(),
                        url,
                        query: rule.query.clone(),
                        inject: rule.inject.clone(),
                        request_max: rule.request_max.min(limits.egress_bytes),
                        response_max: rule.response_max.min(limits.response_bytes),
                        safe: rule.safe,
                        redirects: rule.redirects,
                    });
                }
                (refusal, url) => {
                    let denial = refusal.unwrap_or_else(|| {
                        Denial::new("config.url-value", format!("rule `{}` has no URL", rule.name), "")
                    });
                    if action.http.contains(&rule.name) {
                        self.say(AUTHORITY, denial.code, Verdict::Narrowed, || denial.to_string());
                    }
                    denied.push(DeniedRule { rule: rule.clone(), url: url.ok(), denial });
                }
            }
        }
        (granted, denied)
    }

    fn keys(&mut self, action: &Action) -> Vec<GrantedKey> {
        let mut granted = Vec::new();
        for key in self.standing().contract.keys.iter().filter(|key| action.keys.contains(&key.name)) {
            if let Some(denial) = self.key_refusal(&key.name) {
                self.say(AUTHORITY, denial.code, Verdict::Narrowed, || denial.to_string());
                continue;
            }
            // Injection is the host's business: what a plugin opens it can never inject.
            let uses: std::collections::BTreeSet<KeyUse> =
                key.uses.iter().copied().filter(|u| *u != KeyUse::Inject).collect();
            self.say(AUTHORITY, "key.use", Verdict::Allowed, || {
                let words: Vec<&str> = uses.iter().map(|u| u.as_str()).collect();
                format!("`{}`: {}", key.name, words.join(", "))
            });
            granted.push(GrantedKey { name: key.name.clone(), uses, derive: key.derive.clone() });
        }
        granted
    }
}
