//! Whose account somebody enters whom a provider vouches for: the one bound to issuer and subject, the one an invitation is for, or
//! a new one. And what is missing then: nothing, a code, or an authenticator.

use std::sync::Arc;

use opsiq_audit::{Draft, Op, OpError, field};
use opsiq_contract::{Role, TenantId};
use opsiq_identity::{Believed, Code, Seed};
use opsiq_store::{SsoIdentityRow, UserRow, WriteTx};
use serde::{Deserialize, Serialize};

use super::enrol::{Enrolment, WITHIN_MS, drawn};
use super::factor::{Credential, is_still, seconds};
use super::login::{Began, SignedIn, await_code};
use super::pending::{self, ShownOnce, Step, over};
use super::refused::{used_first, who, wrong_code};
use super::sso::{InvitedHere, SsoEntered, refused};
use super::{Door, Knock};
use crate::core::{Core, now_ms};
use crate::docs::{SsoIdentityDoc, UserDoc};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::shield::{NETWORKS, of_session, signal};
use crate::sso::{SsoProvider, identity_index, issuer_index};
use crate::state::{TenantState, User};
use crate::{names, users};

/// An account whose authenticator is set, and its owner signed in.
#[derive(Debug, Serialize)]
pub struct SsoEnrolled {
    /// The session.
    pub signed_in: SignedIn,
    /// Ten codes for when the authenticator is lost, each good once.
    pub recovery_codes: Vec<ShownOnce>,
}

/// What is known of somebody who has no authenticator yet.
#[derive(Serialize, Deserialize)]
struct Equipping {
    user: String,
    name: String,
    provider: String,
    seed: Seed,
    until_ms: i64,
}

/// Whose account it is, and what is written to make it so.
struct Account {
    user: Arc<User>,
    write: UserWrite,
    identity: Option<SsoIdentityRow<SsoIdentityDoc>>,
    invitation: Option<String>,
    /// What happened beside the signing in.
    told: Option<String>,
}

/// What becomes of the account itself.
enum UserWrite {
    /// Nothing, as long as it is as it was read.
    Same,
    /// It is made.
    Insert(UserRow<UserDoc>),
    /// Its role is another.
    Update(UserRow<UserDoc>),
}

impl Account {
    async fn write(&self, tx: &mut WriteTx<'_>, tenant: &TenantId, turn: u64) -> Result<(), OpError> {
        match &self.write {
            UserWrite::Same => tx.user_at(tenant, &self.user.id, self.user.version).await?,
            UserWrite::Insert(row) => {
                tx.people_decide(tenant, turn).await?;
                tx.user_insert(row).await?;
            }
            UserWrite::Update(row) => {
                tx.people_decide(tenant, turn).await?;
                tx.user_update(row, row.version - 1).await?;
            }
        }
        if let Some(invitation) = &self.invitation {
            tx.invitation_use(tenant, invitation).await?;
            tx.invitations_remove_of(tenant, &self.user.id).await?;
        }
        if let Some(identity) = &self.identity {
            tx.sso_identity_insert(identity).await?;
        }
        Ok(())
    }
}

impl Door {
    /// Lets somebody in whom the provider vouches for, as far as that goes.
    pub(super) async fn enter(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        provider: &SsoProvider,
        invited: Option<InvitedHere>,
        believed: &Believed,
    ) -> Result<SsoEntered, Refusal> {
        let (core, settings) = (&self.core, &provider.doc.settings);
        if !settings.takes(believed.verified_email().as_deref()) {
            return Err(refused("sso.domain", "the provider vouches for no address in a domain that may sign in"));
        }
        // In turn with those who disable users and change roles, so that nobody enters beside it.
        let _turn = tenant.acts.lock().await;
        // What is remembered need not be read anew: account, provider and invitation are written at the version that was read.
        let turn = core.store.people_turn(&tenant.id).await;
        let turn = turn.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        let account = self.entered(tenant, provider, invited, believed).await?;
        if !matches!(account.write, UserWrite::Same) || account.identity.is_some() {
            tenant.lives()?;
        }
        let user = account.user.clone();
        let mut drafts: Vec<Draft> = Vec::new();
        if let Some(told) = &account.told {
            drafts.push(drawn(&user, knock, "sso account").field(field::DETAIL, told.clone()));
        }
        let (whose, id, version) = (tenant.id.clone(), provider.id.clone(), provider.version);
        let name = &provider.doc.name;
        if settings.second_factor || believed.had_second_factor() {
            // A provider that does not say when vouches for no moment: what asks for a fresh factor then waits for a sign-in anew.
            let at_ms = believed.signed_in_s().map_or(0, |at| at.saturating_mul(1000).min(now_ms()));
            // The provider vouches for the device. Of somebody who may be another than the user, what is grave asks for a
            // sign-in anew.
            let signals = core.doubts(tenant, &user, knock.address, true).await?;
            let at_ms = if signals.is_empty() { at_ms } else { 0 };
            let Began { token, view, row } = self.new_session(knock, tenant, &user, Some(name), at_ms)?;
            let how = if settings.second_factor { "as its owner states" } else { "as it says" };
            let detail =
                format!("session {} on {}, at provider {name}, with several factors {how}", row.id, view.device);
            drafts.push(drawn(&user, knock, "login").field(field::DETAIL, detail));
            if !signals.is_empty() {
                let signal = signal(&format!("user:{}", user.name), &signals, knock.address);
                drafts.push(of_session(signal, &row.id, &view.device));
            }
            let network = knock.address.map(|client| Core::network_index(tenant, client));
            let op = Op::new(move |tx| {
                Box::pin(async move {
                    tx.sso_provider_at(&whose, &id, version).await?;
                    account.write(tx, &whose, turn).await?;
                    if let Some(network) = network {
                        tx.account_network_seen(&whose, &row.user, &network, row.created_ms, NETWORKS).await?;
                    }
                    tx.sessions_forget(&whose, &row.user, row.created_ms).await?;
                    Ok(tx.session_insert(&row).await?)
                })
            });
            core.change_anyway(tenant, drafts, op).await.map_err(changed)?;
            let token = ShownOnce::new(token.text());
            let left =
                Credential::of(core, tenant, &user.id).await?.map_or(0, |credential| credential.doc.recovery.len());
            let signed_in = SignedIn { token, device: None, session: view, recovery_codes_left: left, signals };
            return Ok(SsoEntered::SignedIn(Box::new(signed_in)));
        }
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.sso_provider_at(&whose, &id, version).await?;
                account.write(tx, &whose, turn).await
            })
        });
        core.change_anyway(tenant, drafts, op).await.map_err(changed)?;
        match Credential::of(core, tenant, &user.id).await? {
            Some(credential) => Ok(SsoEntered::Code(await_code(tenant, &user, credential.row.version, Some(name))?)),
            None => Ok(SsoEntered::Enrol(equip(tenant, &user, name)?)),
        }
    }

    /// Whose account it is.
    async fn entered(
        &self,
        tenant: &TenantState,
        provider: &SsoProvider,
        invited: Option<InvitedHere>,
        believed: &Believed,
    ) -> Result<Account, Refusal> {
        let core = &self.core;
        let settings = &provider.doc.settings;
        let index = identity_index(tenant, &settings.protocol.issuer(), believed.sub());
        let found = core.store.sso_identity::<SsoIdentityDoc>(&tenant.id, &index).await;
        let found = found.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        if let Some(row) = found {
            if invited.is_some() {
                return Err(refused(
                    "sso.identity-taken",
                    "that identity has an account already, and takes up no other",
                ));
            }
            let doc = tenant.vault.open(&SsoIdentityDoc::place(&[&row.id], row.created_ms), &row.doc);
            let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
            let user = core.user(tenant, &doc.name).await?.filter(|user| is_still(user, &row.user));
            let user = user.ok_or_else(|| refused("sso.disabled", "the account of that identity may not act"))?;
            return self.with_role(tenant, provider, user, believed).await;
        }
        let identity = |user: &User| {
            let (id, created_ms) = (uuid::Uuid::now_v7().to_string(), now_ms());
            let (issuer, sub) = (settings.protocol.issuer().into_owned(), believed.sub().to_owned());
            let doc = SsoIdentityDoc { issuer, sub, name: user.name.clone() };
            let sealed = tenant.vault.seal(&SsoIdentityDoc::place(&[&id], created_ms), &doc);
            Ok(SsoIdentityRow {
                tenant: tenant.id.clone(),
                identity_index: index,
                issuer_index: issuer_index(tenant, &settings.protocol.issuer()),
                user: user.id.clone(),
                created_ms,
                doc: sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?,
                id,
            })
        };
        if let Some(InvitedHere { invitation, user, name }) = invited {
            let user = core.user(tenant, &name).await?.filter(|found| is_still(found, &user)).ok_or_else(over)?;
            let told = Some(format!("taken up with an identity at provider {}", provider.doc.name));
            let (identity, invitation) = (Some(identity(&user)?), Some(invitation));
            return Ok(Account { user, write: UserWrite::Same, identity, invitation, told });
        }
        if !settings.make_accounts {
            return Err(refused("sso.no-account", "that identity has no account, and the provider makes none"));
        }
        let (role, custom) = self.role(tenant, provider, believed).await?;
        // The address is a name here, never a key: if somebody has it, this is not them.
        let email = believed.verified_email().filter(|email| names::user(email).is_ok());
        let name = email.unwrap_or_else(|| format!("sso-{}", hex::encode(&index[..8])));
        if core.user(tenant, &name).await?.is_some() {
            return Err(refused("sso.name-taken", "somebody else has the name that the account would get"));
        }
        let doc =
            UserDoc { name, role, enabled: true, custom: custom.as_ref().map(|(id, _)| id.clone()), by_provider: true };
        let row = users::row(&tenant.id, &tenant.vault, uuid::Uuid::now_v7().to_string(), now_ms(), 1, &doc)?;
        let user = User {
            id: row.id.clone(),
            name: doc.name,
            role,
            custom,
            enabled: true,
            by_provider: true,
            created_ms: row.created_ms,
            version: 1,
        };
        let told = Some(format!("made by provider {}, role {}", provider.doc.name, user.role_shown()));
        let identity = Some(identity(&user)?);
        Ok(Account { user: Arc::new(user), write: UserWrite::Insert(row), identity, invitation: None, told })
    }

    /// The account with the role that the provider says it has now, if it is a provider's to say.
    async fn with_role(
        &self,
        tenant: &TenantState,
        provider: &SsoProvider,
        user: Arc<User>,
        believed: &Believed,
    ) -> Result<Account, Refusal> {
        let same = |user| Account { user, write: UserWrite::Same, identity: None, invitation: None, told: None };
        if !user.by_provider {
            return Ok(same(user));
        }
        let (role, custom) = self.role(tenant, provider, believed).await?;
        let id = |custom: &Option<(String, _)>| custom.as_ref().map(|(id, _)| id.clone());
        if (user.role, id(&user.custom)) == (role, id(&custom)) {
            return Ok(same(user));
        }
        let doc = UserDoc { name: user.name.clone(), role, enabled: true, custom: id(&custom), by_provider: true };
        self.core.keeps_an_owner(tenant, &user, &doc).await?;
        let version = user.version + 1;
        let row = users::row(&tenant.id, &tenant.vault, user.id.clone(), user.created_ms, version, &doc)?;
        let User { id, name, created_ms, .. } = &*user;
        let (id, name, created_ms) = (id.clone(), name.clone(), *created_ms);
        let user = User { id, name, role, custom, enabled: true, by_provider: true, created_ms, version };
        let told = Some(format!("provider {} says role {}", provider.doc.name, user.role_shown()));
        let write = UserWrite::Update(row);
        Ok(Account { user: Arc::new(user), write, identity: None, invitation: None, told })
    }

    /// The role that the provider says somebody has.
    async fn role(
        &self,
        tenant: &TenantState,
        provider: &SsoProvider,
        believed: &Believed,
    ) -> Result<RoleHeld, Refusal> {
        let Some(name) = provider.doc.settings.role_of(believed) else {
            return Err(refused("sso.no-role", "the provider says nothing that gives a role"));
        };
        if let Ok(role) = name.parse::<Role>() {
            return Ok((role, None));
        }
        let found = self.core.roles_of(tenant).await?.into_iter().find(|found| found.role.name == name);
        let found =
            found.ok_or_else(|| refused("sso.no-role", "the role that the provider's word gives is not there"))?;
        Ok((found.role.base, Some((found.id, found.role))))
    }

    /// The last step of somebody who had no authenticator: its first code. The authenticator is stored and the session begins in one
    /// commit.
    ///
    /// # Errors
    /// `code.wrong`; `login.over` when it took too long or the account changed meanwhile; `login.slow-down`.
    pub async fn sso_enrol(&self, knock: &Knock, pending: &str, code: &str) -> Result<SsoEnrolled, Refusal> {
        let opened = pending::open::<Equipping>(&self.core, Step::Equip, pending);
        let Some((tenant, state)) = opened.filter(|(_, state)| now_ms() < state.until_ms) else {
            return Err(self.core.refused_knock(None, None, "login", knock.address, over()).await);
        };
        self.core.tenant_lets_come(&tenant, Some(&state.name), knock.address).await?;
        match self.equipped(knock, &tenant, &state, code).await {
            Ok(enrolled) => Ok(enrolled),
            Err(refusal) => {
                Err(self.core.refused_knock(Some(&tenant), Some(&state.name), "login", knock.address, refusal).await)
            }
        }
    }

    async fn equipped(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        state: &Equipping,
        code: &str,
    ) -> Result<SsoEnrolled, Refusal> {
        let gate = &self.core;
        let who = who("enrol", [tenant.id.as_str(), &state.name], knock.address, None);
        let attempt = gate.attempt(&who).await?;
        let Code::Right(step) = state.seed.check(code, seconds(), None) else { return Err(wrong_code()) };
        attempt.succeeded().await;
        let _turn = tenant.acts.lock().await;
        let user = gate.user(tenant, &state.name).await?.filter(|user| is_still(user, &state.user)).ok_or_else(over)?;
        let (credential, recovery_codes) = Credential::first(tenant, &user, None, &state.seed, step)?;
        let Began { token, view, row } = self.new_session(knock, tenant, &user, Some(&state.provider), now_ms())?;
        let told = format!("session {} on {}, at provider {}, by authenticator", row.id, view.device, state.provider);
        let drafts = vec![
            drawn(&user, knock, "user enrol").field(field::DETAIL, "authenticator set"),
            drawn(&user, knock, "login").field(field::DETAIL, told),
        ];
        let version = user.version;
        let network = knock.address.map(|client| Core::network_index(tenant, client));
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.user_at(&row.tenant, &row.user, version).await?;
                tx.credential_insert(&credential).await?;
                if let Some(network) = network {
                    tx.account_network_seen(&row.tenant, &row.user, &network, row.created_ms, NETWORKS).await?;
                }
                tx.sessions_forget(&row.tenant, &row.user, row.created_ms).await?;
                Ok(tx.session_insert(&row).await?)
            })
        });
        let done = gate.journal.commit(&tenant.id.clone().into(), drafts, op).await;
        done.map_err(|error| used_first(&error, over()))?;
        let recovery_codes_left = recovery_codes.len();
        let token = ShownOnce::new(token.text());
        let signed_in = SignedIn { token, device: None, session: view, recovery_codes_left, signals: Vec::new() };
        Ok(SsoEnrolled { signed_in, recovery_codes })
    }
}

/// A new authenticator for somebody who has none.
fn equip(tenant: &TenantState, user: &User, provider: &str) -> Result<Enrolment, Refusal> {
    let (seed, until_ms) = (Seed::generate(), now_ms() + WITHIN_MS);
    let (user, name, provider) = (user.id.clone(), user.name.clone(), provider.to_owned());
    let state = Equipping { user, name, provider, seed, until_ms };
    let pending = pending::seal(tenant, Step::Equip, &state)?;
    Ok(Enrolment::of(tenant, &state.name, &state.seed, pending, until_ms))
}

/// A role, and what narrows it.
type RoleHeld = (Role, Option<(String, Arc<opsiq_contract::CustomRole>)>);

/// Somebody was first: at another node, or at the same time.
fn changed(refusal: Refusal) -> Refusal {
    if refusal.class == Class::Conflict {
        return refused("sso.changed", "the provider, the account or the roles changed meanwhile");
    }
    refusal
}
