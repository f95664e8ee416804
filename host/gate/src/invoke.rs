//! Any action, by any principal: DESIGN §6 from stage 3 on, in its order, in one place.

use opsiq_contract::{Effect, InvocationId};
use opsiq_sandbox::Meter;

use crate::confirmations::ConfirmationView;

/// A call as it came in: nothing of it is trusted yet.
#[derive(Debug, Clone)]
pub struct Call {
    /// The installation's name, or its id.
    pub installation: String,
    /// The action's name.
    pub action: String,
    /// The parameters: a JSON text, exactly as received.
    pub params: Vec<u8>,
    /// The caller's idempotency key, 1 to 255 visible ASCII characters.
    pub idempotency_key: Option<String>,
}

/// What became of a call that was not refused.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It ran, and its outcome is durable.
    Done(Done),
    /// It waits for a person; nothing has run.
    Pending(Box<ConfirmationView>),
}

/// A finished invocation.
#[derive(Debug, Clone)]
pub struct Done {
    /// The invocation: the id in the audit log.
    pub invocation: InvocationId,
    /// The effect it ran with.
    pub effect: Effect,
    /// The result as canonical JSON, valid against the action's schema.
    pub result: String,
    /// What the run used. Zero for a replayed answer.
    pub meter: Meter,
    /// Whether this is the stored answer to an earlier call with the same idempotency key.
    pub replayed: bool,
}
