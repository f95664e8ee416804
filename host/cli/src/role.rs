//! `opsiq role`: custom roles of a tenant. An owner's commands.

use clap::Subcommand;
use opsiq_contract::{CustomRole, Role};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table};

/// What can be done with custom roles.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a custom role: a built-in role narrowed to what is named here.
    Create {
        /// Its name: a-z, 0-9 and -.
        name: String,
        /// The role it narrows: owner, admin or support.
        #[arg(long)]
        base: Role,
        /// An action it may call, as publisher/id/action, or publisher/id/* for all of a plugin.
        #[arg(long = "action", value_name = "ACTION")]
        actions: Vec<String>,
        /// A scope, such as refunds:create, whose actions it may call.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// An administrative act it may do, such as "connector list", of those of its base.
        #[arg(long = "act", value_name = "ACT")]
        acts: Vec<String>,
        /// Let every write of whoever has it wait for a person.
        #[arg(long)]
        confirm_writes: bool,
        /// Replace the role of that name, for everybody who has it.
        #[arg(long)]
        replace: bool,
    },
    /// List the custom roles.
    List,
    /// Show one.
    Show {
        /// Its name.
        name: String,
    },
    /// Remove one that nobody has.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: RoleCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    match command {
        RoleCommand::Create { name, base, actions, scopes, acts, confirm_writes, replace } => {
            let (actions, scopes) = (actions.into_iter().collect(), scopes.into_iter().collect());
            let role = CustomRole { name, base, actions, scopes, acts: acts.into_iter().collect(), confirm_writes };
            let role = reach.role_create(role, replace).await?;
            session.out.data(&role, one)?;
        }
        RoleCommand::List => {
            let roles = reach.roles().await?;
            session.out.data(&roles, |roles| shown(roles))?;
        }
        RoleCommand::Show { name } => {
            let role = reach.role(&name).await?;
            session.out.data(&role, one)?;
        }
        RoleCommand::Remove { name } => {
            reach.role_remove(&name).await?;
            session.out.data(&json!({ "removed": name }), |_| format!("The role {name} is removed."))?;
        }
    }
    Ok(Exit::Done)
}

fn one(role: &CustomRole) -> String {
    let mut card = Card::new();
    let list = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
    card.line("role", &role.name);
    card.line("narrows", role.base.to_string());
    card.line("actions", list(&role.actions));
    card.line("scopes", list(&role.scopes));
    card.line("acts", list(&role.acts));
    card.line("writes", if role.confirm_writes { "wait for a person" } else { "as the contract says" });
    card.shown()
}

fn shown(roles: &[CustomRole]) -> String {
    let mut table = Table::new(["role", "narrows", "actions", "scopes", "acts", "writes"]);
    for role in roles {
        let writes = if role.confirm_writes { "wait for a person" } else { "" };
        table.row([
            role.name.clone(),
            role.base.to_string(),
            role.actions.len().to_string(),
            role.scopes.len().to_string(),
            role.acts.len().to_string(),
            writes.to_owned(),
        ]);
    }
    table.or("No custom roles yet.")
}
