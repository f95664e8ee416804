//! `opsiq user`: the people of a tenant. An owner's commands.

use clap::Subcommand;
use opsiq_contract::Role;
use opsiq_gate::{Invitation, SessionView, SignalView, UserView};
use serde_json::json;

use crate::control::protocol::Ask;
use crate::failure::{Exit, Failure};
use crate::firewall::read;
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user.
    Add {
        /// The name, such as `ada` or a mail address.
        name: String,
        /// owner, admin or support.
        #[arg(long)]
        role: Role,
    },
    /// Invite a user to take up their account: prints a token, once. With --role, adds the user first.
    Invite {
        /// Whom.
        name: String,
        /// The role of a user to be added: owner, admin, support or a custom one.
        #[arg(long)]
        role: Option<String>,
    },
    /// Take away what a user signs in with, end their sessions and invite them to set it anew: prints a token, once.
    #[command(name = "reset-2fa")]
    Reset2fa {
        /// Whose.
        name: String,
    },
    /// List a user's sessions.
    Sessions {
        /// Whose.
        name: String,
    },
    /// List signs that accounts may not be used by their users, the latest first.
    Signals {
        /// Only of this user.
        name: Option<String>,
    },
    /// End one session of a user, or all of them.
    Revoke {
        /// Whose.
        name: String,
        /// Which, as `user sessions` lists them; without it, all.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// List the users.
    List,
    /// Give a user another role.
    Role {
        /// Whose.
        name: String,
        /// owner, admin, support or a custom one.
        role: String,
    },
    /// Let nothing more be done in a user's name, from the next act on.
    Disable {
        /// Whose.
        name: String,
    },
    /// Let a disabled user act again.
    Enable {
        /// Whose.
        name: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: UserCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    // A host that is served answers this one, too.
    let command = match command {
        UserCommand::Signals { name } => return signals(name, session).await,
        command => command,
    };
    let reach = session.user_reach().await?;
    let user = match command {
        UserCommand::Add { name, role } => reach.user_add(&name, role).await?,
        UserCommand::Role { name, role } => reach.user_role(&name, &role).await?,
        UserCommand::Invite { name, role } => {
            return invited(&reach.user_invite(&name, role.as_deref()).await?, session);
        }
        UserCommand::Reset2fa { name } => return invited(&reach.user_reset(&name).await?, session),
        UserCommand::Sessions { name } => {
            let sessions = reach.user_sessions(&name).await?;
            session.out.data(&sessions, |sessions| sessions_shown(sessions))?;
            return Ok(Exit::Done);
        }
        UserCommand::Signals { name } => return signals(name, session).await,
        UserCommand::Revoke { name, session: which } => {
            let ended = reach.user_revoke(&name, which.as_deref()).await?;
            session.out.data(&json!({ "user": name, "ended": ended }), |_| format!("{ended} sessions ended."))?;
            return Ok(Exit::Done);
        }
        UserCommand::Disable { name } => reach.user_disable(&name).await?,
        UserCommand::Enable { name } => reach.user_enable(&name).await?,
        UserCommand::List => {
            let users = reach.users().await?;
            session.out.data(&users, |users| shown(users))?;
            return Ok(Exit::Done);
        }
    };
    session.out.data(&user, |user| shown(std::slice::from_ref(user)))?;
    Ok(Exit::Done)
}

/// Shows an invitation, the one time its token is seen.
pub(crate) fn invited(invitation: &Invitation, session: &Session<'_>) -> Result<Exit, Failure> {
    session.out.data(invitation, invitation_shown)?;
    session.out.note("Hand the token to them and nobody else; it is not shown again.");
    Ok(Exit::Done)
}

/// The lines of an invitation.
pub(crate) fn invitation_shown(invitation: &Invitation) -> String {
    let mut card = Card::new();
    card.line("tenant", invitation.tenant.to_string());
    card.line("user", &invitation.user);
    card.line("invitation", invitation.token.expose());
    card.line("good until", time(invitation.expires_ms));
    card.shown()
}

async fn signals(user: Option<String>, session: &Session<'_>) -> Result<Exit, Failure> {
    session.acting.user()?;
    let data = session.control(Ask::Signals { user }).await?;
    let signals: Vec<SignalView> = read(&data)?;
    session.out.data(&data, |_| signals_shown(&signals))?;
    Ok(Exit::Done)
}

fn signals_shown(signals: &[SignalView]) -> String {
    let mut table = Table::new(["time", "account", "reasons", "address", "device", "session"]);
    for signal in signals {
        let reasons = signal.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(" ");
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (account, at) = (signal.account.clone(), time(signal.time_ms));
        table.row([at, account, reasons, text(&signal.address), text(&signal.device), text(&signal.session)]);
    }
    table.or("No signals.")
}

fn sessions_shown(sessions: &[SessionView]) -> String {
    let mut table = Table::new(["session", "device", "address", "begun", "last used", "ends"]);
    for session in sessions {
        table.row([
            session.id.clone(),
            session.device.clone(),
            session.address.map(|address| address.to_string()).unwrap_or_default(),
            time(session.created_ms),
            time(session.seen_ms),
            time(session.expires_ms),
        ]);
    }
    table.or("No sessions.")
}

fn shown(users: &[UserView]) -> String {
    let mut table = Table::new(["user", "role", "state", "signs in", "added"]);
    for user in users {
        let state = if user.enabled { "enabled" } else { "disabled" };
        let role = user.custom.clone().unwrap_or_else(|| user.role.to_string());
        let signs_in = if user.enrolled { "with a second factor" } else { "not yet" };
        table.row([user.name.clone(), role, state.to_owned(), signs_in.to_owned(), time(user.created_ms)]);
    }
    table.or("No users yet.")
}
