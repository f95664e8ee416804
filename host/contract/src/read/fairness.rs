//! `[fairness]` of `opsiq.toml`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::toml::Document;
use super::{Reader, Table, located};
use crate::error::ContractErrors;
use crate::fairness::{Fairness, Level, SHARE_AXES, ShareSet, TenantFairness};
use crate::id::is_slug;
use crate::limits::Unit;
use crate::schema::pointer_token;

/// Calls that may compute at one moment, at most.
const COMPUTING_MOST: u64 = 4_096;

impl Fairness {
    /// Reads the `[fairness]` of an `opsiq.toml`; the other sections are read elsewhere.
    ///
    /// # Errors
    /// Everything wrong with it, with line and column.
    pub fn parse_toml(text: &str) -> Result<Self, ContractErrors> {
        let document = Document::parse(text).map_err(ContractErrors)?;
        let mut reader = Reader::default();
        let section = document.value.get("fairness");
        let fairness = section.map_or_else(Self::default, |value| reader.fairness(value));
        if reader.faults.is_empty() { Ok(fairness) } else { Err(located(&document, reader.faults)) }
    }
}

impl Reader {
    fn fairness(&mut self, value: &Value) -> Fairness {
        const AT: &str = "/fairness";
        const KNOWN: &[&str] = &["computing", "host", "each-tenant", "each-installation", "tenant", "plugin"];
        let Some(table) = self.table(value, AT, KNOWN) else { return Fairness::default() };
        Fairness {
            computing: self.number(table, AT, "computing", 1, COMPUTING_MOST),
            host: self.share_of(table, AT, "host", Level::Host),
            each_tenant: self.share_of(table, AT, "each-tenant", Level::Tenant),
            each_installation: self.share_of(table, AT, "each-installation", Level::Installation),
            tenants: self.named(table, AT, "tenant", &|reader, name, value, at| {
                if !is_slug(name) {
                    reader.fault_at_key(at, "name.form", "not a tenant", "write [fairness.tenant.NAME]");
                }
                reader.tenant_fairness(value, at)
            }),
            plugins: self.named(table, AT, "plugin", &|reader, name, value, at| {
                if !name.split_once('/').is_some_and(|(publisher, id)| is_slug(publisher) && is_slug(id)) {
                    let fix = "write [fairness.plugin.\"publisher/id\"]";
                    reader.fault_at_key(at, "name.form", "not a plugin", fix);
                }
                reader.share(value, at, Level::Installation, &[])
            }),
        }
    }

    fn tenant_fairness(&mut self, value: &Value, at: &str) -> TenantFairness {
        const OWN: &str = "installation";
        let share = self.share(value, at, Level::Tenant, &[OWN]);
        let installations = value.as_object().map(|table| {
            self.named(table, at, OWN, &|reader, name, value, at| {
                if !is_slug(name) {
                    let fix = "write [fairness.tenant.NAME.installation.NAME]";
                    reader.fault_at_key(at, "name.form", "not an installation's name", fix);
                }
                reader.share(value, at, Level::Installation, &[])
            })
        });
        TenantFairness { share, installations: installations.unwrap_or_default() }
    }

    /// A table of tables by name.
    fn named<T>(
        &mut self,
        table: &Table,
        at: &str,
        key: &str,
        read: &dyn Fn(&mut Self, &str, &Value, &str) -> T,
    ) -> BTreeMap<String, T> {
        let at = format!("{at}/{key}");
        match table.get(key) {
            Some(Value::Object(named)) => named
                .iter()
                .map(|(name, value)| {
                    let here = format!("{at}/{}", pointer_token(name));
                    (name.clone(), read(self, name, value, &here))
                })
                .collect(),
            Some(_) => {
                self.fault(&at, "field.type", "not a table", "write one table for each name");
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        }
    }

    fn share_of(&mut self, table: &Table, at: &str, key: &str, level: Level) -> ShareSet {
        table.get(key).map(|value| self.share(value, &format!("{at}/{key}"), level, &[])).unwrap_or_default()
    }

    /// The axes of a share; `others` are the keys beside them.
    fn share(&mut self, value: &Value, at: &str, level: Level, others: &[&str]) -> ShareSet {
        let axes = || SHARE_AXES.iter().filter(move |axis| axis.is_at(level));
        let known: Vec<&str> = axes().map(|axis| axis.key).chain(others.iter().copied()).collect();
        let mut share = ShareSet::default();
        let Some(table) = self.table(value, at, &known) else { return share };
        if table.is_empty() {
            self.fault(at, "field.count", "says nothing", "remove it, or name a limit");
        }
        for axis in axes() {
            let Some(value) = table.get(axis.key) else { continue };
            let here = format!("{at}/{}", axis.key);
            let amount = match value {
                Value::String(text) => axis.unit.parse(text).filter(|_| axis.unit != Unit::Count),
                value => value.as_u64(),
            };
            let (least, most) = axis.range;
            match amount {
                None => self.fault(&here, "limit.form", "not an amount", format!("write {}", axis.unit.example())),
                Some(amount) if (least..=most).contains(&amount) => share.set(axis, amount),
                Some(_) => {
                    let range = format!("from {} to {}", axis.unit.show(least), axis.unit.show(most));
                    self.fault(&here, "field.range", "out of range", format!("write an amount {range}"));
                }
            }
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read() {
        let text = r#"[fairness]
computing = 3
[fairness.host]
concurrency = 64
egress-per-minute = "1GiB"
[fairness.each-tenant]
calls-per-minute = 600
queue-wait = "2s"
[fairness.tenant.acme]
weight = 300
cpu-per-minute = "30s"
[fairness.tenant.acme.installation.shop]
weight = 20
[fairness.plugin."acme/shop"]
queue = 0
"#;
        let fairness = Fairness::parse_toml(text).unwrap();
        let acme = "acme".parse().unwrap();
        assert_eq!(fairness.computing, Some(3));
        assert_eq!(fairness.host().egress_bytes_per_minute, Some(1 << 30));
        let tenant = fairness.tenant(&acme);
        assert_eq!((tenant.weight, tenant.calls_per_minute, tenant.queue_wait_ms), (300, Some(600), 2_000));
        assert_eq!(tenant.cpu_ms_per_minute, Some(30_000));
        let shop = fairness.installation(&acme, "shop", "acme/shop");
        assert_eq!((shop.weight, shop.queue), (20, 0));
        assert_eq!(Fairness::parse_toml("[ceiling]\n").unwrap(), Fairness::default());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, code, line) in [
            ("[fairness]\ncomputer = 1\n", "field.unknown", 2),
            ("[fairness]\ncomputing = 0\n", "field.range", 2),
            ("[fairness.host]\nweight = 2\n", "field.unknown", 2),
            ("[fairness.each-tenant]\n\n", "field.count", 1),
            ("[fairness.each-tenant]\nqueue = 1\ncalls = 1\n", "field.unknown", 3),
            ("[fairness.each-installation]\nconcurrency = 0\n", "field.range", 2),
            ("[fairness.each-installation]\nqueue-wait = \"soon\"\n", "limit.form", 2),
            ("[fairness.tenant.Acme]\nqueue = 1\n", "name.form", 1),
            ("[fairness.tenant.acme.installation.shop]\ninstallation = 1\n", "field.unknown", 2),
            ("[fairness.plugin.shop]\nqueue = 1\n", "name.form", 1),
            ("[fairness.tenant]\nqueue = 1\n", "field.type", 2),
        ] {
            let errors = Fairness::parse_toml(text).unwrap_err();
            let found = errors.0.iter().any(|error| error.code.starts_with(code) && error.line == Some(line));
            assert!(found, "{text}: {errors:?}");
        }
    }
}
