//! `opsiq restore`: a new data directory of a backup.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use opsiq_gate::{DumpProgress, Host, RestoreOptions, RestoredView};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, bytes, time};

/// How often to say how far it is.
const TELL: Duration = Duration::from_millis(200);

/// What to restore, and why.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup. It is restored into the directory that --data names, which must be new or empty, or into the empty databases
    /// of a server.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The file of epoch keys, when it is not beside the root key's.
    #[arg(long, value_name = "FILE")]
    epochs: Option<PathBuf>,

    /// Why, for the audit log: what was recorded after the backup is lost.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Restores it.
pub(crate) async fn run(args: RestoreArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    if session.acting.anyone()?.tenant().is_some() {
        return Err(Failure::usage("this is for the operator").fix("run it without --as"));
    }
    let RestoreArgs { file, epochs, reason } = args;
    let options = session.place.options()?;
    let progress = Arc::new(DumpProgress::default());
    let shown_at = session.out.progress("Restoring");
    let telling = progress.clone();
    let restore = RestoreOptions { file, epochs, reason };
    let restoring = Host::restore(options, &restore, progress);
    tokio::pin!(restoring);
    let restored = loop {
        tokio::select! {
            restored = &mut restoring => break restored?,
            () = tokio::time::sleep(TELL) => {
                let (rows, size) = telling.so_far();
                shown_at.at(&format!("Restoring: {rows} rows, {}", bytes(size)));
            }
        }
    };
    drop(shown_at);
    session.out.data(&restored, shown)?;
    if restored.missing > 0 {
        let missing = restored.missing;
        session.out.note(&format!("{missing} plugin files were missing when it was made: register them again."));
    }
    if restored.interrupted > 0 {
        session.out.note("Of some calls nobody knows how they ended: opsiq doctor names them.");
    }
    if restored.epochs_are_older {
        session.out.note("The epoch keys are an older copy than the backup was made with: who was erased since is not known, and may be back.");
    }
    session.out.note("What was recorded after the backup is not here. Everybody signs in anew, and no signed request from before now is accepted.");
    Ok(Exit::Done)
}

fn shown(restored: &RestoredView) -> String {
    let mut card = Card::new();
    card.line("data", restored.data.display().to_string());
    card.line("as of", time(restored.backup.made_ms));
    card.line("holds", format!("{} rows, {} plugin files", restored.rows, restored.plugins));
    card.line("root key", &restored.backup.root);
    card.line("epoch keys", restored.epochs.display().to_string());
    card.line("erased again", restored.erased_again.to_string());
    for accepted in &restored.accepted {
        card.line("accepted", accepted);
    }
    card.shown()
}
