//! `opsiq action`: what installations can do, and doing it.

mod explain;
mod stream;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use opsiq_gate::{ActionView, Call, InstallationView, Meter};
use opsiq_testkit::Case;
use serde_json::{Value, json};

use self::stream::StreamArgs;
use crate::confirm;
use crate::failure::{Exit, Failure};
use crate::params::Params;
use crate::plugin::{rehearse, stand_ins};
use crate::reach::{Came, Reach};
use crate::session::Session;
use crate::table::{Table, bytes, span};

/// What can be done with actions.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionCommand {
    /// List what can be called.
    List {
        /// Only of this installation.
        installation: Option<String>,
    },
    /// Call an action. A risky write waits for a person: the command then ends with exit code 4.
    Call {
        #[command(flatten)]
        call: CallArgs,

        #[command(flatten)]
        dry: DryArgs,
    },
    /// Say what a call would meet, stage by stage, without running it.
    Explain(CallArgs),
    /// Make many calls in one process: one JSON object a line on standard input, one answer a line on standard output, in
    /// the order in which they end.
    Stream(StreamArgs),
}

/// A call.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The installation's name.
    installation: String,

    /// The action's name.
    action: String,

    #[command(flatten)]
    params: Params,

    /// The same key with the same parameters is the same call: it has one effect and one answer.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Show fields of the result that the contract marks secret or personal.
    #[arg(long)]
    reveal: bool,
}

/// Whether a call is only rehearsed.
#[derive(Debug, Args)]
pub(crate) struct DryArgs {
    /// Run it without any effect, and show what would be asked of the outside, by which rule and with which key, and what it
    /// used. No secret is opened, nothing stored is read or written, nobody is asked, and nothing is recorded.
    #[arg(long)]
    dry_run: bool,

    /// A case whose recorded answers stand in for the outside, in order; the first request ends the run otherwise.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    replay: Option<PathBuf>,
}

/// Runs one of them.
pub(crate) async fn run(command: ActionCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        ActionCommand::List { installation } => list(installation.as_deref(), session).await,
        ActionCommand::Call { call: args, dry } if dry.dry_run => dry_run(args, &dry, session).await,
        ActionCommand::Call { call: args, dry: _ } => call(args, session).await,
        ActionCommand::Explain(args) => explain::run(args, session).await,
        ActionCommand::Stream(args) => stream::run(args, session).await,
    }
}

async fn list(name: Option<&str>, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let installations = match name {
        Some(name) => vec![reach.installation(name).await?],
        None => reach.installations().await?,
    };
    let all: Vec<(&InstallationView, &ActionView)> =
        installations.iter().flat_map(|one| one.actions.iter().map(move |action| (one, action))).collect();
    let data: Vec<Value> =
        all.iter().map(|(one, action)| json!({ "installation": one.name, "action": action })).collect();
    session.out.data(&data, |_| {
        let mut table = Table::new(["installation", "action", "effect", "allowed", "roles", "parameters", "title"]);
        for (one, action) in &all {
            let roles: Vec<_> = action.roles.iter().map(|role| role.as_str()).collect();
            table.row([
                one.name.clone(),
                action.name.clone(),
                action.effect.to_string(),
                if action.allowed { "yes".to_owned() } else { "no".to_owned() },
                roles.join(" "),
                parameters(&action.params),
                action.title.clone(),
            ]);
        }
        table.or("Nothing installed yet: opsiq connector install PLUGIN")
    })?;
    Ok(Exit::Done)
}

/// The names of an action's parameters; those that may be left out in brackets.
fn parameters(schema: &Value) -> String {
    let required = |name: &str| {
        schema.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|one| one == name))
    };
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    let names: Vec<_> =
        properties.keys().map(|name| if required(name) { name.clone() } else { format!("[{name}]") }).collect();
    names.join(" ")
}

impl CallArgs {
    /// The call as it is asked for. The schema only types `--param`; if there is none, the gate says why.
    async fn read(self, reach: &Reach<'_>) -> Result<Call, Failure> {
        let schema = if self.params.need_schema() {
            let known = reach.installation(&self.installation).await.ok();
            known
                .and_then(|one| one.actions.into_iter().find(|action| action.name == self.action))
                .map(|one| one.params)
        } else {
            None
        };
        let params = self.params.text(schema.as_ref())?;
        Ok(Call { installation: self.installation, action: self.action, params, idempotency_key: self.idempotency_key })
    }
}

async fn call(args: CallArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let reveal = args.reveal;
    let call = args.read(&reach).await?;
    let progress = session.out.waiting(&format!("{} {}", call.installation, call.action));
    let came = reach.call(call, reveal).await;
    drop(progress);
    told(&came?, session)
}

async fn dry_run(args: CallArgs, dry: &DryArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let case = dry.replay.as_deref().map(Case::read).transpose()?;
    let (host, actor) = session.as_user().await?;
    let call = args.read(&Reach::Here(host, actor.clone())).await?;
    let (script, props) = stand_ins(case.as_ref());
    let played = host.dry_run(&actor, &call, props).await?;
    rehearse::told(&played, &script, session.out)
}

/// Shows what became of a call: its result, or that it waits.
pub(crate) fn told(came: &Came, session: &Session<'_>) -> Result<Exit, Failure> {
    match came {
        Came::Done { invocation, effect, replayed, result, redacted, meter } => {
            session.out.data(came, |_| serde_json::to_string_pretty(result).unwrap_or_default())?;
            if *redacted {
                session
                    .out
                    .note("Fields that the contract marks secret or personal are not shown; --reveal shows them.");
            }
            let used =
                if *replayed { "the answer already given to this idempotency key".to_owned() } else { used(meter) };
            session.out.note(&format!("{effect} · invocation {invocation} · {used}"));
            Ok(Exit::Done)
        }
        Came::Pending { confirmation } => {
            session.out.data(came, |_| confirm::card(confirmation))?;
            session.out.note(&format!(
                "Nothing has run. It waits for a person: opsiq confirm approve {0}, or opsiq confirm deny {0}",
                confirmation.id
            ));
            Ok(Exit::Pending)
        }
    }
}

/// What a run used, in one line.
pub(crate) fn used(meter: &Meter) -> String {
    format!(
        "{} of CPU, {} of memory, {} host calls, {} requests",
        span(meter.cpu_us),
        bytes(meter.peak_memory_bytes),
        meter.host_calls,
        meter.egress_requests
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parameters;

    #[test]
    fn what_may_be_left_out_is_in_brackets() {
        let schema = json!({ "properties": { "id": {}, "limit": {} }, "required": ["id"] });
        assert_eq!(parameters(&schema), "id [limit]");
        assert_eq!(parameters(&json!({})), "");
    }
}
