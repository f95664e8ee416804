//! Showing a passkey: to sign in, without a name or a password, and once more in a session. The authenticator verified its person, so
//! one answer is both factors. It says itself whose account it opens.
//!
//! Whoever is not let in hears one thing; why, is in the log. A key that signed less often than it did before is one of two: it is
//! flagged, opens nothing from then on, and the owners are told.

use std::sync::Arc;
use std::time::Instant;

use opsiq_audit::{Log, Op};
use opsiq_identity::passkey::{Assertion, Challenge, Known, Party, prove, whose_handle};
use opsiq_shield::{ClientIp, Reason};
use opsiq_store::PasskeyRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::enrol::enforced;
use super::factor::{Credential, Shown, is_still};
use super::login::{Entry, SignedIn};
use super::passkeys::{
    PasskeyBegun, WITHIN_MS, account, allowed, challenge_index, changed, credential_index, opened, refusal, refused,
};
use super::pending::{self, Step, over};
use super::refused::{even, who};
use super::session::SessionView;
use super::{Door, Knock};
use crate::act::Person;
use crate::actor::Actor;
use crate::core::now_ms;
use crate::docs::PasskeyDoc;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::shield::signal;
use crate::state::{Session, TenantState, User};

/// A passkey that is shown. Nothing of it is trusted.
#[derive(Debug)]
pub struct PasskeyShown {
    /// As [`PasskeyBegun::pending`].
    pub pending: String,
    /// `rawId`.
    pub credential: Vec<u8>,
    /// `response.userHandle`.
    pub user_handle: Vec<u8>,
    /// `response.clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `response.authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// `response.signature`.
    pub signature: Vec<u8>,
}

/// What anybody is asked for.
#[derive(Serialize, Deserialize)]
struct Asked {
    challenge: Challenge,
    until_ms: i64,
}

/// What is asked for in a session.
#[derive(Serialize, Deserialize)]
struct AskedAgain {
    session: String,
    #[serde(flatten)]
    asked: Asked,
}

impl Asked {
    fn new() -> Self {
        Self { challenge: Challenge::generate(), until_ms: now_ms() + WITHIN_MS }
    }

    fn options(&self, party: &Party, allowed: &[Value]) -> Value {
        json!({
            "challenge": self.challenge.text(), "rpId": party.id, "timeout": WITHIN_MS, "userVerification": "required",
            "allowCredentials": allowed,
        })
    }
}

impl Door {
    /// Asks whoever it may be for a passkey.
    ///
    /// # Errors
    /// A vault that does not seal.
    pub fn passkey_ask(&self, party: &Party) -> Result<PasskeyBegun, Refusal> {
        let asked = Asked::new();
        let pending = pending::seal_for_anybody(&self.core, Step::PasskeyLogin, &asked)?;
        Ok(PasskeyBegun { pending, expires_ms: asked.until_ms, options: asked.options(party, &[]) })
    }

    /// Signs in whoever shows a passkey. The challenge is used up, and the session begins, in one commit.
    ///
    /// # Errors
    /// `passkey.failed`, whatever speaks against it; `login.slow-down`; a host that cannot serve now.
    pub async fn passkey_login(&self, knock: &Knock, party: &Party, shown: &PasskeyShown) -> Result<SignedIn, Refusal> {
        let begun = Instant::now();
        let whose = whose_handle(&shown.user_handle);
        let found = whose.and_then(|(tenant, account)| Some((self.core.tenants.get(&tenant)?, account)));
        let (user, done) = match &found {
            Some((tenant, account)) => self.passkey_login_now(knock, tenant, *account, party, shown).await,
            None => (None, Err(unknown())),
        };
        let why = match done {
            Ok(signed_in) => return Ok(signed_in),
            Err(why) => why,
        };
        let tenant = found.as_ref().map(|(tenant, _)| tenant.as_ref());
        let name = user.as_ref().map(|user| user.name.as_str());
        let told = self.core.refused_knock(tenant, name, "login", knock.address, why).await;
        even(begun).await;
        match told.class {
            Class::Unavailable | Class::Internal | Class::Tampered | Class::Busy | Class::Limited => Err(told),
            _ => {
                self.core.proof_refused(knock.address);
                Err(failed())
            }
        }
    }

    /// Whose account it is, if it is there, and how it went.
    async fn passkey_login_now(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        whose: [u8; 16],
        party: &Party,
        shown: &PasskeyShown,
    ) -> (Option<Arc<User>>, Result<SignedIn, Refusal>) {
        let found = async {
            self.core.tenants_list(tenant, knock.address)?;
            let index = credential_index(tenant, &shown.credential);
            let row = self.core.store.passkey_by_credential::<PasskeyDoc>(&tenant.id, &index).await;
            let row = row.map_err(|error| errors::store(Stage::Authenticate, &error))?;
            let (row, doc) = opened(tenant, row.ok_or_else(unknown)?)?;
            let user = self.core.user(tenant, &doc.owner).await?;
            let user = user.filter(|user| is_still(user, &row.user) && account(&user.id) == Some(whose));
            Ok::<_, Refusal>((user.ok_or_else(unknown)?, row, doc))
        };
        match found.await {
            Ok((user, row, doc)) => {
                let done = self.keyed_in(knock, tenant, &user, (row, doc), party, shown).await;
                (Some(user), done)
            }
            Err(refusal) => (None, Err(refusal)),
        }
    }

    async fn keyed_in(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        user: &Arc<User>,
        known: (PasskeyRow<PasskeyDoc>, PasskeyDoc),
        party: &Party,
        shown: &PasskeyShown,
    ) -> Result<SignedIn, Refusal> {
        let gate = &self.core;
        let asked = pending::open_of_anybody::<Asked>(gate, Step::PasskeyLogin, &shown.pending);
        let asked = asked.filter(|asked| now_ms() < asked.until_ms).ok_or_else(over)?;
        // It counts for the address alone: a signature is not guessed, and who fails shall keep nobody else out.
        let who = who("passkey", [tenant.id.as_str(), &asked.challenge.text()], knock.address, None);
        let attempt = gate.attempt(&who).await?;
        let device = self.known(knock, tenant, user).await?.is_some();
        // In turn with those who disable users and reset their factors, so that no session outlives either.
        let _turn = tenant.acts.lock().await;
        let user = gate.user(tenant, &user.name).await?.filter(|now| is_still(now, &user.id)).ok_or_else(unknown)?;
        if !user.owns() && gate.sso_enforced(tenant).await? {
            return Err(enforced());
        }
        let shown = self.believed(tenant, &user, known, party, &asked, (shown, knock.address)).await?;
        let credential = Credential::of(gate, tenant, &user.id).await?;
        let left = credential.map_or(0, |credential| credential.doc.recovery.len());
        let entry = Entry { tenant, user: &user, device, provider: None, shown, left };
        let signed_in = self.begin_session(knock, entry).await?;
        attempt.succeeded().await;
        Ok(signed_in)
    }

    /// Asks the person of a session for one of their passkeys.
    ///
    /// # Errors
    /// Not in a session; `passkey.none`.
    pub async fn passkey_ask_again(&self, actor: &Actor, party: &Party) -> Result<PasskeyBegun, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, "step-up", "begin", async {
                let session = super::renew::session_of(&person);
                let known = self.core.passkeys_of(&person.tenant, &person.user.id).await?;
                let allowed = allowed(known.iter().map(|(_, doc)| doc).filter(|doc| doc.cloned_ms.is_none()), party);
                if allowed.is_empty() {
                    return Err(refusal(
                        "passkey.none",
                        "this account has no passkey for this name of the host",
                        "show a code of the authenticator instead",
                    ));
                }
                let asked = Asked::new();
                let (options, expires_ms) = (asked.options(party, &allowed), asked.until_ms);
                let state = AskedAgain { session, asked };
                let pending = pending::seal(&person.tenant, Step::PasskeyStepUp, &state)?;
                Ok(PasskeyBegun { pending, expires_ms, options })
            })
            .await
    }

    /// Shows a passkey again, for what asks for a fresh factor.
    ///
    /// # Errors
    /// As [`Door::session`]; the rule that speaks against it, such as `passkey.unknown` for another's.
    pub async fn passkey_step_up(
        &self,
        token: &str,
        address: Option<ClientIp>,
        party: &Party,
        shown: &PasskeyShown,
    ) -> Result<SessionView, Refusal> {
        let (person, session) = self.person(token, address).await?;
        match self.stepped_up_by(&person, &session, party, shown).await {
            Ok(()) => Ok(self.session(token, address).await?.1),
            Err(refusal) => {
                let name = Some(person.user.name.as_str());
                Err(self.core.refused_knock(Some(&person.tenant), name, "step-up", address, refusal).await)
            }
        }
    }

    async fn stepped_up_by(
        &self,
        person: &Person,
        session: &Session,
        party: &Party,
        shown: &PasskeyShown,
    ) -> Result<(), Refusal> {
        let (gate, tenant) = (&self.core, &person.tenant);
        let opened_state = pending::open::<AskedAgain>(gate, Step::PasskeyStepUp, &shown.pending);
        let state = opened_state
            .filter(|(of, state)| of.id == tenant.id && state.session == session.id && now_ms() < state.asked.until_ms);
        let (_, AskedAgain { asked, .. }) = state.ok_or_else(over)?;
        let _turn = tenant.acts.lock().await;
        gate.person(&person.actor).await?;
        let row = gate
            .store
            .passkey_by_credential::<PasskeyDoc>(&tenant.id, &credential_index(tenant, &shown.credential))
            .await
            .map_err(|error| errors::store(Stage::Authenticate, &error))?;
        let known = opened(tenant, row.filter(|row| row.user == person.user.id).ok_or_else(unknown)?)?;
        let shown = self.believed(tenant, &person.user, known, party, &asked, (shown, person.actor.address)).await?;
        self.stepped_up(person, session, shown).await
    }

    /// Believes a passkey of `user`, as an answer to what was asked; how it is kept from now on.
    async fn believed(
        &self,
        tenant: &Arc<TenantState>,
        user: &User,
        (row, mut doc): (PasskeyRow<PasskeyDoc>, PasskeyDoc),
        party: &Party,
        asked: &Asked,
        (shown, address): (&PasskeyShown, Option<ClientIp>),
    ) -> Result<Shown, Refusal> {
        if doc.cloned_ms.is_some() {
            return Err(cloned());
        }
        let known = Known { key: &doc.key, count: doc.count, may_be_backed_up: doc.may_be_backed_up };
        let assertion = Assertion {
            client_data: &shown.client_data,
            authenticator_data: &shown.authenticator_data,
            signature: &shown.signature,
        };
        let said = prove(party, &asked.challenge, &known, &assertion).map_err(|fault| refused(&fault))?;
        let challenge = challenge_index(tenant, &asked.challenge);
        if said.is_cloned {
            // An answer shown twice counts no further either: the shared store knows it.
            let answered = self.core.store.sso_is_spent(&tenant.id, &challenge).await;
            if answered.map_err(|error| errors::store(Stage::Authenticate, &error))? {
                return Err(super::passkeys::replayed());
            }
            doc.cloned_ms = Some(now_ms());
            let row = changed(tenant, &row, &doc)?;
            let draft = signal(&format!("user:{}", user.name), &[Reason::ClonedPasskey], address);
            let op = Op::new(move |tx| Box::pin(async move { Ok(tx.passkey_update(&row, row.version - 1).await?) }));
            let done = self.core.journal.commit(&Log::Tenant(tenant.id.clone()), vec![draft], op).await;
            done.map_err(|error| errors::audit(Stage::Authenticate, &error))?;
            return Err(cloned());
        }
        (doc.count, doc.backed_up, doc.used_ms) = (said.count, said.backed_up, Some(now_ms()));
        let row = Box::new(changed(tenant, &row, &doc)?);
        Ok(Shown::Passkey { row, name: doc.name, challenge, until_ms: asked.until_ms })
    }
}

/// What whoever is not let in hears.
fn failed() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "passkey.failed",
        "this passkey opens no account here, or not now",
        "begin again, or sign in with password and code; an owner of the tenant sees why in the audit log",
    )
}

fn unknown() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "passkey.unknown",
        "no account that may act has this passkey",
        "enrol it first, on the page /passkeys",
    )
}

fn cloned() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "passkey.cloned",
        "this passkey signed less often than it did before, so there are two of it, and it opens nothing any more",
        "sign in with password and code, remove it, and enrol another authenticator",
    )
}
