//! How anybody does anything: who it is, as it stands now; whether the role allows it; the change and its audit entry in
//! one commit; and a refusal that is itself on record. If the record cannot be written, the answer is `unavailable`.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::{Caller, Principal, Role, TenantId};
use opsiq_identity::{Lifetime, SessionTimes};

use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::rollback::rolled_back;
use crate::state::{Session, TenantState, User};

/// A user or an API client of a tenant, as they stand at this act.
pub(crate) struct Person {
    pub(crate) tenant: Arc<TenantState>,
    pub(crate) user: Arc<User>,
    pub(crate) actor: Actor,
    /// The session they act in.
    pub(crate) session: Option<Arc<Session>>,
}

impl Person {
    /// The caller that authority asks about.
    pub(crate) fn caller(&self) -> Arc<Caller> {
        let Actor { principal, scopes, .. } = &self.actor;
        let custom = self.user.custom.as_ref().map(|(_, custom)| custom.clone());
        Arc::new(Caller { principal: principal.clone(), role: self.user.role, scopes: scopes.clone(), custom })
    }

    /// Their tenant's log.
    pub(crate) fn log(&self) -> Log {
        Log::Tenant(self.tenant.id.clone())
    }

    /// Whether it is a program that signs, not a person.
    pub(crate) fn is_client(&self) -> bool {
        matches!(self.actor.principal, Principal::Client { .. })
    }

    /// An entry about what they do.
    pub(crate) fn draft(&self, kind: Kind, action: &str) -> Draft {
        with_address(&self.actor, Draft::new(kind))
            .field(field::ACTOR, self.actor.principal.to_string())
            .field(field::ROLE, self.user.role_shown())
            .field(field::ACTION, action)
    }

    /// Refuses unless the role is one of `roles` and this is a person, not a program limited to scopes.
    pub(crate) fn must_be(&self, roles: &[Role], act: &str) -> Result<(), Refusal> {
        if self.actor.scopes.is_some() || self.is_client() {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Admin,
                "act.needs-person",
                format!("`{act}` is for a person, not for a program"),
                "let a person of the tenant do it",
            ));
        }
        if roles.contains(&self.user.role) {
            return self.within(act);
        }
        let needed = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "role.not-allowed",
            format!("`{act}` needs the role {needed}; {} has {}", self.actor.principal, self.user.role),
            format!("ask an {needed} of the tenant to do it"),
        ))
    }
}

/// What both allow, where `None` limits nothing.
pub(crate) fn narrower(a: Option<&BTreeSet<String>>, b: Option<&BTreeSet<String>>) -> Option<BTreeSet<String>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (one, other) => one.or(other).cloned(),
    }
}

impl Person {
    /// Refuses what is outside the custom role, if they have one.
    fn within(&self, act: &str) -> Result<(), Refusal> {
        let Some((_, custom)) = self.user.custom.as_ref().filter(|(_, custom)| !custom.acts.contains(act)) else {
            return Ok(());
        };
        Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "role.narrowed",
            format!("the role `{}` is {} without `{act}`", custom.name, custom.base),
            "ask an owner of the tenant to do it",
        ))
    }

    /// Refuses who is not signed in as this person, and what asks for a second factor when none was shown lately.
    pub(crate) fn may_own(&self, act: &str, times: &SessionTimes) -> Result<(), Refusal> {
        if self.is_client() || self.session.is_none() {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Admin,
                "account.needs-session",
                format!("`{act}` is for the account's own person, in a session"),
                "sign in: opsiq login, or /sign-in in a browser",
            ));
        }
        self.fresh(act, times)
    }

    /// Refuses what asks for a second factor shown lately, when the last one in this session was long ago.
    pub(crate) fn fresh(&self, act: &str, times: &SessionTimes) -> Result<(), Refusal> {
        shown_lately(act, self.session.as_ref().map(|session| session.lifetime()), now_ms(), times)
    }
}

/// Outside a session nobody is asked: whoever may open the data directory shows more than a code.
fn shown_lately(act: &str, session: Option<Lifetime>, now_ms: i64, times: &SessionTimes) -> Result<(), Refusal> {
    if !FRESH.contains(&act) || session.is_none_or(|session| session.is_fresh(now_ms, times)) {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Denied,
        Stage::Authenticate,
        "session.step-up-needed",
        format!("`{act}` asks for a code of the second factor, shown within the last minutes"),
        "show a new code, then do it again",
    ))
}

/// What is asked for a fresh second factor, when it is done in a session.
const FRESH: &[&str] = &[
    "account authenticator",
    "account passkey enrol",
    "account passkey remove",
    "account password",
    "account recovery-codes",
    "audit export",
    "client allow",
    "client create",
    "client retire",
    "client revoke",
    "client rotate",
    "audit hold lift",
    "audit retention set",
    "confirm approve",
    "connector grant",
    "connector install",
    "connector upgrade accept",
    "firewall allow",
    "firewall block",
    "firewall remove",
    "key retire",
    "key rotate",
    "key set",
    "role create",
    "role remove",
    "sso remove",
    "sso set",
    "subject erase",
    "tenant second-person",
    "user add",
    "user disable",
    "user enable",
    "user invite",
    "user reset-2fa",
    "user revoke",
    "user role",
];

/// Adds the peer's address and the request's id, when there are any.
pub(crate) fn with_address(actor: &Actor, draft: Draft) -> Draft {
    let draft = match actor.address {
        Some(address) => draft.field(field::IP, address.to_string()),
        None => draft,
    };
    match &actor.request {
        Some(id) => draft.field(field::REQUEST, id.to_string()),
        None => draft,
    }
}

/// An entry of an administrative act by the operator.
pub(crate) fn operator_draft(actor: &Actor, kind: Kind, action: &str) -> Draft {
    with_address(actor, Draft::new(kind)).field(field::ACTOR, actor.principal.to_string()).field(field::ACTION, action)
}

impl Core {
    /// Who acts, as they stand now. An unknown tenant and an unknown user are one answer; both go to the host log. Whoever comes
    /// from an address that the tenant's list does not let come acts no more than one who is not there.
    pub(crate) async fn person(self: &Arc<Self>, actor: &Actor) -> Result<Person, Refusal> {
        let Some(tenant) = actor.tenant.as_ref().filter(|_| actor.principal != Principal::Operator) else {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Authenticate,
                "caller.no-tenant",
                "this is for a user of a tenant, not for the operator",
                "name the user with --as TENANT/USER",
            ));
        };
        let found = match self.tenants.get(tenant) {
            Some(state) => self.standing(&state, &actor.principal).await?.map(|standing| (state, standing)),
            None => None,
        };
        let Some((state, (user, scopes))) = found else {
            let refusal = self.unknown_caller(tenant);
            let draft = with_address(actor, Draft::new(Kind::Refused))
                .field(field::ACTOR, actor.principal.to_string())
                .field(field::DETAIL, format!("tenant {tenant}"));
            self.record_refusal(Log::Host, draft, &refusal).await?;
            return Err(refusal);
        };
        self.tenant_lets_come(&state, Some(&user.name), actor.address).await?;
        let session = match &actor.session {
            Some(index) => match self.live_session(&state, &user, index).await {
                Ok(session) => Some(session),
                Err(refusal) => {
                    let person = Person { tenant: state, user, actor: actor.clone(), session: None };
                    let draft = person.draft(Kind::Refused, "authenticate");
                    self.record_refusal(person.log(), draft, &refusal).await?;
                    return Err(refusal);
                }
            },
            None => None,
        };
        let mut actor = actor.clone();
        actor.scopes = narrower(actor.scopes.as_ref(), scopes.as_ref());
        let person = Person { tenant: state, user, actor, session };
        if !person.user.enabled {
            let (message, fix) = if person.is_client() {
                ("this client is revoked", "an owner of the tenant makes a new one: opsiq client create")
            } else {
                ("this user is disabled", "an owner of the tenant may enable them: opsiq user enable")
            };
            let refusal = Refusal::new(Class::Denied, Stage::Authenticate, "caller.disabled", message, fix);
            self.record_refusal(person.log(), person.draft(Kind::Refused, "authenticate"), &refusal).await?;
            return Err(refusal);
        }
        Ok(person)
    }

    /// A user or an API client as they stand now, and the scopes that limit it; `None` for a person, whom none do.
    pub(crate) async fn standing(
        &self,
        tenant: &TenantState,
        principal: &Principal,
    ) -> Result<Option<(Arc<User>, Option<BTreeSet<String>>)>, Refusal> {
        Ok(match principal {
            Principal::User { name } => self.user(tenant, name).await?.map(|user| (user, None)),
            Principal::Client { name } => {
                self.client(tenant, name).await?.map(|client| (client.user.clone(), Some(client.scopes.clone())))
            }
            Principal::Operator => None,
        })
    }

    /// Why nobody of `tenant` is found: its rows, log or keys were changed outside the host, or there is no such user.
    fn unknown_caller(&self, tenant: &TenantId) -> Refusal {
        if let Some(erased) = self.tenants.erased(tenant) {
            return erased.refusal(tenant, Stage::Authenticate);
        }
        let log = Log::Tenant(tenant.clone());
        if let Some(told) = self.rolled_back.get(&log) {
            return rolled_back(&format!("records of {log}"), told);
        }
        if self.locked_out.iter().any(|(locked, _)| locked == tenant) {
            return Refusal::new(
                Class::Tampered,
                Stage::Authenticate,
                "tenant.tampered",
                "the keys of this tenant were tampered with, so nothing of it opens",
                "restore keys.db from a backup; see opsiq doctor",
            );
        }
        Refusal::new(
            Class::NotFound,
            Stage::Authenticate,
            "caller.unknown",
            "there is no such user",
            "name an existing user with --as TENANT/USER; an owner of the tenant adds users",
        )
    }

    /// Runs the body of an administrative act of `person`, for which one of `roles` is needed, and puts a refusal on
    /// record. `about` is what the act is about, such as the installation's name.
    pub(crate) async fn act<T>(
        self: &Arc<Self>,
        person: &Person,
        roles: &[Role],
        act: &'static str,
        about: &str,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let may = |person: &Person| {
            person.must_be(roles, act)?;
            person.fresh(act, &self.identity.times)
        };
        self.act_if(person, act, about, may, Box::pin(body)).await
    }

    /// The same for what somebody does to their own account, in a session of theirs. No role is needed, and a custom one takes
    /// none of it away.
    pub(crate) async fn own_act<T>(
        self: &Arc<Self>,
        person: &Person,
        act: &'static str,
        about: &str,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.act_if(person, act, about, |person| person.may_own(act, &self.identity.times), Box::pin(body)).await
    }

    async fn act_if<T>(
        self: &Arc<Self>,
        person: &Person,
        act: &'static str,
        about: &str,
        may: impl Fn(&Person) -> Result<(), Refusal>,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let done = match may(person) {
            Ok(()) => {
                let _turn = person.tenant.acts.lock().await;
                // The act before may have taken the role away.
                match self.person(&person.actor).await.and_then(|now| may(&now)) {
                    Ok(()) => body.await,
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &done {
            let draft = person.draft(Kind::Refused, act).field(field::DETAIL, about);
            self.record_refusal(person.log(), draft, refusal).await?;
        }
        done
    }

    /// The same for an act of the operator, recorded in the host log.
    pub(crate) async fn operate<T>(
        &self,
        actor: &Actor,
        act: &'static str,
        about: &str,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let done = if actor.principal == Principal::Operator {
            body.await
        } else {
            Err(Refusal::new(
                Class::Denied,
                Stage::Admin,
                "act.needs-operator",
                format!("`{act}` is for the operator"),
                "run it without --as, on the host's own data directory",
            ))
        };
        if let Err(refusal) = &done {
            let draft = operator_draft(actor, Kind::Refused, act).field(field::DETAIL, about);
            self.record_refusal(Log::Host, draft, refusal).await?;
        }
        done
    }

    /// Puts a refusal on record. What is refused because nothing can be recorded is not recorded.
    pub(crate) async fn record_refusal(&self, log: Log, draft: Draft, refusal: &Refusal) -> Result<(), Refusal> {
        if matches!(refusal.class, Class::Unavailable | Class::Internal) {
            return Ok(());
        }
        let mut draft = draft
            .field(field::OUTCOME, "refused")
            .field(field::RULE, refusal.code.to_string())
            .field(field::STAGE, refusal.stage.as_str())
            .field("reason", refusal.message.clone());
        if !refusal.faults.is_empty() {
            let faults = refusal.faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message));
            draft = draft.field("faults", faults.collect::<Vec<_>>().join("; "));
        }
        self.record(log, vec![draft]).await
    }

    /// Makes entries durable that come with no change.
    pub(crate) async fn record(&self, log: Log, drafts: Vec<Draft>) -> Result<(), Refusal> {
        self.journal.record(&log, drafts).await.map_err(|error| errors::audit(Stage::Admin, &error))
    }

    /// Commits a change of a tenant with its entries, and forgets what was remembered of the tenant. It goes on to its
    /// end when the caller goes away, because what is forgotten must follow what is committed.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        tenant: &Arc<TenantState>,
        drafts: Vec<Draft>,
        op: Op<T>,
    ) -> Result<T, Refusal> {
        tenant.lives()?;
        self.change_anyway(tenant, drafts, op).await
    }

    /// The same also for a tenant that is cancelled, whose owners still sign in and out.
    pub(crate) async fn change_anyway<T: Send + 'static>(
        &self,
        tenant: &Arc<TenantState>,
        drafts: Vec<Draft>,
        op: Op<T>,
    ) -> Result<T, Refusal> {
        let (journal, tenant) = (self.journal.clone(), tenant.clone());
        let log = Log::Tenant(tenant.id.clone());
        let task = tokio::spawn(async move {
            let done = journal.commit(&log, drafts, op).await;
            tenant.changed();
            if done.is_err() {
                // A commit that hung may still turn out to have happened.
                tokio::spawn(async move {
                    for seconds in [1, 4, 25] {
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                        tenant.changed();
                    }
                });
            }
            done
        });
        match task.await {
            Ok(done) => done.map_err(|error| errors::audit(Stage::Admin, &error)),
            Err(_) => Err(errors::internal(Stage::Admin, "the change ended abnormally")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_grave_asks_for_a_code_shown_lately() {
        let times = SessionTimes::USUAL;
        let shown = |stepped_up_ms| Some(Lifetime { expires_ms: i64::MAX, seen_ms: 0, stepped_up_ms });
        let late = times.step_up_ms;
        for act in FRESH {
            assert_eq!(
                &*shown_lately(act, shown(0), late, &times).unwrap_err().code,
                "session.step-up-needed",
                "{act}"
            );
            assert!(shown_lately(act, shown(0), late - 1, &times).is_ok(), "{act}");
            assert!(shown_lately(act, None, late, &times).is_ok(), "{act}");
        }
        assert!(shown_lately("user list", shown(0), late, &times).is_ok());
    }
}
