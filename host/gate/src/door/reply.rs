//! Signs the reply to a signed request, once that request can never be taken again.

use std::sync::Arc;

use http::StatusCode;
use opsiq_audit::{Log, Op};
use opsiq_signing::{Presented, SignedFields, Ticket, sign_reply};
use opsiq_vault::Secret;

use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Refusal, Stage};

/// Signs the reply to one request.
pub struct ReplySigner {
    core: Arc<Core>,
    presented: Presented,
    secret: Arc<Secret>,
    ticket: Ticket,
}

impl ReplySigner {
    pub(crate) fn new(core: Arc<Core>, presented: Presented, secret: Arc<Secret>, ticket: Ticket) -> Self {
        Self { core, presented, secret, ticket }
    }

    /// Waits until the request's nonce is durable, which it is already after any act that wrote something. Nothing may be
    /// answered before, since a later process could take the request again.
    ///
    /// # Errors
    /// [`Class::Unavailable`](crate::Class::Unavailable): nothing but a 503 may be answered.
    pub async fn settle(&self) -> Result<(), Refusal> {
        self.core.settle(self.ticket).await
    }

    /// The fields of a reply: its content digest, and a signature over it, the status and the request. It waits as
    /// [`ReplySigner::settle`] does, but for a 503, which says that nothing happened.
    ///
    /// # Errors
    /// As [`ReplySigner::settle`].
    pub async fn sign(&self, status: StatusCode, body: &[u8]) -> Result<SignedFields, Refusal> {
        if status != StatusCode::SERVICE_UNAVAILABLE {
            self.settle().await?;
        }
        let presented = &self.presented;
        Ok(sign_reply(&self.secret, &presented.key_id, presented.bound(), status, body, now_ms() / 1000))
    }
}

/// Names the client.
impl std::fmt::Debug for ReplySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplySigner").field("key_id", &self.presented.key_id).finish_non_exhaustive()
    }
}

impl Core {
    /// Waits until a nonce is durable.
    async fn settle(&self, ticket: Ticket) -> Result<(), Refusal> {
        if self.window.nonces().is_durable(ticket) {
            return Ok(());
        }
        self.write_nonces().await
    }

    /// Makes all nonces durable that were taken so far: a commit of nothing, along with which they are written.
    pub(crate) async fn write_nonces(&self) -> Result<(), Refusal> {
        let nothing = Op::new(|_| Box::pin(std::future::ready(Ok(()))));
        let done = self.journal.commit(&Log::Host, Vec::new(), nothing).await;
        done.map_err(|error| errors::audit(Stage::Authenticate, &error))
    }
}
