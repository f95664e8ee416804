//! `opsiq user`: the people of a tenant. An owner's commands.

use clap::Subcommand;
use opsiq_contract::Role;
use opsiq_gate::UserView;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Table, time};

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
    /// List the users.
    List,
    /// Give a user another role.
    Role {
        /// Whose.
        name: String,
        /// owner, admin or support.
        role: Role,
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
    let (host, actor) = session.as_user().await?;
    let user = match command {
        UserCommand::Add { name, role } => host.users().add(&actor, &name, role).await?,
        UserCommand::Role { name, role } => host.users().set_role(&actor, &name, role).await?,
        UserCommand::Disable { name } => host.users().disable(&actor, &name).await?,
        UserCommand::Enable { name } => host.users().enable(&actor, &name).await?,
        UserCommand::List => {
            let users = host.users().list(&actor).await?;
            session.out.data(&users, |users| shown(users))?;
            return Ok(Exit::Done);
        }
    };
    session.out.data(&user, |user| shown(std::slice::from_ref(user)))?;
    Ok(Exit::Done)
}

fn shown(users: &[UserView]) -> String {
    let mut table = Table::new(["user", "role", "state", "added"]);
    for user in users {
        let state = if user.enabled { "enabled" } else { "disabled" };
        table.row([user.name.clone(), user.role.to_string(), state.to_owned(), time(user.created_ms)]);
    }
    table.or("No users yet.")
}
