//! `[ceiling]` of `opsiq.toml`.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::Value;

use super::toml::Document;
use super::{Reader, Table, located};
use crate::ceiling::{Ceiling, PluginCeiling, PrivateTarget};
use crate::error::ContractErrors;
use crate::id::is_slug;
use crate::limits::Unit;
use crate::schema::pointer_token;

impl Ceiling {
    /// Reads the `[ceiling]` of an `opsiq.toml`. `others` are the sections that other parts of the host read; whatever else
    /// stands at the top is an error, lest a misspelt ceiling be no ceiling.
    ///
    /// # Errors
    /// Everything wrong with it, with line and column.
    pub fn parse_toml(text: &str, others: &[&str]) -> Result<Self, ContractErrors> {
        let document = Document::parse(text).map_err(ContractErrors)?;
        let mut reader = Reader::default();
        let known: Vec<&str> = std::iter::once("ceiling").chain(others.iter().copied()).collect();
        let top = reader.table(&document.value, "", &known);
        let ceiling = top.and_then(|top| top.get("ceiling")).map_or_else(Self::default, |value| reader.ceiling(value));
        if reader.faults.is_empty() { Ok(ceiling) } else { Err(located(&document, reader.faults)) }
    }
}

impl Reader {
    fn ceiling(&mut self, value: &Value) -> Ceiling {
        const AT: &str = "/ceiling";
        const KNOWN: &[&str] = &["component", "compile", "compile-memory", "limits", "private-target", "plugin"];
        let mut ceiling = Ceiling::default();
        let Some(table) = self.table(value, AT, KNOWN) else {
            return ceiling;
        };
        if let Some(size) = self.size(table, AT, "component") {
            ceiling.component_bytes = size;
        }
        if let Some(size) = self.size(table, AT, "compile-memory") {
            ceiling.compile_memory_bytes = size;
        }
        if let Some(time) =
            table.get("compile").and_then(|time| self.amount(time, "/ceiling/compile", Unit::Milliseconds))
        {
            ceiling.compile_ms = time;
        }
        if let Some(limits) = table.get("limits") {
            ceiling.limits = self.limits(limits, "/ceiling/limits");
        }
        ceiling.private_targets = self.private_targets(table, AT);
        match table.get("plugin") {
            Some(Value::Object(plugins)) => {
                for (name, value) in plugins {
                    let at = format!("/ceiling/plugin/{}", pointer_token(name));
                    if !name.split_once('/').is_some_and(|(publisher, id)| is_slug(publisher) && is_slug(id)) {
                        self.fault_at_key(&at, "name.form", "not a plugin", "write [ceiling.plugin.\"publisher/id\"]");
                    }
                    let plugin = self.plugin_ceiling(value, &at);
                    ceiling.plugins.insert(name.clone(), plugin);
                }
            }
            Some(_) => {
                self.fault("/ceiling/plugin", "field.type", "not a table", "write [ceiling.plugin.\"publisher/id\"]");
            }
            None => {}
        }
        ceiling
    }

    fn plugin_ceiling(&mut self, value: &Value, at: &str) -> PluginCeiling {
        const KNOWN: &[&str] = &["denied", "wasi", "actions", "http", "keys", "limits", "private-target"];
        let Some(table) = self.table(value, at, KNOWN) else { return PluginCeiling::default() };
        if table.is_empty() {
            self.fault(at, "field.count", "says nothing", "remove it");
        }
        let mut only = |key| -> Option<BTreeSet<String>> {
            let names = self.texts(table, at, key, true)?;
            Some(names.into_iter().map(str::to_owned).collect())
        };
        let (actions, http, keys) = (only("actions"), only("http"), only("keys"));
        let limits = table.get("limits").map(|limits| self.limits(limits, &format!("{at}/limits"))).unwrap_or_default();
        PluginCeiling {
            denied: self.flag(table, at, "denied").unwrap_or(false),
            wasi: self.flag(table, at, "wasi").unwrap_or(false),
            actions,
            http,
            keys,
            limits,
            private_targets: self.private_targets(table, at),
        }
    }

    fn private_targets(&mut self, table: &Table, at: &str) -> Vec<PrivateTarget> {
        let at = format!("{at}/private-target");
        let items = match table.get("private-target") {
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.fault(&at, "field.type", "not a list of tables", "write it in double brackets");
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let read = |(index, item)| self.private_target(item, &format!("{at}/{index}"));
        items.iter().enumerate().filter_map(read).collect()
    }

    fn private_target(&mut self, value: &Value, at: &str) -> Option<PrivateTarget> {
        let table = self.table(value, at, &["cidr", "port", "tls"])?;
        let cidr = self.text(table, at, "cidr", "\"127.0.0.1/32\"").and_then(|text| {
            let cidr = text.parse::<IpNet>().ok().filter(|cidr| cidr.trunc() == *cidr && cidr.prefix_len() > 0);
            if cidr.is_none() {
                self.fault(
                    &format!("{at}/cidr"),
                    "ceiling.cidr",
                    "not an exact network",
                    "write address/bits with no bit set after the prefix, such as 10.1.0.0/16",
                );
            }
            cidr
        });
        if !table.contains_key("port") {
            self.missing(at, "port", "write port = 8080");
        }
        let port = self.number(table, at, "port", 1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
        let tls = self.flag(table, at, "tls").unwrap_or(true);
        Some(PrivateTarget { cidr: cidr?, port: port?, tls })
    }
}
