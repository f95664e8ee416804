//! `opsiq account`: a person renews what they sign in with at a server, in the session that `opsiq login` began. Secrets come from a
//! prompt or from standard input, a line each. Passkeys are made in a browser, at /passkeys.

use clap::{Args, Subcommand};
use opsiq_gate::{PasskeyView, SessionView, ShownOnce};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, path};
use super::login::Secrets;
use super::proof::Proof;
use crate::failure::{Exit, Failure};
use crate::output::say;
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with one's own account.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Show the second factor again, for what asks for a fresh one.
    StepUp(Typed),
    /// Change the password. All other sessions end.
    Password(Typed),
    /// Make new recovery codes, shown once; earlier ones are void.
    RecoveryCodes,
    /// Replace the authenticator: shows what the new one scans, then asks for its first code. All other sessions end.
    Authenticator(Typed),
    /// List one's passkeys.
    Passkeys,
    /// Give a passkey another name.
    PasskeyRename {
        /// Which, as `account passkeys` lists them.
        id: String,
        /// Its name from now on.
        name: String,
    },
    /// Remove a passkey.
    PasskeyRemove {
        /// Which, as `account passkeys` lists them.
        id: String,
    },
}

/// Where secrets come from.
#[derive(Debug, Args)]
pub(crate) struct Typed {
    /// Read what is asked for from standard input, a line each.
    #[arg(long)]
    stdin: bool,
}

/// How many sessions ended.
#[derive(Deserialize, Serialize)]
struct Ended {
    ended: u64,
}

#[derive(Deserialize, Serialize)]
struct Codes {
    recovery_codes: Vec<ShownOnce>,
}

#[derive(Deserialize)]
struct Enrolment {
    pending: ShownOnce,
    uri: ShownOnce,
    seed: ShownOnce,
}

fn me(what: &[&str]) -> String {
    path(&[&["v1", "me"], what].concat())
}

/// Runs one of them.
pub(crate) async fn run(command: AccountCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let api = session.server(None)?;
    if !matches!(api.proof, Proof::Session(_)) {
        return Err(Failure::usage("only a person in a session renews what they hold").fix("sign in: opsiq login"));
    }
    match command {
        AccountCommand::StepUp(Typed { stdin }) => {
            let code = Secrets::new(stdin)?.ask("Code of the authenticator")?;
            let at = path(&["v1", "login", "step-up"]);
            let shown: SessionView = api.post_json(at, &json!({ "code": code.trim() })).await?;
            session.out.data(&shown, |shown| format!("Shown at {}.", time(shown.stepped_up_ms)))?;
        }
        AccountCommand::Password(Typed { stdin }) => {
            let secrets = Secrets::new(stdin)?;
            let (current, new) = (secrets.ask("Current password")?, secrets.ask("New password")?);
            if !stdin && *secrets.ask("New password, once more")? != *new {
                return Err(Failure::usage("the new password was typed in two ways"));
            }
            let body = json!({ "current": current.as_str(), "new": new.as_str() });
            let ended: Ended = api.post_json(me(&["password"]), &body).await?;
            session.out.data(&ended, |done| format!("Password changed; {} other sessions ended.", done.ended))?;
        }
        AccountCommand::RecoveryCodes => {
            let codes: Codes = api.post(me(&["recovery-codes"])).await?;
            session.out.data(&codes, |codes| {
                codes.recovery_codes.iter().map(ShownOnce::expose).collect::<Vec<_>>().join("\n")
            })?;
            session
                .out
                .note("Keep them apart from the authenticator; each is good once, and they are not shown again.");
        }
        AccountCommand::Authenticator(Typed { stdin }) => authenticator(&api, stdin, session).await?,
        AccountCommand::Passkeys => {
            let passkeys: Vec<PasskeyView> = api.get(me(&["passkeys"])).await?;
            session.out.data(&passkeys, |passkeys| shown(passkeys))?;
        }
        AccountCommand::PasskeyRename { id, name } => {
            let one: PasskeyView = api.put_json(me(&["passkeys", &id]), &json!({ "name": name })).await?;
            session.out.data(&one, |one| shown(std::slice::from_ref(one)))?;
        }
        AccountCommand::PasskeyRemove { id } => {
            let _: Value = api.delete(me(&["passkeys", &id])).await?;
            session.out.data(&json!({ "passkey": id, "removed": true }), |_| "Removed.".to_owned())?;
        }
    }
    Ok(Exit::Done)
}

async fn authenticator(api: &Api, stdin: bool, session: &Session<'_>) -> Result<(), Failure> {
    let secrets = Secrets::new(stdin)?;
    let Enrolment { pending, uri, seed } = api.post(me(&["authenticator"])).await?;
    // To where a prompt is, whatever the form of the output: what is asked for next is made of it.
    say(&format!("Scan or type this into the new authenticator.\n{}\n{}", uri.expose(), seed.expose()));
    let code = secrets.ask("First code of the new authenticator")?;
    let body = json!({ "pending": pending, "code": code.trim() });
    let ended: Ended = api.post_json(me(&["authenticator", "confirm"]), &body).await?;
    session.out.data(&ended, |done| {
        let mut card = Card::new();
        card.line("authenticator", "replaced");
        card.line("other sessions ended", done.ended.to_string());
        card.shown()
    })
}

fn shown(passkeys: &[PasskeyView]) -> String {
    let mut table = Table::new(["passkey", "name", "for", "added", "last shown", "state"]);
    for one in passkeys {
        let state = if one.cloned { "cloned: opens nothing" } else { "good" };
        let used = one.used_ms.map_or_else(|| "never".to_owned(), time);
        table.row([one.id.clone(), one.name.clone(), one.site.clone(), time(one.created_ms), used, state.to_owned()]);
    }
    table.or("No passkeys yet. Add one in a browser, at /passkeys.")
}
