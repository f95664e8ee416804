//! The people of a tenant. Owners alone add, change and disable them, and the last enabled owner stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Op, field};
use opsiq_contract::{Role, TenantId};
use opsiq_store::{UserRow, UserState};
use opsiq_vault::TenantVault;
use serde::{Deserialize, Serialize};

use crate::act::Person;
use crate::actor::Actor;
use crate::approve::Confirmations;
use crate::core::{Core, now_ms};
use crate::docs::UserDoc;
use crate::refusal::{Class, Refusal, Stage};
use crate::roles::{self, StoredRole};
use crate::state::{TenantState, User};
use crate::{errors, names};

/// A user of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserView {
    /// The name, unique in the tenant.
    pub name: String,
    /// The role, which a contract's `roles` and the gate's own acts ask for.
    pub role: Role,
    /// The custom role that narrows it.
    pub custom: Option<String>,
    /// A disabled user can do nothing, from the next act on.
    pub enabled: bool,
    /// Whether they took up their account: a password and a second factor are set, or they signed in at a provider.
    pub enrolled: bool,
    /// Grows by one with each change of role or state.
    pub revision: u64,
    /// When added, in milliseconds since 1970.
    pub created_ms: i64,
}

/// What becomes of a user.
enum Alter<'a> {
    /// Another built-in role.
    Role(Role),
    /// A custom one, by its name.
    Custom(&'a str),
    /// Whether they may act.
    Enabled(bool),
}

/// The people of a tenant. See [`Host::users`](crate::Host::users).
#[derive(Clone)]
pub struct Users {
    pub(crate) core: Arc<Core>,
    /// The revision that a change is bound to.
    pub(crate) expected: Option<u64>,
}

impl Users {
    /// The same, for a change that happens only while the user has this revision: with another one, somebody else changed
    /// them meanwhile, and it is refused.
    #[must_use]
    pub fn at_revision(mut self, revision: Option<u64>) -> Self {
        self.expected = revision;
        self
    }

    /// Refuses a user who is not as the caller last saw them.
    fn as_expected(&self, user: &User) -> Result<(), Refusal> {
        let now = user.version;
        match self.expected {
            Some(expected) if expected != now => Err(Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "request.changed",
                format!("the user has revision {now} by now, not {expected}"),
                "look again, then repeat the change",
            )),
            _ => Ok(()),
        }
    }

    /// Adds a user. For owners.
    ///
    /// # Errors
    /// Not an owner; a name that is taken or not valid.
    pub async fn add(&self, actor: &Actor, name: &str, role: Role) -> Result<UserView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "user add";
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                names::user(name)?;
                if self.core.user(&person.tenant, name).await?.is_some() {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "user.exists",
                        format!("there is a user {name} already"),
                        "choose another name",
                    ));
                }
                let row = new_row(&person.tenant.id, &person.tenant.vault, name, role)?;
                let draft = done(&person, act, format!("user {name}, role {role}"));
                let change = Op::new(move |tx| Box::pin(async move { Ok(tx.user_insert(&row).await?) }));
                self.core.change(&person.tenant, vec![draft], change).await?;
                self.view(&person.tenant, name).await
            })
            .await
    }

    /// Gives a user another role, from their next act on. For owners; one enabled owner must remain.
    ///
    /// # Errors
    /// Not an owner; no such user; the last enabled owner.
    pub async fn set_role(&self, actor: &Actor, name: &str, role: Role) -> Result<UserView, Refusal> {
        self.alter(actor, "user role", name, Alter::Role(role)).await
    }

    /// Gives a user another role by its name: a built-in one, or a custom one of the tenant. As [`Users::set_role`].
    ///
    /// # Errors
    /// As [`Users::set_role`]; no such role.
    pub async fn assign(&self, actor: &Actor, name: &str, role: &str) -> Result<UserView, Refusal> {
        if let Ok(role) = role.parse() {
            return self.set_role(actor, name, role).await;
        }
        self.alter(actor, "user role", name, Alter::Custom(role)).await
    }

    /// Ends what a user may do, from their next act on; their sessions and passkeys go, and what they asked for and is not
    /// approved yet never runs. For owners; one enabled owner must remain.
    ///
    /// # Errors
    /// Not an owner; no such user; the last enabled owner.
    pub async fn disable(&self, actor: &Actor, name: &str) -> Result<UserView, Refusal> {
        self.alter(actor, "user disable", name, Alter::Enabled(false)).await
    }

    /// Lets a disabled user act again. For owners.
    ///
    /// # Errors
    /// Not an owner; no such user.
    pub async fn enable(&self, actor: &Actor, name: &str) -> Result<UserView, Refusal> {
        self.alter(actor, "user enable", name, Alter::Enabled(true)).await
    }

    /// The users, oldest first. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<UserView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner, Role::Admin], "user list", "", async {
                let users = self.core.users_of(&person.tenant).await?;
                let enrolled = self.core.taken_up(&person.tenant).await?;
                Ok(users.iter().map(|user| view(user, enrolled.contains(&user.id))).collect())
            })
            .await
    }

    /// One of them. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such user.
    pub async fn get(&self, actor: &Actor, name: &str) -> Result<UserView, Refusal> {
        let person = self.core.person(actor).await?;
        self.core.act(&person, &[Role::Owner, Role::Admin], "user list", "", self.view(&person.tenant, name)).await
    }

    async fn alter(&self, actor: &Actor, act: &'static str, name: &str, alter: Alter<'_>) -> Result<UserView, Refusal> {
        let person = self.core.person(actor).await?;
        let tenant = &person.tenant;
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let turn = self.core.deciding(&person, act).await?;
                let user = self.core.user(tenant, name).await?.ok_or_else(unknown)?;
                self.as_expected(&user)?;
                let custom = user.custom.as_ref().map(|(id, _)| id.clone());
                let (role, enabled, by_provider) = (user.role, user.enabled, user.by_provider);
                let mut doc = UserDoc { name: user.name.clone(), role, enabled, custom, by_provider };
                match alter {
                    Alter::Role(role) => (doc.role, doc.custom) = (role, None),
                    Alter::Custom(role) => {
                        let found = self.core.roles_of(tenant).await?.into_iter().find(|found| found.role.name == role);
                        let found = found.ok_or_else(roles::unknown)?;
                        (doc.role, doc.custom) = (found.role.base, Some(found.id));
                    }
                    Alter::Enabled(enabled) => doc.enabled = enabled,
                }
                self.core.keeps_an_owner(tenant, &user, &doc).await?;
                let custom = doc.custom.as_ref().map(|id| format!(", custom role {id}")).unwrap_or_default();
                let detail = format!("user {name}, role {}{custom}, enabled {}", doc.role, doc.enabled);
                let draft = done(&person, act, detail);
                let row = row(&tenant.id, &tenant.vault, user.id.clone(), user.created_ms, user.version + 1, &doc)?;
                let (disabled, whose) = (!doc.enabled, tenant.id.clone());
                let change = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.people_decide(&whose, turn).await?;
                        if disabled {
                            // Enabled again, they sign in again.
                            tx.sessions_end_of(&whose, &row.id, None).await?;
                            tx.passkeys_remove_of(&whose, &row.id).await?;
                            tx.invitations_remove_of(&whose, &row.id).await?;
                        }
                        Ok(tx.user_update(&row, row.version - 1).await?)
                    })
                });
                self.core.change(tenant, vec![draft], change).await?;
                if disabled {
                    Confirmations { core: self.core.clone() }.void_of(&person, &user).await?;
                }
                self.view(tenant, name).await
            })
            .await
    }

    async fn view(&self, tenant: &TenantState, name: &str) -> Result<UserView, Refusal> {
        let user = self.core.user(tenant, name).await?.ok_or_else(unknown)?;
        Ok(view(&user, self.core.taken_up(tenant).await?.contains(&user.id)))
    }
}

pub(crate) fn done(person: &Person, act: &str, detail: String) -> Draft {
    person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail)
}

pub(crate) fn unknown() -> Refusal {
    Refusal::new(Class::NotFound, Stage::Admin, "user.unknown", "there is no such user", "see opsiq user list")
}

fn view(user: &User, enrolled: bool) -> UserView {
    UserView {
        name: user.name.clone(),
        role: user.role,
        custom: user.custom.as_ref().map(|(_, custom)| custom.name.clone()),
        enabled: user.enabled,
        enrolled,
        revision: user.version,
        created_ms: user.created_ms,
    }
}

/// A new, enabled user's row.
pub(crate) fn new_row(
    tenant: &TenantId,
    vault: &TenantVault,
    name: &str,
    role: Role,
) -> Result<UserRow<UserDoc>, Refusal> {
    let doc = UserDoc { name: name.to_owned(), role, enabled: true, custom: None, by_provider: false };
    row(tenant, vault, uuid::Uuid::now_v7().to_string(), now_ms(), 1, &doc)
}

/// The row of a user.
pub(crate) fn row(
    tenant: &TenantId,
    vault: &TenantVault,
    id: String,
    created_ms: i64,
    version: u64,
    doc: &UserDoc,
) -> Result<UserRow<UserDoc>, Refusal> {
    let sealed = vault.seal(&UserDoc::place(&[&id], version), doc);
    Ok(UserRow {
        tenant: tenant.clone(),
        name_index: index(vault, &doc.name),
        state: if doc.enabled { UserState::Active } else { UserState::Disabled },
        created_ms,
        version,
        doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
        id,
    })
}

fn index(vault: &TenantVault, name: &str) -> [u8; 32] {
    vault.blind_index("user name", name.as_bytes())
}

fn opened(tenant: &TenantState, row: &UserRow<UserDoc>, roles: &[StoredRole]) -> Result<User, Refusal> {
    let doc = tenant.vault.open(&UserDoc::place(&[&row.id], row.version), &row.doc);
    let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
    let custom = match doc.custom {
        None => None,
        Some(id) => {
            // One that is assigned cannot be removed, so it went outside the host.
            let found = roles.iter().find(|role| role.id == id && role.role.base == doc.role);
            let found = found.ok_or_else(|| tampered("a user has a custom role that is not there"))?;
            Some((id, found.role.clone()))
        }
    };
    Ok(User {
        id: row.id.clone(),
        name: doc.name,
        role: doc.role,
        custom,
        // Both must say so: the column can be edited, the document cannot.
        enabled: doc.enabled && row.state == UserState::Active,
        by_provider: doc.by_provider,
        created_ms: row.created_ms,
        version: row.version,
    })
}

fn tampered(message: &str) -> Refusal {
    let fix = "restore from a backup; see opsiq doctor";
    Refusal::new(Class::Tampered, Stage::Authenticate, "store.tampered", message, fix)
}

impl Core {
    /// Begins a decision about people and roles by an owner, before anything is read that it rests on: what is remembered is read
    /// anew, the right is asked for once more, and the answer goes with the change ([`WriteTx::people_decide`]), which happens
    /// only if nobody decided meanwhile, on any node.
    ///
    /// [`WriteTx::people_decide`]: opsiq_store::WriteTx::people_decide
    pub(crate) async fn deciding(self: &Arc<Self>, person: &Person, act: &'static str) -> Result<u64, Refusal> {
        let turn = self.store.people_turn(&person.tenant.id).await;
        let turn = turn.map_err(|error| errors::store(Stage::Admin, &error))?;
        if self.store.is_shared() {
            person.tenant.changed();
        }
        self.person(&person.actor).await?.must_be(&[Role::Owner], act)?;
        Ok(turn)
    }

    /// Refuses to make the last enabled owner anything less.
    pub(crate) async fn keeps_an_owner(&self, tenant: &TenantState, user: &User, doc: &UserDoc) -> Result<(), Refusal> {
        if !user.owns() || (doc.role == Role::Owner && doc.custom.is_none() && doc.enabled) {
            return Ok(());
        }
        if self.users_of(tenant).await?.iter().filter(|user| user.owns()).count() > 1 {
            return Ok(());
        }
        Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "user.last-owner",
            format!("{} is the last enabled owner", user.name),
            "make another user an owner first",
        ))
    }

    /// The ids of users who took up their account.
    pub(crate) async fn taken_up(&self, tenant: &TenantState) -> Result<BTreeSet<String>, Refusal> {
        let failed = |error| errors::store(Stage::Admin, &error);
        let enrolled = self.store.enrolled(&tenant.id).await.map_err(failed)?;
        let vouched = self.store.sso_users(&tenant.id).await.map_err(failed)?;
        let keyed = self.store.passkey_users(&tenant.id).await.map_err(failed)?;
        Ok(enrolled.into_iter().chain(vouched).chain(keyed).collect())
    }

    /// The user called `name`, as they stand now.
    pub(crate) async fn user(&self, tenant: &TenantState, name: &str) -> Result<Option<Arc<User>>, Refusal> {
        if let Some(user) = tenant.user(name) {
            return Ok(Some(user));
        }
        let mark = tenant.mark();
        let found = self.store.user_by_name::<UserDoc>(&tenant.id, &index(&tenant.vault, name)).await;
        let Some(row) = found.map_err(|error| errors::store(Stage::Authenticate, &error))? else { return Ok(None) };
        let roles = self.roles_of(tenant).await?;
        let user = opened(tenant, &row, &roles)?;
        if user.name != name {
            return Err(tampered("a user's row stands under another name"));
        }
        let user = Arc::new(user);
        tenant.keep_user(mark, &user);
        Ok(Some(user))
    }

    /// All users of a tenant, oldest first.
    pub(crate) async fn users_of(&self, tenant: &TenantState) -> Result<Vec<User>, Refusal> {
        let rows = self.store.users::<UserDoc>(&tenant.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Admin, &error))?;
        let roles = self.roles_of(tenant).await?;
        rows.iter().map(|row| opened(tenant, row, &roles)).collect()
    }
}
