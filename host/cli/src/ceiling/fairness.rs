//! How the machine is shared, for `opsiq ceiling show`: what is in force, not only what the file says.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use opsiq_contract::{Fairness, Level, SHARE_AXES, Share, ShareSet, TenantFairness};
use serde::Serialize;

use crate::table::Card;

/// What is in force for whom nothing else is said, and what is said of others.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Shared<'a> {
    computing: u64,
    host: Share,
    each_tenant: Share,
    each_installation: Share,
    /// By name: only what the file says.
    tenant: &'a BTreeMap<String, TenantFairness>,
    plugin: &'a BTreeMap<String, ShareSet>,
}

impl<'a> Shared<'a> {
    pub(super) fn of(fairness: &'a Fairness) -> Self {
        Self {
            computing: computing(fairness),
            host: fairness.host(),
            each_tenant: fairness.any(Level::Tenant),
            each_installation: fairness.any(Level::Installation),
            tenant: &fairness.tenants,
            plugin: &fairness.plugins,
        }
    }
}

fn computing(fairness: &Fairness) -> u64 {
    let processors = || available_parallelism().map_or(1, |count| count.get() as u64);
    fairness.computing.unwrap_or_else(processors)
}

/// Adds the lines for a person.
pub(super) fn shown(card: &mut Card, fairness: &Fairness) {
    card.line("computing at once", computing(fairness).to_string());
    for (level, set) in [
        (Level::Host, &fairness.host),
        (Level::Tenant, &fairness.each_tenant),
        (Level::Installation, &fairness.each_installation),
    ] {
        let name = if level == Level::Host { "host".to_owned() } else { format!("each {level}") };
        let in_force = SHARE_AXES.iter().filter(|axis| axis.is_at(level)).map(|axis| {
            let amount = set.get(axis).or(axis.default(level));
            amount.map_or_else(
                || format!("{} any", axis.key),
                |amount| format!("{} {}", axis.key, axis.unit.show(amount)),
            )
        });
        card.line(&name, in_force.collect::<Vec<_>>().join(", "));
    }
    for (tenant, own) in &fairness.tenants {
        named(card, &format!("tenant {tenant}"), &own.share);
        for (installation, set) in &own.installations {
            named(card, &format!("tenant {tenant}, {installation}"), set);
        }
    }
    for (plugin, set) in &fairness.plugins {
        named(card, &format!("each of {plugin}"), set);
    }
}

fn named(card: &mut Card, name: &str, set: &ShareSet) {
    let said = SHARE_AXES.iter().filter_map(|axis| Some(format!("{} {}", axis.key, axis.unit.show(set.get(axis)?))));
    let said: Vec<_> = said.collect();
    if !said.is_empty() {
        card.line(name, said.join(", "));
    }
}
