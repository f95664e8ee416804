//! The people of a tenant.

use opsiq_contract::Role;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{by_age, not_a};
use crate::ask::{Ask, Done, Reply, segment};
use crate::routes::{Routes, Spec};

/// A user to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddUser {
    /// The name, unique in the tenant: `[a-z0-9][a-z0-9._@+-]{0,63}`.
    name: String,
    /// `owner`, `admin` or `support`.
    role: String,
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
    let view = |spec: Spec| spec.gives("UserView", "The user.");
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
    routes.add(
        view(
            Spec::put(
                "/v1/users/{user}/role",
                "users.role",
                "Give a user another role, from their next request on. For owners.",
            )
            .json("RoleOf"),
        ),
        set_role,
    );
    routes.add(
        view(Spec::post(
            "/v1/users/{user}/disable",
            "users.disable",
            "End what a user may do, from their next request on. For owners.",
        )),
        disable,
    );
    routes.add(
        view(Spec::post(
            "/v1/users/{user}/enable",
            "users.enable",
            "Let a user do again what their role allows. For owners.",
        )),
        enable,
    );
    routes.add(
        Spec::post(
            "/v1/users/{user}/invite",
            "users.invite",
            "Invite a user to take up their account. The token is shown once. For owners.",
        )
        .gives("InvitationView", "The invitation."),
        invite,
    );
    routes.add(
        Spec::post(
            "/v1/users/{user}/reset-second-factor",
            "users.reset",
            "Take away what a user signs in with, end their sessions, and invite them anew. For owners.",
        )
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

async fn add_user(ask: Ask) -> Done {
    let AddUser { name, role } = ask.json()?;
    let role: Role = role.parse().map_err(|error| not_a("user.role", &error))?;
    let user = ask.host.users().add(&ask.actor, &name, role).await?;
    Reply::created(&user, &format!("/v1/users/{}", segment(&user.name)))
}

async fn set_role(ask: Ask) -> Done {
    let RoleOf { role } = ask.json()?;
    Reply::json(&ask.host.users().assign(&ask.actor, ask.path("user"), &role).await?)
}

async fn invite(ask: Ask) -> Done {
    Reply::json(&ask.host.users().invite(&ask.actor, ask.path("user"), None).await?)
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
    Reply::json(&ask.host.users().disable(&ask.actor, ask.path("user")).await?)
}

async fn enable(ask: Ask) -> Done {
    Reply::json(&ask.host.users().enable(&ask.actor, ask.path("user")).await?)
}
