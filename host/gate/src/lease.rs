//! This node's lease, where several share databases, and the end of those that did not renew theirs.
//!
//! A node that was killed and does not come back leaves calls without an end. Once its lease is over another node gives it up,
//! from which moment on it writes nothing, and records those calls as interrupted, with the idempotency keys and confirmations
//! that wait for them. A node that finds that it was itself given up (it slept, or the network did) takes no calls until it has
//! registered anew; what it had begun before is not its own to end.
//!
//! Who could not renew its own lease does not judge others at once: when the database was away, it was away for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_audit::{Draft, Kind, Log, field};
use opsiq_store::{JobLease, StoreError};

use crate::core::Core;
use crate::refusal::{Refusal, Stage};
use crate::{errors, recovery};

/// What the job is called that ends the calls of lost nodes.
const JOB: &str = "lost-nodes";
/// How long a node has it without a sign of life.
const JOB_LEASE: Duration = Duration::from_secs(10);
/// How often the lease is renewed, and others' are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether this node was given up.
const LOOK: Duration = Duration::from_millis(250);

/// How the lease went so far.
struct Kept {
    /// When it was last renewed.
    at: Instant,
    /// From when on others' are looked at.
    judges_from: Instant,
}

/// Keeps it for as long as the host is open, where there are other nodes.
pub(crate) fn keep(core: &Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        let now = Instant::now();
        let (mut kept, mut looked) = (Kept { at: now, judges_from: now }, now);
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(core) = core.upgrade() else { return };
            if !core.store.is_fenced() && looked.elapsed() < EVERY {
                continue;
            }
            looked = Instant::now();
            if let Err(error) = core.renew(&mut kept).await {
                tracing::warn!(%error, "this node's lease could not be renewed");
                continue;
            }
            if Instant::now() >= kept.judges_from
                && let Err(refusal) = core.end_lost().await
            {
                tracing::warn!(code = %refusal.code, why = refusal.message, "calls of lost nodes were not seen to");
            }
        }
    });
}

impl Core {
    /// Renews the lease, or registers anew when this node was given up.
    async fn renew(&self, kept: &mut Kept) -> Result<(), StoreError> {
        let renewed = if self.store.is_fenced() { Err(StoreError::Fenced) } else { self.store.node_renew().await };
        match renewed {
            Err(StoreError::Fenced) => {
                tracing::error!("this node was given up for lost: it takes no calls until it has registered anew");
                self.store.node_register().await?;
                tracing::warn!("this node has registered anew; what it had begun before is recorded as interrupted");
            }
            renewed => renewed?,
        }
        let (now, lease) = (Instant::now(), self.store.node_lease());
        if now.duration_since(kept.at) >= lease {
            kept.judges_from = now + lease;
        }
        kept.at = now;
        Ok(())
    }

    /// Gives up nodes whose lease is over, and ends what they and others before them left open; unless another node does.
    async fn end_lost(&self) -> Result<(), Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let Some(lease) = self.store.job_claim(JOB, JOB_LEASE).await.map_err(failed)? else { return Ok(()) };
        let done = self.end_lost_as(&lease).await;
        self.store.job_let_go(&lease).await.map_err(failed)?;
        done
    }

    async fn end_lost_as(&self, lease: &JobLease) -> Result<(), Refusal> {
        let lost = self.store.nodes_give_up(lease).await.map_err(|error| errors::store(Stage::Admin, &error))?;
        for node in lost {
            tracing::warn!(node = node.name, epoch = node.epoch, "a node did not renew its lease and is given up");
            let draft = Draft::new(Kind::Admin)
                .field(field::ACTOR, "host")
                .field(field::ACTION, "node give-up")
                .field(field::OUTCOME, "ok")
                .field(
                    field::DETAIL,
                    format!("node {} did not renew its lease; its calls end as interrupted", node.name),
                );
            self.record(Log::Host, vec![draft]).await?;
        }
        loop {
            let found = recovery::recover_lost(&self.journal).await?;
            for call in &found {
                tracing::warn!(
                    tenant = call.tenant,
                    invocation = call.invocation,
                    "a call of a lost node is interrupted"
                );
            }
            if found.is_empty() {
                return Ok(());
            }
        }
    }
}
