//! Custom roles: a built-in one, narrowed.

use std::collections::BTreeSet;

use opsiq_contract::{CustomRole, Role};
use serde::Deserialize;
use utoipa::ToSchema;

use super::not_a;
use crate::ask::{Ask, Done, Reply};
use crate::routes::{Routes, Spec};

/// A custom role. What is in none of its sets is outside it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutRole {
    /// The built-in role it narrows: `owner`, `admin` or `support`.
    base: String,
    /// Actions of plugins: `publisher/id/action`, or `publisher/id/*`.
    #[serde(default)]
    actions: BTreeSet<String>,
    /// Scopes, such as `refunds:create`.
    #[serde(default)]
    scopes: BTreeSet<String>,
    /// Administrative acts by their names, such as `user list`.
    #[serde(default)]
    acts: BTreeSet<String>,
    /// Whether every write of whoever has it waits for a person.
    #[serde(default)]
    confirm_writes: bool,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/roles", "roles.list", "List the custom roles of the tenant. For owners and admins.")
            .gives("RoleList", "Custom roles."),
        list,
    );
    routes.add(
        Spec::get("/v1/roles/{role}", "roles.show", "One custom role. For owners and admins.")
            .gives("RoleView", "The role."),
        show,
    );
    routes.add(
        Spec::put(
            "/v1/roles/{role}",
            "roles.put",
            "Make a custom role, or replace it, from the next request on. For owners.",
        )
        .json("PutRole")
        .reads("if-none-match", "`*`: make it, and replace none.")
        .gives("RoleView", "The role."),
        put,
    );
    routes.add(
        Spec::delete("/v1/roles/{role}", "roles.remove", "Remove a custom role that nobody has. For owners.")
            .gives_nothing("It is gone."),
        remove,
    );
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.roles().list(&ask.actor).await?)
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.roles().show(&ask.actor, ask.path("role")).await?)
}

async fn put(ask: Ask) -> Done {
    let PutRole { base, actions, scopes, acts, confirm_writes } = ask.json()?;
    let base: Role = base.parse().map_err(|error| not_a("role.base", &error))?;
    let role = CustomRole { name: ask.path("role").to_owned(), base, actions, scopes, acts, confirm_writes };
    Reply::json(&ask.host.roles().create(&ask.actor, role, !ask.if_none()?).await?)
}

async fn remove(ask: Ask) -> Done {
    ask.host.roles().remove(&ask.actor, ask.path("role")).await?;
    Ok(Reply::nothing())
}
