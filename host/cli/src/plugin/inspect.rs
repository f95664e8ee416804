//! `opsiq plugin inspect`: what a component, made by whatever toolchain, imports and exports, and whether the host would
//! take it. Reads bytes and runs nothing; needs no data directory.

use std::path::Path;

use opsiq_contract::component::{Finding, Inspection, Judgement, Kind, WIT_PACKAGE, inspect_within};
use opsiq_contract::{DEFAULT_COMPONENT_BYTES, World, show_size};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::reach;
use crate::session::Session;
use crate::table::{Card, Table, bytes};

/// Shows the verdict; ends with 6 when the host would not take it. A server that is named is asked, since its operator says
/// what is taken there.
pub(crate) async fn run(file: &Path, session: &Session<'_>) -> Result<Exit, Failure> {
    let out = session.out;
    let component = super::component(file)?;
    // How large a component may be is the operator's to say, and so no fault of this one.
    let seen = inspect_within(&component, DEFAULT_COMPONENT_BYTES.max(component.len() as u64));
    let (data, problems) = if session.place.addr().is_some() {
        let (data, problems) = reach::judged(&session.server(None)?, component).await?;
        let told =
            |problem: reach::Problem| told(problem.subject.as_deref(), &problem.message, &problem.code, &problem.fix);
        (data, problems.into_iter().map(told).collect())
    } else {
        if seen.size > DEFAULT_COMPONENT_BYTES {
            let most = show_size(DEFAULT_COMPONENT_BYTES);
            out.note(&format!(
                "Larger than {most}: the operator has to allow it, with `component` under [ceiling] in opsiq.toml."
            ));
        }
        here(&seen)
    };
    if problems.is_empty() {
        out.data(&data, |_| shown(&seen))?;
        return Ok(Exit::Done);
    }
    out.table(|| shown(&seen))?;
    let title = format!("{} cannot be registered", file.display());
    Err(Failure::new(Exit::Invalid, "plugin.not-acceptable", title).detail(problems.join("\n")).data(data))
}

/// What is found without a host.
fn here(seen: &Inspection) -> (Value, Vec<String>) {
    let plugin = seen.contract.as_ref().map(|contract| contract.plugin_ref().to_string());
    // What it runs as, where its contract says so.
    let world = seen.contract.as_ref().map(|contract| contract.plugin.world.map_or(WIT_PACKAGE, World::as_str));
    let acceptable = seen.problems.is_empty();
    let problems = seen.problems.iter();
    let problems = problems.map(|one| told(one.subject.as_deref(), &one.message, one.code, &one.fix)).collect();
    (json!({ "acceptable": acceptable, "plugin": plugin, "world": world, "inspection": seen }), problems)
}

/// One reason, as a person reads it.
fn told(subject: Option<&str>, message: &str, code: &str, fix: &str) -> String {
    let subject = subject.map(|subject| format!("{subject}: ")).unwrap_or_default();
    let fix = if fix.is_empty() { String::new() } else { format!("\n  {fix}") };
    format!("{subject}{message} [{code}]{fix}")
}

fn shown(seen: &Inspection) -> String {
    let mut card = Card::new();
    card.line(
        "kind",
        match seen.kind {
            Kind::Component => "component",
            Kind::CoreModule => "core module, not a component",
            Kind::Other => "not WebAssembly",
        },
    );
    if let Some(contract) = &seen.contract {
        card.line("plugin", format!("{} ({})", contract.plugin_ref(), contract.plugin.title));
        if let Some(world) = contract.plugin.world {
            let how = "run in compatibility mode, where the operator allows it";
            card.line("world", format!("{world}: {}, {how}", world.what()));
        }
        let actions = contract.actions.iter().map(|action| format!("{} ({})", action.name, action.effect));
        card.line("actions", actions.collect::<Vec<_>>().join(", "));
    }
    card.line("size", bytes(seen.size));
    if seen.functions > 0 {
        card.line("functions", seen.functions.to_string());
    }
    card.line("digest", seen.digest.to_string());
    card.line("made by", seen.tools.join(", "));
    let parts = [card.shown(), judged("import", &seen.imports), judged("export", &seen.exports)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn judged(what: &str, findings: &[Finding]) -> String {
    let mut table = Table::new([what, "verdict", "why"]);
    for finding in findings {
        let verdict = match finding.judgement {
            Judgement::Accepted => "accepted",
            Judgement::NeedsContract => "depends",
            Judgement::Refused => "refused",
        };
        table.row([finding.name.clone(), verdict.to_owned(), finding.why.clone()]);
    }
    table.or("")
}
