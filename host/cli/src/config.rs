//! `opsiq config`: which configuration is in force, and where each value came from.

use std::path::Path;

use clap::Subcommand;
use opsiq_server::Settings;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table};

/// What can be asked of the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show each value of the server's configuration, where it came from, and what it means.
    Explain {
        /// Only this one, such as `server.idle`.
        key: Option<String>,
    },
}

/// Runs one of them.
pub(crate) fn run(command: ConfigCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let ConfigCommand::Explain { key } = command;
    let settings = read(session.place.data()?)?;
    let all = settings.explained();
    let Some(key) = key else {
        session.out.data(&all, |all| {
            let mut table = Table::new(["key", "value", "from", "default"]);
            for one in *all {
                table.row([one.key.clone(), one.value.clone(), one.origin.to_string(), one.default.clone()]);
            }
            table.or("")
        })?;
        return Ok(Exit::Done);
    };
    let known = all.iter().find(|one| one.key == key || one.key.strip_prefix("server.") == Some(&key));
    let one = known.ok_or_else(|| {
        let near = opsiq_contract::nearest(&key, all.iter().map(|one| one.key.as_str()));
        let fix =
            near.map_or_else(|| "opsiq config explain lists them".to_owned(), |near| format!("did you mean {near}?"));
        Failure::new(Exit::NotFound, "config.unknown", "there is no such value").fix(fix)
    })?;
    session.out.data(one, |one| {
        let mut card = Card::new();
        card.line("key", &one.key);
        card.line("value", &one.value);
        card.line("from", one.origin.to_string());
        card.line("default", &one.default);
        card.line("environment", &one.environment);
        card.line("meaning", one.doc);
        card.shown()
    })?;
    Ok(Exit::Done)
}

/// The server's configuration: that of the data directory's file, under that of the environment.
pub(crate) fn read(data: &Path) -> Result<Settings, Failure> {
    let file = data.join("opsiq.toml");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::file("read", &file, &error)),
    };
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Settings::read(&text, environment)?)
}
