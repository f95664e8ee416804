//! `[action.request]` and `[action.command]`: how an action calls a component made elsewhere, and what such a component
//! cannot have.

use serde_json::Value;

use super::http::METHODS;
use super::{Reader, Table};
use crate::foreign::{Call, CallTemplate, CommandCall, RequestCall, World, has_body};
use crate::model::{Action, Contract, KeyUse};
use crate::schema::Schema;
use crate::visible::visible;

/// Arguments of a program, at most.
const MAX_ARGS: usize = 64;
/// Bytes of a path or argument as written, at most.
const MAX_TEMPLATE: usize = 1024;

impl Reader {
    /// How an action calls the component, if it says.
    pub(super) fn call(&mut self, table: &Table, at: &str) -> Option<Call> {
        if let (Some(_), Some(_)) = (table.get("request"), table.get("command")) {
            let at = format!("{at}/command");
            self.fault_at_key(&at, "action.call", "an action is a request or a command, not both", "remove one");
        }
        let request = table.get("request").and_then(|value| self.request(value, &format!("{at}/request")));
        let command = table.get("command").and_then(|value| self.command(value, &format!("{at}/command")));
        request.or(command)
    }

    fn request(&mut self, value: &Value, at: &str) -> Option<Call> {
        let table = self.table(value, at, &["method", "path", "query"])?;
        let method = self.text(table, at, "method", "\"POST\"");
        if let Some(method) = method.filter(|method| !METHODS.contains(method)) {
            let message = format!("`{}` is no method a request can have", visible(method, 32).text);
            self.fault(&format!("{at}/method"), "http.method", message, format!("use {}", METHODS.join(", ")));
        }
        let query = self.texts(table, at, "query", false).unwrap_or_default();
        let text = self.text(table, at, "path", "\"/things/{id}\"")?;
        let here = format!("{at}/path");
        if !text.starts_with('/') || text.starts_with("//") || text.contains(['?', '#', '\\']) {
            let fix = "begin it with one /, and name what goes into the query in query";
            self.fault(&here, "call.path", "not a path", fix);
            return None;
        }
        let path = self.template(text, &here)?;
        let query = query.into_iter().map(str::to_owned).collect();
        Some(Call::Request(RequestCall { method: method?.to_owned(), path, query }))
    }

    fn command(&mut self, value: &Value, at: &str) -> Option<Call> {
        let table = self.table(value, at, &["args"])?;
        let here = format!("{at}/args");
        let Some(Value::Array(items)) = table.get("args") else {
            self.fault(
                &here,
                "field.type",
                "not a list",
                "write args = [\"--unit\", \"{unit}\"], or leave command out",
            );
            return None;
        };
        if items.is_empty() || items.len() > MAX_ARGS {
            self.fault(
                &here,
                "field.count",
                format!("{} arguments", items.len()),
                "write 1 to 64, or leave command out",
            );
            return None;
        }
        let mut args = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let here = format!("{here}/{index}");
            let Value::String(text) = item else {
                self.fault(&here, "field.type", "not a text", "write it in quotes");
                return None;
            };
            args.push(self.template(text, &here)?);
        }
        Some(Call::Command(CommandCall { args }))
    }

    fn template(&mut self, text: &str, at: &str) -> Option<CallTemplate> {
        let parsed = if text.len() > MAX_TEMPLATE || !text.bytes().all(|b| b.is_ascii_graphic()) {
            Err("not at most 1,024 visible ASCII characters")
        } else {
            CallTemplate::parse(text)
        };
        let fix = "write visible ASCII, with {param} or {config.name} where a value goes";
        parsed.map_err(|message| self.fault(at, "call.template", message, fix)).ok()
    }

    /// Checks that every action of a component made elsewhere says how it is called, that no other does, and that the
    /// contract declares nothing such a component has no way to use.
    pub(super) fn world(&mut self, contract: &Contract) {
        for (index, action) in contract.actions.iter().enumerate() {
            let at = format!("/action/{index}");
            match (contract.plugin.world, &action.call) {
                (Some(World::Proxy), Some(Call::Request(request))) => {
                    self.filled_request(contract, action, request, &format!("{at}/request"));
                }
                (Some(World::Command), Some(Call::Command(command))) => {
                    for (index, arg) in command.args.iter().enumerate() {
                        self.filled(contract, action, arg, &format!("{at}/command/args/{index}"));
                    }
                }
                (None | Some(World::Command), None) => {}
                (Some(World::Proxy), None) => {
                    let fix = "write request = { method = \"POST\", path = \"/things\" }";
                    self.fault(&at, "action.call", format!("`{}` does not say which request it is", action.name), fix);
                }
                (world, Some(call)) => {
                    let (key, of) = match call {
                        Call::Request(_) => ("request", World::Proxy),
                        Call::Command(_) => ("command", World::Command),
                    };
                    let message = match world {
                        Some(world) => format!("a component of {world} is not called by a {key}"),
                        None => "a plugin written for this host is called by the action's name".to_owned(),
                    };
                    let fix = format!("remove it; it belongs to world = \"{of}\" in [plugin]");
                    self.fault_at_key(&format!("{at}/{key}"), "action.call", message, fix);
                }
            }
        }
        if let Some(world) = contract.plugin.world {
            self.unusable(contract, world);
        }
    }

    fn filled_request(&mut self, contract: &Contract, action: &Action, request: &RequestCall, at: &str) {
        self.filled(contract, action, &request.path, &format!("{at}/path"));
        for (index, name) in request.query.iter().enumerate() {
            let here = format!("{at}/query/{index}");
            if request.path.params().any(|param| param == name) {
                self.fault(&here, "call.param", format!("`{name}` stands in the path already"), "remove it from query");
            }
            self.scalar(&action.params, name, "parameter", &here);
        }
        if has_body(&request.method) {
            return;
        }
        for (name, _) in action.params.properties().filter(|(name, _)| !request.names(name)) {
            let message = format!("the parameter `{name}` goes nowhere: a {} has no body", request.method);
            self.fault(at, "call.param-unused", message, "name it in path or query, or use POST, PUT or PATCH");
        }
    }

    /// What a template names is there, in every call, and is no list or object.
    fn filled(&mut self, contract: &Contract, action: &Action, template: &CallTemplate, at: &str) {
        for name in template.params() {
            if self.scalar(&action.params, name, "parameter", at) && !action.params.requires(name) {
                let fix = format!("add \"{name}\" to required of the params, or name it in query");
                self.fault(at, "call.param", format!("without the parameter `{name}` there would be a gap"), fix);
            }
        }
        for name in template.config() {
            let config = contract.config.clone().unwrap_or_else(Schema::empty_object);
            if self.scalar(&config, name, "config value", at) && !config.requires(name) {
                let fix = format!("add \"{name}\" to required of [config]");
                self.fault(at, "call.param", format!("without the config value `{name}` there would be a gap"), fix);
            }
        }
    }

    fn scalar(&mut self, schema: &Schema, name: &str, what: &str, at: &str) -> bool {
        let shown = visible(name, 64).text;
        let Some((_, own)) = schema.properties().find(|(known, _)| *known == name) else {
            self.fault(at, "call.param", format!("there is no {what} `{shown}`"), "declare it, or name another");
            return false;
        };
        let scalar = |kind: &Value| ["string", "integer", "number", "boolean"].iter().any(|word| kind == word);
        if own.get("type").is_some_and(scalar) {
            return true;
        }
        let fix = "write type = \"string\", \"integer\", \"number\" or \"boolean\" for it, or let it go into the body";
        self.fault(at, "call.param", format!("the {what} `{shown}` may be more than one value"), fix);
        false
    }

    fn unusable(&mut self, contract: &Contract, world: World) {
        let mut refuse = |at: &str, what: &str, fix: &str| {
            let message = format!("a component of {world} {what}");
            self.fault_at_key(at, "plugin.world", message, fix);
        };
        for (index, key) in contract.keys.iter().enumerate() {
            if key.uses.iter().any(|word| *word != KeyUse::Inject) {
                let fix = "write use = [\"inject\"], and inject it in an [[http]] rule";
                refuse(&format!("/key/{index}/use"), "cannot open a key", fix);
            }
        }
        let declared = [
            ("/webhook", !contract.webhooks.is_empty(), "takes no webhook"),
            ("/audit", !contract.audit.is_empty(), "has no way to record an event"),
            ("/kv", contract.kv.is_some(), "has no way to this host's storage"),
        ];
        for (at, there, what) in declared {
            if there {
                refuse(at, what, "remove it, or write the plugin for this host: see wit/");
            }
        }
    }
}
