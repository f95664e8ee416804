//! Keys of installations: values go in, and never come out.

use opsiq_gate::{Class, Refusal, Stage};
use opsiq_vault::Secret;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::ask::{Ask, Done, Reply, wrong};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// A secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretValue {
    /// Its text.
    secret: String,
    /// Keep a value that begins with `whsec_` as that text; otherwise the base64 after it is the secret.
    #[serde(default)]
    verbatim: bool,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get(
            "/v1/installations/{installation}/keys",
            "keys.list",
            "The keys the contract declares, and their versions; never their values. For owners and admins.",
        )
        .gives("KeyList", "Keys."),
        list,
    );
    routes.add(
        Spec::put(
            "/v1/installations/{installation}/keys/{key}",
            "keys.set",
            "Put in a key that has no live version. For owners and admins.",
        )
        .json("SecretValue")
        .gives("KeyView", "The key, without its value."),
        set,
    );
    routes.add(
        Spec::post("/v1/installations/{installation}/keys/{key}/rotate", "keys.rotate", "Put in a new version, which signs and is injected from now on. Older ones still verify until retired. For owners and admins.")
            .json("SecretValue")
            .gives("KeyView", "The key, without its value."),
        rotate,
    );
    routes.add(
        Spec::delete(
            "/v1/installations/{installation}/keys/{key}/versions/{version}",
            "keys.retire",
            "End a version: it verifies nothing any more, and its bytes are destroyed. For owners and admins.",
        )
        .gives("KeyView", "The key, without its value."),
        retire,
    );
}

fn secret(ask: &Ask) -> Result<Secret, Problem> {
    let SecretValue { secret, verbatim } = ask.json()?;
    let text = Zeroizing::new(secret);
    let secret = if verbatim { Secret::verbatim(&text) } else { Secret::from_user_input(&text) };
    // What is wrong with a secret is never told by quoting it.
    secret.map_err(|error| {
        Refusal::new(Class::Invalid, Stage::Admin, "key.value", error.to_string(), "use another value").into()
    })
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.keys().list(&ask.actor, ask.path("installation")).await?)
}

async fn set(ask: Ask) -> Done {
    let secret = secret(&ask)?;
    Reply::json(&ask.host.keys().set(&ask.actor, ask.path("installation"), ask.path("key"), secret).await?)
}

async fn rotate(ask: Ask) -> Done {
    let secret = secret(&ask)?;
    Reply::json(&ask.host.keys().rotate(&ask.actor, ask.path("installation"), ask.path("key"), secret).await?)
}

async fn retire(ask: Ask) -> Done {
    let version = ask.path("version").parse().map_err(|_| wrong("version"))?;
    Reply::json(&ask.host.keys().retire(&ask.actor, ask.path("installation"), ask.path("key"), version).await?)
}
