//! A person renews what they hold: password, authenticator, recovery codes. In a session of theirs, after a factor shown lately; a
//! custom role takes none of this away. An authenticator takes another's place and is never taken away, so no account is left with one
//! factor: who sets it up at a provider has it there, or has a passkey.

use opsiq_audit::{Kind, Op, field};
use opsiq_identity::{Checked, Code, Password, PasswordHash, Seed};
use opsiq_vault::Secret;
use serde::{Deserialize, Serialize};

use super::Door;
use super::enrol::{Enrolment, ISSUER, WITHIN_MS, refused_password};
use super::factor::{Credential, new_codes, seconds};
use super::pending::{self, ShownOnce, Step, over};
use super::refused::{who, wrong_code};
use crate::act::Person;
use crate::actor::Actor;
use crate::core::now_ms;
use crate::docs::CredentialDoc;
use crate::identity::crowded;
use crate::refusal::{Class, Refusal, Stage};

const PASSWORD: &str = "account password";
const CODES: &str = "account recovery-codes";
const AUTHENTICATOR: &str = "account authenticator";

/// What is known of an authenticator that is to take another's place.
#[derive(Serialize, Deserialize)]
struct Replacing {
    user: String,
    /// The session it was begun in.
    session: String,
    /// The version of the credential that it replaces.
    version: u64,
    seed: Seed,
    until_ms: i64,
}

impl Door {
    /// Changes the acting person's password. All their other sessions end; how many there were.
    ///
    /// # Errors
    /// Not in a session, or without a factor shown lately; `password.wrong`; `password.refused`; `login.slow-down`; an account
    /// without a password here.
    pub async fn change_password(&self, actor: &Actor, current: &Secret, new: &Secret) -> Result<u64, Refusal> {
        let person = self.core.person(actor).await?;
        // Hashing takes long, and others of the tenant have their turn meanwhile.
        let hashed = match person.may_own(PASSWORD, &self.core.identity.times) {
            Ok(()) => self.hashed(&person, current, new).await,
            Err(refusal) => Err(refusal),
        };
        self.core
            .own_act(&person, PASSWORD, "", async {
                let (version, password) = hashed?;
                let credential = self.held(&person).await?;
                if credential.row.version != version {
                    return Err(changed());
                }
                let doc = CredentialDoc { password: Some(password), ..credential.doc.clone() };
                self.renew(&person, &credential, &doc, PASSWORD, "password changed, other sessions ended", None).await
            })
            .await
    }

    /// The new password's hash, if the current one is right; and of which version of the credential that was.
    async fn hashed(&self, person: &Person, current: &Secret, new: &Secret) -> Result<(u64, PasswordHash), Refusal> {
        let (core, tenant) = (&self.core, &person.tenant);
        let credential = self.held(person).await?;
        let Some(stored) = &credential.doc.password else {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Authenticate,
                "password.none",
                "this account has no password here: its person signs in at a provider",
                "an owner may let them set one: opsiq user reset-2fa",
            ));
        };
        let names = ["password", tenant.id.as_str(), &person.user.name];
        let who = who(names[0], [names[1], names[2]], person.actor.address, person.actor.session);
        let attempt = core.attempt(&who).await?;
        let passwords = core.identity.passwords().await?;
        match passwords.check(Password::typed(current), Some(stored)).await {
            Ok(Checked::Right | Checked::Renewed(_)) => attempt.succeeded().await,
            Ok(Checked::Wrong) => return Err(wrong_password()),
            Err(why) => {
                attempt.void().await;
                return Err(crowded(why));
            }
        }
        let title = core.record_of(tenant).await?.doc.title.clone();
        let chosen = Password::choose(new, &[tenant.id.as_str(), &title, &person.user.name, ISSUER]);
        let password = passwords.hash(chosen.map_err(refused_password)?).await.map_err(crowded)?;
        Ok((credential.row.version, password))
    }

    /// Makes new recovery codes for the acting person, to be shown once. Earlier ones are void.
    ///
    /// # Errors
    /// Not in a session, or without a factor shown lately; an account without an authenticator here.
    pub async fn renew_recovery_codes(&self, actor: &Actor) -> Result<Vec<ShownOnce>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, CODES, "", async {
                let credential = self.held(&person).await?;
                let (recovery, codes) = new_codes(&person.tenant, &person.user.id);
                let row = credential.changed(&person.tenant, &CredentialDoc { recovery, ..credential.doc.clone() })?;
                let draft = person.draft(Kind::Admin, CODES).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("{} new codes, earlier ones are void", codes.len()));
                let op =
                    Op::new(move |tx| Box::pin(async move { Ok(tx.credential_update(&row, row.version - 1).await?) }));
                self.core.change_anyway(&person.tenant, vec![draft], op).await.map_err(changed_first)?;
                Ok(codes)
            })
            .await
    }

    /// What a new authenticator of the acting person is given. The old one stays until the new one shows a code, within a quarter of
    /// an hour.
    ///
    /// # Errors
    /// As [`Door::renew_recovery_codes`].
    pub async fn authenticator_begin(&self, actor: &Actor) -> Result<Enrolment, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, AUTHENTICATOR, "begin", async {
                let credential = self.held(&person).await?;
                let (seed, until_ms) = (Seed::generate(), now_ms() + WITHIN_MS);
                let (user, session) = (person.user.id.clone(), session_of(&person));
                let state = Replacing { user, session, version: credential.row.version, seed, until_ms };
                let pending = pending::seal(&person.tenant, Step::Replace, &state)?;
                Ok(Enrolment::of(&person.tenant, &person.user.name, &state.seed, pending, until_ms))
            })
            .await
    }

    /// Puts a new authenticator in the place of the old one, by its first code, which is used up. All other sessions end; how many
    /// there were. Recovery codes stay.
    ///
    /// # Errors
    /// As [`Door::renew_recovery_codes`]; `code.wrong`; `login.over` when it took too long, or the account changed meanwhile.
    pub async fn authenticator_replace(&self, actor: &Actor, pending: &str, code: &str) -> Result<u64, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, AUTHENTICATOR, "replace", async {
                let opened = pending::open::<Replacing>(&self.core, Step::Replace, pending);
                let state = opened.filter(|(tenant, state)| {
                    tenant.id == person.tenant.id
                        && state.user == person.user.id
                        && state.session == session_of(&person)
                        && now_ms() < state.until_ms
                });
                let (_, state) = state.ok_or_else(over)?;
                let names = [person.tenant.id.as_str(), &person.user.name];
                let who = who("enrolment", names, person.actor.address, person.actor.session);
                let attempt = self.core.attempt(&who).await?;
                let Code::Right(step) = state.seed.check(code, seconds(), None) else { return Err(wrong_code()) };
                attempt.succeeded().await;
                let credential = self.held(&person).await?;
                if credential.row.version != state.version {
                    return Err(over());
                }
                let doc = CredentialDoc { seed: state.seed, ..credential.doc.clone() };
                let told = "authenticator replaced, other sessions ended";
                self.renew(&person, &credential, &doc, AUTHENTICATOR, told, Some(step)).await
            })
            .await
    }

    /// Writes a new document, and ends all other sessions. `step` is that of a code of a new authenticator, which is not good again.
    async fn renew(
        &self,
        person: &Person,
        credential: &Credential,
        doc: &CredentialDoc,
        act: &'static str,
        told: &str,
        step: Option<u64>,
    ) -> Result<u64, Refusal> {
        let row = credential.changed(&person.tenant, doc)?;
        // Nothing up to the last step of the old one is good of the new one either.
        let step = step.filter(|step| *step > credential.row.totp_step);
        let session = session_of(person);
        let draft = person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, told);
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.credential_update(&row, row.version - 1).await?;
                if let Some(step) = step {
                    tx.credential_use_step(&row.tenant, &row.user, row.version, step).await?;
                }
                Ok(tx.sessions_end_of(&row.tenant, &row.user, Some(&session)).await?)
            })
        });
        self.core.change_anyway(&person.tenant, vec![draft], op).await.map_err(changed_first)
    }

    /// What the person signs in with here.
    async fn held(&self, person: &Person) -> Result<Credential, Refusal> {
        Credential::of(&self.core, &person.tenant, &person.user.id).await?.ok_or_else(|| {
            Refusal::new(
                Class::Denied,
                Stage::Authenticate,
                "account.no-authenticator",
                "this account has no authenticator here: its second factor is a provider's, or a passkey",
                "renew it there; an owner may let its person set one here: opsiq user reset-2fa",
            )
        })
    }
}

/// The id of the session that acts, which there is.
pub(super) fn session_of(person: &Person) -> String {
    person.session.as_ref().map(|session| session.id.clone()).unwrap_or_default()
}

fn wrong_password() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "password.wrong",
        "the current password is wrong",
        "type the one you sign in with; an owner resets a lost one: opsiq user reset-2fa",
    )
}

fn changed() -> Refusal {
    Refusal::new(
        Class::Conflict,
        Stage::Authenticate,
        "request.changed",
        "what this account signs in with changed meanwhile",
        "do it again",
    )
}

/// A commit that found another version than the one that was read.
fn changed_first(refusal: Refusal) -> Refusal {
    if refusal.class == Class::Conflict { changed() } else { refusal }
}
