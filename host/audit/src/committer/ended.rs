//! What becomes of a batch once its transaction has ended, well or not: who is answered what, and what is still to be written.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{CHECKPOINT_EVERY, Committer, RETRY};
use crate::error::AuditError;
use crate::kind::Kind;
use crate::log::Log;
use crate::permit::{Call, Open, Permit};
use crate::request::{Done, Part, Request};
use crate::stage::Stage;

impl Committer {
    /// Everything is durable: take over the new ends and answer.
    pub(super) fn finish(&mut self, batch: Vec<Request>, stage: Stage, signed: &BTreeSet<Log>) {
        for (log, head) in &stage.heads {
            if !head.is_dirty() {
                self.state.dirty.remove(log);
                continue;
            }
            if self.state.dirty.is_empty() {
                // The first entry after a pause is signed when it has had time to get company.
                self.state.checkpoint_at = self.state.checkpoint_at.max(Instant::now() + CHECKPOINT_EVERY);
            }
            self.state.dirty.insert(log.clone());
        }
        if let Some(log) = signed.last() {
            // So that all that are dirty have their turn within the period.
            let turns = 1 + self.state.dirty.len() / signed.len();
            self.state.checkpoint_at = Instant::now() + CHECKPOINT_EVERY / u32::try_from(turns).unwrap_or(u32::MAX);
            self.state.turn = Some(log.clone());
        }
        self.state.heads.accept(stage.heads);
        for request in batch {
            let Request { part, reply, refused, signed, entries, .. } = request;
            let answer = match (part, refused) {
                // What waits for the call's end was not told of it: the intent stays open, and it is tried again, unless
                // somebody waits who will.
                (Part::Interruption(call), Some(error @ AuditError::Operation(_))) if reply.is_none() => {
                    tracing::error!(log = %call.log, invocation = %call.invocation, %error, "an interruption is not recorded yet");
                    let log = call.log.clone();
                    self.state.retry_at = Instant::now() + RETRY;
                    self.state.pending.push(Request::new(log, entries, None, Part::Interruption(call)));
                    Err(error)
                }
                (Part::Interruption(call), Some(error)) => {
                    tracing::error!(log = %call.log, invocation = %call.invocation, %error, "an interruption is refused");
                    self.abandonments.done();
                    Err(error)
                }
                (Part::Outcome(mut open), Some(error)) => {
                    open.abandon("the outcome could not be recorded");
                    Err(error)
                }
                (_, Some(error)) => Err(error),
                (Part::Intent(call), None) => {
                    let permit = Permit::new(call.invocation.clone(), true);
                    Ok(Done::Started(permit, Open::new(call, self.abandonments.clone())))
                }
                (Part::Outcome(open), None) => {
                    open.discharge();
                    Ok(Done::Recorded)
                }
                (Part::Interruption(_), None) => {
                    self.abandonments.done();
                    Ok(Done::Recorded)
                }
                (Part::Plain | Part::Close, None) => Ok(Done::Recorded),
                (Part::Head, None) => {
                    signed.map(Done::Head).ok_or_else(|| AuditError::unavailable("the head was not signed"))
                }
            };
            Request::answer(reply, answer);
        }
    }

    /// Nothing was written, or nobody knows: forget the ends, answer everybody, keep what must still be recorded.
    pub(super) fn fail(&mut self, batch: Vec<Request>, stage: &Stage, committing: bool, error: &AuditError) {
        tracing::error!(%error, entries = stage.rows.len(), "audit entries were not written");
        self.state.heads.forget();
        self.state.checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        self.state.retry_at = Instant::now() + RETRY;
        let staged = |call: &Call| {
            let is =
                |row: &opsiq_store::OpenIntentRow| row.invocation == call.invocation && row.log == call.log.column();
            stage.opened.iter().any(is)
        };
        for mut request in batch {
            let answer = Err(request.refused.take().unwrap_or_else(|| error.clone()));
            let reply = request.reply.take();
            match request.part {
                Part::Interruption(_) => self.state.pending.push(request),
                // What the plugin did is known; that nobody was told is what the entry's kind says.
                Part::Outcome(mut open) => {
                    if let Some(call) = open.take_intent() {
                        for entry in request.entries.iter_mut().filter(|entry| entry.kind.ends()) {
                            entry.kind = Kind::Interrupted;
                        }
                        self.abandonments.more();
                        // What was to be written with the outcome (an answer that is given again, say) is not for an
                        // interruption, which closes what waits for it by itself.
                        let (change, changes) = (None, false);
                        self.state.pending.push(Request { part: Part::Interruption(call), change, changes, ..request });
                    } else {
                        open.abandon("the outcome could not be recorded");
                    }
                }
                Part::Intent(call) if committing && staged(&call) => self.state.unsure.push(call),
                _ => {}
            }
            Request::answer(reply, answer);
        }
    }
}
