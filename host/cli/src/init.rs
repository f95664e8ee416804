//! `opsiq init`: a new data directory.

use opsiq_gate::Host;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::Card;

/// Makes the data directory, its root key and a commented configuration.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let options = session.place.options()?;
    let made = session.place.turn(async || Host::init(options.clone()).await).await?;
    let data = json!({
        "data": made.data, "root_file": made.root_file, "root_id": made.root_id, "config": made.config,
        "checkpoints": made.checkpoints,
    });
    session.out.data(&data, |_| {
        let mut card = Card::new();
        card.line("data", made.data.display().to_string());
        card.line("config", made.config.display().to_string());
        card.line("checkpoints", made.checkpoints.display().to_string());
        if let Some(file) = &made.root_file {
            card.line("root key", format!("{} (id {})", file.display(), made.root_id));
        } else {
            card.line("root key", format!("id {}", made.root_id));
        }
        card.shown()
    })?;
    if made.root_file.is_some() {
        session.out.note("Keep a copy of the root key apart from the data: without it nothing here can be opened.");
    }
    session.out.note("The checkpoint file shows when an older database is put back: it moves along with the data, not into its backups.");
    session.out.note("Next: opsiq tenant create TENANT --owner USER");
    Ok(Exit::Done)
}
