//! Calls whose end is unknown. Their idempotency keys and confirmations end with them, in the transaction that records
//! the interruption, so that none of them can ever run again by itself.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_audit::{InterruptedIntent, Interruptions, Journal, Log, OpError, field};
use opsiq_contract::InvocationId;
use opsiq_store::{ConfirmationState, WriteTx};

use crate::errors;
use crate::host::Interrupted;
use crate::refusal::{Refusal, Stage};

/// Closes what waits for the outcome of an interrupted call.
pub(crate) struct Closing;

impl Interruptions for Closing {
    fn close<'t>(
        &'t self,
        tx: &'t mut WriteTx<'_>,
        log: &'t Log,
        invocation: &'t InvocationId,
    ) -> BoxFuture<'t, Result<(), OpError>> {
        async move {
            let Log::Tenant(tenant) = log else { return Ok(()) };
            tx.idempotency_interrupt(tenant, invocation).await?;
            // A call that ran by a confirmation has its id. One that is not running is not there or still pending.
            let (from, to) = (ConfirmationState::Running, ConfirmationState::Interrupted);
            tx.confirmation_transition(tenant, invocation.as_str(), from, to).await?;
            Ok(())
        }
        .boxed()
    }
}

/// Records every intent that the previous process left open as interrupted.
pub(crate) async fn recover(journal: &Journal) -> Result<Vec<Interrupted>, Refusal> {
    let found = journal.recover().await.map_err(|error| errors::audit(Stage::Admin, &error))?;
    Ok(told(found))
}

/// Records intents of nodes that were given up as interrupted.
pub(crate) async fn recover_lost(journal: &Journal) -> Result<Vec<Interrupted>, Refusal> {
    let found = journal.recover_lost().await.map_err(|error| errors::audit(Stage::Admin, &error))?;
    Ok(told(found))
}

fn told(found: Vec<InterruptedIntent>) -> Vec<Interrupted> {
    let told = found.into_iter().map(|mut intent| {
        let mut take = |name| intent.about.remove(name).unwrap_or_default();
        Interrupted {
            actor: take(field::ACTOR),
            action: take(field::ACTION),
            installation: take(field::INSTALLATION),
            tenant: match intent.log {
                Log::Tenant(tenant) => tenant.to_string(),
                Log::Host => String::new(),
            },
            invocation: intent.invocation.to_string(),
            time_ms: intent.time_ms,
        }
    });
    told.collect()
}
