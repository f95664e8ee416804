//! What callers ask of the committer.

use std::time::{Duration, Instant};

use opsiq_contract::InvocationId;
use tokio::sync::oneshot;

use crate::content::Prepared;
use crate::error::AuditError;
use crate::head::Signed;
use crate::log::Log;
use crate::op::Change;
use crate::permit::{Call, Open, Permit};

/// How long a caller waits for durability before the answer is "unavailable"; below the 2 s that the host promises.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_millis(1_800);

/// What an entry takes in the log besides its sealed content, in bytes.
const ENTRY: usize = 512;
/// What a change counts as, in bytes: it runs a few statements of its own.
const CHANGE: usize = 4 << 10;

/// Entries to append to one log, together with a change.
pub(crate) struct Request {
    pub(crate) log: Log,
    pub(crate) entries: Vec<Prepared>,
    pub(crate) change: Option<Change>,
    /// Whether there is, or was until it ran, a change.
    pub(crate) changes: bool,
    pub(crate) part: Part,
    pub(crate) asked: Instant,
    /// Who waits. Nobody, for interruptions the committer records by itself.
    pub(crate) reply: Option<oneshot::Sender<Result<Done, AuditError>>>,
    /// Why it was refused while others of its batch were not.
    pub(crate) refused: Option<AuditError>,
    /// The signed head it asked for.
    pub(crate) signed: Option<Signed>,
}

/// What a request is to the calls in progress.
pub(crate) enum Part {
    /// Nothing.
    Plain,
    /// It begins one.
    Intent(Call),
    /// It ends one.
    Outcome(Open),
    /// It ends one whose outcome nobody recorded.
    Interruption(Call),
    /// It asks for a signed head.
    Head,
    /// It asks to end the log's work.
    Close,
}

/// The answer to a request, given when it is durable. An intent's answer holds the [`Open`], so if the caller is gone when it
/// arrives, dropping it records the interruption.
pub(crate) enum Done {
    Recorded,
    Started(Permit, Open),
    Head(Signed),
}

impl Request {
    pub(crate) fn new(log: Log, entries: Vec<Prepared>, change: Option<Change>, part: Part) -> Self {
        let changes = change.is_some();
        Self { log, entries, change, changes, part, asked: Instant::now(), reply: None, refused: None, signed: None }
    }

    /// What it takes of a commit, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| ENTRY + entry.sealed.as_bytes().len()).sum();
        let statements = match &self.part {
            Part::Interruption(call) if call.intent => 2,
            _ => usize::from(self.change.is_some()),
        };
        entries + statements * CHANGE
    }

    /// Whether somebody asked and is gone. What is then recorded all the same: how a call ended.
    pub(crate) fn is_forsaken(&self) -> bool {
        let gone = self.reply.as_ref().is_some_and(oneshot::Sender::is_closed);
        gone && !matches!(self.part, Part::Outcome(_) | Part::Interruption(_) | Part::Close)
    }

    /// Whether somebody asked and has been told meanwhile that it is unavailable.
    pub(crate) fn is_late(&self) -> bool {
        self.is_forsaken() && self.asked.elapsed() >= ANSWER_WITHIN
    }

    /// Its entries, to be written now. What must be recorded all the same if that fails stays here as well.
    pub(crate) fn take_entries(&mut self) -> Vec<Prepared> {
        let again = match &self.part {
            Part::Interruption(_) => true,
            Part::Outcome(open) => open.call().is_some_and(|call| call.intent),
            _ => false,
        };
        if again { self.entries.clone() } else { std::mem::take(&mut self.entries) }
    }

    /// The intent whose outcome it is, unless it was refused: its log's column and its invocation.
    pub(crate) fn ends(&self) -> Option<(&str, &InvocationId)> {
        let Part::Outcome(open) = &self.part else { return None };
        let call = open.call().filter(|call| call.intent && self.refused.is_none())?;
        Some((call.log.column(), &call.invocation))
    }

    /// Answers, if somebody waits.
    pub(crate) fn answer(reply: Option<oneshot::Sender<Result<Done, AuditError>>>, answer: Result<Done, AuditError>) {
        if let Some(reply) = reply {
            // Whoever is gone needs no answer; see [`Done`].
            let _ = reply.send(answer);
        }
    }
}
