//! Names in the operator's configuration that name nothing: a misspelt ceiling takes nothing away from anybody.

use std::collections::BTreeSet;

use opsiq_contract::nearest;

use super::Report;
use crate::core::Core;

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
}
