//! How long audit logs are kept, and legal holds: for owners their tenant's; for the operator the host's own, or a tenant's that
//! the query names.

use opsiq_contract::TenantId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::ask::{Ask, Done, Reply};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

const TENANT: &str = r#"{"type":"string"}"#;
const WHOSE: &str = "For the operator: whose log; the host's own unless said.";

/// How long to keep it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRetention {
    /// Months: 12 to 1200.
    months: u32,
}

/// Why to hold it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceHold {
    /// The case, and who asked for it: 1 to 1000 characters.
    reason: String,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/audit/retention", "audit.retention", "How long the log is kept, from which entry on there is content, and what holds it. For owners and the operator.")
            .param("tenant", TENANT, WHOSE)
            .gives("RetentionView", "How long."),
        show,
    );
    routes.add(
        Spec::put(
            "/v1/audit/retention",
            "audit.retention.set",
            "Keep the log for so many months. For owners and the operator.",
        )
        .param("tenant", TENANT, WHOSE)
        .json("SetRetention")
        .gives("RetentionView", "How long from now on."),
        set,
    );
    routes.add(
        Spec::post("/v1/audit/holds", "audit.holds.place", "Place a legal hold: no content of the log goes, and nobody of the tenant is erased, until it is lifted. For owners and the operator.")
            .param("tenant", TENANT, WHOSE)
            .json("PlaceHold")
            .gives_as(201, crate::ask::JSON, "HoldView", "The hold."),
        place,
    );
    routes.add(
        Spec::delete(
            "/v1/audit/holds/{hold}",
            "audit.holds.lift",
            "Lift a legal hold; one of the operator's is lifted by the operator alone.",
        )
        .param("tenant", TENANT, WHOSE)
        .gives("RetentionView", "How long the log is kept now."),
        lift,
    );
}

fn tenant(ask: &Ask) -> Result<Option<TenantId>, Problem> {
    ask.query_as("tenant")
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.retention().show(&ask.actor, tenant(&ask)?.as_ref()).await?)
}

async fn set(ask: Ask) -> Done {
    let SetRetention { months } = ask.json()?;
    Reply::json(&ask.host.retention().set(&ask.actor, tenant(&ask)?.as_ref(), months).await?)
}

async fn place(ask: Ask) -> Done {
    let PlaceHold { reason } = ask.json()?;
    let hold = ask.host.retention().place(&ask.actor, tenant(&ask)?.as_ref(), &reason).await?;
    Reply::created(&hold, &format!("/v1/audit/holds/{}", hold.id))
}

async fn lift(ask: Ask) -> Done {
    Reply::json(&ask.host.retention().lift(&ask.actor, tenant(&ask)?.as_ref(), ask.path("hold")).await?)
}
