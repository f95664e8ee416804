//! `opsiq subject`: whom a tenant's calls are about, and erasing them. Commands for owners and admins.

use std::io::Read as _;

use clap::{Args, Subcommand};
use opsiq_gate::SubjectView;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::shell;
use crate::table::{Card, time};

/// Bytes of a subject's name, at most.
const MAX: u64 = 4096;

/// What can be done with data subjects.
#[derive(Debug, Subcommand)]
pub(crate) enum SubjectCommand {
    /// Say whether anything is kept about somebody under a key of their own, and what was erased.
    Show(Who),
    /// Destroy somebody's key, so that nothing kept about them can be read, in no copy; the log keeps order and proof.
    Erase {
        #[command(flatten)]
        who: Who,

        /// Do not ask: it cannot be taken back.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Whom.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// The value of the field that the action's contract marks as the subject, such as a customer's number.
    #[arg(required_unless_present = "stdin")]
    subject: Option<String>,

    /// Read it from standard input, where no list of processes shows it; one line break at the end is not part of it.
    #[arg(long, conflicts_with = "subject")]
    stdin: bool,
}

impl Who {
    fn read(self) -> Result<String, Failure> {
        let subject = if let Some(subject) = self.subject {
            subject
        } else {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(MAX + 1).read_to_string(&mut text);
            read.map_err(|_| Failure::usage("standard input cannot be read, or is not UTF-8 text"))?;
            let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            line.unwrap_or(&text).to_owned()
        };
        if subject.is_empty() || subject.len() as u64 > MAX {
            return Err(Failure::usage(format!("a subject has 1 to {MAX} bytes")));
        }
        Ok(subject)
    }
}

/// Runs one of them.
pub(crate) async fn run(command: SubjectCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let view = match command {
        SubjectCommand::Show(who) => {
            let subject = who.read()?;
            session.user_reach().await?.subject(&subject).await?
        }
        SubjectCommand::Erase { who, yes } => {
            let subject = who.read()?;
            if !yes {
                agreed().await?;
            }
            session.user_reach().await?.subject_erase(&subject).await?
        }
    };
    session.out.data(&view, shown)?;
    Ok(Exit::Done)
}

async fn agreed() -> Result<(), Failure> {
    let refused =
        |title: &str| Failure::new(Exit::Refused, "subject.not-confirmed", title).fix("--yes says that it is meant");
    if !shell::someone_is_there() {
        return Err(refused("nobody is here to say that it is meant, so nothing was erased"));
    }
    if !shell::agrees("Erase everything kept about them, for good?").await? {
        return Err(refused("nothing was erased"));
    }
    Ok(())
}

fn shown(view: &SubjectView) -> String {
    let mut card = Card::new();
    card.line("subject", &view.subject);
    card.line("key", view.key.clone().unwrap_or_else(|| "none: nothing is kept about them".to_owned()));
    if let Some(since_ms) = view.since_ms {
        card.line("since", time(since_ms));
    }
    for erased in &view.erased {
        card.line("erased", format!("{} (key {})", time(erased.erased_ms), erased.key));
    }
    card.shown()
}
