//! `opsiq login` and `opsiq logout`: a person's session at a server, kept in a file of theirs alone. Password and code come
//! from a prompt or from standard input.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use http::{HeaderValue, Method};
use opsiq_contract::{Principal, TenantId};
use opsiq_gate::{SessionView, ShownOnce};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::api::{Sent, path};
use super::kept::{self, Kept};
use super::proof::Proof;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, time};

/// How to sign in.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Read the password from the first line of standard input, and the code from the second.
    #[arg(long)]
    stdin: bool,
}

/// The first step was right.
#[derive(Deserialize)]
struct Pending {
    pending: ShownOnce,
}

/// The second, too.
#[derive(Deserialize)]
struct SignedIn {
    token: ShownOnce,
    device: Option<ShownOnce>,
    session: SessionView,
    recovery_codes_left: usize,
}

/// Signs in, and keeps the session.
pub(crate) async fn login(args: LoginArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let (tenant, user) = named(session)?;
    let api = session.server(Some(Proof::Nobody))?;
    let secrets = Secrets::new(args.stdin)?;
    let known = kept::device(&api.address, &tenant, &user);
    let knock = |sent: Sent| match &known {
        Some(device) => match HeaderValue::from_str(device.expose()) {
            Ok(device) => sent.header("opsiq-device", device),
            Err(_) => sent,
        },
        None => sent,
    };
    let password = secrets.ask("Password")?;
    let first = json!({ "tenant": tenant, "user": user, "password": password.as_str() });
    let Pending { pending } = api.ask(knock(post(&["v1", "login"]).json(&first))).await?;
    let code = secrets.ask("Code of the authenticator")?;
    let second = json!({ "pending": pending, "code": code.trim() });
    let signed_in: SignedIn = api.ask(knock(post(&["v1", "login", "code"]).json(&second))).await?;
    let SignedIn { token, device, session: begun, recovery_codes_left } = signed_in;
    let (addr, expires_ms) = (api.address.to_string(), begun.expires_ms);
    let kept = Kept { addr, tenant, user, token: Some(token), device: device.or(known), expires_ms };
    kept::keep(&api.address, &kept)?;
    let data = json!({ "server": kept.addr, "session": begun, "recovery_codes_left": recovery_codes_left });
    session.out.data(&data, |_| {
        let mut card = Card::new();
        card.line("server", &kept.addr);
        card.line("signed in", format!("{}/{}", kept.tenant, kept.user));
        card.line("until", time(expires_ms));
        card.shown()
    })?;
    if recovery_codes_left == 0 {
        session.out.note(
            "No recovery codes are left: ask an owner to reset the second factor before the authenticator is lost.",
        );
    }
    Ok(Exit::Done)
}

/// Ends the session at the server, and forgets it here.
pub(crate) async fn logout(session: &Session<'_>) -> Result<Exit, Failure> {
    let api = session.server(None)?;
    let Proof::Session(kept) = &api.proof else {
        return Err(Failure::usage("only a person's session ends so").fix("name whose: --as TENANT/USER"));
    };
    let ended: Result<(), Failure> = api.post(path(&["v1", "logout"])).await;
    // One that ended before is forgotten all the same.
    if let Err(failure) = ended
        && failure.exit != Exit::Refused
    {
        return Err(failure);
    }
    let device = kept::device(&api.address, &kept.tenant, &kept.user);
    let (addr, tenant, user) = (kept.addr.clone(), kept.tenant.clone(), kept.user.clone());
    kept::keep(&api.address, &Kept { addr, tenant, user, token: None, device, expires_ms: 0 })?;
    session.out.data(&json!({ "server": kept.addr, "ended": true }), |_| format!("Signed out of {}.", kept.addr))?;
    Ok(Exit::Done)
}

fn post(segments: &[&str]) -> Sent {
    Sent::new(Method::POST, path(segments))
}

/// Who signs in.
fn named(session: &Session<'_>) -> Result<(TenantId, String), Failure> {
    let actor = session.acting.user()?;
    match (actor.tenant(), actor.principal()) {
        (Some(tenant), Principal::User { name }) => Ok((tenant.clone(), name.clone())),
        _ => Err(Failure::usage("who signs in?").fix("--as TENANT/USER")),
    }
}

/// Where passwords and codes come from.
pub(crate) struct Secrets {
    stdin: bool,
}

impl Secrets {
    pub(crate) fn new(stdin: bool) -> Result<Self, Failure> {
        if !stdin && !io::stderr().is_terminal() {
            return Err(Failure::usage("no terminal to ask for the password on")
                .fix("--stdin reads the password from the first line, and the code from the second"));
        }
        Ok(Self { stdin })
    }

    pub(crate) fn ask(&self, what: &str) -> Result<Zeroizing<String>, Failure> {
        if self.stdin {
            let mut line = Zeroizing::new(String::with_capacity(4096));
            let read = io::stdin().lock().read_line(&mut line);
            if !matches!(read, Ok(1..)) {
                return Err(Failure::usage(format!("{what} is not on standard input")));
            }
            let end = line.trim_end_matches(['\n', '\r']).len();
            line.truncate(end);
            return Ok(line);
        }
        match rpassword::prompt_password(format!("{what} (not shown): ")) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(crate::shell::interrupted()),
            Err(_) => Err(Failure::usage("the terminal cannot be read").fix("--stdin")),
        }
    }
}
