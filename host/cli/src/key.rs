//! `opsiq key`: secrets go in once and never come out.

use clap::Subcommand;
use opsiq_gate::{Declared, KeyState, KeyView};

use crate::failure::{Exit, Failure};
use crate::secret::{Given, SecretSource};
use crate::session::Session;
use crate::table::{Table, time};

/// What can be done with keys. There is no way to read one.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Give a key its first value.
    Set {
        /// The installation's name.
        installation: String,
        /// The key's name in the contract.
        key: String,
        #[command(flatten)]
        source: SecretSource,
    },
    /// Give a key a new value; the old one still verifies until it is retired.
    Rotate {
        /// The installation's name.
        installation: String,
        /// The key's name in the contract.
        key: String,
        #[command(flatten)]
        source: SecretSource,
    },
    /// Destroy an old version of a key.
    Retire {
        /// The installation's name.
        installation: String,
        /// The key's name in the contract.
        key: String,
        /// Which version, as `key list` numbers them.
        version: u64,
    },
    /// List an installation's keys, never their values.
    List {
        /// The installation's name.
        installation: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: KeyCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Set { installation, key, source } => {
            let given = given(&source, &key, session)?;
            one(&session.user_reach().await?.key_set(&installation, &key, given).await?, session)
        }
        KeyCommand::Rotate { installation, key, source } => {
            let given = given(&source, &key, session)?;
            one(&session.user_reach().await?.key_rotate(&installation, &key, given).await?, session)
        }
        KeyCommand::Retire { installation, key, version } => {
            one(&session.user_reach().await?.key_retire(&installation, &key, version).await?, session)
        }
        KeyCommand::List { installation } => {
            let keys = session.user_reach().await?.keys(&installation).await?;
            session.out.data(&keys, |keys| shown(keys))?;
            Ok(Exit::Done)
        }
    }
}

/// The value, once it is known who gives it, and before anything is opened.
fn given(source: &SecretSource, key: &str, session: &Session<'_>) -> Result<Given, Failure> {
    if session.place.addr().is_none() {
        session.acting.user()?;
    }
    source.read(key, session.out)
}

fn one(key: &KeyView, session: &Session<'_>) -> Result<Exit, Failure> {
    session.out.data(key, |key| shown(std::slice::from_ref(key)))?;
    Ok(Exit::Done)
}

fn shown(keys: &[KeyView]) -> String {
    let mut table = Table::new(["key", "use", "version", "state", "fingerprint", "set", "purpose"]);
    for key in keys {
        let uses: Vec<_> = key.uses.iter().map(|one| one.as_str()).collect();
        let row = |version: String, state: &str, fingerprint: String, set: String| {
            [key.name.clone(), uses.join(" "), version, state.to_owned(), fingerprint, set, key.purpose.clone()]
        };
        if key.versions.is_empty() {
            let state = match key.declared {
                Declared::Held => "not set, for the held upgrade",
                _ if key.granted => "not set",
                _ => "not granted",
            };
            table.row(row(String::new(), state, String::new(), String::new()));
        }
        for version in &key.versions {
            let state = match version.state {
                KeyState::Current if key.declared == Declared::Held => "set, for the held upgrade",
                KeyState::Current if key.declared == Declared::Nowhere => "of no use any more",
                KeyState::Current => "current",
                KeyState::Verifying => "verifies only",
                KeyState::Retired => "retired",
            };
            table.row(row(version.version.to_string(), state, version.fingerprint.clone(), time(version.created_ms)));
        }
    }
    table.or("This plugin asks for no keys.")
}
