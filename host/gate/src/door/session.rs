//! Who a session's token stands for, looked up as it stands at every request: a user disabled, a role changed, a session
//! revoked, a second factor reset counts at the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use opsiq_audit::{Kind, Op, field};
use opsiq_contract::TenantId;
use opsiq_identity::{Standing, TokenKind};
use opsiq_shield::ClientIp;
use opsiq_store::SessionRow;
use serde::{Deserialize, Serialize};

use super::Door;
use super::factor::{Credential, Shown};
use super::pending::of_token;
use super::refused::{used_first, who, wrong_code};
use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::SessionDoc;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{Session, TenantState, User};

/// How often it is written that a session is used, at most, in milliseconds.
const WRITE_EVERY_MS: i64 = 60_000;

/// A session, as its user and the owners see it. Its token is in no view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: TenantId,
    /// Whose.
    pub user: String,
    /// What the device says it is.
    pub device: String,
    /// From where it was begun.
    pub address: Option<ClientIp>,
    /// The provider they signed in at; `None` for a password.
    pub provider: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last used, to the minute, in milliseconds since 1970.
    pub seen_ms: i64,
    /// When it ends at the latest, in milliseconds since 1970.
    pub expires_ms: i64,
    /// When its user last showed a second factor, in milliseconds since 1970.
    pub stepped_up_ms: i64,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// A session as it is stored, as it is shown.
pub(super) fn view(tenant: &TenantId, row: &SessionRow<SessionDoc>, doc: &SessionDoc, current: bool) -> SessionView {
    SessionView {
        id: row.id.clone(),
        tenant: tenant.clone(),
        user: doc.name.clone(),
        device: doc.device.clone(),
        address: doc.address,
        provider: doc.provider.clone(),
        created_ms: row.created_ms,
        seen_ms: row.seen_ms,
        expires_ms: row.expires_ms,
        stepped_up_ms: row.stepped_up_ms,
        current,
    }
}

fn current(tenant: &TenantId, session: &Session) -> SessionView {
    SessionView {
        id: session.id.clone(),
        tenant: tenant.clone(),
        user: session.doc.name.clone(),
        device: session.doc.device.clone(),
        address: session.doc.address,
        provider: session.doc.provider.clone(),
        created_ms: session.created_ms,
        seen_ms: session.seen_ms.load(Ordering::Relaxed),
        expires_ms: session.expires_ms,
        stepped_up_ms: session.stepped_up_ms,
        current: true,
    }
}

/// No session, or one that ended: why is not told to who may be a stranger.
pub(crate) fn ended() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "session.ended",
        "there is no such session, or it ended",
        "sign in again",
    )
}

/// Who has no authenticator here shows their second factor where they signed in.
fn elsewhere(session: &Session) -> Refusal {
    let Some(provider) = &session.doc.provider else { return ended() };
    Refusal::new(
        Class::Denied,
        Stage::Authenticate,
        "session.step-up-at-provider",
        format!("there is no authenticator of this account here: {provider} asks for its second factor"),
        "sign in there anew, with anew=true",
    )
}

impl Door {
    /// Who a session's token stands for, at every request. The address is that of the request.
    ///
    /// # Errors
    /// `session.ended`; a user who may not act.
    pub async fn session(&self, token: &str, address: Option<ClientIp>) -> Result<(Actor, SessionView), Refusal> {
        let (person, session) = self.person(token, address).await?;
        let view = current(&person.tenant.id, &session);
        Ok((person.actor, view))
    }

    /// Shows the second factor again, for what asks for a fresh one. The code is used up; of two who show one, one
    /// succeeds.
    ///
    /// # Errors
    /// As [`Door::session`]; `code.wrong`; `login.slow-down`.
    pub async fn step_up(&self, token: &str, address: Option<ClientIp>, code: &str) -> Result<SessionView, Refusal> {
        let (person, session) = self.person(token, address).await?;
        match self.step_up_now(&person, &session, code).await {
            Ok(()) => Ok(self.session(token, address).await?.1),
            Err(refusal) => {
                let name = Some(person.user.name.as_str());
                Err(self.core.refused_knock(Some(&person.tenant), name, "step-up", address, refusal).await)
            }
        }
    }

    async fn step_up_now(&self, person: &Person, session: &Session, code: &str) -> Result<(), Refusal> {
        let (gate, tenant) = (&self.core, &person.tenant);
        let device = person.actor.session;
        let who = who("step-up", [tenant.id.as_str(), &person.user.name], person.actor.address, device);
        let attempt = gate.attempt(&who).await?;
        let _turn = tenant.acts.lock().await;
        gate.person(&person.actor).await?;
        let credential = Credential::of(gate, tenant, &person.user.id).await?.ok_or_else(|| elsewhere(session))?;
        let shown = credential.shown(tenant, code)?.ok_or_else(wrong_code)?;
        self.stepped_up(person, session, shown).await?;
        attempt.succeeded().await;
        Ok(())
    }

    /// Writes down that a second factor was shown, in the commit that uses it up. The caller has the tenant's turn.
    pub(super) async fn stepped_up(&self, person: &Person, session: &Session, shown: Shown) -> Result<(), Refusal> {
        let (gate, tenant, was_used) = (&self.core, &person.tenant, shown.used());
        let draft = person
            .draft(Kind::Admin, "step-up")
            .field(field::OUTCOME, "ok")
            .field(field::DETAIL, format!("session {}, by {}", session.id, shown.told()));
        let (whose, who, id) = (tenant.id.clone(), person.user.id.clone(), session.id.clone());
        let op = Op::new(move |tx| {
            Box::pin(async move {
                shown.spend(tx, &whose, &who).await?;
                Ok(tx.session_step_up(&whose, &id, now_ms()).await?)
            })
        });
        let done = gate.journal.commit(&person.log(), vec![draft], op).await;
        tenant.changed();
        done.map_err(|error| used_first(&error, was_used))?;
        Ok(())
    }

    /// Ends the session. One that is not there is ended already.
    ///
    /// # Errors
    /// A disk that does not serve.
    pub async fn logout(&self, token: &str, address: Option<ClientIp>) -> Result<(), Refusal> {
        let (person, session) = match self.person(token, address).await {
            Ok(found) => found,
            Err(refusal) if refusal.class == Class::Unauthenticated => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        let draft = person.draft(Kind::Admin, "logout").field(field::OUTCOME, "ok");
        let draft = draft.field(field::DETAIL, format!("session {}", session.id));
        let (whose, user, id) = (person.tenant.id.clone(), person.user.id.clone(), session.id.clone());
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.session_end(&whose, &user, &id).await?) }));
        match self.core.change_anyway(&person.tenant, vec![draft], op).await {
            // It ended meanwhile.
            Err(refusal) if refusal.class == Class::Conflict => Ok(()),
            done => done,
        }
    }

    pub(super) async fn person(
        &self,
        token: &str,
        address: Option<ClientIp>,
    ) -> Result<(Person, Arc<Session>), Refusal> {
        let found = of_token(&self.core, TokenKind::Session, token);
        let tenant = found.as_ref().map(|(tenant, _)| tenant.clone());
        let session = match &found {
            Some((tenant, index)) => self.core.session_that_lives(tenant, index).await?.map(|found| (index, found)),
            None => None,
        };
        let (Some(tenant), Some((index, mut session))) = (&tenant, session) else {
            self.core.proof_refused(address);
            return Err(self.core.refused_knock(tenant.as_deref(), None, "request", address, ended()).await);
        };
        if self.core.session_used(tenant, index, &session, address).await? {
            session = self.core.session_that_lives(tenant, index).await?.ok_or_else(ended)?;
        }
        let mut actor = Actor::user(tenant.id.clone(), session.doc.name.clone()).in_session(*index);
        actor.address = address;
        let person = self.core.person(&actor).await?;
        self.core.note_use(tenant, &session);
        Ok((person, session))
    }
}

impl Core {
    /// The session of `user` by the index of its token, if it lives.
    pub(crate) async fn live_session(
        &self,
        tenant: &Arc<TenantState>,
        user: &User,
        index: &[u8; 32],
    ) -> Result<Arc<Session>, Refusal> {
        let session = self.session_that_lives(tenant, index).await?;
        let session = session.filter(|session| session.user == user.id).ok_or_else(ended)?;
        // From the moment it is enforced: what a password opened before ends as well.
        if session.doc.provider.is_none() && !user.owns() && self.sso_enforced(tenant).await? {
            return Err(ended());
        }
        Ok(session)
    }

    /// The session by that index, if it lives. One found to be over is removed, so that no clock makes it live again.
    async fn session_that_lives(
        &self,
        tenant: &Arc<TenantState>,
        index: &[u8; 32],
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let lives = |session: &Session| session.lifetime().at(now_ms(), &self.identity.times) == Standing::Live;
        let Some(mut session) = self.session_by(tenant, index).await? else { return Ok(None) };
        if !lives(&session) && self.store.is_shared() {
            // Another node may know of a later use.
            tenant.forget_session(index);
            match self.session_by(tenant, index).await? {
                Some(again) => session = again,
                None => return Ok(None),
            }
        }
        if lives(&session) {
            return Ok(Some(session));
        }
        let (whose, id, seen_ms) = (tenant.id.clone(), session.id.clone(), session.seen_ms.load(Ordering::Relaxed));
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.session_end_unused(&whose, &id, seen_ms).await?) }));
        match self.change_anyway(tenant, Vec::new(), op).await {
            Err(refusal) if refusal.class != Class::Conflict => Err(refusal),
            _ => Ok(None),
        }
    }

    async fn session_by(&self, tenant: &TenantState, index: &[u8; 32]) -> Result<Option<Arc<Session>>, Refusal> {
        if let Some(session) = tenant.session(index) {
            return Ok(Some(session));
        }
        let mark = tenant.mark();
        let row = self.store.session_by_token::<SessionDoc>(&tenant.id, index).await;
        let Some(row) = row.map_err(|error| errors::store(Stage::Authenticate, &error))? else { return Ok(None) };
        let session = Session {
            doc: opened(tenant, &row)?,
            id: row.id,
            user: row.user,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            stepped_up_ms: row.stepped_up_ms,
            seen_ms: AtomicI64::new(row.seen_ms),
            written_ms: AtomicI64::new(row.seen_ms),
        };
        let session = Arc::new(session);
        tenant.keep_session(mark, *index, &session);
        Ok(Some(session))
    }

    /// Notes that a session is used: in memory now, in the store once a minute, which the request does not wait for.
    fn note_use(&self, tenant: &Arc<TenantState>, session: &Session) {
        let now = now_ms();
        session.seen_ms.fetch_max(now, Ordering::Relaxed);
        let written = session.written_ms.load(Ordering::Relaxed);
        if now.saturating_sub(written) < WRITE_EVERY_MS
            || session.written_ms.compare_exchange(written, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let (journal, whose, id) = (self.journal.clone(), tenant.id.clone(), session.id.clone());
        tokio::spawn(async move {
            let log = whose.clone().into();
            let op = Op::new(move |tx| Box::pin(async move { Ok(tx.session_seen(&whose, &id, now).await?) }));
            if let Err(error) = journal.commit(&log, Vec::new(), op).await {
                tracing::warn!(%error, "when a session was last used could not be written");
            }
        });
    }
}

/// What is stored of a session.
pub(super) fn opened(tenant: &TenantState, row: &SessionRow<SessionDoc>) -> Result<SessionDoc, Refusal> {
    let doc = tenant.vault.open(&SessionDoc::place(&[&row.id], row.created_ms), &row.doc);
    doc.map_err(|error| errors::vault(Stage::Authenticate, &error))
}
