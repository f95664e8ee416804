//! `opsiq connector upgrade`: another version, whose difference is shown before it counts. What asks for more waits, and
//! the old version runs meanwhile.

use std::fmt::Write as _;

use clap::Args;
use opsiq_contract::{Digest, Permission, Schema};
use opsiq_gate::{AcceptUpgrade, Upgrade, UpgradePlan};
use serde_json::{Value, json};

use super::{config::Settings, show};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{shell, text};

/// Which installation, to which version, and what becomes of one that waits.
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The installation's name.
    name: String,

    /// PUBLISHER/ID@VERSION, PUBLISHER/ID, ID, or a digest; by default the newest version that is no pre-release.
    #[arg(long, value_name = "PLUGIN", conflicts_with_all = ["accept", "reject"])]
    to: Option<String>,

    /// Accept what waits: exactly the difference that was shown with this digest.
    #[arg(long, value_name = "DIGEST", conflicts_with = "reject")]
    accept: Option<Digest>,

    /// Reject what waits; nothing else changes.
    #[arg(long, visible_alias = "cancel")]
    reject: bool,

    /// Withhold an item of what is accepted, such as `http:refunds`; may be repeated.
    #[arg(long, value_name = "ITEM", requires = "accept")]
    without: Vec<Permission>,

    /// Have a write action wait for a person each time; may be repeated.
    #[arg(long, value_name = "ACTION", requires = "accept")]
    confirm: Vec<String>,

    #[command(flatten)]
    settings: Settings,
}

/// Upgrades, accepts or rejects.
pub(crate) async fn run(args: UpgradeArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.settings.given() && args.accept.is_none() {
        return Err(Failure::usage("config is given with what is accepted")
            .fix("--accept DIGEST --config NAME=VALUE, or opsiq connector config"));
    }
    let reach = session.user_reach().await?;
    if args.reject {
        return show::card(&reach.reject_upgrade(&args.name).await?, session);
    }
    if args.accept.is_some() {
        return Box::pin(accept(args, session)).await;
    }
    let progress = session.out.waiting("Looking at the new version");
    let upgrade = reach.upgrade(&args.name, args.to.as_deref()).await;
    drop(progress);
    let upgrade = upgrade?;
    match &upgrade {
        Upgrade::Current { installation } => {
            session.out.data(&upgrade, |_| {
                format!("{} is {} already: nothing to do", installation.name, installation.plugin)
            })?;
            Ok(Exit::Done)
        }
        Upgrade::Switched { plan, installation } => {
            session.out.data(&upgrade, |_| shown(plan, &installation.name))?;
            session.out.note(&format!("It asks for no more, so {} runs {} now.", installation.name, plan.plugin));
            Ok(Exit::Done)
        }
        Upgrade::Held { plan, installation } => {
            let name = &installation.name;
            let ready = plan.config_faults.is_empty() && plan.needs_keys.is_empty();
            if ready && !session.out.is_json() && shell::someone_is_there() {
                session.out.note(&shown(plan, name));
                if shell::agrees("Accept this and switch to it?").await? {
                    let accept = AcceptUpgrade {
                        digest: plan.difference,
                        without: Vec::new(),
                        confirm: Vec::new(),
                        config: None,
                    };
                    return show::card(&reach.accept_upgrade(name, &accept).await?, session);
                }
            } else {
                session.out.data(&upgrade, |_| shown(plan, name))?;
            }
            session.out.note(&format!("It waits, and {} runs on as it was.\n{}", plan.from, how(plan, name)));
            Ok(Exit::Pending)
        }
    }
}

async fn accept(args: UpgradeArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let UpgradeArgs { name, accept, without, confirm, settings, .. } = args;
    let Some(digest) = accept else { return Err(Failure::usage("which difference is accepted?")) };
    let config = match reach.installation(&name).await?.held {
        Some(held) if settings.given() => {
            let contract = reach.contract(&held.digest).await?;
            settings.read(contract.config.as_ref().map(Schema::source))?
        }
        _ => None,
    };
    let accept = AcceptUpgrade { digest, without, confirm, config };
    match reach.accept_upgrade(&name, &accept).await {
        Ok(installation) => show::card(&installation, session),
        Err(refused) if refused.code == "upgrade.not-as-shown" => {
            let plan = reach.held_upgrade(&name).await?;
            if let Some(plan) = &plan {
                session.out.note(&shown(plan, &name));
                session.out.note(&how(plan, &name));
            }
            Err(refused.data(plan.map_or(Value::Null, |plan| json!({ "plan": plan }))))
        }
        Err(refused) => Err(refused),
    }
}

/// The difference as a person reads it.
pub(crate) fn shown(plan: &UpgradePlan, name: &str) -> String {
    let mut list = format!("{}: from {} to {}\n", text::line(&plan.title), plan.from, plan.plugin);
    let _ = writeln!(list, "{}", plan.digest);
    for group in &plan.groups {
        let _ = writeln!(list, "\n{}", text::line(&group.title));
        for change in &group.changes {
            let _ = writeln!(list, "  {}  {}", text::line(&change.item), text::line(&change.text));
        }
    }
    if plan.groups.is_empty() {
        let _ = writeln!(list, "\nIt asks for exactly the same.");
    }
    if !plan.withheld.is_empty() {
        let _ = writeln!(list, "\nStill withheld: {}", text::line(&plan.withheld.join(", ")));
    }
    if !plan.config_faults.is_empty() {
        let _ = writeln!(list, "\nTo be set with it, by --config NAME=VALUE:");
        for fault in &plan.config_faults {
            let path = if fault.path.is_empty() { "(whole)" } else { &fault.path };
            let _ = writeln!(list, "  {}: {}", text::line(path), text::line(&fault.message));
        }
    }
    for key in &plan.needs_keys {
        let _ = writeln!(list, "\nTo be set before: opsiq key set {} {}", text::line(name), text::line(key));
    }
    list
}

/// What can be done about what waits.
pub(crate) fn how(plan: &UpgradePlan, name: &str) -> String {
    let name = text::line(name);
    format!(
        "To accept exactly this, as an owner or admin:\n  opsiq connector upgrade {name} --accept {}\nor not:\n  opsiq connector upgrade {name} --reject",
        plan.difference
    )
}
