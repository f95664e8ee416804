//! Reading the audit log: owners only (the host's own log: the operator), and each reading is itself an entry, durable
//! before anything is shown.

use std::sync::Arc;

use opsiq_audit::export::{Export, Range};
use opsiq_audit::{Draft, Filter, Format, Kind, Log, Page, PublicKey, field};
use opsiq_contract::{Principal, Role};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::Core;
use crate::errors;
use crate::refusal::{Refusal, Stage};

/// Most entries of one list.
const LIST_MOST: usize = 10_000;

/// The audit log of the acting user's tenant. See [`Host::audit`](crate::Host::audit).
#[derive(Clone)]
pub struct AuditLog {
    pub(crate) core: Arc<Core>,
}

impl AuditLog {
    /// Entries, newest first, each checked against its leaf and commitments. A limit of 0 means 100; 10,000 is the most.
    ///
    /// # Errors
    /// Not an owner; an entry that is not what was recorded, naming it.
    pub async fn list(&self, actor: &Actor, filter: &Filter) -> Result<Page, Refusal> {
        let mut filter = filter.clone();
        filter.limit = if filter.limit == 0 { 100 } else { filter.limit.min(LIST_MOST) };
        let log = self.read(actor, "audit list", "").await?;
        self.core.journal.list(&log, &filter).await.map_err(|error| errors::audit(Stage::Admin, &error))
    }

    /// Begins an export, which carries all that a stranger with the public key needs to verify it offline. It is given
    /// piece by piece, so memory is bounded.
    ///
    /// # Errors
    /// Not an owner; a range the log does not have; a log that was changed.
    pub async fn export(&self, actor: &Actor, format: Format, range: &Range) -> Result<Export, Refusal> {
        let detail = format!("from {}, revealing {}", range.from, range.reveal);
        let log = self.read(actor, "audit export", &detail).await?;
        let export = self.core.journal.export(&log, format, range).await;
        export.map_err(|error| errors::audit(Stage::Admin, &error))
    }

    /// Signs the log as it is now: a C2SP checkpoint, to be kept somewhere else.
    ///
    /// # Errors
    /// Not an owner; a log that was changed or cannot be written.
    pub async fn checkpoint(&self, actor: &Actor) -> Result<String, Refusal> {
        let log = self.read(actor, "audit checkpoint", "").await?;
        self.core.journal.checkpoint(&log).await.map_err(|error| errors::audit(Stage::Admin, &error))
    }

    /// What verifies exports and checkpoints of the log. It is public, so asking is no reading.
    ///
    /// # Errors
    /// No such user.
    pub async fn public_key(&self, actor: &Actor) -> Result<PublicKey, Refusal> {
        let log = match actor.principal {
            Principal::Operator => Log::Host,
            Principal::User { .. } | Principal::Client { .. } => self.core.person(actor).await?.log(),
        };
        Ok(self.core.journal.public_key(&log))
    }

    /// Records that `actor` reads, and answers which log.
    async fn read(&self, actor: &Actor, act: &'static str, detail: &str) -> Result<Log, Refusal> {
        let entry = |draft: Draft| vec![draft.field(field::OUTCOME, "ok").field(field::DETAIL, detail)];
        if actor.principal == Principal::Operator {
            self.core.record(Log::Host, entry(operator_draft(actor, Kind::Read, act))).await?;
            return Ok(Log::Host);
        }
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner], act, detail, async {
                self.core.record(person.log(), entry(person.draft(Kind::Read, act))).await
            })
            .await?;
        Ok(person.log())
    }
}
