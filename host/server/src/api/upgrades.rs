//! Upgrades of installations: what asks for more is held until an owner or admin accepts the difference shown.

use opsiq_contract::Digest;
use opsiq_gate::{AcceptUpgrade, Class, Refusal, Stage};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::installations::{permissions, shown};
use super::not_a;
use crate::ask::{Ask, Done, Reply};
use crate::routes::{Routes, Spec};

/// The version to upgrade to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpgradeTo {
    /// `publisher/id@version`, `publisher/id`, `id` or a digest; the newest unless said.
    to: Option<String>,
}

/// Which difference is accepted, and how much of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accept {
    /// The hash of the difference that was shown.
    difference: String,
    /// What not to grant of it.
    #[serde(default)]
    without: Vec<String>,
    /// Write actions that shall wait for a person although the contract does not say so.
    #[serde(default)]
    confirm: Vec<String>,
    /// Values of the config, over those that are set.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::post("/v1/installations/{installation}/upgrade", "upgrades.ask", "Upgrade an installation. It takes over at once if it asks for no more, and is held otherwise. For owners and admins.")
            .json("UpgradeTo")
            .gives("Upgrade", "What it came to."),
        upgrade,
    );
    routes.add(
        Spec::get(
            "/v1/installations/{installation}/upgrade",
            "upgrades.held",
            "The difference of the upgrade that is held, as things stand now.",
        )
        .gives("UpgradePlan", "The difference."),
        held,
    );
    routes.add(
        Spec::post(
            "/v1/installations/{installation}/upgrade/accept",
            "upgrades.accept",
            "Accept exactly the difference that was shown. For owners and admins.",
        )
        .json("Accept")
        .gives("InstallationView", "The installation as it is now."),
        accept,
    );
    routes.add(
        Spec::post(
            "/v1/installations/{installation}/upgrade/reject",
            "upgrades.reject",
            "Reject the upgrade that is held. For owners and admins.",
        )
        .gives("InstallationView", "The installation as it is."),
        reject,
    );
}

async fn upgrade(ask: Ask) -> Done {
    let UpgradeTo { to } = ask.json()?;
    let done = ask.host.installations().upgrade(&ask.actor, ask.path("installation"), to.as_deref()).await?;
    Reply::json(&done)
}

async fn held(ask: Ask) -> Done {
    if let Some(plan) = ask.host.installations().held_upgrade(&ask.actor, ask.path("installation")).await? {
        return Reply::json(&plan);
    }
    let message = "no upgrade is held";
    let fix = "ask for one: POST /v1/installations/{installation}/upgrade";
    Err(Refusal::new(Class::NotFound, Stage::Admin, "upgrade.none", message, fix).into())
}

async fn accept(ask: Ask) -> Done {
    let Accept { difference, without, confirm, config } = ask.json()?;
    let digest: Digest = difference.parse().map_err(|error| not_a("upgrade.difference", &error))?;
    let accept = AcceptUpgrade { digest, without: permissions(&without)?, confirm, config };
    shown(&ask.host.installations().accept_upgrade(&ask.actor, ask.path("installation"), &accept).await?)
}

async fn reject(ask: Ask) -> Done {
    shown(&ask.host.installations().reject_upgrade(&ask.actor, ask.path("installation")).await?)
}
