//! Taking up an account: invitation, password, authenticator, recovery codes. Nothing is stored before the first code of
//! the new authenticator is right; then all of it is, and the invitation is gone, in one commit.

use std::fmt;
use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::{Role, TenantId};
use opsiq_identity::{Code, Password, PasswordFault, PasswordHash, Seed, TokenKind, qr_svg, qr_terminal};
use opsiq_store::InvitationRow;
use opsiq_vault::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::factor::{Credential, is_still, seconds};
use super::pending::{self, ShownOnce, Step, of_token, over};
use super::refused::{used_first, who, wrong_code};
use super::{Door, Knock};
use crate::core::now_ms;
use crate::docs::InvitationDoc;
use crate::errors;
use crate::identity::crowded;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{TenantState, User};

/// How long an enrolment may take, in milliseconds.
pub(super) const WITHIN_MS: i64 = 15 * 60_000;
/// What an authenticator calls this host.
pub(super) const ISSUER: &str = "OpsIQ";

/// Whom an invitation invites to what.
#[derive(Debug, Clone, Serialize)]
pub struct Invited {
    /// The tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub title: String,
    /// The name of the account.
    pub user: String,
    /// Its role.
    pub role: Role,
    /// Until when the invitation is good, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// An enrolment under way: what the authenticator is given, and what its first code is to come with.
#[derive(Debug, Serialize)]
pub struct Enrolment {
    /// To be given back to [`Door::enrol`].
    pub pending: ShownOnce,
    /// What an authenticator scans.
    pub uri: ShownOnce,
    /// What is typed into one that cannot: base32.
    pub seed: ShownOnce,
    /// Until when the code is awaited, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl Enrolment {
    /// What an authenticator of that user is given.
    pub(super) fn of(tenant: &TenantState, user: &str, seed: &Seed, pending: ShownOnce, expires_ms: i64) -> Self {
        let (uri, text) = (seed.uri(ISSUER, &format!("{}/{user}", tenant.id)), seed.text());
        Self { pending, uri: ShownOnce::new(uri), seed: ShownOnce::new(text), expires_ms }
    }

    /// The picture of [`Enrolment::uri`] as SVG.
    ///
    /// # Errors
    /// Names too long for a picture.
    pub fn svg(&self) -> Result<ShownOnce, Refusal> {
        picture(qr_svg(self.uri.expose()))
    }

    /// The same picture as lines for a terminal.
    ///
    /// # Errors
    /// As [`Enrolment::svg`].
    pub fn terminal(&self) -> Result<ShownOnce, Refusal> {
        picture(qr_terminal(self.uri.expose()))
    }
}

fn picture<E: fmt::Display>(drawn: Result<String, E>) -> Result<ShownOnce, Refusal> {
    let drawn = drawn.map_err(|error| errors::internal(Stage::Authenticate, error.to_string()))?;
    Ok(ShownOnce::new(Zeroizing::new(drawn)))
}

/// An account that is taken up. Signing in comes next, with another code.
#[derive(Debug, Serialize)]
pub struct Enrolled {
    /// The tenant.
    pub tenant: TenantId,
    /// The name of the account.
    pub user: String,
    /// Ten codes for when the authenticator is lost, each good once.
    pub recovery_codes: Vec<ShownOnce>,
}

/// What is known once a password is chosen.
#[derive(Serialize, Deserialize)]
struct Enrolling {
    invitation: String,
    user: String,
    name: String,
    password: PasswordHash,
    seed: Seed,
    until_ms: i64,
}

impl Door {
    /// Whom an invitation invites to what.
    ///
    /// # Errors
    /// An invitation that is not good, or not any more.
    pub async fn invitation(&self, knock: &Knock, invitation: &str) -> Result<Invited, Refusal> {
        let (tenant, row, user) = self.invited(knock, invitation).await?;
        let title = self.core.record_of(&tenant).await?.doc.title.clone();
        let (tenant, role) = (tenant.id.clone(), user.role);
        Ok(Invited { tenant, title, user: user.name.clone(), role, expires_ms: row.expires_ms })
    }

    /// Takes an invitation up with a password of one's own; the authenticator comes next, within a quarter of an hour. The
    /// invitation stays good until then.
    ///
    /// # Errors
    /// An invitation that is not good; a password that cannot be taken (`password.refused`); no room to hash it.
    pub async fn accept(&self, knock: &Knock, invitation: &str, password: &Secret) -> Result<Enrolment, Refusal> {
        let (tenant, row, user) = self.invited(knock, invitation).await?;
        if !user.owns() && self.core.sso_enforced(&tenant).await? {
            return Err(self
                .core
                .refused_knock(Some(&tenant), Some(&user.name), "user accept", knock.address, enforced())
                .await);
        }
        let title = self.core.record_of(&tenant).await?.doc.title.clone();
        let chosen = Password::choose(password, &[tenant.id.as_str(), &title, &user.name, ISSUER]);
        let chosen = chosen.map_err(refused_password)?;
        let password = self.core.identity.passwords().await?.hash(chosen).await.map_err(crowded)?;
        let (seed, expires_ms) = (Seed::generate(), (now_ms() + WITHIN_MS).min(row.expires_ms));
        let (invitation, name) = (row.id, user.name.clone());
        let state = Enrolling { invitation, user: user.id.clone(), name, password, seed, until_ms: expires_ms };
        let pending = pending::seal(&tenant, Step::Enrol, &state)?;
        Ok(Enrolment::of(&tenant, &state.name, &state.seed, pending, expires_ms))
    }

    /// Ends an enrolment with the first code of the new authenticator. That code is used up: signing in takes the next.
    ///
    /// # Errors
    /// A wrong code (`code.wrong`); an enrolment that took too long (`login.over`); an invitation that was used meanwhile.
    pub async fn enrol(&self, knock: &Knock, pending: &str, code: &str) -> Result<Enrolled, Refusal> {
        let opened = pending::open::<Enrolling>(&self.core, Step::Enrol, pending);
        let Some((tenant, state)) = opened.filter(|(_, state)| now_ms() < state.until_ms) else {
            return Err(self.core.refused_knock(None, None, "enrol", knock.address, over()).await);
        };
        self.core.tenant_lets_come(&tenant, None, knock.address).await?;
        match self.enrol_now(knock, &tenant, &state, code).await {
            Ok(enrolled) => Ok(enrolled),
            Err(refusal) => {
                let name = Some(state.name.as_str());
                Err(self.core.refused_knock(Some(&tenant), name, "enrol", knock.address, refusal).await)
            }
        }
    }

    async fn enrol_now(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        state: &Enrolling,
        code: &str,
    ) -> Result<Enrolled, Refusal> {
        let gate = &self.core;
        let who = who("enrolment", [tenant.id.as_str(), &state.name], knock.address, None);
        let attempt = gate.attempt(&who).await?;
        let Code::Right(step) = state.seed.check(code, seconds(), None) else { return Err(wrong_code()) };
        attempt.succeeded().await;
        let _turn = tenant.acts.lock().await;
        let user = gate.user(tenant, &state.name).await?.filter(|user| is_still(user, &state.user)).ok_or_else(over)?;
        let password = Some(state.password.clone());
        let (row, recovery_codes) = Credential::first(tenant, &user, password, &state.seed, step)?;
        let draft = drawn(&user, knock, "user enrol").field(field::DETAIL, "password and authenticator set");
        let (invitation, version) = (state.invitation.clone(), user.version);
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.user_at(&row.tenant, &row.user, version).await?;
                tx.invitation_use(&row.tenant, &invitation).await?;
                tx.invitations_remove_of(&row.tenant, &row.user).await?;
                Ok(tx.credential_insert(&row).await?)
            })
        });
        let done = gate.journal.commit(&Log::Tenant(tenant.id.clone()), vec![draft], op).await;
        done.map_err(|error| used_first(&error, not_good()))?;
        Ok(Enrolled { tenant: tenant.id.clone(), user: user.name.clone(), recovery_codes })
    }

    async fn invited(
        &self,
        knock: &Knock,
        invitation: &str,
    ) -> Result<(Arc<TenantState>, InvitationRow<InvitationDoc>, Arc<User>), Refusal> {
        let found = of_token(&self.core, TokenKind::Invitation, invitation);
        let tenant = found.as_ref().map(|(tenant, _)| tenant.clone());
        let good = match found {
            Some((tenant, index)) => self.good(&tenant, &index).await?.map(|(row, user)| (tenant, row, user)),
            None => None,
        };
        let Some(good) = good else {
            self.core.proof_refused(knock.address);
            let refusal = not_good();
            return Err(self.core.refused_knock(tenant.as_deref(), None, "user accept", knock.address, refusal).await);
        };
        self.core.tenant_lets_come(&good.0, None, knock.address).await?;
        Ok(good)
    }

    /// The invitation by that index and whom it invites, if it is good now.
    pub(super) async fn good(
        &self,
        tenant: &TenantState,
        index: &[u8; 32],
    ) -> Result<Option<(InvitationRow<InvitationDoc>, Arc<User>)>, Refusal> {
        let row = self.core.store.invitation_by_token::<InvitationDoc>(&tenant.id, index).await;
        let row = row.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        let Some(row) = row.filter(|row| now_ms() < row.expires_ms) else { return Ok(None) };
        let doc = tenant.vault.open(&InvitationDoc::place(&[&row.id], row.created_ms), &row.doc);
        let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
        let user = self.core.user(tenant, &doc.name).await?.filter(|user| is_still(user, &row.user));
        Ok(user.map(|user| (row, user)))
    }
}

/// An entry about what a user does at the door.
pub(super) fn drawn(user: &User, knock: &Knock, act: &str) -> Draft {
    let draft = Draft::new(Kind::Admin)
        .field(field::ACTOR, format!("user:{}", user.name))
        .field(field::ROLE, user.role_shown())
        .field(field::ACTION, act)
        .field(field::OUTCOME, "ok");
    match knock.address {
        Some(address) => draft.field(field::IP, address.to_string()),
        None => draft,
    }
}

/// Passwords open nothing but an owner's account.
pub(super) fn enforced() -> Refusal {
    Refusal::new(
        Class::Denied,
        Stage::Authenticate,
        "sso.enforced",
        "people of this tenant sign in at its provider, not with a password",
        "sign in there; an owner of the tenant knows where",
    )
}

/// A password that is not taken.
pub(super) fn refused_password(fault: PasswordFault) -> Refusal {
    let fix = "choose another: a few words that only you would put together";
    Refusal::new(Class::Invalid, Stage::Authenticate, "password.refused", fault.to_string(), fix)
}

fn not_good() -> Refusal {
    Refusal::new(
        Class::NotFound,
        Stage::Authenticate,
        "invitation.unknown",
        "this invitation is not good, or not any more",
        "an owner of the tenant invites anew: opsiq user invite",
    )
}
