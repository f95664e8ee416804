//! Names in the operator's configuration that name nothing: a misspelt ceiling takes nothing away from anybody.

use std::collections::BTreeSet;

use opsiq_contract::nearest;

use super::Report;
use crate::core::Core;
use crate::refusal::Class;

impl Report {
    /// Plugins that the ceiling speaks of and the catalogue does not have.
    pub(super) async fn ceiling_names(&mut self, core: &Core) {
        const CHECK: &str = "ceiling";
        let rows = match core.store.plugins().await {
            Ok(rows) => rows,
            Err(error) => return self.fail(CHECK, error.to_string(), "repair the disk or restore from a backup"),
        };
        let known: BTreeSet<String> = rows.iter().map(|row| row.plugin.family()).collect();
        let unknown: Vec<&String> = core.ceiling.plugins.keys().filter(|name| !known.contains(*name)).collect();
        for name in &unknown {
            let fix = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "correct the name; opsiq plugin list has those that are registered".to_owned(),
            };
            let told = format!("[ceiling.plugin.\"{name}\"] names no registered plugin, so it has no effect");
            self.warn(CHECK, told, &fix);
        }
        if unknown.is_empty() {
            self.ok(CHECK, format!("{} plugins named, all registered", core.ceiling.plugins.len()));
        }
    }

    /// Tenants, installations and plugins that fairness speaks of and the host does not have.
    pub(super) async fn fairness_names(&mut self, core: &Core) {
        const CHECK: &str = "fairness";
        let fairness = &core.settings.fairness;
        let mut unknown = Vec::new();
        for (name, own) in &fairness.tenants {
            let Some(tenant) = name.parse().ok().and_then(|id| core.tenants.get(&id)) else {
                unknown.push(format!("[fairness.tenant.{name}] names no tenant"));
                continue;
            };
            for installation in own.installations.keys() {
                // What it is, when it does not open, is told elsewhere.
                if core.installed(&tenant, installation).await.is_err_and(|refusal| refusal.class == Class::NotFound) {
                    unknown.push(format!("[fairness.tenant.{name}.installation.{installation}] names no installation"));
                }
            }
        }
        let rows = match core.store.plugins().await {
            Ok(rows) => rows,
            Err(error) => return self.fail(CHECK, error.to_string(), "repair the disk or restore from a backup"),
        };
        let known: BTreeSet<String> = rows.iter().map(|row| row.plugin.family()).collect();
        let plugins = fairness.plugins.keys().filter(|name| !known.contains(*name));
        unknown.extend(plugins.map(|name| format!("[fairness.plugin.\"{name}\"] names no registered plugin")));
        if unknown.is_empty() {
            let named = fairness.tenants.len() + fairness.plugins.len();
            self.ok(CHECK, format!("{named} tenants and plugins named, all known"));
        }
        for what in unknown {
            self.warn(CHECK, format!("{what}, so it has no effect"), "correct the name in opsiq.toml");
        }
    }
}
