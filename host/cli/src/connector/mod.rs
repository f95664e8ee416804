//! `opsiq connector`: a tenant's installations, from the review of what a plugin asks for to its removal.

mod config;
mod grant;
mod install;
mod review;
mod show;
mod upgrade;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::shell;

/// What can be done with installations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Install a plugin: see what it asks for, and allow all of it or less.
    Install(install::InstallArgs),
    /// List the installations.
    List,
    /// Show one installation: its grant, config, keys and actions.
    Show {
        /// The installation's name.
        name: String,
    },
    /// Allow an installation more or less of what its contract asks for.
    Grant(grant::GrantArgs),
    /// Upgrade an installation to another version, which takes over at once if it asks for no more, and waits to be
    /// accepted otherwise.
    Upgrade(upgrade::UpgradeArgs),
    /// Replace an installation's config.
    Config(config::ConfigArgs),
    /// Let no action of an installation run until it is resumed.
    Pause {
        /// The installation's name.
        name: String,
    },
    /// Let a paused installation run again.
    Resume {
        /// The installation's name.
        name: String,
    },
    /// Remove an installation and destroy its keys.
    Remove {
        /// The installation's name.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: ConnectorCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        ConnectorCommand::Install(args) => install::run(args, session).await,
        ConnectorCommand::List => show::list(session).await,
        ConnectorCommand::Show { name } => show::one(&name, session).await,
        ConnectorCommand::Grant(args) => grant::run(args, session).await,
        ConnectorCommand::Upgrade(args) => Box::pin(upgrade::run(args, session)).await,
        ConnectorCommand::Config(args) => config::run(args, session).await,
        ConnectorCommand::Pause { name } => show::card(&session.user_reach().await?.pause(&name).await?, session),
        ConnectorCommand::Resume { name } => show::card(&session.user_reach().await?.resume(&name).await?, session),
        ConnectorCommand::Remove { name, yes } => remove(&name, yes, session).await,
    }
}

async fn remove(name: &str, yes: bool, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let question = format!("Remove {name} and destroy its keys?");
    if !yes && shell::someone_is_there() && !shell::agrees(&question).await? {
        return Err(Failure::new(Exit::Refused, "cli.declined", "nothing was removed"));
    }
    reach.uninstall(name).await?;
    session.out.data(&serde_json::json!({ "removed": name }), |_| format!("removed {name}"))?;
    Ok(Exit::Done)
}
