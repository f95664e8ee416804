//! `opsiq ceiling`: what the operator allows at most, and how the machine is shared, as `opsiq.toml` says it.

mod fairness;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use opsiq_contract::{Ceiling, LimitsCeiling, PrivateTarget, show_size, show_time};
use opsiq_gate::OperatorConfig;
use serde_json::json;

use crate::ceiling::fairness::Shared;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::Card;

/// What can be done with the ceiling. It is changed by editing the file, which every command reads anew.
#[derive(Debug, Subcommand)]
pub(crate) enum CeilingCommand {
    /// Show the ceiling in force, and how the machine is shared.
    Show,
    /// Check a configuration file without using it.
    Check {
        /// The file; by default the one in the data directory.
        file: Option<PathBuf>,
    },
}

/// Runs one of them.
pub(crate) fn run(command: CeilingCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let own = || Ok::<_, Failure>(session.place.data()?.join("opsiq.toml"));
    match command {
        CeilingCommand::Show => {
            let own = own()?;
            let OperatorConfig { ceiling, fairness } = read(&own)?;
            let data = json!({
                "file": own,
                "ceiling": ceiling,
                "fairness": Shared::of(&fairness),
                "fingerprint": ceiling.fingerprint(),
            });
            session.out.data(&data, |_| {
                let mut card = Card::new();
                shown(&mut card, &ceiling);
                fairness::shown(&mut card, &fairness);
                card.shown()
            })?;
        }
        CeilingCommand::Check { file } => {
            let file = match file {
                Some(file) => file,
                None => own()?,
            };
            let OperatorConfig { ceiling, .. } = read(&file)?;
            let data = json!({ "file": file, "fingerprint": ceiling.fingerprint() });
            session.out.data(&data, |_| format!("{} is good ({})", file.display(), ceiling.fingerprint()))?;
        }
    }
    Ok(Exit::Done)
}

/// Reads the file; a mistake anywhere in the file is told with its line, and no part of the file counts then.
fn read(file: &Path) -> Result<OperatorConfig, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    Ok(opsiq_gate::read_config(&text)?)
}

fn shown(card: &mut Card, ceiling: &Ceiling) {
    card.line("component", show_size(ceiling.component_bytes));
    card.line("compile", show_time(ceiling.compile_ms));
    card.line("compile-memory", show_size(ceiling.compile_memory_bytes));
    limits(card, "", &ceiling.limits);
    targets(card, "", &ceiling.private_targets);
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
        limits(card, &within, &plugin.limits);
        targets(card, &within, &plugin.private_targets);
    }
    if ceiling.private_targets.is_empty() && ceiling.plugins.values().all(|plugin| plugin.private_targets.is_empty()) {
        card.line("private targets", "none: no plugin reaches a private or loopback address");
    }
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
