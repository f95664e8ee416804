//! Signing in, in two steps: the password, then a code.

use std::sync::Arc;
use std::time::Instant;

use opsiq_audit::{Log, Op, field};
use opsiq_contract::{TenantId, visible};
use opsiq_identity::{Checked, Password, Token, TokenKind};
use opsiq_shield::Reason;
use opsiq_store::{DeviceRow, SessionRow};
use opsiq_vault::Secret;
use serde::{Deserialize, Serialize};

use super::enrol::{drawn, enforced};
use super::factor::{Credential, Shown, is_still};
use super::pending::{self, ShownOnce, Step, index, of_token, over};
use super::refused::{even, used_first, who, wrong_code, wrong_login};
use super::session::{SessionView, view};
use super::{Door, Knock};
use crate::core::{Core, now_ms};
use crate::docs::{CredentialDoc, DeviceDoc, SessionDoc};
use crate::errors;
use crate::identity::crowded;
use crate::names;
use crate::refusal::{Refusal, Stage};
use crate::shield::{NETWORKS, of_session, signal};
use crate::state::{TenantState, User};

/// How long the code is awaited, in milliseconds.
const WITHIN_MS: i64 = 5 * 60_000;
/// Devices known of one user, at most.
const DEVICES: u32 = 20;
/// Characters kept of what a device says it is.
const DEVICE: usize = 120;

/// Who wants to sign in. Nothing of it is trusted.
#[derive(Debug)]
pub struct Login {
    /// The tenant's name, as typed.
    pub tenant: String,
    /// The user's name, as typed.
    pub user: String,
    /// The password, as typed.
    pub password: Secret,
}

/// A login whose password was right.
#[derive(Debug, Serialize)]
pub struct Pending {
    /// To be given back to [`Door::code`].
    pub pending: ShownOnce,
    /// Until when the code is awaited, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// A person who is signed in.
#[derive(Debug, Serialize)]
pub struct SignedIn {
    /// The session's token: a cookie that scripts do not see, or a bearer token.
    pub token: ShownOnce,
    /// The token of this device, for it to keep and show at the next login; `None` when it is known already.
    pub device: Option<ShownOnce>,
    /// The session.
    pub session: SessionView,
    /// Recovery codes that are left.
    pub recovery_codes_left: usize,
    /// Why it may be somebody else than the user: then what is grave asks for a second factor anew.
    pub signals: Vec<Reason>,
}

/// What is known once the password was right.
#[derive(Serialize, Deserialize)]
struct Entering {
    user: String,
    name: String,
    /// The version of the credential the password was compared with.
    version: u64,
    until_ms: i64,
    /// The provider that vouched for them, instead of a password.
    #[serde(default)]
    provider: Option<String>,
}

/// Who is about to be let in.
pub(super) struct Entry<'a> {
    pub(super) tenant: &'a Arc<TenantState>,
    pub(super) user: &'a User,
    /// Whether they signed in from that device before.
    pub(super) device: bool,
    /// The provider that vouched for them.
    pub(super) provider: Option<&'a str>,
    /// What they showed.
    pub(super) shown: Shown,
    /// Recovery codes that are left then.
    pub(super) left: usize,
}

/// A session that begins.
pub(super) struct Began {
    pub(super) token: Token,
    pub(super) view: SessionView,
    pub(super) row: SessionRow<SessionDoc>,
}

impl Door {
    /// The first step: the password. Whatever is wrong, the answer is one, after the same work.
    ///
    /// # Errors
    /// `login.failed`; `login.slow-down` after too many failures of the account or the address; `login.busy` without room
    /// to hash the password.
    pub async fn login(&self, knock: &Knock, login: &Login) -> Result<Pending, Refusal> {
        let begun = Instant::now();
        let tenant = login.tenant.parse::<TenantId>().ok().and_then(|id| self.core.tenants.get(&id));
        // Whoever comes from where the tenant lets nobody come is told what a stranger is, after the same work; why is on record.
        let barred = tenant.as_ref().and_then(|tenant| self.core.tenants_list(tenant, knock.address).err());
        let (found, done) = self.login_now(knock, tenant.as_ref().filter(|_| barred.is_none()), login).await;
        match done {
            Ok(pending) => Ok(pending),
            Err(refusal) => {
                if refusal.code == wrong_login().code {
                    let who = who("password", [&login.tenant, &login.user], None, None);
                    self.core.sign_in_failed(knock.address, who.account);
                }
                let name = found.as_ref().map(|user| user.name.as_str());
                let reason = barred.clone().unwrap_or_else(|| refusal.clone());
                let told = self.core.refused_knock(tenant.as_deref(), name, "login", knock.address, reason).await;
                even(begun).await;
                Err(if barred.is_some_and(|barred| barred.code == told.code) {
                    refusal
                } else if told.code == enforced().code {
                    // That the password was right is told to nobody.
                    wrong_login()
                } else {
                    told
                })
            }
        }
    }

    /// Whose account it is, if it is there, and how it went.
    async fn login_now(
        &self,
        knock: &Knock,
        tenant: Option<&Arc<TenantState>>,
        login: &Login,
    ) -> (Option<Arc<User>>, Result<Pending, Refusal>) {
        let found = match tenant {
            Some(tenant) => self.account(tenant, &login.user).await,
            None => Ok(None),
        };
        match found {
            Ok(found) => {
                let user = found.as_ref().map(|(user, _)| user.clone());
                (user, self.password(knock, tenant, login, found).await)
            }
            Err(refusal) => (None, Err(refusal)),
        }
    }

    /// The account of that name, and what it signs in with.
    async fn account(
        &self,
        tenant: &TenantState,
        name: &str,
    ) -> Result<Option<(Arc<User>, Option<Credential>)>, Refusal> {
        if names::user(name).is_err() {
            return Ok(None);
        }
        let Some(user) = self.core.user(tenant, name).await? else { return Ok(None) };
        let credential = Credential::of(&self.core, tenant, &user.id).await?;
        Ok(Some((user, credential)))
    }

    async fn password(
        &self,
        knock: &Knock,
        tenant: Option<&Arc<TenantState>>,
        login: &Login,
        found: Option<(Arc<User>, Option<Credential>)>,
    ) -> Result<Pending, Refusal> {
        let core = &self.core;
        let device = match (&found, tenant) {
            (Some((user, _)), Some(tenant)) => self.known(knock, tenant, user).await?,
            _ => None,
        };
        let who = who("password", [&login.tenant, &login.user], knock.address, device);
        let attempt = core.attempt(&who).await?;
        let open = found.filter(|(user, _)| user.enabled).and_then(|(user, credential)| Some((user, credential?)));
        let stored = open.as_ref().and_then(|(_, credential)| credential.doc.password.as_ref());
        let typed = Password::typed(&login.password);
        let checked = match core.identity.passwords().await?.check(typed, stored).await {
            Ok(checked) => checked,
            Err(why) => {
                attempt.void().await;
                return Err(crowded(why));
            }
        };
        let (Some((user, credential)), Some(tenant)) = (open, tenant) else { return Err(wrong_login()) };
        let version = match checked {
            Checked::Wrong => return Err(wrong_login()),
            Checked::Right => credential.row.version,
            Checked::Renewed(password) => {
                let password = Some(password);
                let row = credential.changed(tenant, &CredentialDoc { password, ..credential.doc.clone() })?;
                let version = row.version;
                let op = Op::new(move |tx| Box::pin(async move { Ok(tx.credential_update(&row, version - 1).await?) }));
                let draft = drawn(&user, knock, "login").field(field::DETAIL, "the password's hash was renewed");
                let done = core.journal.commit(&Log::Tenant(tenant.id.clone()), vec![draft], op).await;
                done.map_err(|error| errors::audit(Stage::Authenticate, &error))?;
                version
            }
        };
        attempt.succeeded().await;
        if !user.owns() && core.sso_enforced(tenant).await? {
            return Err(enforced());
        }
        await_code(tenant, &user, version, None)
    }

    /// The device, if it is one of that user.
    pub(super) async fn known(
        &self,
        knock: &Knock,
        tenant: &TenantState,
        user: &User,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        let Some(token) = &knock.known else { return Ok(None) };
        let Some((of, index)) = of_token(&self.core, TokenKind::Device, token) else { return Ok(None) };
        if of.id != tenant.id {
            return Ok(None);
        }
        let row = self.core.store.device_by_token::<DeviceDoc>(&tenant.id, &index).await;
        let row = row.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        Ok(row.filter(|row| row.user == user.id).map(|_| index))
    }

    /// The second step: a code of the authenticator, or a recovery code. It is used up, and the session begins, in one
    /// commit.
    ///
    /// # Errors
    /// `code.wrong`, also for one that was used; `login.over` when it took too long or the account changed meanwhile;
    /// `login.slow-down`.
    pub async fn code(&self, knock: &Knock, pending: &str, code: &str) -> Result<SignedIn, Refusal> {
        let begun = Instant::now();
        let opened = pending::open::<Entering>(&self.core, Step::Login, pending);
        let Some((tenant, state)) = opened.filter(|(_, state)| now_ms() < state.until_ms) else {
            return Err(self.core.refused_knock(None, None, "login", knock.address, over()).await);
        };
        self.core.tenant_lets_come(&tenant, Some(&state.name), knock.address).await?;
        match self.code_now(knock, &tenant, &state, code).await {
            Ok(signed_in) => Ok(signed_in),
            Err(refusal) => {
                if refusal.code == wrong_code().code {
                    let who = who("password", [tenant.id.as_str(), &state.name], None, None);
                    self.core.sign_in_failed(knock.address, who.account);
                }
                let name = Some(state.name.as_str());
                let refusal = self.core.refused_knock(Some(&tenant), name, "login", knock.address, refusal).await;
                even(begun).await;
                Err(refusal)
            }
        }
    }

    async fn code_now(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        state: &Entering,
        code: &str,
    ) -> Result<SignedIn, Refusal> {
        let gate = &self.core;
        let user = gate.user(tenant, &state.name).await?.filter(|user| is_still(user, &state.user)).ok_or_else(over)?;
        let device = self.known(knock, tenant, &user).await?;
        let who = who("code", [tenant.id.as_str(), &user.name], knock.address, device);
        let attempt = gate.attempt(&who).await?;
        // In turn with those who disable users and reset their factors, so that no session outlives either.
        let _turn = tenant.acts.lock().await;
        let user = gate.user(tenant, &state.name).await?.filter(|user| is_still(user, &state.user)).ok_or_else(over)?;
        let credential = Credential::of(gate, tenant, &user.id).await?;
        let credential = credential.filter(|credential| credential.row.version == state.version).ok_or_else(over)?;
        let shown = credential.shown(tenant, code)?.ok_or_else(wrong_code)?;
        let left = match &shown {
            Shown::Recovery(_, left) => *left,
            _ => credential.doc.recovery.len(),
        };
        let provider = state.provider.as_deref();
        let entry = Entry { tenant, user: &user, device: device.is_some(), provider, shown, left };
        let signed_in = self.begin_session(knock, entry).await?;
        attempt.succeeded().await;
        Ok(signed_in)
    }

    /// Begins the session of whoever showed what they hold, in the commit that uses it up. The caller has the tenant's turn.
    pub(super) async fn begin_session(&self, knock: &Knock, entry: Entry<'_>) -> Result<SignedIn, Refusal> {
        let gate = &self.core;
        let Entry { tenant, user, device, provider, shown, left } = entry;
        let signals = gate.doubts(tenant, user, knock.address, device).await?;
        // Of somebody who may be another than the user, what is grave asks for a further code.
        let stepped_up_ms = if signals.is_empty() { now_ms() } else { 0 };
        let Began { token, view: session, row } = self.new_session(knock, tenant, user, provider, stepped_up_ms)?;
        let new_device = (!device).then(|| new_device(knock, tenant, user)).transpose()?;
        let (device_token, device_row) = new_device.unzip();
        let detail = format!("session {} on {}, by {}", row.id, session.device, shown.told());
        let mut drafts = vec![drawn(user, knock, "login").field(field::DETAIL, detail)];
        if !signals.is_empty() {
            let signal = signal(&format!("user:{}", user.name), &signals, knock.address);
            drafts.push(of_session(signal, &row.id, &session.device));
        }
        let network = knock.address.map(|client| Core::network_index(tenant, client));
        let (version, used) = (user.version, shown.used());
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.user_at(&row.tenant, &row.user, version).await?;
                shown.spend(tx, &row.tenant, &row.user).await?;
                if let Some(network) = network {
                    tx.account_network_seen(&row.tenant, &row.user, &network, row.created_ms, NETWORKS).await?;
                }
                tx.sessions_forget(&row.tenant, &row.user, row.created_ms).await?;
                if let Some(device) = device_row {
                    tx.device_insert(&device, DEVICES).await?;
                }
                Ok(tx.session_insert(&row).await?)
            })
        });
        let done = gate.journal.commit(&Log::Tenant(tenant.id.clone()), drafts, op).await;
        done.map_err(|error| used_first(&error, used))?;
        let (token, device) = (ShownOnce::new(token.text()), device_token.map(|token| ShownOnce::new(token.text())));
        Ok(SignedIn { token, device, session, recovery_codes_left: left, signals })
    }

    /// A session that is to begin, whose user showed a second factor at that time.
    pub(super) fn new_session(
        &self,
        knock: &Knock,
        tenant: &TenantState,
        user: &User,
        provider: Option<&str>,
        stepped_up_ms: i64,
    ) -> Result<Began, Refusal> {
        let token = Token::generate(TokenKind::Session, &tenant.id);
        let (id, now) = (uuid::Uuid::now_v7().to_string(), now_ms());
        let (name, provider) = (user.name.clone(), provider.map(str::to_owned));
        let doc = SessionDoc { name, device: label(&knock.device), address: knock.address, provider };
        let sealed = tenant.vault.seal(&SessionDoc::place(&[&id], now), &doc);
        let row = SessionRow {
            tenant: tenant.id.clone(),
            token_index: index(tenant, &token),
            user: user.id.clone(),
            created_ms: now,
            expires_ms: now + self.core.identity.times.absolute_ms,
            stepped_up_ms,
            seen_ms: now,
            doc: sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?,
            id,
        };
        let view = view(&tenant.id, &row, &doc, true);
        Ok(Began { token, view, row })
    }
}

/// Awaits a code of a user whose first factor was right.
pub(super) fn await_code(
    tenant: &TenantState,
    user: &User,
    version: u64,
    provider: Option<&str>,
) -> Result<Pending, Refusal> {
    let until_ms = now_ms() + WITHIN_MS;
    let (id, name, provider) = (user.id.clone(), user.name.clone(), provider.map(str::to_owned));
    let state = Entering { user: id, name, version, until_ms, provider };
    Ok(Pending { pending: pending::seal(tenant, Step::Login, &state)?, expires_ms: until_ms })
}

impl Core {
    /// The index of a device's token, if somebody signed in from that device before.
    pub(crate) async fn known_device(&self, token: &str) -> Result<Option<[u8; 32]>, Refusal> {
        let Some((tenant, index)) = of_token(self, TokenKind::Device, token) else { return Ok(None) };
        let row = self.store.device_by_token::<DeviceDoc>(&tenant.id, &index).await;
        let row = row.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        Ok(row.map(|_| index))
    }
}

fn new_device(knock: &Knock, tenant: &TenantState, user: &User) -> Result<(Token, DeviceRow<DeviceDoc>), Refusal> {
    let token = Token::generate(TokenKind::Device, &tenant.id);
    let (id, now) = (uuid::Uuid::now_v7().to_string(), now_ms());
    let doc = DeviceDoc { device: label(&knock.device), address: knock.address };
    let sealed = tenant.vault.seal(&DeviceDoc::place(&[&id], now), &doc);
    let row = DeviceRow {
        tenant: tenant.id.clone(),
        token_index: index(tenant, &token),
        user: user.id.clone(),
        created_ms: now,
        doc: sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?,
        id,
    };
    Ok((token, row))
}

/// What a device says it is, so that it shows as it is.
fn label(device: &str) -> String {
    let shown = visible(device, DEVICE).text;
    if shown.is_empty() { "unknown device".to_owned() } else { shown }
}
