//! The people of a tenant.

use opsiq_contract::Role;
use opsiq_gate::{UserView, Users};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{by_age, not_a};
use crate::ask::{Ask, Done, Reply, segment};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// What is shown of an invitation once.
const TOKEN: &[&str] = &["token"];

/// A user to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddUser {
    /// The name, unique in the tenant: `[a-z0-9][a-z0-9._@+-]{0,63}`.
    name: String,
    /// `owner`, `admin` or `support`.
    role: String,
}

/// How to invite a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteUser {
    /// The role of a user to be added: `owner`, `admin`, `support`, or a custom one.
    role: Option<String>,
}

/// Which session; all of them unless said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    session: Option<String>,
}

/// A role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleOf {
    /// `owner`, `admin`, `support`, or a custom one.
    role: String,
}

pub(super) fn add(routes: &mut Routes) {
    let view = |spec: Spec| spec.gives("UserView", "The user; the ETag is its revision.");
    routes.add(
        Spec::get("/v1/users", "users.list", "List the users of the tenant. For owners and admins.")
            .paged()
            .gives("UserPage", "Users, oldest first."),
        list,
    );
    routes.add(
        Spec::post("/v1/users", "users.add", "Add a user. For owners.").json("AddUser").gives_as(
            201,
            "application/json",
            "UserView",
            "The user.",
        ),
        add_user,
    );
    routes.add(view(Spec::get("/v1/users/{user}", "users.show", "One user. For owners and admins.")), show);
    routes.add(
        view(
            Spec::put(
                "/v1/users/{user}/role",
                "users.role",
                "Give a user another role, from their next request on. For owners.",
            )
            .json("RoleOf")
            .revised(),
        ),
        set_role,
    );
    routes.add(
        view(
            Spec::post(
                "/v1/users/{user}/disable",
                "users.disable",
                "End what a user may do, from their next request on. For owners.",
            )
            .revised(),
        ),
        disable,
    );
    routes.add(
        view(
            Spec::post(
                "/v1/users/{user}/enable",
                "users.enable",
                "Let a user do again what their role allows. For owners.",
            )
            .revised(),
        ),
        enable,
    );
    routes.add(
        Spec::post(
            "/v1/users/{user}/invite",
            "users.invite",
            "Invite a user to take up their account; with a role, add the user first. The token is shown once. For owners.",
        )
        .json("InviteUser")
        .shows_once(TOKEN)
        .gives("InvitationView", "The invitation."),
        invite,
    );
    routes.add(
        Spec::post(
            "/v1/users/{user}/reset-second-factor",
            "users.reset",
            "Take away what a user signs in with, end their sessions, and invite them anew. For owners.",
        )
        .shows_once(TOKEN)
        .gives("InvitationView", "The invitation."),
        reset,
    );
    routes.add(
        Spec::get("/v1/users/{user}/sessions", "users.sessions", "List a user's sessions. For owners.")
            .gives("SessionList", "Sessions."),
        sessions,
    );
    routes.add(
        Spec::post(
            "/v1/users/{user}/sessions/end",
            "users.revoke",
            "End one session of a user, or all of them. For owners.",
        )
        .json("Which")
        .gives("EndedView", "How many ended."),
        revoke,
    );
}

async fn list(ask: Ask) -> Done {
    let users = ask.host.users().list(&ask.actor).await?;
    ask.page(users, |user| by_age(user.created_ms, &user.name))
}

async fn show(ask: Ask) -> Done {
    shown(&ask.host.users().get(&ask.actor, ask.path("user")).await?)
}

/// One user as an answer.
fn shown(view: &UserView) -> Done {
    Ok(Reply::json(view)?.revision(view.revision))
}

/// The users, for a change that is bound to a revision where the request says so.
fn bound(ask: &Ask) -> Result<Users, Problem> {
    Ok(ask.host.users().at_revision(ask.if_match()?))
}

async fn add_user(ask: Ask) -> Done {
    let AddUser { name, role } = ask.json()?;
    let role: Role = role.parse().map_err(|error| not_a("user.role", &error))?;
    let user = ask.host.users().add(&ask.actor, &name, role).await?;
    Ok(Reply::created(&user, &format!("/v1/users/{}", segment(&user.name)))?.revision(user.revision))
}

async fn set_role(ask: Ask) -> Done {
    let RoleOf { role } = ask.json()?;
    shown(&bound(&ask)?.assign(&ask.actor, ask.path("user"), &role).await?)
}

async fn invite(ask: Ask) -> Done {
    let InviteUser { role } = ask.json()?;
    Reply::json(&ask.host.users().invite(&ask.actor, ask.path("user"), role.as_deref()).await?)
}

async fn reset(ask: Ask) -> Done {
    Reply::json(&ask.host.users().reset_2fa(&ask.actor, ask.path("user")).await?)
}

async fn sessions(ask: Ask) -> Done {
    Reply::json(&ask.host.users().sessions(&ask.actor, ask.path("user")).await?)
}

async fn revoke(ask: Ask) -> Done {
    let Which { session } = ask.json()?;
    let ended = ask.host.users().revoke(&ask.actor, ask.path("user"), session.as_deref()).await?;
    Reply::json(&json!({ "ended": ended }))
}

async fn disable(ask: Ask) -> Done {
    shown(&bound(&ask)?.disable(&ask.actor, ask.path("user")).await?)
}

async fn enable(ask: Ask) -> Done {
    shown(&bound(&ask)?.enable(&ask.actor, ask.path("user")).await?)
}
