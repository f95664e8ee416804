//! The right to run a call, and the duty to record how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use opsiq_contract::{About, Authorized, InvocationId};
use tokio::sync::mpsc::UnboundedSender;

use crate::draft::{Draft, field};
use crate::kind::Kind;
use crate::log::Log;

/// Leave to run one invocation. Only this crate makes one: for a call that may have an effect, only from an intent that is
/// durable. Not `Clone`: it is used up by the run.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    invocation: InvocationId,
    intent: bool,
}

impl Permit {
    pub(crate) fn new(invocation: InvocationId, intent: bool) -> Self {
        Self { invocation, intent }
    }

    /// The invocation it is for.
    pub fn invocation(&self) -> &InvocationId {
        &self.invocation
    }

    /// Whether it permits this call: it names the same invocation, and an intent is durable if the call needs one.
    pub fn allows(&self, authorized: &Authorized) -> bool {
        self.invocation == *authorized.invocation() && (self.intent || !authorized.needs_intent())
    }
}

/// A call whose end is not recorded yet. Give it to [`Journal::outcome`](crate::Journal::outcome); dropped instead (a cancelled task, a panic, a
/// closed connection), it has the log record the call as interrupted, so that none goes unrecorded.
#[must_use = "a call is interrupted unless its outcome is recorded"]
pub struct Open {
    call: Option<Call>,
    abandonments: Abandonments,
}

/// What is known of a call in progress.
pub(crate) struct Call {
    pub(crate) log: Log,
    pub(crate) invocation: InvocationId,
    /// Whether an intent of it is in the log, and its open-intent row to be removed.
    pub(crate) intent: bool,
    /// As what this node was registered when the intent was written: after it was given up, its outcome is not its to record.
    pub(crate) epoch: i64,
    pub(crate) started: Instant,
    /// Who and what, for the entry that ends it; not known of a call of a previous process.
    about: Option<About>,
}

impl Call {
    pub(crate) fn new(log: Log, authorized: &Authorized, intent: bool) -> Self {
        Self {
            log,
            invocation: authorized.invocation().clone(),
            intent,
            epoch: 0,
            started: Instant::now(),
            about: Some(authorized.about()),
        }
    }

    /// A call whose intent a previous process left open.
    pub(crate) fn previous(log: Log, invocation: InvocationId) -> Self {
        Self { log, invocation, intent: true, epoch: 0, started: Instant::now(), about: None }
    }

    /// Completes an entry of the call: its invocation, who and what if it begins or ends the call, and how long it took if it
    /// ends it.
    pub(crate) fn complete(&self, draft: &mut Draft) {
        draft.invocation = Some(self.invocation.clone());
        if let Some(about) = self.about.as_ref().filter(|_| draft.kind == Kind::Intent || draft.kind.ends()) {
            draft.fill(about);
        }
        if draft.kind.ends() {
            draft.set_missing(field::DURATION_MS, self.started.elapsed().as_millis().to_string());
        }
    }
}

/// A call that ended without an outcome on record, and why.
pub(crate) struct Abandoned {
    pub(crate) call: Call,
    pub(crate) why: &'static str,
}

/// Where abandoned calls go, and how many of them are not on record yet.
#[derive(Clone)]
pub(crate) struct Abandonments {
    sender: UnboundedSender<Abandoned>,
    backlog: Arc<AtomicUsize>,
}

impl Abandonments {
    pub(crate) fn new(sender: UnboundedSender<Abandoned>) -> Self {
        Self { sender, backlog: Arc::default() }
    }

    /// How many calls wait to be recorded as interrupted.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// One more waits.
    pub(crate) fn more(&self) {
        self.backlog.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer waits.
    pub(crate) fn done(&self) {
        self.backlog.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn send(&self, call: Call, why: &'static str) {
        self.more();
        // Without a committer any more, the intent stays open on disk and the next start records the interruption.
        if self.sender.send(Abandoned { call, why }).is_err() {
            self.done();
        }
    }
}

impl Open {
    pub(crate) fn new(call: Call, abandonments: Abandonments) -> Self {
        Self { call: Some(call), abandonments }
    }

    /// The invocation.
    pub fn invocation(&self) -> Option<&InvocationId> {
        self.call.as_ref().map(|call| &call.invocation)
    }

    pub(crate) fn call(&self) -> Option<&Call> {
        self.call.as_ref()
    }

    /// Ends the duty: the outcome is durable.
    pub(crate) fn discharge(mut self) {
        self.call = None;
    }

    /// Ends the call without an outcome.
    pub(crate) fn abandon(&mut self, why: &'static str) {
        if let Some(call) = self.call.take() {
            self.abandonments.send(call, why);
        }
    }

    /// Takes the call out if an intent of it is in the log.
    pub(crate) fn take_intent(&mut self) -> Option<Call> {
        self.call.take_if(|call| call.intent)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.abandon("cancelled");
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Open").field(&self.invocation()).finish()
    }
}
