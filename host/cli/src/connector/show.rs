//! What an installation looks like.

use opsiq_gate::InstallationView;
use serde_json::json;

use super::{review, upgrade};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// Lists all installations of the tenant.
pub(crate) async fn list(session: &Session<'_>) -> Result<Exit, Failure> {
    let installations = session.user_reach().await?.installations().await?;
    session.out.data(&installations, |installations| {
        let mut table = Table::new(["name", "plugin", "state", "held upgrade", "withheld", "needs keys", "installed"]);
        for one in installations {
            table.row([
                one.name.clone(),
                one.plugin.to_string(),
                one.state.to_string(),
                one.held.as_ref().map(|held| held.plugin.version.to_string()).unwrap_or_default(),
                one.withheld.join(" "),
                one.needs_keys.join(" "),
                time(one.created_ms),
            ]);
        }
        table.or("Nothing installed yet: opsiq connector install PLUGIN")
    })?;
    Ok(Exit::Done)
}

/// Shows one installation, and in plain words what it may and may not do.
pub(crate) async fn one(name: &str, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let installation = reach.installation(name).await?;
    let plan = reach.plan_of(name).await?;
    let held = reach.held_upgrade(name).await?;
    let mut data =
        serde_json::to_value(&installation).map_err(|error| Failure::internal("cannot write JSON", &error))?;
    if let Some(object) = data.as_object_mut() {
        object.insert("plan".to_owned(), json!(plan));
        object.insert("held_plan".to_owned(), json!(held));
    }
    session.out.data(&data, |_| format!("{}\n{}", shown(&installation), review::permissions(&plan)))?;
    if let Some(held) = held {
        session.out.note(&format!("\nAn upgrade waits to be accepted.\n{}", upgrade::shown(&held, name)));
        session.out.note(&upgrade::how(&held, name));
    }
    Ok(Exit::Done)
}

/// Shows an installation that was just made or changed.
pub(crate) fn card(installation: &InstallationView, session: &Session<'_>) -> Result<Exit, Failure> {
    session.out.data(installation, shown)?;
    Ok(Exit::Done)
}

fn shown(one: &InstallationView) -> String {
    let mut card = Card::new();
    card.line("name", &one.name);
    card.line("plugin", format!("{} ({})", one.plugin, one.title));
    card.line("digest", one.digest.to_string());
    card.line("state", one.state.to_string());
    card.line("held upgrade", one.held.as_ref().map(|held| held.plugin.to_string()).unwrap_or_default());
    card.line("allowed", one.allowed.join(" "));
    card.line("withheld", one.withheld.join(" "));
    card.line("raised to wait", one.confirm.join(" "));
    card.line("needs keys", one.needs_keys.join(" "));
    card.line("config", one.config.to_string());
    card.line("revision", one.revision.to_string());
    card.shown()
}
