//! `[[action]]`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Reader, Table};
use crate::caller::{Effect, Role};
use crate::id::is_scope;
use crate::model::Action;
use crate::preview::Preview;
use crate::schema::Schema;
use crate::visible::has_hidden;

impl Reader {
    pub(super) fn action(&mut self, value: &Value, at: &str) -> Option<(String, Action)> {
        const KNOWN: &[&str] = &[
            "name", "title", "effect", "scope", "roles", "http", "keys", "request", "command", "preview", "params",
            "result",
        ];
        let table = self.table(value, at, KNOWN)?;
        let name = self.slug(table, at, "name");
        let title = self.prose(table, at, "title", 80);
        let effect: Option<Effect> = self.word(table, at, "effect");
        let scope = self.scope(table, at);
        let roles = self.roles(table, at);
        let http = self.texts(table, at, "http", true).unwrap_or_default();
        let keys = self.texts(table, at, "keys", true).unwrap_or_default();
        let params = match table.get("params") {
            Some(value) => self.object_schema(value, &format!("{at}/params")),
            None => Some(Schema::empty_object()),
        };
        if !table.contains_key("result") {
            self.missing(at, "result", "write [action.result] with the schema of the answer");
        }
        let result = table.get("result").and_then(|value| self.schema(value, &format!("{at}/result")));
        let call = self.call(table, at);
        let preview = self.preview(table, at, effect, params.as_ref());
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let action = Action {
            name: name?,
            title: title?,
            effect: effect?,
            scope: scope?,
            roles: roles?,
            http: owned(http),
            keys: owned(keys),
            call,
            preview,
            params: params?,
            result: result?,
        };
        Some((action.name.clone(), action))
    }

    fn scope(&mut self, table: &Table, at: &str) -> Option<String> {
        let scope = self.text(table, at, "scope", "\"refunds:create\"")?;
        if is_scope(scope) {
            return Some(scope.to_owned());
        }
        self.fault(
            &format!("{at}/scope"),
            "action.scope",
            "not a scope",
            "write resource:action, such as refunds:create",
        );
        None
    }

    fn roles(&mut self, table: &Table, at: &str) -> Option<BTreeSet<Role>> {
        if !table.contains_key("roles") {
            self.missing(at, "roles", "write roles = [\"owner\", \"admin\"]");
        }
        let words = self.texts(table, at, "roles", false)?;
        let mut roles = BTreeSet::new();
        for (index, word) in words.iter().enumerate() {
            match word.parse::<Role>() {
                Ok(role) => {
                    roles.insert(role);
                }
                Err(error) => {
                    self.fault(&format!("{at}/roles/{index}"), "field.value", error.to_string(), "write one of these");
                }
            }
        }
        Some(roles)
    }

    fn preview(&mut self, table: &Table, at: &str, effect: Option<Effect>, params: Option<&Schema>) -> Option<Preview> {
        let here = format!("{at}/preview");
        if !table.contains_key("preview") {
            return None;
        }
        let text = self.prose(table, at, "preview", 300)?;
        if has_hidden(&text) {
            return None;
        }
        if effect == Some(Effect::Read) {
            self.fault(&here, "field.says-nothing", "a read is never confirmed", "remove the preview");
        }
        let preview = Preview::parse(&text)
            .map_err(|message| {
                self.fault(&here, "action.preview", message, "write {param} with the name of a parameter");
            })
            .ok()?;
        for name in preview.params() {
            if let Some(params) = params
                && !params.properties().any(|(known, _)| known == name)
            {
                let known: Vec<&str> = params.properties().map(|(known, _)| known).collect();
                self.fault(
                    &here,
                    "action.preview",
                    format!("`{name}` is no parameter"),
                    format!("use one of {}", known.join(", ")),
                );
            }
        }
        Some(preview)
    }
}
