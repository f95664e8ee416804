//! API clients: programs that sign their requests.

use std::collections::BTreeSet;
use std::time::Duration;

use opsiq_contract::Role;
use opsiq_gate::NewClientKey;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{by_age, not_a};
use crate::ask::{Ask, Done, Reply, segment};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// How long an earlier secret is good for beside a new one, unless said: a day.
const OVERLAP_S: u64 = 24 * 3600;

/// What is shown of a client once.
const SECRET: &[&str] = &["secret"];

/// A client to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeClient {
    /// Unique in the tenant, for ever.
    name: String,
    /// What it may do at most: `owner`, `admin` or `support`. It never does what is for a person.
    role: String,
    /// What it holds: `resource:action`.
    scopes: BTreeSet<String>,
}

/// A change of what a client may do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowClient {
    role: Option<String>,
    scopes: Option<BTreeSet<String>>,
}

/// A new secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateClient {
    /// Seconds for which the earlier secret is good beside it; a day unless said, 0 for not at all.
    overlap_s: Option<u64>,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/clients", "clients.list", "List the API clients of the tenant. For owners and admins.")
            .paged()
            .gives("ClientPage", "Clients, oldest first."),
        list,
    );
    routes.add(
        Spec::post("/v1/clients", "clients.create", "Make an API client. Its secret is shown once. For owners.")
            .json("MakeClient")
            .shows_once(SECRET)
            .gives_as(201, "application/json", "NewClientView", "The client, and its secret."),
        create,
    );
    routes.add(
        Spec::post(
            "/v1/clients/{client}/rotate",
            "clients.rotate",
            "Make a new secret, good beside the earlier one for a while. For owners.",
        )
        .json("RotateClient")
        .shows_once(SECRET)
        .gives("NewClientView", "The client, and its secret."),
        rotate,
    );
    routes.add(
        Spec::post("/v1/clients/{client}/retire", "clients.retire", "End the earlier secret now. For owners.")
            .gives("ClientView", "The client."),
        retire,
    );
    routes.add(
        Spec::put(
            "/v1/clients/{client}/allowed",
            "clients.allow",
            "Change what a client may do, from its next request on. For owners.",
        )
        .json("AllowClient")
        .gives("ClientView", "The client."),
        allow,
    );
    routes.add(
        Spec::post("/v1/clients/{client}/revoke", "clients.revoke", "End a client, for good. For owners.")
            .gives("ClientView", "The client."),
        revoke,
    );
}

fn role(text: &str) -> Result<Role, Problem> {
    text.parse().map_err(|error| not_a("client.role", &error))
}

/// A secret is shown here, to whom it is made for, and never again.
fn shown(made: &NewClientKey) -> serde_json::Value {
    let secret = String::from_utf8_lossy(made.secret.expose());
    json!({ "client": made.client, "key_id": made.key_id, "secret": secret })
}

async fn list(ask: Ask) -> Done {
    let clients = ask.host.clients().list(&ask.actor).await?;
    ask.page(clients, |client| by_age(client.created_ms, &client.name))
}

async fn create(ask: Ask) -> Done {
    let MakeClient { name, role: named, scopes } = ask.json()?;
    let made = ask.host.clients().create(&ask.actor, &name, role(&named)?, &scopes).await?;
    Reply::created(&shown(&made), &format!("/v1/clients/{}", segment(&name)))
}

async fn rotate(ask: Ask) -> Done {
    let RotateClient { overlap_s } = ask.json()?;
    let overlap = Duration::from_secs(overlap_s.unwrap_or(OVERLAP_S));
    Reply::json(&shown(&ask.host.clients().rotate(&ask.actor, ask.path("client"), overlap).await?))
}

async fn retire(ask: Ask) -> Done {
    Reply::json(&ask.host.clients().retire(&ask.actor, ask.path("client")).await?)
}

async fn allow(ask: Ask) -> Done {
    let AllowClient { role: named, scopes } = ask.json()?;
    let named = named.as_deref().map(role).transpose()?;
    Reply::json(&ask.host.clients().allow(&ask.actor, ask.path("client"), named, scopes.as_ref()).await?)
}

async fn revoke(ask: Ask) -> Done {
    Reply::json(&ask.host.clients().revoke(&ask.actor, ask.path("client")).await?)
}
