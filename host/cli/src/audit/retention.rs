//! `opsiq audit retention` and `opsiq audit hold`: how long the log is kept, and what keeps it longer.

use clap::Subcommand;
use opsiq_gate::{HoldView, RetentionRun, RetentionView};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done about how long it is kept. With --as an owner, it is their tenant's log; the operator names a tenant with
/// --tenant, or means the host's own log.
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Say how long it is kept, from which entry on there is content, and what holds it.
    Show,
    /// Keep it for so many months: 12 at least.
    Set {
        /// How many.
        months: u32,
    },
    /// See to what is past its term now, in all logs, rather than within the hour. For the operator.
    Run,
}

/// What can be done about legal holds. While there is one, no content goes and nobody of the tenant is erased.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Place one.
    Place {
        /// Why: the case, and who asked for it. For the audit log and whoever is refused.
        #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Lift one.
    Lift {
        /// Which, as `opsiq audit retention show` lists them.
        id: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: RetentionCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let (host, actor) = session.as_anyone().await?;
    let tenant = session.acting.tenant()?;
    let retention = host.retention();
    match command {
        RetentionCommand::Show => {
            let view = retention.show(&actor, tenant.as_ref()).await?;
            session.out.data(&view, shown)?;
        }
        RetentionCommand::Set { months } => {
            let view = retention.set(&actor, tenant.as_ref(), months).await?;
            session.out.data(&view, shown)?;
        }
        RetentionCommand::Run => {
            let progress = session.out.progress("Seeing to what is past its term");
            let done = retention.run(&actor).await?;
            drop(progress);
            session.out.data(&done, ran)?;
        }
    }
    Ok(Exit::Done)
}

/// Runs one of those about holds.
pub(crate) async fn hold(command: HoldCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let (host, actor) = session.as_anyone().await?;
    let tenant = session.acting.tenant()?;
    match command {
        HoldCommand::Place { reason } => {
            let placed = host.retention().place(&actor, tenant.as_ref(), &reason).await?;
            session.out.data(&placed, |placed| holds(std::slice::from_ref(placed)))?;
            session.out.note(&format!("To lift it: opsiq audit hold lift {}", placed.id));
        }
        HoldCommand::Lift { id } => {
            let view = host.retention().lift(&actor, tenant.as_ref(), &id).await?;
            session.out.data(&view, shown)?;
        }
    }
    Ok(Exit::Done)
}

fn shown(view: &RetentionView) -> String {
    let mut card = Card::new();
    card.line("log", &view.log);
    card.line("kept", format!("{} months", view.months));
    card.line("content", format!("from entry {}", view.content_from));
    card.line("last seen to", view.last_run_ms.map_or_else(|| "never".to_owned(), time));
    if view.holds.is_empty() {
        return card.shown();
    }
    format!("{}\n\n{}", card.shown(), holds(&view.holds))
}

fn holds(holds: &[HoldView]) -> String {
    let mut table = Table::new(["hold", "since", "by", "reason"]);
    for hold in holds {
        table.row([hold.id.clone(), time(hold.since_ms), hold.by.clone(), hold.reason.clone()]);
    }
    table.or("No holds.")
}

fn ran(run: &RetentionRun) -> String {
    if !run.clock_trusted {
        let since = time(run.clock_steady_since_ms);
        return format!("Nothing goes yet: the clock has gone its way since {since}, and must for a week.");
    }
    let mut table = Table::new(["log", "entries", "content from", "held"]);
    for log in &run.logs {
        let held = if log.held { "yes" } else { "" };
        table.row([log.log.clone(), log.entries.to_string(), log.content_from.to_string(), held.to_owned()]);
    }
    table.or("Nothing is past its term.")
}
