//! `opsiq sandbox`: what runs in this host now, and the switch that ends it.
//!
//! Each command is asked of the process that has the data directory open, if there is one, and otherwise does its part on
//! the directory itself: nothing runs then, and a quarantine is stored all the same.

mod top;

use clap::Subcommand;
use opsiq_gate::{CallView, ControlView, Placed, QuarantineView, Stopped};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::top::TopArgs;
use crate::control::protocol::Ask;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Table, bytes, span, time};

const SELECTORS: &str = "\
SELECTOR is one of: all · tenant:NAME · installation:TENANT/NAME (or /ID) · plugin:PUBLISHER/ID[@VERSION] · \
publisher:NAME · digest:sha256:HEX · call:INVOCATION (to stop). A tenant's owners and admins, with --as TENANT/USER, \
select what is theirs: installation:NAME, call:INVOCATION, or all.";

/// What can be done about what runs.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// List the calls that run or wait, and the quarantines in force.
    List,
    /// End running and waiting calls within a second. Calls made later are not touched.
    #[command(after_help = SELECTORS)]
    Stop {
        /// Which calls.
        selector: String,
    },
    /// Let nothing start any more, also what was admitted or waits for a person, and end what runs within a second. It holds
    /// until it is released, also after a restart.
    #[command(after_help = SELECTORS)]
    Quarantine {
        /// Of what.
        selector: String,
        /// Why, for the audit log and for everybody who is refused.
        #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Lift a quarantine.
    #[command(after_help = SELECTORS)]
    Release {
        /// The quarantine's selector, as list shows it.
        selector: String,
    },
    /// Show what calls use, refreshed on a terminal until interrupted.
    Top(TopArgs),
    /// Print what calls used so far in the text form of Prometheus.
    Metrics,
}

/// Runs one of them.
pub(crate) async fn run(command: SandboxCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let out = session.out;
    match command {
        SandboxCommand::List => {
            let data = session.control(Ask::List {}).await?;
            let found: ControlView = read(&data)?;
            out.data(&data, |_| shown(&found))?;
        }
        SandboxCommand::Stop { selector } => {
            let data = session.control(Ask::Stop { selector }).await?;
            let stopped: Stopped = read(&data)?;
            out.data(&data, |_| ended(&stopped.selector, stopped.calls, stopped.ended))?;
        }
        SandboxCommand::Quarantine { selector, reason } => {
            let data = session.control(Ask::Quarantine { selector, reason }).await?;
            let placed: Placed = read(&data)?;
            out.data(&data, |_| {
                let selector = &placed.quarantine.selector;
                let what = if placed.new { "Nothing starts any more of" } else { "It was quarantined already:" };
                format!("{what} {selector}.\n{}", ended(selector, placed.calls, placed.ended))
            })?;
            out.note(&format!("To lift it: opsiq sandbox release {}", placed.quarantine.selector));
        }
        SandboxCommand::Release { selector } => {
            let data = session.control(Ask::Release { selector }).await?;
            let released: QuarantineView = read(&data)?;
            out.data(&data, |_| format!("{} may run again.", released.selector))?;
        }
        SandboxCommand::Top(args) => return top::run(args, session).await,
        SandboxCommand::Metrics => {
            let data = session.control(Ask::Metrics {}).await?;
            out.data(&data, |data| data.as_str().unwrap_or_default().to_owned())?;
        }
    }
    Ok(Exit::Done)
}

/// What the gate showed, whichever way it came.
fn read<T: DeserializeOwned>(data: &Value) -> Result<T, Failure> {
    T::deserialize(data).map_err(|error| Failure::internal("the host's answer is of another form", &error))
}

fn ended(selector: &str, calls: u64, ended: u64) -> String {
    match calls {
        0 => format!("Nothing ran of {selector}."),
        _ if calls == ended => format!("{calls} calls of {selector} were stopped."),
        _ => format!("{calls} calls of {selector} were told to stop; {} have not ended yet.", calls - ended),
    }
}

fn shown(found: &ControlView) -> String {
    let calls = table(&found.calls).or("Nothing runs.");
    if found.quarantines.is_empty() {
        return calls;
    }
    let mut table = Table::new(["quarantined", "since", "by", "reason"]);
    for one in &found.quarantines {
        let by = match (&one.tenant, one.by.as_str()) {
            (Some(tenant), "") => format!("tenant {tenant}"),
            (_, by) => by.to_owned(),
        };
        table.row([one.selector.clone(), time(one.since_ms), by, one.reason.clone()]);
    }
    format!("{calls}\n\n{}", table.or(""))
}

fn table(calls: &[CallView]) -> Table {
    let mut table = Table::new([
        "call",
        "tenant",
        "installation",
        "plugin",
        "action",
        "state",
        "since",
        "cpu",
        "memory",
        "host calls",
        "requests",
        "egress",
    ]);
    for call in calls {
        table.row([
            call.invocation.to_string(),
            call.tenant.to_string(),
            call.name.clone().unwrap_or_else(|| call.installation.clone()),
            call.plugin.clone(),
            call.action.clone(),
            call.state.as_str().to_owned(),
            span(call.age_ms.saturating_mul(1000)),
            span(call.cpu_us),
            bytes(call.memory_bytes),
            call.host_calls.to_string(),
            call.egress_requests.to_string(),
            bytes(call.egress_bytes),
        ]);
    }
    table
}
