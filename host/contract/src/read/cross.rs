//! What names in a contract must agree on.

use super::Reader;
use crate::caller::Effect;
use crate::limits::Axis;
use crate::model::{Action, Contract, HttpRule, KeyUse, nearest};

impl Reader {
    /// Checks every name that refers to another part of the contract, and that everything asked for is used.
    pub(super) fn cross(&mut self, contract: &Contract) {
        for (index, rule) in contract.http.iter().enumerate() {
            let at = format!("/http/{index}");
            self.rule_keys(contract, rule, &at);
            self.rule_config(contract, rule, &at);
            self.rule_sizes(contract, rule, &at);
            let used = contract.actions.iter().any(|action| action.http.contains(&rule.name));
            if !used && contract.webhooks.is_empty() {
                let fix = format!("add \"{}\" to http of an action, or remove the rule", rule.name);
                self.fault(
                    &format!("{at}/name"),
                    "http.unused",
                    format!("no action uses the rule `{}`", rule.name),
                    fix,
                );
            }
        }
        for (index, action) in contract.actions.iter().enumerate() {
            let at = format!("/action/{index}");
            self.action_rules(contract, action, &at);
            self.action_keys(contract, action, &at);
        }
        for (index, webhook) in contract.webhooks.iter().enumerate() {
            let at = format!("/webhook/{index}/key");
            match contract.key(&webhook.key) {
                None => self.unknown_name(&at, "key", &webhook.key, contract.keys.iter().map(|key| key.name.as_str())),
                Some(key) if !key.uses.contains(&KeyUse::Verify) => {
                    self.fault(
                        &at,
                        "webhook.key",
                        format!("the key `{}` is not for verifying", key.name),
                        "add \"verify\" to its use",
                    );
                }
                Some(_) => {}
            }
        }
        self.key_uses(contract);
        self.config_marks(contract);
        self.world(contract);
    }

    fn unknown_name<'a>(&mut self, at: &str, what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) {
        let fix = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it in [[{what}]], or remove it"),
        };
        let shown = crate::visible::visible(name, 64).text;
        self.fault(at, "name.undeclared", format!("no [[{what}]] is named `{shown}`"), fix);
    }

    fn rule_keys(&mut self, contract: &Contract, rule: &HttpRule, at: &str) {
        for name in rule.inject.iter().flat_map(|inject| inject.value.keys()) {
            let at = format!("{at}/inject/value");
            match contract.key(name) {
                None => self.unknown_name(&at, "key", name, contract.keys.iter().map(|key| key.name.as_str())),
                Some(key) if !key.uses.contains(&KeyUse::Inject) => {
                    self.fault(
                        &at,
                        "key.not-inject",
                        format!("the key `{name}` is not for injecting"),
                        "add \"inject\" to its use",
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn rule_config(&mut self, contract: &Contract, rule: &HttpRule, at: &str) {
        let at = format!("{at}/url");
        for name in rule.url.config_names() {
            let declared =
                contract.config.as_ref().and_then(|config| config.properties().find(|(known, _)| *known == name));
            let Some((_, schema)) = declared else {
                self.fault(
                    &at,
                    "config.undeclared",
                    format!("[config] has no property `{name}`"),
                    format!("add it to [config.properties.{name}]"),
                );
                continue;
            };
            if !schema.get("type").is_some_and(|kind| kind == "string" || kind == "integer") {
                self.fault(
                    &at,
                    "config.url-type",
                    format!("the config value `{name}` is neither text nor integer"),
                    "write type = \"string\" for it",
                );
            }
            if !contract.config.as_ref().is_some_and(|config| config.requires(name)) {
                self.fault(
                    &at,
                    "config.not-required",
                    format!("without the config value `{name}` the rule has no URL"),
                    format!("add \"{name}\" to required of [config]"),
                );
            }
        }
    }

    fn rule_sizes(&mut self, contract: &Contract, rule: &HttpRule, at: &str) {
        for (field, asked, key) in
            [("request-max", rule.request_max, "http-sent"), ("response-max", rule.response_max, "http-response")]
        {
            let limit = Axis::named(key).and_then(|axis| contract.limits.get(axis).or(axis.default));
            if limit.is_some_and(|limit| asked > limit) {
                let fix = format!("add {key} = \"{}\" to [limits], or lower it", crate::units::show_size(asked));
                self.fault(
                    &format!("{at}/{field}"),
                    "limit.below-rule",
                    format!("more than the limit `{key}` of an invocation"),
                    fix,
                );
            }
        }
    }

    fn action_rules(&mut self, contract: &Contract, action: &Action, at: &str) {
        let mut listed: Vec<&HttpRule> = Vec::new();
        for (index, name) in action.http.iter().enumerate() {
            let at = format!("{at}/http/{index}");
            let Some(rule) = contract.rule(name) else {
                self.unknown_name(&at, "http", name, contract.http.iter().map(|rule| rule.name.as_str()));
                continue;
            };
            if action.effect == Effect::Read && !rule.has_safe_methods() && !rule.safe {
                let fix = "use a rule of GET or HEAD, raise the effect to \"write\", or claim safe = true for a POST that changes nothing";
                self.fault(
                    &at,
                    "action.read-unsafe",
                    format!("a read cannot use `{name}`, which may change something"),
                    fix,
                );
            }
            if let Some(other) = listed.iter().find(|other| overlap(other, rule)) {
                let message = format!("`{}` and `{name}` cover the same requests", other.name);
                self.fault(&at, "http.overlap", message, "list one of them, or make methods or URLs differ");
            }
            listed.push(rule);
        }
    }

    fn action_keys(&mut self, contract: &Contract, action: &Action, at: &str) {
        for (index, name) in action.keys.iter().enumerate() {
            let at = format!("{at}/keys/{index}");
            match contract.key(name) {
                None => self.unknown_name(&at, "key", name, contract.keys.iter().map(|key| key.name.as_str())),
                Some(key) if key.uses.iter().all(|u| *u == KeyUse::Inject) => {
                    let fix = "remove it here: injected keys come with the rule";
                    self.fault(&at, "key.not-openable", format!("the key `{name}` is for injecting only"), fix);
                }
                Some(_) => {}
            }
        }
    }

    fn key_uses(&mut self, contract: &Contract) {
        for (index, key) in contract.keys.iter().enumerate() {
            let opened = contract.actions.iter().any(|action| action.keys.contains(&key.name));
            let injected = contract
                .http
                .iter()
                .filter_map(|rule| rule.inject.as_ref())
                .any(|inject| inject.value.keys().any(|k| k == key.name));
            let checked = contract.webhooks.iter().any(|webhook| webhook.key == key.name);
            for word in &key.uses {
                let (used, fix) = match word {
                    KeyUse::Inject => (injected, "inject it in an [[http]] rule"),
                    KeyUse::Verify => (opened || checked, "name it in keys of an action or as key of a webhook"),
                    KeyUse::Sign | KeyUse::Derive => (opened, "name it in keys of an action"),
                };
                if !used {
                    let message = format!("nothing uses the key `{}` to {word}", key.name);
                    self.fault(
                        &format!("/key/{index}/use"),
                        "key.unused",
                        message,
                        format!("{fix}, or remove \"{word}\""),
                    );
                }
            }
        }
    }

    fn config_marks(&mut self, contract: &Contract) {
        for (name, schema) in contract.config.iter().flat_map(super::super::schema::Schema::properties) {
            if schema.get("x-opsiq").is_some_and(|mark| mark == "secret") {
                let at = format!("/config/properties/{}/x-opsiq", crate::schema::pointer_token(name));
                self.fault(
                    &at,
                    "config.secret",
                    "the config holds no secrets: plugins read it",
                    "declare a [[key]] instead",
                );
            }
        }
    }
}

/// Whether a request could fall under both.
fn overlap(a: &HttpRule, b: &HttpRule) -> bool {
    a.methods.iter().any(|method| b.methods.contains(method)) && a.url.overlaps(&b.url)
}
