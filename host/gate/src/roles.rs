//! Custom roles. Owners alone make and remove them; people and roles themselves are in no custom role's acts, so that none
//! can be used to get another.

use std::sync::Arc;

use opsiq_audit::{Kind, Op, field};
use opsiq_contract::{CustomRole, Role};
use opsiq_store::RoleRow;

use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::role_place;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::sso::SsoProvider;
use crate::state::TenantState;

/// The administrative acts a custom role may hold, of those its base may do.
const ACTS: &[&str] = &[
    "audit checkpoint",
    "audit export",
    "audit list",
    "confirm approve",
    "confirm deny",
    "connector config",
    "connector grant",
    "connector install",
    "connector list",
    "connector pause",
    "connector plan",
    "connector remove",
    "connector resume",
    "connector show",
    "connector upgrade",
    "connector upgrade accept",
    "connector upgrade reject",
    "key list",
    "key retire",
    "key rotate",
    "key set",
    "plugin inspect",
    "sandbox list",
    "sandbox quarantine",
    "sandbox release",
    "sandbox stop",
    "sandbox top",
    "subject erase",
    "user list",
];

/// Custom roles. See [`Host::roles`](crate::Host::roles).
#[derive(Clone)]
pub struct Roles {
    pub(crate) core: Arc<Core>,
}

/// A role as stored, opened.
pub(crate) struct StoredRole {
    pub(crate) id: String,
    pub(crate) role: Arc<CustomRole>,
    created_ms: i64,
    version: u64,
}

impl Roles {
    /// Makes a custom role, or with `replace` makes one of that name and base another, which counts from the next act of
    /// everybody who has it. For owners.
    ///
    /// # Errors
    /// Not an owner; a role that is not valid; a name that is taken.
    pub async fn create(&self, actor: &Actor, role: CustomRole, replace: bool) -> Result<CustomRole, Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("role create", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                valid(&role)?;
                let found = self.core.roles_of(tenant).await?.into_iter().find(|found| found.role.name == role.name);
                let draft =
                    person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, told(&role));
                let change = match found {
                    None => {
                        let row = row(tenant, uuid::Uuid::now_v7().to_string(), now_ms(), 1, &role)?;
                        Op::new(move |tx| Box::pin(async move { Ok(tx.role_insert(&row).await?) }))
                    }
                    Some(found) if replace && found.role.base == role.base => {
                        let row = row(tenant, found.id, found.created_ms, found.version + 1, &role)?;
                        Op::new(move |tx| Box::pin(async move { Ok(tx.role_update(&row, row.version - 1).await?) }))
                    }
                    Some(_) => return Err(exists(&role)),
                };
                self.core.change(tenant, vec![draft], change).await?;
                Ok(role)
            })
            .await
    }

    /// The custom roles, oldest first. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<CustomRole>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner, Role::Admin], "role list", "", async {
                let roles = self.core.roles_of(&person.tenant).await?;
                Ok(roles.iter().map(|found| CustomRole::clone(&found.role)).collect())
            })
            .await
    }

    /// One of them, by its name. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such role.
    pub async fn show(&self, actor: &Actor, name: &str) -> Result<CustomRole, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner, Role::Admin], "role show", "", async {
                let roles = self.core.roles_of(&person.tenant).await?;
                let found = roles.into_iter().find(|found| found.role.name == name).ok_or_else(unknown)?;
                Ok(CustomRole::clone(&found.role))
            })
            .await
    }

    /// Removes a custom role that nobody has. For owners.
    ///
    /// # Errors
    /// Not an owner; no such role; one that somebody has.
    pub async fn remove(&self, actor: &Actor, name: &str) -> Result<(), Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("role remove", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let turn = self.core.deciding(&person, act).await?;
                let roles = self.core.roles_of(tenant).await?;
                let found = roles.into_iter().find(|found| found.role.name == name).ok_or_else(unknown)?;
                let users = self.core.users_of(tenant).await?;
                let has = |user: &crate::state::User| user.custom.as_ref().is_some_and(|(id, _)| *id == found.id);
                if let Some(user) = users.into_iter().find(has) {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "role.in-use",
                        format!("{} has the role `{name}`", user.name),
                        "give everybody who has it another role first: opsiq user role",
                    ));
                }
                let providers = self.core.sso_providers(tenant).await?;
                let gives = |provider: &SsoProvider| provider.doc.settings.role_names().any(|given| given == name);
                if let Some(provider) = providers.iter().find(|provider| gives(provider)) {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "role.in-use",
                        format!("the provider {} gives the role `{name}`", provider.doc.name),
                        "let it give another one first: opsiq sso set",
                    ));
                }
                let draft = person.draft(Kind::Admin, act).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("role {name}"));
                let whose = tenant.id.clone();
                let change = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.people_decide(&whose, turn).await?;
                        Ok(tx.role_remove(&whose, &found.id).await?)
                    })
                });
                self.core.change(tenant, vec![draft], change).await
            })
            .await
    }
}

fn valid(role: &CustomRole) -> Result<(), Refusal> {
    let act = role.acts.iter().find(|act| !ACTS.contains(&act.as_str()));
    let fault = role.fault().or_else(|| {
        act.map(|_| format!("a custom role's acts are of: {}; people and roles are the owners'", ACTS.join(", ")))
    });
    let Some(fault) = fault else { return Ok(()) };
    Err(Refusal::new(Class::Invalid, Stage::Admin, "role.invalid", fault, "see opsiq role create --help"))
}

fn exists(role: &CustomRole) -> Refusal {
    Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "role.exists",
        format!("there is a role `{}` already", role.name),
        "choose another name, or replace it, which keeps its base",
    )
}

/// There is no such custom role.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(Class::NotFound, Stage::Admin, "role.unknown", "there is no such role", "see opsiq role list")
}

fn told(role: &CustomRole) -> String {
    let set = |entries: &std::collections::BTreeSet<String>| entries.iter().cloned().collect::<Vec<_>>().join(" ");
    format!(
        "role {}, {} narrowed to actions [{}], scopes [{}], acts [{}]{}",
        role.name,
        role.base,
        set(&role.actions),
        set(&role.scopes),
        set(&role.acts),
        if role.confirm_writes { ", every write waits for a person" } else { "" }
    )
}

fn row(
    tenant: &TenantState,
    id: String,
    created_ms: i64,
    version: u64,
    role: &CustomRole,
) -> Result<RoleRow<CustomRole>, Refusal> {
    let sealed = tenant.vault.seal(&role_place(&[&id], version), role);
    Ok(RoleRow {
        tenant: tenant.id.clone(),
        name_index: tenant.vault.blind_index("role name", role.name.as_bytes()),
        created_ms,
        version,
        doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
        id,
    })
}

impl Core {
    /// The custom roles of a tenant, oldest first.
    pub(crate) async fn roles_of(&self, tenant: &TenantState) -> Result<Vec<StoredRole>, Refusal> {
        let rows = self.store.roles::<CustomRole>(&tenant.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        rows.into_iter()
            .map(|row| {
                let role = tenant.vault.open(&role_place(&[&row.id], row.version), &row.doc);
                let role = role.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
                Ok(StoredRole { id: row.id, role: Arc::new(role), created_ms: row.created_ms, version: row.version })
            })
            .collect()
    }
}
