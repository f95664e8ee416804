//! Any action, by any principal: DESIGN §6 from stage 3 on, in its order, in one place.

use std::sync::Arc;

use opsiq_audit::{AuditError, Draft, Kind, Op, OpError, field};
use opsiq_contract::{Contract, Effect, InvocationId, visible};
use opsiq_sandbox::Meter;
use opsiq_shield::ClientIp;
use opsiq_store::{Claim, ConfirmationState};
use serde_json::Value;

use crate::act::{Person, with_address};
use crate::actor::Actor;
use crate::confirmations::ConfirmationView;
use crate::core::{Core, new_invocation, now_ms};
use crate::docs::StoredEnd;
use crate::errors;
use crate::host::Host;
use crate::refusal::{Refusal, Stage};
use crate::replay::{self, KEPT_MS, Replay, Taken};
use crate::run::Ready;
use crate::stages::{Admitted, Asked};
use crate::state::{Installed, TenantState};

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
#[derive(Clone)]
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
    pub(crate) contract: Arc<Contract>,
    pub(crate) action: String,
}

impl Done {
    /// The result as it may be shown: fields marked secret or pii are redacted.
    pub fn shown(&self) -> Value {
        let value = serde_json::from_str(&self.result).unwrap_or_default();
        self.contract.action(&self.action).map_or(Value::Null, |action| action.result.redact(&value))
    }
}

/// Names the call; the result may be personal.
impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Done")
            .field("invocation", &self.invocation)
            .field("action", &self.action)
            .field("replayed", &self.replayed)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Runs one action of one installation, or says why not. A risky write answers [`Answer::Pending`] and runs when
    /// a person approves it. When this returns, what it says is on record.
    ///
    /// A caller that goes away does not stop a write that has begun; a read ends with its caller.
    ///
    /// # Errors
    /// The refusal of the first stage that refuses, or how the run failed; with [`Refusal::effect_possible`] when
    /// something may have happened outside all the same.
    pub async fn invoke(&self, actor: &Actor, call: Call) -> Result<Answer, Refusal> {
        let core = self.core();
        let person = core.person(actor).await?;
        let invocation = new_invocation()?;
        let answer = core.invoke(&person, &call, &invocation).await;
        match answer {
            // What a later stage refused is on record as the outcome.
            Err(refusal) if refusal.stage < Stage::Intent => {
                if let Some(installed) = person.tenant.installed(&call.installation) {
                    installed.totals.refused();
                }
                let draft = refused_draft(&person, &call, &invocation);
                let called = visible(&call.installation, 64).text;
                core.record_refused_call(person.log(), draft, &refusal, &called).await?;
                Err(refusal.of(&invocation))
            }
            answer => answer,
        }
    }
}

fn refused_draft(person: &Person, call: &Call, invocation: &InvocationId) -> Draft {
    person
        .draft(Kind::Refused, &visible(&call.action, 64).text)
        .invocation(invocation.clone())
        .field(field::INSTALLATION, visible(&call.installation, 64).text)
}

impl Core {
    async fn invoke(
        self: &Arc<Self>,
        person: &Person,
        call: &Call,
        invocation: &InvocationId,
    ) -> Result<Answer, Refusal> {
        let caller = person.caller();
        let asked = Asked {
            caller: &caller,
            installation: &call.installation,
            action: &call.action,
            params: &call.params,
            invocation,
        };
        let admitted = self.admit(&person.tenant, asked).await?;
        let replay = replay_of(person, call, &admitted)?;
        if let Some(replay) = &replay {
            let found =
                self.store.idempotency_find::<StoredEnd>(replay.stored(&person.tenant.id), replay.call(), now_ms());
            let found = found.await.map_err(|error| errors::store(Stage::Replay, &error))?;
            if !matches!(found, Claim::New) {
                return Box::pin(self.answer_claim(person, &Asking::of(&admitted), found, invocation)).await;
            }
        }
        match admitted.authorized.effect() {
            Effect::RiskyWrite => {
                self.engine().await?.sandbox.count(&admitted.authorized).map_err(Refusal::full)?;
                let asking = Asking::of(&admitted);
                let asked = Box::pin(self.ask_confirmation(person, admitted, replay, invocation)).await;
                match asked {
                    Ok(view) => Ok(Answer::Pending(Box::new(view))),
                    Err(error) => Box::pin(self.taken(person, &asking, error, Stage::Confirmation, invocation)).await,
                }
            }
            Effect::Read if replay.is_none() && !admitted.authorized.needs_intent() => {
                let ready = self.ready(&person.tenant, admitted, None, person.actor.address).await?;
                let permit = self.journal.read_permit(&ready.admitted.authorized);
                let (permit, open) = permit.map_err(|error| errors::audit(Stage::Intent, &error))?;
                self.run(ready, permit, open).await.map(Answer::Done)
            }
            _ => Box::pin(self.write(person, admitted, replay, invocation)).await,
        }
    }

    /// Stages 8 to 11 of a call with an effect, which go on to their end whether or not the caller waits.
    async fn write(
        self: &Arc<Self>,
        person: &Person,
        admitted: Admitted,
        replay: Option<Replay>,
        invocation: &InvocationId,
    ) -> Result<Answer, Refusal> {
        let asking = Asking::of(&admitted);
        let ready = self.ready(&person.tenant, admitted, replay, person.actor.address).await?;
        let draft = with_address(&person.actor, Draft::new(Kind::Intent))
            .field(field::PARAMS, ready.shown_params())
            .field(field::EFFECT, ready.admitted.authorized.effect().to_string())
            .about(ready.admitted.about.clone());
        let claim = ready.replay.clone();
        let (tenant, whose) = (person.tenant.id.clone(), invocation.clone());
        let op = match claim {
            None => Op::none(),
            Some(replay) => Op::new(move |tx| {
                Box::pin(async move {
                    let now = now_ms();
                    replay.claim(tx, &tenant, &whose, now, now + KEPT_MS).await
                })
            }),
        };
        let core = self.clone();
        let ticket = self.running.enter();
        let task = tokio::spawn(async move {
            let _ticket = ticket;
            match core.journal.intent(&ready.admitted.authorized, draft, op).await {
                Ok((permit, open, ())) => Ok(core.run(ready, permit, open).await),
                Err(error) => Err(error),
            }
        });
        match task.await {
            Ok(Ok(done)) => done.map(Answer::Done),
            Ok(Err(error)) => self.taken(person, &asking, error, Stage::Intent, invocation).await,
            Err(_) => Err(abnormal(invocation)),
        }
    }

    /// What an error of a commit means for the caller: perhaps another call holds the idempotency key.
    async fn taken(
        self: &Arc<Self>,
        person: &Person,
        asking: &Asking,
        error: AuditError,
        stage: Stage,
        invocation: &InvocationId,
    ) -> Result<Answer, Refusal> {
        if let AuditError::Operation(OpError::Refused(inner)) = &error
            && let Some(Taken(claim)) = inner.downcast_ref::<Taken>()
        {
            return self.answer_claim(person, asking, claim.clone(), invocation).await;
        }
        Err(errors::audit(stage, &error).of(invocation))
    }

    /// The answer of the call that holds the key.
    async fn answer_claim(
        self: &Arc<Self>,
        person: &Person,
        asking: &Asking,
        claim: Claim<StoredEnd>,
        invocation: &InvocationId,
    ) -> Result<Answer, Refusal> {
        let tenant = &person.tenant;
        match claim {
            // It expired between two looks.
            Claim::New => Err(replay::in_flight()),
            Claim::OtherParams => Err(replay::other_params()),
            Claim::Interrupted(first) => Err(replay::unknown_end(&first)),
            Claim::InFlight(first) => match self.confirmation(tenant, first.as_str()).await? {
                Some(waiting) if waiting.state() == ConfirmationState::Pending => {
                    self.record_replay(person, asking, &first, invocation).await?;
                    Ok(Answer::Pending(Box::new(waiting.view())))
                }
                _ => Err(replay::in_flight()),
            },
            Claim::Answered { invocation: first, answer } => {
                let end = replay::open_end(&self.store, tenant, &first, &answer).await?;
                self.record_replay(person, asking, &first, invocation).await?;
                match end {
                    StoredEnd::Done(result) => Ok(Answer::Done(Done {
                        invocation: first,
                        effect: asking.effect,
                        result,
                        meter: Meter::default(),
                        replayed: true,
                        contract: asking.installed.contract.clone(),
                        action: asking.action.clone(),
                    })),
                    // Its own stage is kept, and so not recorded once more as a refusal of this call.
                    StoredEnd::Failed(refusal) => Err(*refusal),
                    // A request has another hash than a call.
                    StoredEnd::Reply(_) => Err(replay::other_params()),
                    StoredEnd::About(_) => Err(errors::internal(Stage::Replay, "a stored answer holds another one")),
                }
            }
        }
    }

    /// A stored answer is given again only after that is on record.
    async fn record_replay(
        &self,
        person: &Person,
        asking: &Asking,
        first: &InvocationId,
        invocation: &InvocationId,
    ) -> Result<(), Refusal> {
        let installation = &asking.installed.installation;
        let draft = person
            .draft(Kind::Outcome, &asking.action)
            .invocation(invocation.clone())
            .field(field::INSTALLATION, installation.name.clone())
            .field(field::PLUGIN, installation.plugin.to_string())
            .field(field::OUTCOME, "replayed")
            .field(field::DETAIL, format!("the stored answer of {first}"));
        self.record(person.log(), vec![draft]).await
    }

    /// Everything a run needs beyond its permit; last a place for it, before anything of it is durable.
    pub(crate) async fn ready(
        &self,
        tenant: &Arc<TenantState>,
        admitted: Admitted,
        replay: Option<Replay>,
        address: Option<ClientIp>,
    ) -> Result<Ready, Refusal> {
        let plugin = self.plugin_of(&admitted.installed).await?;
        // It can be seen and stopped from here on, so the last look at the quarantines comes after: see `control`.
        let entered = self.live.enter(&admitted.authorized, &admitted.installed.totals);
        let live = &entered.call.live;
        if let Some(quarantine) = self.quarantines.covering(&admitted.installed.installation) {
            live.stop(quarantine.bars());
        }
        match self.engine().await?.sandbox.enter(&plugin, &admitted.authorized, live).await {
            Ok(place) => Ok(Ready::new(self, tenant.clone(), admitted, plugin, (entered, place), replay, address)),
            Err(why) => {
                // It counts as refused, like everything that is refused before its intent.
                entered.ended(|_, _| {});
                Err(Refusal::no_place(why))
            }
        }
    }
}

/// What a call asks for, kept while the call itself runs elsewhere.
struct Asking {
    installed: Arc<Installed>,
    action: String,
    /// As the contract says.
    effect: Effect,
}

impl Asking {
    fn of(admitted: &Admitted) -> Self {
        let action = admitted.authorized.action();
        Self { installed: admitted.installed.clone(), action: action.name.clone(), effect: action.effect }
    }
}

/// The caller's idempotency key, when there is one.
fn replay_of(person: &Person, call: &Call, admitted: &Admitted) -> Result<Option<Replay>, Refusal> {
    let of = |key: &String| {
        let Admitted { authorized, params, .. } = admitted;
        let action = &authorized.action().name;
        let vault = &person.tenant.vault;
        Replay::new(vault, &person.actor.principal, key, authorized.installation(), action, params)
    };
    call.idempotency_key.as_ref().map(of).transpose()
}

/// The task of a call ended without an answer.
pub(crate) fn abnormal(invocation: &InvocationId) -> Refusal {
    let mut refusal =
        errors::internal(Stage::Run, "the call ended abnormally; its log says interrupted").of(invocation);
    refusal.effect_possible = true;
    refusal
}
