//! Inviting people, and what an owner does about somebody's sign-in: reset the second factor, end sessions.

use opsiq_audit::{Kind, Log, Op, field};
use opsiq_contract::{Role, TenantId, visible};
use opsiq_identity::{Token, TokenKind};
use opsiq_store::InvitationRow;
use serde::{Deserialize, Serialize};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::approve::Confirmations;
use crate::core::{Core, now_ms};
use crate::docs::InvitationDoc;
use crate::door::sessions::unknown as unknown_session;
use crate::door::{SessionView, ShownOnce, index};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::roles;
use crate::state::{TenantState, User};
use crate::tenants::Tenants;
use crate::users::{Users, done, unknown};

/// How long an invitation is good, in milliseconds: three days.
const GOOD_MS: i64 = 3 * 24 * 3_600_000;

/// An invitation, shown once: whoever has its token takes up the account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The tenant.
    pub tenant: TenantId,
    /// Whom it invites.
    pub user: String,
    /// The token.
    pub token: ShownOnce,
    /// Until when it is good, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl Invitation {
    fn new(tenant: &TenantState, user: &User, by: &Actor) -> Result<(Self, InvitationRow<InvitationDoc>), Refusal> {
        let token = Token::generate(TokenKind::Invitation, &tenant.id);
        let (id, created_ms) = (uuid::Uuid::now_v7().to_string(), now_ms());
        let doc = InvitationDoc { name: user.name.clone(), by: by.principal().to_string() };
        let sealed = tenant.vault.seal(&InvitationDoc::place(&[&id], created_ms), &doc);
        let expires_ms = created_ms + GOOD_MS;
        let row = InvitationRow {
            tenant: tenant.id.clone(),
            token_index: index(tenant, &token),
            user: user.id.clone(),
            created_ms,
            expires_ms,
            doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
            id,
        };
        let token = ShownOnce::new(token.text());
        Ok((Self { tenant: tenant.id.clone(), user: user.name.clone(), token, expires_ms }, row))
    }
}

impl Users {
    /// Invites a user to take up their account, and makes the account first when `role` says in which role and there is
    /// none. Earlier invitations of theirs are not good any more. For owners.
    ///
    /// # Errors
    /// Not an owner; no such user and no role; one who took up their account already.
    pub async fn invite(&self, actor: &Actor, name: &str, role: Option<&str>) -> Result<Invitation, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "user invite";
        if let Some(role) = role {
            let built_in: Option<Role> = role.parse().ok();
            // The right first: whether there is such a user or role is not for everybody to know.
            let look = async {
                let there = self.core.user(&person.tenant, name).await?.is_some();
                let known = async || {
                    let roles = self.core.roles_of(&person.tenant).await?;
                    Ok(roles.iter().any(|found| found.role.name == role))
                };
                if there || built_in.is_some() || known().await? { Ok(there) } else { Err(roles::unknown()) }
            };
            if !self.core.act(&person, &[Role::Owner], act, "", look).await? {
                self.add(actor, name, built_in.unwrap_or(Role::Support)).await?;
                if built_in.is_none() {
                    self.assign(actor, name, role).await?;
                }
            }
        }
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let user = self.core.user(&person.tenant, name).await?.ok_or_else(unknown)?;
                self.core.not_enrolled(&person.tenant, &user).await?;
                let (invitation, row) = Invitation::new(&person.tenant, &user, actor)?;
                let draft = done(&person, act, format!("user {name}, invitation {}", row.id));
                self.core.change(&person.tenant, vec![draft], anew(row)).await?;
                Ok(invitation)
            })
            .await
    }

    /// Takes away what a user signs in with, passkeys and identities at providers among it, ends their sessions, forgets their devices, voids what of theirs waits for
    /// approval, and invites them to set all of it anew. For owners.
    ///
    /// # Errors
    /// Not an owner; no such user.
    pub async fn reset_2fa(&self, actor: &Actor, name: &str) -> Result<Invitation, Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("user reset-2fa", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let user = self.core.user(tenant, name).await?.ok_or_else(unknown)?;
                let (invitation, row) = Invitation::new(tenant, &user, actor)?;
                let draft = done(&person, act, format!("user {name}, invitation {}", row.id));
                let op = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.credential_remove(&row.tenant, &row.user).await?;
                        tx.sso_identities_remove(&row.tenant, &row.user).await?;
                        tx.passkeys_remove_of(&row.tenant, &row.user).await?;
                        tx.sessions_end_of(&row.tenant, &row.user, None).await?;
                        tx.devices_forget(&row.tenant, &row.user, None).await?;
                        tx.invitations_remove_of(&row.tenant, &row.user).await?;
                        Ok(tx.invitation_insert(&row).await?)
                    })
                });
                self.core.change(tenant, vec![draft], op).await?;
                Confirmations { core: self.core.clone() }.void_of(&person, &user).await?;
                Ok(invitation)
            })
            .await
    }

    /// The sessions of a user, oldest first. For owners.
    ///
    /// # Errors
    /// Not an owner; no such user.
    pub async fn sessions(&self, actor: &Actor, name: &str) -> Result<Vec<SessionView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner], "user sessions", "", async {
                let user = self.core.user(&person.tenant, name).await?.ok_or_else(unknown)?;
                let asks = person.session.as_ref().map(|session| session.id.as_str());
                self.core.sessions_shown(&person.tenant, &user.id, asks).await
            })
            .await
    }

    /// Ends one session of a user, or all; with all of them their devices are forgotten too. How many there were. For
    /// owners.
    ///
    /// # Errors
    /// Not an owner; no such user or session.
    pub async fn revoke(&self, actor: &Actor, name: &str, session: Option<&str>) -> Result<u64, Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("user revoke", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let user = self.core.user(tenant, name).await?.ok_or_else(unknown)?;
                let which = session.map_or_else(|| "all".to_owned(), |id| visible(id, 64).text);
                let draft = done(&person, act, format!("user {name}, session {which}"));
                let (whose, id, session) = (tenant.id.clone(), user.id.clone(), session.map(str::to_owned));
                let op = Op::new(move |tx| {
                    Box::pin(async move {
                        if let Some(session) = session {
                            tx.session_end(&whose, &id, &session).await?;
                            return Ok(1);
                        }
                        tx.devices_forget(&whose, &id, None).await?;
                        Ok(tx.sessions_end_of(&whose, &id, None).await?)
                    })
                });
                match self.core.change(tenant, vec![draft], op).await {
                    Err(refusal) if refusal.class == Class::Conflict => Err(unknown_session()),
                    done => done,
                }
            })
            .await
    }
}

impl Tenants {
    /// Invites the first owner of a tenant in which no owner has taken up their account yet. Later ones are invited by an
    /// owner.
    ///
    /// # Errors
    /// Not the operator; no such tenant; a tenant whose owners are there.
    pub async fn invite_owner(&self, actor: &Actor, tenant: &TenantId) -> Result<Invitation, Refusal> {
        let about = format!("tenant {tenant}");
        self.core.operate(actor, "tenant invite", &about, self.invite_owner_now(actor, tenant)).await
    }

    async fn invite_owner_now(&self, actor: &Actor, id: &TenantId) -> Result<Invitation, Refusal> {
        let tenant = self.core.tenants.get(id).ok_or_else(|| {
            let message = format!("there is no tenant {id}");
            Refusal::new(Class::NotFound, Stage::Admin, "tenant.unknown", message, "see opsiq tenant list")
        })?;
        tenant.lives()?;
        let _turn = tenant.acts.lock().await;
        let users = self.core.users_of(&tenant).await?;
        let owners: Vec<_> = users.iter().filter(|user| user.owns()).collect();
        for owner in &owners {
            self.core.not_enrolled(&tenant, owner).await.map_err(|refusal| Refusal {
                code: "tenant.has-owner".into(),
                message: format!("an owner of {id} has taken up their account"),
                fix: "an owner of the tenant invites others: opsiq user invite".to_owned(),
                ..refusal
            })?;
        }
        let gone = || errors::internal(Stage::Admin, "the tenant has no owner");
        let owner = owners.first().ok_or_else(gone)?;
        let (invitation, row) = Invitation::new(&tenant, owner, actor)?;
        let draft = operator_draft(actor, Kind::Admin, "tenant invite")
            .field(field::OUTCOME, "ok")
            .field(field::DETAIL, format!("tenant {id}, owner {}, invitation {}", owner.name, row.id));
        let done = self.core.journal.commit(&Log::Host, vec![draft], anew(row)).await;
        done.map_err(|error| errors::audit(Stage::Admin, &error))?;
        Ok(invitation)
    }
}

/// Writes an invitation, after which earlier ones of the same user are not good any more.
fn anew(row: InvitationRow<InvitationDoc>) -> Op<()> {
    Op::new(move |tx| {
        Box::pin(async move {
            tx.invitations_remove_of(&row.tenant, &row.user).await?;
            Ok(tx.invitation_insert(&row).await?)
        })
    })
}

impl Core {
    /// Refuses when the user has taken up their account.
    async fn not_enrolled(&self, tenant: &TenantState, user: &User) -> Result<(), Refusal> {
        if !self.taken_up(tenant).await?.contains(&user.id) {
            return Ok(());
        }
        Err(Refusal::new(
            Class::Conflict,
            Stage::Admin,
            "user.enrolled",
            format!("{} has taken up their account", user.name),
            "take it back first, if they lost what they sign in with: opsiq user reset-2fa",
        ))
    }
}
