//! The canonical JSON of a contract: every default spelled out, every amount a number, one text for one contract.

use serde_json::{Map, Value, json};

use crate::canonical::canonical;
use crate::foreign::{Call, CommandCall, RequestCall};
use crate::limits::LimitSet;
use crate::model::{Action, CONTRACT_VERSION, Contract, HttpRule, KeyDecl};

impl Contract {
    /// The contract as canonical JSON (RFC 8785), as it is embedded in a component.
    pub fn canonical_json(&self) -> Vec<u8> {
        // The tree holds strings, integers within ±2^53 and the numbers of schemas that were read from finite ones, all of
        // which have a canonical form.
        canonical(&self.to_value()).unwrap_or_else(|error| unreachable!("{error}")).into_bytes()
    }

    /// The contract as a JSON value, in the shape of `contract.toml`.
    pub fn to_value(&self) -> Value {
        let plugin = &self.plugin;
        let mut top = Map::new();
        top.insert("contract".into(), CONTRACT_VERSION.into());
        let mut meta = json!({
            "id": plugin.id, "version": plugin.version.to_string(), "kind": plugin.kind, "title": plugin.title,
            "summary": plugin.summary, "publisher": plugin.publisher,
        });
        if let Some(world) = plugin.world {
            meta["world"] = json!(world);
        }
        top.insert("plugin".into(), meta);
        let mut list = |key: &str, entries: Vec<Value>| {
            if !entries.is_empty() {
                top.insert(key.into(), Value::Array(entries));
            }
        };
        list("key", self.keys.iter().map(key).collect());
        list("http", self.http.iter().map(|r| rule(r)).collect());
        list("action", self.actions.iter().map(action).collect());
        let webhook = |w: &crate::model::WebhookDecl| json!({ "name": w.name, "scheme": w.scheme, "key": w.key });
        list("webhook", self.webhooks.iter().map(webhook).collect());
        list("audit", self.audit.iter().map(|audit| json!({ "event": audit.event })).collect());
        if let Some(kv) = self.kv {
            top.insert("kv".into(), json!({ "max": kv.max }));
        }
        if let Some(config) = &self.config {
            top.insert("config".into(), config.source().clone());
        }
        if !self.limits.is_empty() {
            top.insert("limits".into(), limits(&self.limits));
        }
        Value::Object(top)
    }
}

fn key(key: &KeyDecl) -> Value {
    let mut value = json!({ "name": key.name, "purpose": key.purpose, "use": key.uses });
    if let Some(derive) = &key.derive {
        value["derive"] = json!({ "depth": derive.depth, "prefix": derive.prefix });
    }
    value
}

fn rule(rule: &HttpRule) -> Value {
    let mut value = json!({
        "name": rule.name, "methods": rule.methods, "url": rule.url.as_str(), "response-max": rule.response_max,
    });
    if rule.request_max > 0 {
        value["request-max"] = rule.request_max.into();
    }
    if !rule.query.is_empty() {
        value["query"] = json!(rule.query);
    }
    if let Some(inject) = &rule.inject {
        value["inject"] = json!({ "header": inject.header, "value": inject.value.to_string() });
    }
    if rule.safe {
        value["safe"] = true.into();
    }
    if rule.redirects > 0 {
        value["redirects"] = rule.redirects.into();
    }
    value
}

fn action(action: &Action) -> Value {
    let mut value = json!({
        "name": action.name, "title": action.title, "effect": action.effect, "scope": action.scope,
        "roles": action.roles, "http": action.http, "keys": action.keys,
        "params": action.params.source(), "result": action.result.source(),
    });
    match &action.call {
        Some(Call::Request(request)) => {
            let RequestCall { method, path, query } = request;
            value["request"] = json!({ "method": method, "path": path.to_string() });
            if !query.is_empty() {
                value["request"]["query"] = json!(query);
            }
        }
        Some(Call::Command(CommandCall { args })) => {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            value["command"] = json!({ "args": args });
        }
        None => {}
    }
    if let Some(preview) = &action.preview {
        value["preview"] = preview.to_string().into();
    }
    value
}

fn limits(limits: &LimitSet) -> Value {
    limits.iter().map(|(axis, amount)| (axis.key.to_owned(), Value::from(amount))).collect::<Map<_, _>>().into()
}
