//! Installations: a tenant's named use of one plugin version. Granting narrows or widens within the contract, never
//! beyond it; every change of what runs raises the revision, which voids confirmations that were asked under the old one.

use std::fmt::Write as _;
use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Op, field};
use opsiq_contract::{
    Contract, Digest, Grant, GrantError, InstallState, Installation, InstallationId, MAX_DEPTH, Permission, Role,
    Schema, visible,
};
use opsiq_store::InstallationRow;
use serde_json::Value;

use crate::act::Person;
use crate::actor::Actor;
use crate::catalogue::{Catalogue, CatalogueEntry};
use crate::control::Selector;
use crate::core::{Core, now_ms};
use crate::docs::InstallationDoc;
use crate::installation_view::{InstallationView, view};
use crate::installed::name_index;
use crate::plan::{self, InstallPlan};
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{Installed, TenantState};
use crate::{errors, names};

/// What to install, and how much of what it asks to allow.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// The installation's name, unique in the tenant.
    pub name: String,
    /// `publisher/id@version`, `publisher/id`, `id`, or a digest.
    pub plugin: String,
    /// What not to grant, such as `http:refunds` or `action:refund-order`.
    pub without: Vec<Permission>,
    /// Write actions that shall wait for a person although the contract does not say so.
    pub confirm: Vec<String>,
    /// The config, an object valid against the contract's `[config]`; `{}` when it has none.
    pub config: Value,
}

/// Installations. See [`Host::installations`](crate::Host::installations).
#[derive(Clone)]
pub struct Installations {
    pub(crate) core: Arc<Core>,
    /// The revision that a change is bound to.
    pub(crate) expected: Option<u64>,
}

/// Those who install, grant and pause.
pub(crate) const MAY: &[Role] = &[Role::Owner, Role::Admin];
/// Those who look.
pub(crate) const SEE: &[Role] = &[Role::Owner, Role::Admin, Role::Support];

const GRANT: &str = "connector grant";

impl Installations {
    /// The same, for a change that happens only while the installation has this revision: with another one, somebody else
    /// changed it meanwhile, and it is refused.
    #[must_use]
    pub fn at_revision(mut self, revision: Option<u64>) -> Self {
        self.expected = revision;
        self
    }

    /// Refuses an installation that is not as the caller last saw it.
    fn as_expected(&self, installed: &Installed) -> Result<(), Refusal> {
        let now = installed.installation.revision;
        match self.expected {
            Some(expected) if expected != now => Err(Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "request.changed",
                format!("the installation has revision {now} by now, not {expected}"),
                "look again, then repeat the change",
            )),
            _ => Ok(()),
        }
    }

    /// What installing so would allow, in plain words. Changes nothing.
    ///
    /// # Errors
    /// Not an owner or admin; no such plugin; a config or permission that does not fit the contract.
    pub async fn plan(&self, actor: &Actor, request: &InstallRequest) -> Result<InstallPlan, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, MAY, "connector plan", &visible(&request.plugin, 64).text, async {
                let (contract, digest, grant) = self.grant_of(request).await?;
                let needs = contract.keys.iter().map(|key| key.name.clone()).filter(|key| grant.keys.contains(key));
                Ok(plan::plan(&contract, digest, &self.core.ceiling, &grant, needs.collect()))
            })
            .await
    }

    /// Installs a plugin, enabled, with the grant asked for. Its actions run once its keys are set. For owners and
    /// admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such plugin; a name that is taken; a config or permission that does not fit.
    pub async fn install(&self, actor: &Actor, request: &InstallRequest) -> Result<InstallationView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "connector install";
        let about = format!("{} as {}", visible(&request.plugin, 64).text, visible(&request.name, 64).text);
        self.core
            .act(&person, MAY, act, &about, async {
                names::installation(&request.name)?;
                let tenant = &person.tenant;
                let (contract, digest, grant) = self.grant_of(request).await?;
                let index = name_index(&tenant.vault, &request.name);
                let taken = self.core.store.installation_by_name::<InstallationDoc>(&tenant.id, &index).await;
                if taken.map_err(|error| errors::store(Stage::Admin, &error))?.is_some() {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "installation.exists",
                        format!("there is an installation {} already", request.name),
                        "choose another name: --name NAME",
                    ));
                }
                let id: InstallationId = uuid::Uuid::new_v4()
                    .to_string()
                    .parse()
                    .map_err(|_| errors::internal(Stage::Admin, "an installation id could not be made"))?;
                let state = InstallState::Enabled;
                let plugin = contract.plugin_ref();
                let draft = person
                    .draft(Kind::Admin, act)
                    .field(field::INSTALLATION, request.name.clone())
                    .field(field::PLUGIN, plugin.to_string())
                    .field(field::OUTCOME, "ok")
                    .field(field::DETAIL, granted(&contract, &grant));
                let doc = InstallationDoc {
                    name: request.name.clone(),
                    plugin,
                    digest,
                    grant,
                    config: request.config.clone(),
                    state,
                    notes: 0,
                    held: None,
                };
                let row = row(tenant, id, 1, now_ms(), &doc)?;
                let change = Op::new(move |tx| Box::pin(async move { Ok(tx.installation_insert(&row).await?) }));
                self.core.change(tenant, vec![draft], change).await?;
                let installed = self.core.installed(tenant, &request.name).await?;
                Ok(view(&self.core, &installed))
            })
            .await
    }

    /// The tenant's installations, oldest first.
    ///
    /// # Errors
    /// No such user; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<InstallationView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, SEE, "connector list", "", async {
                Ok(self
                    .core
                    .all_installed(&person.tenant)
                    .await?
                    .iter()
                    .map(|installed| view(&self.core, installed))
                    .collect())
            })
            .await
    }

    /// One installation, by name or id.
    ///
    /// # Errors
    /// No such user or installation.
    pub async fn get(&self, actor: &Actor, name: &str) -> Result<InstallationView, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, SEE, "connector show", &visible(name, 64).text, async {
                Ok(view(&self.core, &*self.core.installed(&person.tenant, name).await?))
            })
            .await
    }

    /// What an installation may do now, in plain words.
    ///
    /// # Errors
    /// No such user or installation.
    pub async fn plan_of(&self, actor: &Actor, name: &str) -> Result<InstallPlan, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, SEE, "connector show", &visible(name, 64).text, async {
                let installed = self.core.installed(&person.tenant, name).await?;
                let Installation { digest, grant, .. } = &*installed.installation;
                Ok(plan::plan(&installed.contract, *digest, &self.core.ceiling, grant, installed.needs_keys()))
            })
            .await
    }

    /// Widens or narrows a grant within its contract. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation; something the contract does not ask for.
    pub async fn change_grant(
        &self,
        actor: &Actor,
        name: &str,
        add: &[Permission],
        remove: &[Permission],
    ) -> Result<InstallationView, Refusal> {
        let listed = |items: &[Permission]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let detail = format!("add [{}], remove [{}]", listed(add), listed(remove));
        self.alter(actor, GRANT, name, &detail, |contract, change| {
            for permission in add {
                change.grant.add(contract, permission).map_err(|error| not_granted(&error))?;
            }
            for permission in remove {
                change.grant.remove(contract, permission).map_err(|error| not_granted(&error))?;
            }
            Ok(())
        })
        .await
    }

    /// Replaces the config. What decides an origin is part of the grant, so the origins are granted anew with it, and who
    /// changes one must be allowed to change the grant. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation; a config that does not fit the contract.
    pub async fn set_config(&self, actor: &Actor, name: &str, config: &Value) -> Result<InstallationView, Refusal> {
        self.alter(actor, "connector config", name, "", |contract, change| {
            change.config = checked_config(contract, config)?;
            change.grant.bind_origins(contract, &change.config).map_err(|error| not_granted(&error))
        })
        .await
    }

    /// Stops an installation: nothing of it starts any more, and what runs is ended. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation.
    pub async fn pause(&self, actor: &Actor, name: &str) -> Result<InstallationView, Refusal> {
        let view = self.set_state(actor, "connector pause", name, InstallState::Paused).await?;
        if let Some(tenant) = actor.tenant() {
            let paused = Selector::Installation(tenant.clone(), view.id.clone());
            self.core.stop_calls(&paused, "its installation was paused");
        }
        Ok(view)
    }

    /// Lets a paused installation run again. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation.
    pub async fn resume(&self, actor: &Actor, name: &str) -> Result<InstallationView, Refusal> {
        self.set_state(actor, "connector resume", name, InstallState::Enabled).await
    }

    /// Removes an installation with its keys and stored data, for good. Its audit entries stay. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation.
    pub async fn remove(&self, actor: &Actor, name: &str) -> Result<(), Refusal> {
        let person = self.core.person(actor).await?;
        let act = "connector remove";
        self.core
            .act(&person, MAY, act, &visible(name, 64).text, async {
                let tenant = &person.tenant;
                let installed = self.core.installed(tenant, name).await?;
                self.as_expected(&installed)?;
                let (id, revision) = (installed.installation.id.clone(), installed.row_revision());
                let draft = about(&person, act, &installed.installation).field(field::OUTCOME, "ok");
                let (whose, which) = (tenant.id.clone(), id.clone());
                let change = Op::new(move |tx| {
                    Box::pin(async move { Ok(tx.installation_remove(&whose, &which, revision).await?) })
                });
                self.core.change(tenant, vec![draft], change).await?;
                let removed = Selector::Installation(tenant.id.clone(), id);
                self.core.stop_calls(&removed, "its installation was removed");
                Ok(())
            })
            .await
    }

    async fn set_state(
        &self,
        actor: &Actor,
        act: &'static str,
        name: &str,
        state: InstallState,
    ) -> Result<InstallationView, Refusal> {
        self.alter(actor, act, name, "", |_, change| {
            change.state = state;
            Ok(())
        })
        .await
    }

    async fn alter(
        &self,
        actor: &Actor,
        act: &'static str,
        name: &str,
        detail: &str,
        alter: impl FnOnce(&Contract, &mut InstallationDoc) -> Result<(), Refusal>,
    ) -> Result<InstallationView, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, MAY, act, &visible(name, 64).text, async {
                let tenant = &person.tenant;
                let installed = self.core.installed(tenant, name).await?;
                self.as_expected(&installed)?;
                let mut doc = installed.doc();
                alter(&installed.contract, &mut doc)?;
                let mut detail = if detail.is_empty() { doc.state.to_string() } else { detail.to_owned() };
                if doc.grant.origins != installed.installation.grant.origins {
                    // Injected credentials follow the origin, so whatever changes one is a change of the grant.
                    person.must_be(MAY, GRANT)?;
                    person.fresh(GRANT, &self.core.identity.times)?;
                    let origins = doc.grant.origins.iter().map(|(rule, origin)| format!("{rule} to {origin}"));
                    let _ = write!(detail, ", origins [{}]", origins.collect::<Vec<_>>().join(" "));
                }
                let draft = about(&person, act, &installed.installation)
                    .field(field::OUTCOME, "ok")
                    .field(field::DETAIL, detail);
                Ok(view(&self.core, &*self.put(&person, &installed, &doc, draft).await?))
            })
            .await
    }

    /// Stores an installation changed, together with the entry about it; answers it as it is then.
    pub(crate) async fn put(
        &self,
        person: &Person,
        installed: &Installed,
        doc: &InstallationDoc,
        draft: Draft,
    ) -> Result<Arc<Installed>, Refusal> {
        let (tenant, id, revision) = (&person.tenant, &installed.installation.id, installed.row_revision());
        let row = row(tenant, id.clone(), revision + 1, installed.created_ms, doc)?;
        let change = Op::new(move |tx| Box::pin(async move { Ok(tx.installation_update(&row, revision).await?) }));
        self.core.change(tenant, vec![draft], change).await?;
        self.core.installed(tenant, id.as_str()).await
    }

    /// The grant that `request` would make.
    async fn grant_of(&self, request: &InstallRequest) -> Result<(Arc<Contract>, Digest, Grant), Refusal> {
        let catalogue = Catalogue { core: self.core.clone() };
        let CatalogueEntry { plugin, digest, .. } = catalogue.find(&request.plugin).await?;
        self.core.may_be_installed(&plugin, &digest)?;
        let contract = self.core.contract(&digest).await?;
        let config = checked_config(&contract, &request.config)?;
        let mut grant = Grant::all(&contract, digest, &config).map_err(|error| not_granted(&error))?;
        for permission in &request.without {
            grant.remove(&contract, permission).map_err(|error| not_granted(&error))?;
        }
        for action in &request.confirm {
            let raise = Permission::Confirm(action.clone());
            grant.add(&contract, &raise).map_err(|error| not_granted(&error))?;
        }
        Ok((contract, digest, grant))
    }
}

/// The row of an installation at a revision.
fn row(
    tenant: &TenantState,
    id: InstallationId,
    revision: u64,
    created_ms: i64,
    doc: &InstallationDoc,
) -> Result<InstallationRow<InstallationDoc>, Refusal> {
    let sealed = tenant.vault.seal(&InstallationDoc::place(&[id.as_str()], revision), doc);
    Ok(InstallationRow {
        tenant: tenant.id.clone(),
        name_index: name_index(&tenant.vault, &doc.name),
        digest: doc.digest,
        state: doc.state,
        revision,
        created_ms,
        doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
        id,
    })
}

pub(crate) fn about(person: &Person, act: &str, installation: &Installation) -> Draft {
    person
        .draft(Kind::Admin, act)
        .field(field::INSTALLATION, installation.name.clone())
        .field(field::PLUGIN, installation.plugin.to_string())
}

/// What a grant has and has not, for its audit entry.
pub(crate) fn granted(contract: &Contract, grant: &Grant) -> String {
    let items = |wanted: bool| {
        let of = grant.permissions(contract).into_iter().filter(move |(_, has)| *has == wanted);
        of.map(|(permission, _)| permission.to_string()).collect::<Vec<_>>().join(" ")
    };
    format!("granted [{}], withheld [{}], digest {}", items(true), items(false), grant.digest)
}

pub(crate) fn not_granted(error: &GrantError) -> Refusal {
    let (code, fix) = match error {
        GrantError::NotAsked { .. } => ("grant.not-asked", "see what it asks for: opsiq connector show"),
        GrantError::NotAWrite { .. } => ("grant.not-a-write", "name a write action"),
        GrantError::Origin { .. } => ("config.invalid", "give a config value that fits the rule's URL"),
    };
    Refusal::new(Class::Invalid, Stage::Admin, code, error.to_string(), fix)
}

/// The config, when it is what the contract's `[config]` takes.
pub(crate) fn checked_config(contract: &Contract, config: &Value) -> Result<Value, Refusal> {
    let invalid = |message: &str, fix: &str| Refusal::new(Class::Invalid, Stage::Admin, "config.invalid", message, fix);
    let Some(schema) = &contract.config else {
        return match config {
            Value::Object(members) if members.is_empty() => Ok(config.clone()),
            _ => Err(invalid("the contract takes no config", "leave the config out")),
        };
    };
    let text = config.to_string();
    match schema.check(text.as_bytes(), MAX_DEPTH) {
        Ok(checked) => Ok(checked.value().clone()),
        Err(violations) => Err(invalid("the config does not fit the contract", &wanted(schema))
            .with_faults(violations.into_iter().map(Into::into).collect())),
    }
}

/// What a config is made of, as the contract says it: whoever has none yet cannot look at one.
fn wanted(schema: &Schema) -> String {
    let told = schema.properties().map(|(name, property)| {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let meaning = text("description").or_else(|| text("title")).unwrap_or("see the contract");
        let optional = if schema.requires(name) { "" } else { " (optional)" };
        format!("--config {name}=VALUE{optional}: {}", visible(meaning, 200).text.trim_end_matches('.'))
    });
    told.collect::<Vec<_>>().join("; ")
}
