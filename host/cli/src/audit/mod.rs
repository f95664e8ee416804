//! `opsiq audit`: the log of everything, for owners; its proof, for anyone.

mod export;
mod retention;
mod verify;

use clap::{Subcommand, ValueEnum};
use opsiq_audit::{Filter, Kind, View, field};
use opsiq_contract::InvocationId;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with the audit log. Without --as it is the host's own log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the newest entries, the last one last.
    List {
        /// Only entries before this number.
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only of this kind, such as `refused`.
        #[arg(long)]
        kind: Option<Kind>,
        /// Only about this action.
        #[arg(long)]
        action: Option<String>,
        /// Only of this invocation.
        #[arg(long, value_name = "ID")]
        invocation: Option<InvocationId>,
        /// Every field of every entry.
        #[arg(long)]
        full: bool,
    },
    /// Write entries with their proof.
    Export(export::ExportArgs),
    /// Check an export with nothing but the public key; no data directory is needed.
    Verify(verify::VerifyArgs),
    /// Print the signed head of the log. Keep it elsewhere: a log rolled back later no longer agrees with it.
    Checkpoint,
    /// Print the public key that exports of the log verify with.
    Key,
    /// Say or set how long entries are kept.
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Place and lift legal holds.
    #[command(subcommand)]
    Hold(retention::HoldCommand),
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// One JSON object a line.
    Jsonl,
    /// For spreadsheets; cells that would run there are made inert.
    Csv,
}

impl From<ExportForm> for opsiq_audit::Format {
    fn from(form: ExportForm) -> Self {
        match form {
            ExportForm::Jsonl => Self::Jsonl,
            ExportForm::Csv => Self::Csv,
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(command: AuditCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify(args) => return verify::run(&args, session.out),
        AuditCommand::Export(args) => return export::run(args, session).await,
        AuditCommand::Retention(command) => return retention::run(command, session).await,
        AuditCommand::Hold(command) => return retention::hold(command, session).await,
        AuditCommand::List { before, limit, kind, action, invocation, full } => {
            let filter = Filter { kind, action, invocation, before, limit };
            let page = session.reach().await?.entries(&filter).await?;
            session.out.data(&page, |page| if full { in_full(&page.entries) } else { in_short(&page.entries) })?;
            if let Some(next) = page.next {
                session.out.note(&format!("There are earlier ones: --before {next}"));
            }
        }
        AuditCommand::Checkpoint => {
            let note = session.reach().await?.checkpoint().await?;
            session.out.data(&json!({ "checkpoint": note }), |_| note.clone())?;
        }
        AuditCommand::Key => {
            let key = session.reach().await?.audit_key().await?;
            session.out.data(&json!({ "key": key }), |_| key.clone())?;
        }
    }
    Ok(Exit::Done)
}

fn in_short(newest_first: &[View]) -> String {
    let mut table = Table::new(["seq", "time", "kind", "actor", "action", "installation", "outcome", "rule", "detail"]);
    for entry in newest_first.iter().rev() {
        let field = |name: &str| entry.fields.get(name).map(ToString::to_string).unwrap_or_default();
        // The detail of an outcome is what the run used; here, why it failed says more.
        let detail = field(if entry.kind == Kind::Outcome { "reason" } else { field::DETAIL });
        table.row([
            entry.seq.to_string(),
            time(entry.time_ms),
            entry.kind.to_string(),
            field(field::ACTOR),
            field(field::ACTION),
            field(field::INSTALLATION),
            field(field::OUTCOME),
            field(field::RULE),
            detail.lines().next().unwrap_or_default().to_owned(),
        ]);
    }
    table.or("No entries.")
}

fn in_full(newest_first: &[View]) -> String {
    let cards = newest_first.iter().rev().map(|entry| {
        let mut card = Card::new();
        card.line("entry", format!("{} {} {}", entry.seq, entry.kind, time(entry.time_ms)));
        card.line("invocation", entry.invocation.as_ref().map(ToString::to_string).unwrap_or_default());
        for (name, value) in &entry.fields {
            card.line(name, value.to_string());
        }
        card.shown()
    });
    cards.collect::<Vec<_>>().join("\n\n")
}
