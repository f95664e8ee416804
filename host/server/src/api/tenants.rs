//! Tenants: the operator's, and one's own.

use opsiq_contract::TenantId;
use opsiq_gate::{Class, EraseTenant, NewTenant, Refusal, Stage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::not_a;
use crate::ask::{Ask, Done, Reply, segment};
use crate::auth;
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeTenant {
    /// Its slug, for ever: `[a-z0-9][a-z0-9-]{0,62}`.
    id: String,
    /// What people call it; its slug unless said.
    title: Option<String>,
    /// The name of its first user, who becomes owner.
    owner: String,
}

/// Which tenant to erase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmErase {
    /// Its slug once more.
    confirm: String,
    /// Whether not to wait for the end of its window.
    #[serde(default)]
    now: bool,
}

/// Whether a risky write needs a person other than its requester.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecondPerson {
    required: bool,
}

/// Who calls.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `user:ada`, `operator`.
    principal: String,
    /// The tenant; none for the operator.
    tenant: Option<String>,
    /// The user's name; none for the operator.
    user: Option<String>,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(Spec::get("/v1/me", "me", "Who calls.").gives("Me", "Who calls."), me);
    routes.add(
        Spec::get("/v1/tenants", "tenants.list", "List all tenants. For the operator.")
            .paged()
            .gives("TenantPage", "Tenants, by name."),
        list,
    );
    routes.add(
        Spec::post(
            "/v1/tenants",
            "tenants.create",
            "Make a tenant with a key of its own and its first owner. For the operator.",
        )
        .unkeyed()
        .json("MakeTenant")
        .gives_as(201, "application/json", "TenantView", "The tenant."),
        create,
    );
    routes.add(
        Spec::get("/v1/tenants/{tenant}", "tenants.show", "One's own tenant, or any for the operator.")
            .gives("TenantView", "The tenant."),
        show,
    );
    routes.add(
        Spec::put(
            "/v1/tenants/{tenant}/second-person",
            "tenants.second-person",
            "Whether a risky write needs a person other than its requester. For owners.",
        )
        .json("SecondPerson")
        .gives("TenantView", "The tenant."),
        second_person,
    );
    routes.add(
        Spec::post(
            "/v1/tenants/{tenant}/cancel",
            "tenants.cancel",
            "Stop everything of a tenant but reading, and begin its export window. For the operator.",
        )
        .unkeyed()
        .gives("TenantView", "The tenant."),
        cancel,
    );
    routes.add(
        Spec::post(
            "/v1/tenants/{tenant}/restore",
            "tenants.restore",
            "Let a cancelled tenant live on. For the operator.",
        )
        .unkeyed()
        .gives("TenantView", "The tenant."),
        restore,
    );
    routes.add(
        Spec::post(
            "/v1/tenants/{tenant}/erase",
            "tenants.erase",
            "Destroy a tenant's keys, which ends every copy of its data. For the operator.",
        )
        .unkeyed()
        .json("ConfirmErase")
        .gives("TenantView", "What is left of it."),
        erase,
    );
    routes.add(
        Spec::post(
            "/v1/tenants/{tenant}/invite",
            "tenants.invite",
            "Invite a tenant's first owner. The token is shown once. For the operator.",
        )
        .unkeyed()
        .gives("InvitationView", "The invitation."),
        invite,
    );
}

async fn me(ask: Ask) -> Done {
    Reply::json(&Me {
        principal: ask.actor.principal().to_string(),
        tenant: ask.actor.tenant().map(ToString::to_string),
        user: auth::name(&ask.actor).map(str::to_owned),
    })
}

async fn list(ask: Ask) -> Done {
    let tenants = ask.host.tenants().list(&ask.actor).await?;
    ask.page(tenants, |tenant| tenant.id.to_string())
}

async fn create(ask: Ask) -> Done {
    let MakeTenant { id, title, owner } = ask.json()?;
    let id: TenantId = id.parse().map_err(|error| not_a("tenant.name", &error))?;
    let title = title.unwrap_or_else(|| id.to_string());
    let made = ask.host.tenants().create(&ask.actor, NewTenant { id, title, owner }).await?;
    Reply::created(&made, &format!("/v1/tenants/{}", segment(made.id.as_str())))
}

/// A tenant that is not one's own is one there is not.
fn named(ask: &Ask) -> Result<TenantId, Problem> {
    let named = ask.path("tenant").parse::<TenantId>().ok();
    let own = ask.actor.tenant();
    named.filter(|named| own.is_none_or(|own| own == named)).ok_or_else(unknown)
}

fn unknown() -> Problem {
    let message = "there is no such tenant";
    Refusal::new(Class::NotFound, Stage::Admin, "tenant.unknown", message, "see GET /v1/tenants").into()
}

async fn show(ask: Ask) -> Done {
    let named = named(&ask)?;
    if ask.actor.tenant().is_some() {
        return Reply::json(&ask.host.tenants().get(&ask.actor).await?);
    }
    let all = ask.host.tenants().list(&ask.actor).await?;
    Reply::json(&all.into_iter().find(|tenant| tenant.id == named).ok_or_else(unknown)?)
}

async fn invite(ask: Ask) -> Done {
    Reply::json(&ask.host.tenants().invite_owner(&ask.actor, &named(&ask)?).await?)
}

async fn second_person(ask: Ask) -> Done {
    named(&ask)?;
    let SecondPerson { required } = ask.json()?;
    Reply::json(&ask.host.tenants().require_second_person(&ask.actor, required).await?)
}

async fn cancel(ask: Ask) -> Done {
    Reply::json(&ask.host.tenants().cancel(&ask.actor, &named(&ask)?).await?)
}

async fn restore(ask: Ask) -> Done {
    Reply::json(&ask.host.tenants().restore(&ask.actor, &named(&ask)?).await?)
}

async fn erase(ask: Ask) -> Done {
    let ConfirmErase { confirm, now } = ask.json()?;
    Reply::json(&ask.host.tenants().erase(&ask.actor, &EraseTenant { id: named(&ask)?, confirm, now }).await?)
}
