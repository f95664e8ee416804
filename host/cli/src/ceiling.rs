//! `opsiq ceiling`: what the operator allows at most, as `opsiq.toml` says it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use opsiq_contract::{Ceiling, LimitsCeiling, PrivateTarget, show_size, show_time};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::Card;

/// What can be done with the ceiling. It is changed by editing the file, which every command reads anew.
#[derive(Debug, Subcommand)]
pub(crate) enum CeilingCommand {
    /// Show the ceiling in force.
    Show,
    /// Check a configuration file without using it.
    Check {
        /// The file; by default the one in the data directory.
        file: Option<PathBuf>,
    },
}

/// Runs one of them.
pub(crate) fn run(command: CeilingCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let own = session.place.data.join("opsiq.toml");
    match command {
        CeilingCommand::Show => {
            let ceiling = read(&own)?;
            let data = json!({ "file": own, "ceiling": ceiling, "fingerprint": ceiling.fingerprint() });
            session.out.data(&data, |_| shown(&ceiling))?;
        }
        CeilingCommand::Check { file } => {
            let file = file.unwrap_or(own);
            let ceiling = read(&file)?;
            let data = json!({ "file": file, "fingerprint": ceiling.fingerprint() });
            session.out.data(&data, |_| format!("{} is good ({})", file.display(), ceiling.fingerprint()))?;
        }
    }
    Ok(Exit::Done)
}

/// Reads the ceiling; a mistake anywhere in the file is told with its line, and no part of the file counts then.
fn read(file: &Path) -> Result<Ceiling, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    Ok(opsiq_gate::read_config(&text)?)
}

fn shown(ceiling: &Ceiling) -> String {
    let mut card = Card::new();
    card.line("component", show_size(ceiling.component_bytes));
    card.line("compile", show_time(ceiling.compile_ms));
    limits(&mut card, "", &ceiling.limits);
    targets(&mut card, "", &ceiling.private_targets);
    for (name, plugin) in &ceiling.plugins {
        let within = format!("{name}: ");
        if plugin.denied {
            card.line(&format!("{within}denied"), "yes, nothing of it runs");
        }
        if plugin.wasi {
            card.line(&format!("{within}wasi"), "yes, it may run in compatibility mode");
        }
        for (what, only) in [("actions", &plugin.actions), ("http", &plugin.http), ("keys", &plugin.keys)] {
            if let Some(only) = only {
                let names: Vec<_> = only.iter().map(String::as_str).collect();
                let names = if names.is_empty() { "none".to_owned() } else { format!("only {}", names.join(" ")) };
                card.line(&format!("{within}{what}"), names);
            }
        }
        limits(&mut card, &within, &plugin.limits);
        targets(&mut card, &within, &plugin.private_targets);
    }
    if ceiling.private_targets.is_empty() && ceiling.plugins.values().all(|plugin| plugin.private_targets.is_empty()) {
        card.line("private targets", "none: no plugin reaches a private or loopback address");
    }
    card.shown()
}

fn limits(card: &mut Card, within: &str, limits: &LimitsCeiling) {
    for (axis, amount) in limits.iter() {
        card.line(&format!("{within}{}", axis.key), axis.unit.show(amount));
    }
}

fn targets(card: &mut Card, within: &str, targets: &[PrivateTarget]) {
    for target in targets {
        let tls = if target.tls { "TLS only" } else { "plain HTTP allowed" };
        card.line(&format!("{within}private target"), format!("{} port {}, {tls}", target.cidr, target.port));
    }
}
