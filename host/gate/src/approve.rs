//! What a person does with a confirmation. Approving asks everything anew, as it stands at that moment; what it was
//! bound to must hash to the same value; and the move from `pending` to `running` is made in the transaction of the
//! intent, so that of many approvals and denials exactly one happens and the action runs at most once.
//!
//! Who may approve: an owner or admin whose role the action itself allows. The requester may, as a person, unless the
//! tenant asks for a second one. A program never may, whatever its scopes.

use std::collections::BTreeSet;
use std::sync::Arc;

use opsiq_audit::{AuditError, Draft, Kind, Log, Op, OpError, field};
use opsiq_contract::{Caller, Principal, Role, confirmation_hash, visible};
use opsiq_vault::KeyId;

use crate::act::{Person, narrower, with_address};
use crate::actor::Actor;
use crate::confirmations::{ConfirmationState, ConfirmationView, Decided, Waiting};
use crate::core::{Core, now_ms};
use crate::docs::StoredEnd;
use crate::errors;
use crate::invoke::{Answer, abnormal};
use crate::refusal::{Class, Refusal, Stage};
use crate::replay::seal_end;
use crate::stages::{Admitted, Asked};
use crate::state::{TenantState, User};

/// Most confirmations of one list.
const LIST_MOST: u32 = 500;

/// Risky writes that wait for a person. See [`Host::confirmations`](crate::Host::confirmations).
#[derive(Clone)]
pub struct Confirmations {
    pub(crate) core: Arc<Core>,
}

impl Confirmations {
    /// The newest confirmations, newest first: all of the tenant for owners and admins, their own for others.
    ///
    /// # Errors
    /// No such user; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<ConfirmationView>, Refusal> {
        let person = self.core.person(actor).await?;
        let all = self.core.confirmations(&person.tenant, LIST_MOST).await?;
        let mut views = Vec::new();
        for waiting in all {
            if may_see(&person, &waiting) {
                views.push(self.current(&person.tenant, waiting).await?.view());
            }
        }
        Ok(views)
    }

    /// One confirmation, as a person must see it before deciding.
    ///
    /// # Errors
    /// No such user or confirmation.
    pub async fn show(&self, actor: &Actor, id: &str) -> Result<ConfirmationView, Refusal> {
        let person = self.core.person(actor).await?;
        Ok(self.find(&person, id).await?.view())
    }

    /// Approves a confirmation and runs it now, at most once. Everything it was bound to is asked again first.
    ///
    /// # Errors
    /// Not one who may approve; decided, expired or void; whatever stages 3 to 5 refuse now; how the run failed.
    pub async fn approve(&self, actor: &Actor, id: &str) -> Result<Answer, Refusal> {
        let person = self.core.person(actor).await?;
        let done = self.approve_now(&person, id).await;
        self.recorded(&person, "confirm approve", id, done).await
    }

    /// Denies a confirmation: it can never run. Owners and admins may, and whoever asked for it.
    ///
    /// # Errors
    /// Not one who may deny; decided, expired or void.
    pub async fn deny(&self, actor: &Actor, id: &str) -> Result<ConfirmationView, Refusal> {
        let person = self.core.person(actor).await?;
        let done = self.deny_now(&person, id).await;
        self.recorded(&person, "confirm deny", id, done).await
    }

    async fn recorded<T>(&self, person: &Person, act: &str, id: &str, done: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &done
            && refusal.stage < Stage::Intent
        {
            let id = visible(id, 64).text;
            let draft = person.draft(Kind::Refused, act).field(field::CONFIRMATION, id.clone());
            self.core.record_refused_call(person.log(), draft, refusal, &id).await?;
        }
        done
    }

    async fn find(&self, person: &Person, id: &str) -> Result<Waiting, Refusal> {
        let found = self.core.confirmation(&person.tenant, id).await?;
        match found.filter(|waiting| may_see(person, waiting)) {
            Some(waiting) => self.current(&person.tenant, waiting).await,
            None => Err(Refusal::new(
                Class::NotFound,
                Stage::Confirmation,
                "confirmation.unknown",
                "there is no such confirmation",
                "see opsiq confirm list",
            )),
        }
    }

    /// Ends what this user asked for and nobody decided: they have to prove anew who they are, or may not act any more.
    pub(crate) async fn void_of(&self, person: &Person, user: &User) -> Result<(), Refusal> {
        let requester = Principal::User { name: user.name.clone() };
        let cause = Refusal::new(
            Class::Denied,
            Stage::Confirmation,
            "confirmation.requester-gone",
            "whoever asked for it may not act any more",
            "",
        );
        for waiting in self.core.pending(&person.tenant).await? {
            if *waiting.requester() == requester {
                match Box::pin(self.void(person, waiting, &cause)).await {
                    // Somebody decided it meanwhile.
                    Err(refusal) if refusal.class == Class::Conflict => {}
                    done => drop(done?),
                }
            }
        }
        Ok(())
    }

    /// Ends what waits about the subject of this key, which is destroyed.
    pub(crate) async fn void_about(&self, tenant: &Arc<TenantState>, key: KeyId) -> Result<(), Refusal> {
        for waiting in self.core.pending(tenant).await? {
            if waiting.is_about(key) {
                self.current(tenant, waiting).await?;
            }
        }
        Ok(())
    }

    /// The confirmation as it stands now: one whose time has run out expires, and one about whom is erased is void.
    async fn current(&self, tenant: &Arc<TenantState>, waiting: Waiting) -> Result<Waiting, Refusal> {
        if waiting.state() != ConfirmationState::Pending {
            return Ok(waiting);
        }
        let (to, word, refusal) = match waiting.told() {
            Err(refusal) => (ConfirmationState::Void, "void", refusal),
            Ok(_) if waiting.expires_ms() > now_ms() => return Ok(waiting),
            Ok(_) => {
                let refusal = Refusal::new(
                    Class::Denied,
                    Stage::Confirmation,
                    "confirmation.expired",
                    "nobody approved the call in time",
                    "call the action again",
                );
                (ConfirmationState::Expired, "expired", refusal)
            }
        };
        let draft = Draft::new(Kind::Confirmation).field(field::ACTOR, "host");
        self.end(tenant, waiting, to, draft, word, refusal).await
    }

    async fn approve_now(&self, person: &Person, id: &str) -> Result<Answer, Refusal> {
        let waiting = self.find(person, id).await?;
        is_pending(&waiting)?;
        if person.actor.scopes.is_some() || !matches!(person.actor.principal, Principal::User { .. }) {
            return Err(not_approver(
                "only a person can approve, never a program",
                "let a person of the tenant approve it",
            ));
        }
        let role = person.user.role;
        if !matches!(role, Role::Owner | Role::Admin) {
            let message = format!("approving needs the role owner or admin; {} has {role}", person.actor.principal);
            return Err(not_approver(&message, "ask an owner or admin of the tenant to approve it"));
        }
        decides(person, &[Role::Owner, Role::Admin], "confirm approve")?;
        person.fresh("confirm approve", &self.core.identity.times)?;
        let record = self.core.record_of(&person.tenant).await?;
        if record.doc.second_person && self.asked_by(person, &waiting).await? {
            let message =
                "this tenant asks for a second person: whoever asked cannot approve, nor who made the client that did";
            return Err(not_approver(message, "ask another owner or admin to approve it"));
        }
        let admitted = match self.again(&person.tenant, &waiting).await {
            Ok(admitted) => admitted,
            Err(refusal) if matches!(refusal.class, Class::Unavailable | Class::Internal | Class::Tampered) => {
                return Err(refusal);
            }
            Err(refusal) => return Err(self.void(person, waiting, &refusal).await?),
        };
        let action = admitted.authorized.action();
        if !action.roles.contains(&role) {
            let message = format!("`{}` is not for the role {role}, so neither is approving it", action.name);
            return Err(not_approver(&message, "ask someone of a role that the action allows"));
        }
        if let Some((_, custom)) = &person.user.custom
            && !custom.covers(admitted.authorized.family(), action)
        {
            let message = format!("`{}` is outside the role `{}`, so approving it is too", action.name, custom.name);
            return Err(not_approver(&message, "ask someone whose role covers the action"));
        }
        self.run(person, waiting, admitted).await
    }

    /// Whether it may have been this person who asked: as themselves, or by a client whose secret they were told.
    async fn asked_by(&self, person: &Person, waiting: &Waiting) -> Result<bool, Refusal> {
        match waiting.requester() {
            Principal::Client { name } => {
                let client = self.core.client(&person.tenant, name).await?;
                Ok(client.is_none_or(|client| client.may_be_in_the_hands_of(&person.user)))
            }
            requester => Ok(*requester == person.actor.principal),
        }
    }

    /// Stages 3 to 5 once more for the requester, as everything stands now, and the hash over all of it.
    async fn again(&self, tenant: &Arc<TenantState>, waiting: &Waiting) -> Result<Admitted, Refusal> {
        let (request, told) = (waiting.request(), waiting.told()?);
        let standing = self.core.standing(tenant, &request.requester).await?;
        let standing = standing.filter(|(user, _)| user.enabled).ok_or_else(|| {
            Refusal::new(
                Class::Denied,
                Stage::Confirmation,
                "confirmation.requester-gone",
                "whoever asked for it may not act any more",
                "someone who may calls the action again",
            )
        })?;
        // Scopes taken from a client since it asked count as well.
        let (user, held) = standing;
        let scopes = narrower(request.scopes.as_ref(), held.as_ref());
        let custom = user.custom.as_ref().map(|(_, custom)| custom.clone());
        let caller = Caller { principal: request.requester.clone(), role: user.role, scopes, custom };
        let asked = Asked {
            caller: &Arc::new(caller),
            installation: waiting.installation().as_str(),
            action: &request.action,
            params: told.params.as_bytes(),
            invocation: &waiting.invocation()?,
        };
        let admitted = self.core.admit(tenant, asked).await?;
        let same_text = admitted.params.as_str() == told.params;
        if same_text && confirmation_hash(&admitted.authorized, &admitted.params, waiting.expires_ms()) == told.hash {
            return Ok(admitted);
        }
        Err(Refusal::new(
            Class::Denied,
            Stage::Confirmation,
            "confirmation.changed",
            "the installation, its grant or config, the plugin, the ceiling or the requester's role changed since it was asked for",
            "call the action again; what is then shown is what will run",
        ))
    }

    async fn run(&self, person: &Person, mut waiting: Waiting, admitted: Admitted) -> Result<Answer, Refusal> {
        let core = &self.core;
        let invocation = waiting.invocation()?;
        let replay = waiting.request().replay.clone();
        let mut ready = core.ready(&person.tenant, admitted, replay, person.actor.address).await?;
        waiting.decide(person.actor.principal.to_string());
        let settled = waiting.moved(&person.tenant, ConfirmationState::Pending, ConfirmationState::Running)?;
        let draft = with_address(&person.actor, waiting.entry(Draft::new(Kind::Intent), "approved"))
            .field(field::PARAMS, ready.shown_params())
            .field(field::EFFECT, ready.admitted.authorized.effect().to_string())
            .field(field::APPROVED_BY, person.actor.principal.to_string())
            .field(field::APPROVED_AS, person.user.role.to_string());
        ready.confirmation = Some(waiting.now(&settled));
        let op = Op::new(move |tx| Box::pin(async move { settled.write(tx).await }));
        let (journal_core, ticket) = (core.clone(), core.running.enter());
        let task = tokio::spawn(async move {
            let _ticket = ticket;
            match journal_core.journal.intent(&ready.admitted.authorized, draft, op).await {
                Ok((permit, open, ())) => journal_core.run(ready, permit, open).await,
                Err(error) => Err(decided_first(Stage::Intent, &error)),
            }
        });
        let done = task.await.unwrap_or_else(|_| Err(abnormal(&invocation)));
        done.map(Answer::Done)
    }

    async fn deny_now(&self, person: &Person, id: &str) -> Result<ConfirmationView, Refusal> {
        let mut waiting = self.find(person, id).await?;
        is_pending(&waiting)?;
        if person.user.custom.is_none() || *waiting.requester() != person.actor.principal {
            decides(person, &[Role::Owner, Role::Admin, Role::Support], "confirm deny")?;
        }
        waiting.decide(person.actor.principal.to_string());
        let refusal = Refusal::new(
            Class::Denied,
            Stage::Confirmation,
            "confirmation.denied",
            "a person denied the call",
            "ask them why; the same call needs a new confirmation",
        );
        let draft = person.draft(Kind::Confirmation, &waiting.request().action);
        let ended = self.end(&person.tenant, waiting, ConfirmationState::Denied, draft, "denied", refusal).await?;
        Ok(ended.view())
    }

    /// What it was bound to changed, so it can never run. Answers what the approver is told.
    async fn void(&self, person: &Person, waiting: Waiting, cause: &Refusal) -> Result<Refusal, Refusal> {
        let mut refusal = Refusal::new(
            Class::Denied,
            Stage::Confirmation,
            cause.code.clone(),
            format!("the confirmation is void: {}", cause.message),
            "call the action again; what is then shown is what will run",
        );
        refusal.faults.clone_from(&cause.faults);
        let draft = person.draft(Kind::Confirmation, &waiting.request().action);
        let draft = draft.field(field::RULE, cause.code.to_string());
        self.end(&person.tenant, waiting, ConfirmationState::Void, draft, "void", refusal.clone()).await?;
        Ok(refusal)
    }

    /// Ends a pending confirmation that will not run, with its entry and, where an idempotency key waits for it, the
    /// refusal as that key's answer, in one commit.
    async fn end(
        &self,
        tenant: &Arc<TenantState>,
        waiting: Waiting,
        to: ConfirmationState,
        draft: Draft,
        word: &'static str,
        refusal: Refusal,
    ) -> Result<Waiting, Refusal> {
        let settled = waiting.moved(tenant, ConfirmationState::Pending, to)?;
        let invocation = waiting.invocation()?;
        let draft = waiting.entry(draft, word).invocation(invocation.clone()).field(field::OUTCOME, word);
        let answer = match waiting.request().replay.clone() {
            None => None,
            Some(replay) => {
                let end = StoredEnd::Failed(Box::new(refusal.of(&invocation)));
                Some((replay, seal_end(tenant, &invocation, end, None)?))
            }
        };
        let now = waiting.now(&settled);
        let whose = tenant.id.clone();
        let op = Op::new(move |tx| {
            Box::pin(async move {
                settled.write(tx).await?;
                if let Some((replay, answer)) = answer {
                    tx.idempotency_finish(replay.stored(&whose), &invocation, &answer).await?;
                }
                Ok(())
            })
        });
        let done = self.core.journal.commit(&Log::Tenant(tenant.id.clone()), vec![draft], op).await;
        done.map_err(|error| decided_first(Stage::Confirmation, &error))?;
        Ok(now)
    }
}

/// Owners and admins see all confirmations of their tenant, others their own, as a program does whatever its role.
fn may_see(person: &Person, waiting: &Waiting) -> bool {
    let decides = |acts: &BTreeSet<String>| ["confirm approve", "confirm deny"].iter().any(|act| acts.contains(*act));
    let all = !person.is_client() && person.user.custom.as_ref().is_none_or(|(_, custom)| decides(&custom.acts));
    (all && matches!(person.user.role, Role::Owner | Role::Admin)) || *waiting.requester() == person.actor.principal
}

/// Refuses who may not decide, at this stage.
fn decides(person: &Person, roles: &[Role], act: &str) -> Result<(), Refusal> {
    person.must_be(roles, act).map_err(|refusal| Refusal { stage: Stage::Confirmation, ..refusal })
}

fn is_pending(waiting: &Waiting) -> Result<(), Refusal> {
    match waiting.state() {
        ConfirmationState::Pending => Ok(()),
        state => Err(decided(Stage::Confirmation, &format!("the confirmation is {state} already"))),
    }
}

fn decided(stage: Stage, message: &str) -> Refusal {
    Refusal::new(Class::Conflict, stage, "confirmation.decided", message, "call the action again for a new one")
}

/// An error of the commit that would have decided: perhaps somebody else did.
fn decided_first(stage: Stage, error: &AuditError) -> Refusal {
    if let AuditError::Operation(OpError::Refused(inner)) = error
        && inner.downcast_ref::<Decided>().is_some()
    {
        return decided(Stage::Confirmation, "the confirmation was decided meanwhile");
    }
    errors::audit(stage, error)
}

fn not_approver(message: &str, fix: &str) -> Refusal {
    Refusal::new(Class::Denied, Stage::Confirmation, "confirmation.not-approver", message, fix)
}
