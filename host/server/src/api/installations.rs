//! Installations: what may be done of what a plugin asks for.

use opsiq_contract::Permission;
use opsiq_gate::{InstallRequest, InstallationView};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{by_age, not_a};
use crate::ask::{Ask, Done, Reply, segment};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// What to install, and how much of what it asks to allow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Install {
    /// The installation's name, unique in the tenant; the plugin's id unless said.
    name: Option<String>,
    /// `publisher/id@version`, `publisher/id`, `id`, or a digest.
    plugin: String,
    /// What not to grant, such as `http:refunds` or `action:refund-order`.
    #[serde(default)]
    without: Vec<String>,
    /// Write actions that shall wait for a person although the contract does not say so.
    #[serde(default)]
    confirm: Vec<String>,
    /// The config, valid against the contract's.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
}

/// A change of a grant within its contract.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeGrant {
    /// What to grant, such as `http:refunds`.
    #[serde(default)]
    add: Vec<String>,
    /// What to grant no more.
    #[serde(default)]
    remove: Vec<String>,
}

pub(super) fn add(routes: &mut Routes) {
    let view = |spec: Spec| spec.gives("InstallationView", "The installation; its ETag is its revision.");
    routes.add(
        Spec::get("/v1/installations", "installations.list", "List the tenant's installations.")
            .paged()
            .gives("InstallationPage", "Installations, oldest first."),
        list,
    );
    routes.add(
        Spec::post(
            "/v1/installations/plan",
            "installations.plan",
            "What installing so would allow, in plain words. Changes nothing. For owners and admins.",
        )
        .unkeyed()
        .json("Install")
        .gives("InstallPlan", "What it would allow."),
        plan,
    );
    routes.add(
        Spec::post(
            "/v1/installations",
            "installations.create",
            "Install a plugin with the grant asked for. For owners and admins.",
        )
        .json("Install")
        .gives_as(201, "application/json", "InstallationView", "The installation."),
        install,
    );
    routes.add(
        view(Spec::get("/v1/installations/{installation}", "installations.show", "One installation, by name or id.")),
        show,
    );
    routes.add(
        Spec::get(
            "/v1/installations/{installation}/plan",
            "installations.review",
            "What an installation may do now, in plain words.",
        )
        .gives("InstallPlan", "What it may do."),
        review,
    );
    routes.add(
        view(
            Spec::post(
                "/v1/installations/{installation}/grant",
                "installations.grant",
                "Widen or narrow a grant within its contract. For owners and admins.",
            )
            .json("ChangeGrant")
            .revised(),
        ),
        grant,
    );
    routes.add(
        view(
            Spec::put(
                "/v1/installations/{installation}/config",
                "installations.config",
                "Replace the config. For owners and admins.",
            )
            .json("Config")
            .revised(),
        ),
        config,
    );
    routes.add(
        view(
            Spec::post(
                "/v1/installations/{installation}/pause",
                "installations.pause",
                "Stop an installation: what runs is ended, and nothing of it starts any more. For owners and admins.",
            )
            .revised(),
        ),
        pause,
    );
    routes.add(
        view(
            Spec::post(
                "/v1/installations/{installation}/resume",
                "installations.resume",
                "Let a paused installation run again. For owners and admins.",
            )
            .revised(),
        ),
        resume,
    );
    routes.add(
        Spec::delete(
            "/v1/installations/{installation}",
            "installations.remove",
            "Remove an installation with its keys and stored data, for good. For owners and admins.",
        )
        .revised()
        .gives_nothing("It is gone."),
        remove,
    );
}

/// One installation as an answer.
pub(super) fn shown(view: &InstallationView) -> Done {
    Ok(Reply::json(view)?.revision(view.revision))
}

/// Permissions as they are written.
pub(super) fn permissions(texts: &[String]) -> Result<Vec<Permission>, Problem> {
    texts.iter().map(|text| text.parse().map_err(|error| not_a("grant.item", &error))).collect()
}

fn request(ask: &Ask) -> Result<InstallRequest, Problem> {
    let Install { name, plugin, without, confirm, config } = ask.json()?;
    let name = name.unwrap_or_else(|| {
        let id = plugin.rsplit('/').next().unwrap_or(&plugin);
        id.split('@').next().unwrap_or(id).to_owned()
    });
    let without = permissions(&without)?;
    Ok(InstallRequest { name, plugin, without, confirm, config: config.unwrap_or_else(|| json!({})) })
}

async fn list(ask: Ask) -> Done {
    let all = ask.host.installations().list(&ask.actor).await?;
    ask.page(all, |one| by_age(one.created_ms, one.id.as_str()))
}

async fn plan(ask: Ask) -> Done {
    Reply::json(&ask.host.installations().plan(&ask.actor, &request(&ask)?).await?)
}

async fn install(ask: Ask) -> Done {
    let made = ask.host.installations().install(&ask.actor, &request(&ask)?).await?;
    let at = format!("/v1/installations/{}", segment(&made.name));
    Ok(Reply::created(&made, &at)?.revision(made.revision))
}

async fn show(ask: Ask) -> Done {
    shown(&ask.host.installations().get(&ask.actor, ask.path("installation")).await?)
}

async fn review(ask: Ask) -> Done {
    Reply::json(&ask.host.installations().plan_of(&ask.actor, ask.path("installation")).await?)
}

async fn grant(ask: Ask) -> Done {
    let ChangeGrant { add, remove } = ask.json()?;
    let (add, remove) = (permissions(&add)?, permissions(&remove)?);
    let installations = ask.host.installations().at_revision(ask.if_match()?);
    shown(&installations.change_grant(&ask.actor, ask.path("installation"), &add, &remove).await?)
}

async fn config(ask: Ask) -> Done {
    let config: Value = ask.json()?;
    let installations = ask.host.installations().at_revision(ask.if_match()?);
    shown(&installations.set_config(&ask.actor, ask.path("installation"), &config).await?)
}

async fn pause(ask: Ask) -> Done {
    let installations = ask.host.installations().at_revision(ask.if_match()?);
    shown(&installations.pause(&ask.actor, ask.path("installation")).await?)
}

async fn resume(ask: Ask) -> Done {
    let installations = ask.host.installations().at_revision(ask.if_match()?);
    shown(&installations.resume(&ask.actor, ask.path("installation")).await?)
}

async fn remove(ask: Ask) -> Done {
    let installations = ask.host.installations().at_revision(ask.if_match()?);
    installations.remove(&ask.actor, ask.path("installation")).await?;
    Ok(Reply::nothing())
}
