//! `opsiq client`: a tenant's programs, which sign what they ask for. An owner's commands.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use opsiq_contract::Role;
use opsiq_gate::{ClientKeyState, ClientView};

use crate::failure::{Exit, Failure};
use crate::reach::NewKey;
use crate::session::Session;
use crate::table::{Table, time};

/// What can be done with API clients.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a client, and show its secret, once.
    Create {
        /// The name: 1 to 63 of a-z, 0-9 and -.
        name: String,
        #[command(flatten)]
        scopes: Scopes,
        /// What it may do at most, as the contracts of plugins mean it: owner, admin or support.
        #[arg(long, default_value = "support")]
        role: Role,
    },
    /// List the clients, never their secrets.
    List,
    /// Say what a client may do, from its next request on.
    Allow {
        /// Which.
        name: String,
        #[command(flatten)]
        scopes: Scopes,
        /// Leave it no scope at all.
        #[arg(long, conflicts_with = "scopes")]
        no_scopes: bool,
        /// owner, admin or support; as it is when not named.
        #[arg(long)]
        role: Option<Role>,
    },
    /// Make a new secret, and show it, once. The older one is accepted a while longer.
    Rotate {
        /// Which.
        name: String,
        /// How long the older secret is accepted: 24h, 90m, 30s, or 0 for no longer at all; at most 30d.
        #[arg(long, default_value = "24h", value_parser = overlap)]
        overlap: Duration,
    },
    /// End the older secret of a rotation now.
    Retire {
        /// Which.
        name: String,
    },
    /// End a client for good, from its next request on.
    Revoke {
        /// Which.
        name: String,
    },
}

/// Which scopes.
#[derive(Debug, Args)]
pub(crate) struct Scopes {
    /// What it holds: resource:action, as the actions of plugins ask for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", id = "scopes")]
    scopes: Vec<String>,
}

impl Scopes {
    fn set(self) -> BTreeSet<String> {
        self.scopes.into_iter().collect()
    }
}

/// Runs one of them.
pub(crate) async fn run(command: ClientCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let client = match command {
        ClientCommand::Create { name, scopes, role } => {
            return told(&reach.client_create(&name, role, &scopes.set()).await?, session);
        }
        ClientCommand::Rotate { name, overlap } => {
            return told(&reach.client_rotate(&name, overlap).await?, session);
        }
        ClientCommand::Allow { name, scopes, no_scopes, role } => {
            let scopes = scopes.set();
            let scopes = (no_scopes || !scopes.is_empty()).then_some(&scopes);
            reach.client_allow(&name, role, scopes).await?
        }
        ClientCommand::Retire { name } => reach.client_retire(&name).await?,
        ClientCommand::Revoke { name } => reach.client_revoke(&name).await?,
        ClientCommand::List => {
            let clients = reach.clients().await?;
            session.out.data(&clients, |clients| shown(clients))?;
            return Ok(Exit::Done);
        }
    };
    session.out.data(&client, |client| shown(std::slice::from_ref(client)))?;
    Ok(Exit::Done)
}

/// A secret is shown this once: whoever made it has to keep it.
fn told(new: &NewKey, session: &Session<'_>) -> Result<Exit, Failure> {
    session.out.data(new, |new| {
        let NewKey { key_id, secret, client } = new;
        format!("Key id  {key_id}\nSecret  {}\n\n{}", secret.expose(), shown(std::slice::from_ref(client)))
    })?;
    session.out.note("Keep the secret now: it is not shown again. Sign with it as examples/signing does.");
    Ok(Exit::Done)
}

fn shown(clients: &[ClientView]) -> String {
    let mut table = Table::new(["client", "role", "scopes", "key id", "state", "fingerprint", "until", "made"]);
    for client in clients {
        let scopes = client.scopes.iter().cloned().collect::<Vec<_>>().join(" ");
        let row = |key_id: String, state: &str, fingerprint: String, until: String, made: i64| {
            let (name, role, scopes) = (client.name.clone(), client.role.to_string(), scopes.clone());
            [name, role, scopes, key_id, state.to_owned(), fingerprint, until, time(made)]
        };
        if client.keys.is_empty() {
            let state = if client.revoked { "revoked" } else { "no secret" };
            table.row(row(String::new(), state, String::new(), String::new(), client.created_ms));
        }
        for key in &client.keys {
            let state = match key.state {
                ClientKeyState::Current => "current",
                ClientKeyState::Ending => "ending",
            };
            let until = key.until_ms.map(time).unwrap_or_default();
            table.row(row(key.key_id.clone(), state, key.fingerprint.clone(), until, key.created_ms));
        }
    }
    table.or("No clients yet.")
}

/// A whole number of days, hours, minutes or seconds, or 0.
fn overlap(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = text.chars().next_back().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(24 * 3600),
        _ => None,
    });
    let count = text.get(..text.len().saturating_sub(1)).and_then(|digits| digits.parse::<u32>().ok());
    match (count, unit) {
        (Some(count), Some(unit)) => Ok(Duration::from_secs(u64::from(count) * unit)),
        _ => Err("write 24h, 90m, 30s, 7d or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_read() {
        for (text, seconds) in [("0", 0), ("30s", 30), ("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("0h", 0)] {
            assert_eq!(overlap(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "h", "24", "-1h", "1.5h", "24 h", "1w", "é", "5000000000s"] {
            assert!(overlap(bad).is_err(), "{bad}");
        }
    }
}
