//! `opsiq connector install`: nothing is granted that was not shown and accepted.

use clap::Args;
use opsiq_contract::{Permission, Schema};
use opsiq_gate::InstallRequest;
use serde_json::json;

use super::{config::Settings, review, show};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::shell;

/// What to install, and how much of what it asks for to allow.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// PUBLISHER/ID@VERSION, PUBLISHER/ID, ID, or a digest.
    plugin: String,

    /// The installation's name; by default the plugin's id.
    #[arg(long)]
    name: Option<String>,

    /// Withhold an item of the list, such as `http:refunds`; may be repeated.
    #[arg(long, value_name = "ITEM")]
    without: Vec<Permission>,

    /// Have a write action wait for a person each time; may be repeated.
    #[arg(long, value_name = "ACTION")]
    confirm: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    /// Accept the list, less what is withheld.
    #[arg(short, long)]
    yes: bool,
}

/// Shows the list, asks, and installs.
pub(crate) async fn run(args: InstallArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let digest = reach.plugin(&args.plugin).await?.digest;
    let contract = reach.contract(&digest).await?;
    let request = InstallRequest {
        name: args.name.unwrap_or_else(|| contract.plugin.id.clone()),
        // By digest, so that what is installed is what was shown.
        plugin: digest.to_string(),
        without: args.without,
        confirm: args.confirm,
        config: args.settings.read(contract.config.as_ref().map(Schema::source))?.unwrap_or_else(|| json!({})),
    };
    let plan = reach.install_plan(&request).await?;
    session.out.note(&review::shown(&plan));
    if !args.yes {
        let refused = |title: &str| {
            Failure::new(Exit::Refused, "install.not-accepted", title)
                .fix("--yes accepts the list; --without ITEM withholds a part of it")
                .data(json!({ "plan": plan }))
        };
        if !shell::someone_is_there() {
            return Err(refused("nobody is here to accept the list, so nothing was installed"));
        }
        if !shell::agrees("Install it and allow this?").await? {
            return Err(refused("nothing was installed"));
        }
    }
    let installed = reach.install(&request).await?;
    for key in &installed.needs_keys {
        session.out.note(&format!("Next: opsiq key set {} {key}", installed.name));
    }
    show::card(&installed, session)
}
