//! What runs, and stopping it: for the operator everything, for owners and admins what is their tenant's.

use opsiq_gate::{By, Selection};
use serde::Deserialize;
use utoipa::ToSchema;

use super::not_a;
use crate::ask::{Ask, Done, Reply, wrong};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// What to stop or release.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Select {
    /// `call:ID`, `installation:NAME`, `plugin:publisher/id@version`, `publisher:NAME`, `tenant:NAME`, a digest, or `all`.
    selector: String,
}

/// What to quarantine, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineAsk {
    /// As for stopping; no call.
    selector: String,
    /// Why: 1 to 1000 characters.
    reason: String,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/sandbox", "sandbox.list", "What runs, and what may not.")
            .gives("ControlView", "Calls and quarantines."),
        list,
    );
    routes.add(
        Spec::post("/v1/sandbox/stop", "sandbox.stop", "End the calls that run or wait, within a second.")
            .json("Select")
            .gives("Stopped", "What became of it."),
        stop,
    );
    routes.add(
        Spec::post(
            "/v1/sandbox/quarantine",
            "sandbox.quarantine",
            "Let nothing of it start from now on, and end what runs.",
        )
        .json("QuarantineAsk")
        .gives("Placed", "What became of it."),
        quarantine,
    );
    routes.add(
        Spec::post("/v1/sandbox/release", "sandbox.release", "Lift a quarantine that oneself placed.")
            .json("Select")
            .gives("QuarantineView", "The quarantine that was lifted."),
        release,
    );
    routes.add(
        Spec::get("/v1/sandbox/totals", "sandbox.totals", "What calls used since the host was started.")
            .param(
                "by",
                r#"{"type":"string","enum":["installation","plugin","tenant"],"default":"installation"}"#,
                "Added up by what.",
            )
            .gives("TotalsList", "Totals."),
        totals,
    );
}

fn selection(text: &str) -> Result<Selection, Problem> {
    text.parse().map_err(|error| not_a("sandbox.selector", &error))
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.control().list(&ask.actor).await?)
}

async fn stop(ask: Ask) -> Done {
    let Select { selector } = ask.json()?;
    Reply::json(&ask.host.control().stop(&ask.actor, &selection(&selector)?).await?)
}

async fn quarantine(ask: Ask) -> Done {
    let QuarantineAsk { selector, reason } = ask.json()?;
    Reply::json(&ask.host.control().quarantine(&ask.actor, &selection(&selector)?, &reason).await?)
}

async fn release(ask: Ask) -> Done {
    let Select { selector } = ask.json()?;
    Reply::json(&ask.host.control().release(&ask.actor, &selection(&selector)?).await?)
}

async fn totals(ask: Ask) -> Done {
    let by = match ask.query("by") {
        None | Some("installation") => By::Installation,
        Some("plugin") => By::Plugin,
        Some("tenant") => By::Tenant,
        Some(_) => return Err(wrong("by")),
    };
    Reply::json(&ask.host.control().totals(&ask.actor, by).await?)
}
