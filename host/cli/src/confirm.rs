//! `opsiq confirm`: a person looks at one exact call and says yes once, or no.

use clap::Subcommand;
use opsiq_gate::{ConfirmationState, ConfirmationView};

use crate::action;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with confirmations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfirmCommand {
    /// List the calls that wait, newest first.
    List {
        /// Also those that are decided, expired or void.
        #[arg(long)]
        all: bool,
    },
    /// Show one with every argument.
    Show {
        /// Its id.
        id: String,
    },
    /// Approve one call, once: it runs now, with exactly the arguments shown.
    Approve {
        /// Its id.
        id: String,
        /// Show fields of the result that the contract marks secret or personal.
        #[arg(long)]
        reveal: bool,
    },
    /// Deny a call.
    Deny {
        /// Its id.
        id: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: ConfirmCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    match command {
        ConfirmCommand::List { all } => {
            let mut waiting = reach.confirmations().await?;
            waiting.retain(|one| all || one.state == ConfirmationState::Pending);
            session.out.data(&waiting, |waiting| {
                let mut table = Table::new(["id", "state", "asked by", "expires", "preview"]);
                for one in waiting {
                    let state = one.state.as_str().to_owned();
                    table.row([
                        one.id.clone(),
                        state,
                        one.requester.clone(),
                        time(one.expires_ms),
                        one.preview.clone(),
                    ]);
                }
                table.or("Nothing waits.")
            })?;
        }
        ConfirmCommand::Show { id } => {
            let one = reach.confirmation(&id).await?;
            session.out.data(&one, card)?;
        }
        ConfirmCommand::Approve { id, reveal } => {
            let one = reach.confirmation(&id).await?;
            session.out.note(&card(&one));
            let progress = session.out.waiting(&format!("{} {}", one.installation, one.action));
            let came = reach.approve(&id, reveal).await;
            drop(progress);
            return action::told(&came?, session);
        }
        ConfirmCommand::Deny { id } => {
            let one = reach.deny(&id).await?;
            session.out.data(&one, card)?;
        }
    }
    Ok(Exit::Done)
}

/// Everything a person must see before deciding: what, on what, every argument, who asked, until when.
pub(crate) fn card(one: &ConfirmationView) -> String {
    let mut card = Card::new();
    card.line("confirmation", &one.id);
    card.line("state", one.state.as_str());
    card.line("preview", &one.preview);
    card.line("connector", format!("{} ({}, {})", one.installation, one.connector, one.plugin));
    card.line("action", format!("{} ({})", one.action, one.action_title));
    for argument in &one.arguments {
        let cut = if argument.cut > 0 { format!(" … ({} more characters)", argument.cut) } else { String::new() };
        card.line(&format!("  {}", argument.path.trim_start_matches('/')), format!("{}{cut}", argument.value));
    }
    card.line("asked by", format!("{} ({})", one.requester, one.role));
    card.line("asked at", time(one.requested_ms));
    card.line("expires", time(one.expires_ms));
    card.line("decided by", one.decided_by.clone().unwrap_or_default());
    card.line("outcome", one.outcome.clone().unwrap_or_default());
    card.line("bound to", one.hash.map(|hash| hash.to_string()).unwrap_or_default());
    card.shown()
}
