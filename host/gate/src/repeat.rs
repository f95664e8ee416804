//! Administrative writes that come again: one caller's idempotency key names one request for a day, as the IETF draft on
//! the Idempotency-Key header has it. The same request again gets the same answer; another one under the key is refused.
//!
//! The key is claimed before the act and gets its answer after it. What was refused did nothing, so its key is free again.
//! What ended in between, or whose end was not recorded, stays unknown, and is not done again by itself.

use std::sync::Arc;

use opsiq_audit::{AuditError, Kind, Log, Op, OpError, field};
use opsiq_contract::InvocationId;
use opsiq_store::Claim;
use serde::{Deserialize, Serialize};

use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, new_invocation, now_ms};
use crate::docs::StoredEnd;
use crate::errors;
use crate::host::Host;
use crate::refusal::{Class, Refusal, Stage};
use crate::replay::{self, KEPT_MS, Replay, Taken};
use crate::state::TenantState;

/// How long an act takes at most, in milliseconds: one that has not ended by then never will.
const LONGEST_MS: i64 = 5 * 60_000;
/// What entries about it name.
const ACT: &str = "repeat";

/// A request under an idempotency key. It is told from others by the whole of it.
#[derive(Debug, Clone, Copy)]
pub struct Repeatable<'a> {
    /// The key.
    pub key: &'a str,
    /// What is done.
    pub method: &'a str,
    /// To what: path and query.
    pub target: &'a str,
    /// With what.
    pub body: &'a [u8],
}

/// An answer as it is given again. Secrets that are shown once are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Header fields that belong to it.
    pub headers: Vec<(String, String)>,
    /// Its JSON; empty for no content.
    pub body: String,
}

/// What a request under a key is.
#[derive(Debug)]
pub enum Repeat {
    /// The first: it is to be done.
    First(Holding),
    /// One that was answered.
    Again(KeptAnswer),
}

/// The first request under its key, until it is said how it ended.
pub struct Holding {
    core: Arc<Core>,
    tenant: Arc<TenantState>,
    replay: Replay,
    invocation: InvocationId,
}

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holding").field("invocation", &self.invocation).finish_non_exhaustive()
    }
}

impl Host {
    /// Whether a request under an idempotency key is to be done, or was. The key belongs to its tenant and principal.
    ///
    /// # Errors
    /// `idempotency.other-params` (422) for a key that another request has; `idempotency.in-flight` (409) while the first is
    /// done; `idempotency.unknown` (409) when its end is not known; `idempotency.no-tenant` for the operator, whose acts are
    /// told apart by what they name; who may not act at all.
    pub async fn repeat(&self, actor: &Actor, asked: &Repeatable<'_>) -> Result<Repeat, Refusal> {
        if actor.tenant().is_none() {
            return Err(Refusal::new(
                Class::Invalid,
                Stage::Replay,
                "idempotency.no-tenant",
                "an act of the operator is told apart by what it names, and takes no idempotency key",
                "send none: the same act again is refused or changes nothing",
            ));
        }
        let person = self.core().person(actor).await?;
        let replay = Replay::of_request(&person.tenant.vault, &actor.principal, asked)?;
        let found = self.core().store.idempotency_find(replay.stored(&person.tenant.id), replay.call(), now_ms());
        let claim = match found.await.map_err(|error| errors::store(Stage::Replay, &error))? {
            Claim::New => match self.core().hold(&person, &replay).await? {
                Ok(holding) => return Ok(Repeat::First(holding)),
                Err(taken) => taken,
            },
            taken => taken,
        };
        let again = self.core().again(&person, claim).await;
        if let Err(refusal) = &again {
            let draft =
                person.draft(Kind::Refused, ACT).field(field::DETAIL, format!("{} {}", asked.method, asked.target));
            self.core().record_refusal(person.log(), draft, refusal).await?;
        }
        again.map(Repeat::Again)
    }
}

impl Core {
    /// Claims the key, or says who has it.
    async fn hold(
        self: &Arc<Self>,
        person: &Person,
        replay: &Replay,
    ) -> Result<Result<Holding, Claim<StoredEnd>>, Refusal> {
        let invocation = new_invocation()?;
        let (tenant, claiming, whose) = (person.tenant.id.clone(), replay.clone(), invocation.clone());
        let claim = Op::new(move |tx| {
            Box::pin(async move {
                let now = now_ms();
                claiming.claim(tx, &tenant, &whose, now, now + KEPT_MS).await
            })
        });
        match self.journal.commit(&person.log(), Vec::new(), claim).await {
            Ok(()) => {
                let (core, tenant, replay) = (self.clone(), person.tenant.clone(), replay.clone());
                Ok(Ok(Holding { core, tenant, replay, invocation }))
            }
            Err(error) => {
                if let AuditError::Operation(OpError::Refused(inner)) = &error
                    && let Some(Taken(claim)) = inner.downcast_ref::<Taken>()
                {
                    return Ok(Err(claim.clone()));
                }
                Err(errors::audit(Stage::Replay, &error))
            }
        }
    }

    /// The answer to a request that came before. It is given again only after that is on record.
    async fn again(&self, person: &Person, claim: Claim<StoredEnd>) -> Result<KeptAnswer, Refusal> {
        match claim {
            Claim::OtherParams => Err(replay::other_params()),
            Claim::Interrupted(first) => Err(replay::unknown_end(&first)),
            Claim::InFlight(first) if begun_ms(&first) + LONGEST_MS < now_ms() => Err(replay::unknown_end(&first)),
            // A new one expired between two looks.
            Claim::InFlight(_) | Claim::New => Err(replay::in_flight()),
            Claim::Answered { invocation, answer } => {
                let StoredEnd::Reply(kept) =
                    replay::open_end(&self.store, &person.tenant, &invocation, &answer).await?
                else {
                    return Err(replay::other_params());
                };
                let draft = person
                    .draft(Kind::Admin, ACT)
                    .field(field::OUTCOME, "replayed")
                    .field(field::DETAIL, format!("the stored answer of {invocation}"));
                self.record(person.log(), vec![draft]).await?;
                Ok(*kept)
            }
        }
    }
}

/// When a request began: the time is in its id (RFC 9562 section 5.7), in milliseconds since 1970.
fn begun_ms(invocation: &InvocationId) -> i64 {
    let time = uuid::Uuid::try_parse(invocation.as_str()).ok().and_then(|id| id.get_timestamp());
    let (seconds, nanos) = time.map_or((0, 0), |time| time.to_unix());
    i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000) + i64::from(nanos / 1_000_000)
}

impl Holding {
    /// It was done, and so answered.
    ///
    /// # Errors
    /// A log or disk that does not serve; its end is unknown then.
    pub async fn answered(self, answer: KeptAnswer) -> Result<(), Refusal> {
        let end = StoredEnd::Reply(Box::new(answer));
        let sealed = replay::seal_end(&self.tenant, &self.invocation, end, None)?;
        let (tenant, replay, invocation) = (self.tenant.id.clone(), self.replay.clone(), self.invocation.clone());
        self.end(Op::new(move |tx| {
            Box::pin(async move { Ok(tx.idempotency_finish(replay.stored(&tenant), &invocation, &sealed).await?) })
        }))
        .await
    }

    /// It was refused. Where that says that nothing happened, the key is free again; otherwise its end is unknown.
    ///
    /// # Errors
    /// A log or disk that does not serve; its end is unknown then.
    pub async fn refused(self, refusal: &Refusal) -> Result<(), Refusal> {
        let nothing = !refusal.effect_possible && !matches!(refusal.class, Class::Internal | Class::Unavailable);
        let (tenant, invocation) = (self.tenant.id.clone(), self.invocation.clone());
        self.end(Op::new(move |tx| {
            Box::pin(async move {
                if nothing {
                    tx.idempotency_release(&tenant, &invocation).await?;
                } else {
                    tx.idempotency_interrupt(&tenant, &invocation).await?;
                }
                Ok(())
            })
        }))
        .await
    }

    async fn end(&self, op: Op<()>) -> Result<(), Refusal> {
        let log = Log::Tenant(self.tenant.id.clone());
        let done = self.core.journal.commit(&log, Vec::new(), op).await;
        done.map_err(|error| errors::audit(Stage::Outcome, &error))
    }
}
