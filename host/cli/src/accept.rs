//! `opsiq accept-restore`: the operator put an older database back on purpose.

use clap::Args;
use opsiq_contract::TenantId;
use opsiq_gate::Rollback;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What is accepted, and why.
#[derive(Debug, Args)]
pub(crate) struct AcceptRestore {
    /// Only these tenants. Without one, everything that is older than it was.
    #[arg(value_name = "TENANT")]
    tenants: Vec<TenantId>,

    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Opens the data directory as it is now, and takes it so from here on.
pub(crate) async fn run(accept: AcceptRestore, session: &Session<'_>) -> Result<Exit, Failure> {
    if session.acting.anyone()?.tenant().is_some() {
        return Err(Failure::usage("this is for the operator").fix("run it without --as"));
    }
    let AcceptRestore { tenants, reason } = accept;
    let tenants = (!tenants.is_empty()).then_some(tenants);
    let host = session.host_with(Rollback::Accept { tenants, reason }).await?;
    let accepted = host.accepted();
    session.out.data(&json!({ "accepted": accepted }), |_| {
        if accepted.is_empty() {
            "Nothing was older than it was: there is nothing to accept.".to_owned()
        } else {
            accepted.join("\n")
        }
    })?;
    Ok(Exit::Done)
}
