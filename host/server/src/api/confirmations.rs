//! Confirmations: a person looks at one exact call and says yes once, or no.

use super::actions::answered;
use crate::ask::{Ask, Done, JSON, Reply};
use crate::routes::{Routes, Spec};

/// States by their names.
const STATES: &str = r#"{"type":"string","enum":["pending","running","done","denied","expired","void","interrupted"]}"#;

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get(
            "/v1/confirmations",
            "confirmations.list",
            "The newest confirmations: all of the tenant for owners and admins, their own for others.",
        )
        .paged()
        .param("state", STATES, "Only in this state.")
        .gives("ConfirmationPage", "Confirmations, newest first."),
        list,
    );
    routes.add(
        Spec::get(
            "/v1/confirmations/{confirmation}",
            "confirmations.show",
            "One confirmation, as a person must see it before deciding.",
        )
        .gives("ConfirmationView", "The confirmation."),
        show,
    );
    routes.add(
        Spec::post("/v1/confirmations/{confirmation}/approve", "confirmations.approve", "Approve one call, once: it runs now, with exactly the arguments shown. For a person who is owner or admin.")
            .unkeyed()
            .param("reveal", r#"{"type":"boolean","default":false}"#, "Show fields of the result that the contract marks secret or personal.")
            .gives("CallDone", "It ran, and its outcome is on record.")
            .gives_as(202, JSON, "CallPending", "It waits still."),
        approve,
    );
    routes.add(
        Spec::post(
            "/v1/confirmations/{confirmation}/deny",
            "confirmations.deny",
            "Deny a call: it can never run. For owners, admins, and whoever asked for it.",
        )
        .gives("ConfirmationView", "The confirmation."),
        deny,
    );
}

async fn list(ask: Ask) -> Done {
    let mut all = ask.host.confirmations().list(&ask.actor).await?;
    if let Some(state) = ask.query("state") {
        all.retain(|one| one.state.as_str() == state);
    }
    // Newest first: the later, the smaller its place.
    ask.page(all, |one| format!("{:020} {}", i64::MAX - one.requested_ms, one.id))
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.confirmations().show(&ask.actor, ask.path("confirmation")).await?)
}

async fn approve(ask: Ask) -> Done {
    let reveal = ask.flag("reveal")?;
    answered(&ask.host.confirmations().approve(&ask.actor, ask.path("confirmation")).await?, reveal)
}

async fn deny(ask: Ask) -> Done {
    Reply::json(&ask.host.confirmations().deny(&ask.actor, ask.path("confirmation")).await?)
}
