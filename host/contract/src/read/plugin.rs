//! `[plugin]`, `[[webhook]]`, `[[audit]]` and `[kv]`.

use semver::Version;
use serde_json::Value;

use super::{Reader, Table};
use crate::id::is_slug;
use crate::model::{AuditDecl, KvDecl, PluginMeta, WebhookDecl};

/// Storage an installation may ask for, at most, in bytes.
const MAX_KV: u64 = 1 << 30;

impl Reader {
    pub(super) fn plugin(&mut self, top: &Table) -> Option<PluginMeta> {
        const AT: &str = "/plugin";
        let Some(value) = top.get("plugin") else {
            self.missing("", "plugin", "write a [plugin] table");
            return None;
        };
        let table = self.table(value, AT, &["id", "version", "kind", "title", "summary", "publisher", "world"])?;
        let id = self.slug(table, AT, "id");
        let publisher = self.slug(table, AT, "publisher");
        let kind = self.word(table, AT, "kind");
        let title = self.prose(table, AT, "title", 80);
        let summary = self.prose(table, AT, "summary", 300);
        let version = self.text(table, AT, "version", "\"0.1.0\"").and_then(|text| {
            Version::parse(text)
                .map_err(|error| {
                    self.fault(
                        "/plugin/version",
                        "plugin.version",
                        format!("not a semantic version: {error}"),
                        "write version = \"0.1.0\" (https://semver.org)",
                    );
                })
                .ok()
        });
        let world = table.contains_key("world").then(|| self.word(table, AT, "world"));
        Some(PluginMeta {
            id: id?,
            version: version?,
            kind: kind?,
            title: title?,
            summary: summary?,
            publisher: publisher?,
            world: world.map_or(Some(None), |world| world.map(Some))?,
        })
    }

    pub(super) fn webhook(&mut self, value: &Value, at: &str) -> Option<(String, WebhookDecl)> {
        let table = self.table(value, at, &["name", "scheme", "key"])?;
        let name = self.slug(table, at, "name");
        let key = self.slug(table, at, "key");
        let scheme = if table.get("scheme").is_some_and(Value::is_object) {
            let fix = "write scheme = \"standard\", \"stripe\", \"github\", \"shopify\" or \"slack\"";
            self.fault(
                &format!("{at}/scheme"),
                "webhook.recipe",
                "this host enforces no recipe spelled out as data",
                fix,
            );
            None
        } else {
            self.word(table, at, "scheme")
        };
        let (name, scheme, key) = (name?, scheme?, key?);
        Some((name.clone(), WebhookDecl { name, scheme, key }))
    }

    pub(super) fn audit_event(&mut self, value: &Value, at: &str) -> Option<(String, AuditDecl)> {
        let table = self.table(value, at, &["event"])?;
        let event = self.text(table, at, "event", "\"refund.created\"")?;
        if event.len() > 64 || !event.split('.').all(is_slug) {
            self.fault(
                &format!("{at}/event"),
                "name.form",
                "not a name of an event",
                "write words of a-z, 0-9 and - joined by dots, such as refund.created",
            );
            return None;
        }
        Some((event.to_owned(), AuditDecl { event: event.to_owned() }))
    }

    pub(super) fn kv(&mut self, value: &Value) -> Option<KvDecl> {
        const AT: &str = "/kv";
        let table = self.table(value, AT, &["max"])?;
        if !table.contains_key("max") {
            self.missing(AT, "max", "write max = \"1MiB\"");
        }
        let max = self.size(table, AT, "max")?;
        if max > MAX_KV {
            self.fault("/kv/max", "field.range", "more than 1 GiB", "ask for less");
            return None;
        }
        Some(KvDecl { max })
    }
}
