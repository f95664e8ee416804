//! Tenants: made by the operator, each with a key of its own and a first owner, in one commit with the host log's entry.

use std::sync::Arc;

use opsiq_audit::{Kind, Log, Op, field};
use opsiq_contract::{Role, TenantId};
use opsiq_store::{StoreError, TenantRow};
use opsiq_vault::VaultError;
use serde::{Deserialize, Serialize};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::TenantDoc;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{TenantRecord, TenantState};
use crate::{errors, names, users};

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its slug, for ever.
    pub id: TenantId,
    /// What people call it.
    pub title: String,
    /// Name of the first user, who becomes owner.
    pub owner: String,
}

/// A tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantView {
    /// Its slug.
    pub id: TenantId,
    /// What people call it.
    pub title: String,
    /// Whether a risky write needs a person other than its requester.
    pub second_person: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Whether it lives.
    pub standing: Standing,
    /// The end of a cancelled tenant's export window, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// When an erased tenant's keys were destroyed, in milliseconds since 1970.
    pub erased_ms: Option<i64>,
}

/// Whether a tenant lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It does.
    Active,
    /// Its owners read and export until the end of its window; nothing else happens.
    Cancelled,
    /// Its keys are destroyed, so nothing of it can be read, in no copy.
    Erased,
}

/// Tenants. See [`Host::tenants`](crate::Host::tenants).
#[derive(Clone)]
pub struct Tenants {
    pub(crate) core: Arc<Core>,
}

impl Tenants {
    /// Makes a tenant with a key of its own and its first owner.
    ///
    /// # Errors
    /// Not the operator; a name that is taken or not valid; a disk that does not serve.
    pub async fn create(&self, actor: &Actor, new: NewTenant) -> Result<TenantView, Refusal> {
        let about = format!("tenant {}", new.id);
        self.core.operate(actor, "tenant create", &about, self.create_now(actor, &new)).await
    }

    async fn create_now(&self, actor: &Actor, new: &NewTenant) -> Result<TenantView, Refusal> {
        names::title(&new.title)?;
        names::user(&new.owner)?;
        let core = &self.core;
        if let Some(erased) = core.tenants.erased(&new.id) {
            let fix = "choose another name: one that was erased is never used again";
            return Err(Refusal {
                class: Class::Conflict,
                fix: fix.to_owned(),
                ..erased.refusal(&new.id, Stage::Admin)
            });
        }
        if core.tenants.get(&new.id).is_some() {
            return Err(Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "tenant.exists",
                format!("there is a tenant {} already", new.id),
                "choose another name",
            ));
        }
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let sealed = |error: VaultError| errors::vault(Stage::Admin, &error);
        let created_ms = now_ms();
        let turn = core.wrapping.lock().await;
        let mut keys = core.store.tenant_keys(&new.id).await.map_err(failed)?;
        if keys.is_empty() {
            // Kept before anything is sealed under it; one left without a tenant by a crash is taken up here.
            let key = core.vault.new_tenant_key(&new.id);
            core.store.tenant_key_insert(&new.id, &key, created_ms).await.map_err(failed)?;
            keys.push(key);
        }
        drop(turn);
        let vault = core.vault.tenant(&new.id, &keys).map_err(sealed)?;
        let doc = TenantDoc { title: new.title.clone(), second_person: false, cancelled: None };
        let doc = vault.seal(&TenantDoc::place(1), &doc).map_err(sealed)?;
        let row = TenantRow { id: new.id.clone(), created_ms, version: 1, doc };
        let owner = users::new_row(&new.id, &vault, &new.owner, Role::Owner)?;
        let draft = operator_draft(actor, Kind::Admin, "tenant create")
            .field(field::OUTCOME, "ok")
            .field(field::DETAIL, format!("tenant {}, owner {}", new.id, new.owner));
        let change = Op::new(move |tx| {
            Box::pin(async move {
                tx.tenant_insert(&row).await?;
                tx.user_insert(&owner).await?;
                Ok(())
            })
        });
        core.journal.commit(&Log::Host, vec![draft], change).await.map_err(|e| errors::audit(Stage::Admin, &e))?;
        core.tenants.add(&new.id, vault);
        let (id, title) = (new.id.clone(), new.title.clone());
        let standing = Standing::Active;
        Ok(TenantView { id, title, second_person: false, created_ms, standing, until_ms: None, erased_ms: None })
    }

    /// All tenants, by name.
    ///
    /// # Errors
    /// Not the operator; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<TenantView>, Refusal> {
        self.core
            .operate(actor, "tenant list", "", async {
                let mut views = Vec::new();
                for tenant in self.core.tenants.all() {
                    let record = self.core.record_of(&tenant).await?;
                    views.push(view(&tenant, &record));
                }
                views.extend(self.core.tenants.all_erased().iter().map(|(id, erased)| erased.view(id)));
                views.sort_by(|a, b| a.id.cmp(&b.id));
                Ok(views)
            })
            .await
    }

    /// The acting user's own tenant.
    ///
    /// # Errors
    /// No such user; a row that does not open.
    pub async fn get(&self, actor: &Actor) -> Result<TenantView, Refusal> {
        let person = self.core.person(actor).await?;
        let record = self.core.record_of(&person.tenant).await?;
        Ok(view(&person.tenant, &record))
    }

    /// Whether a risky write needs a person other than its requester. For owners.
    ///
    /// # Errors
    /// Not an owner; a disk that does not serve.
    pub async fn require_second_person(&self, actor: &Actor, required: bool) -> Result<TenantView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "tenant second-person";
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let record = self.core.record_of(&person.tenant).await?;
                let version = record.version + 1;
                let doc = TenantDoc { second_person: required, ..record.doc.clone() };
                let sealed = person.tenant.vault.seal(&TenantDoc::place(version), &doc);
                let doc = sealed.map_err(|error| errors::vault(Stage::Admin, &error))?;
                let row = TenantRow { id: person.tenant.id.clone(), created_ms: record.created_ms, version, doc };
                let draft = person
                    .draft(Kind::Admin, act)
                    .field(field::OUTCOME, "ok")
                    .field(field::DETAIL, if required { "required" } else { "not required" });
                let change =
                    Op::new(move |tx| Box::pin(async move { Ok(tx.tenant_update(&row, row.version - 1).await?) }));
                self.core.change(&person.tenant, vec![draft], change).await?;
                let record = self.core.record_of(&person.tenant).await?;
                Ok(view(&person.tenant, &record))
            })
            .await
    }
}

pub(crate) fn view(tenant: &TenantState, record: &TenantRecord) -> TenantView {
    let cancelled = record.doc.cancelled;
    TenantView {
        standing: if cancelled.is_some() { Standing::Cancelled } else { Standing::Active },
        until_ms: cancelled.map(|cancelled| cancelled.until_ms),
        erased_ms: None,
        id: tenant.id.clone(),
        title: record.doc.title.clone(),
        second_person: record.doc.second_person,
        created_ms: record.created_ms,
    }
}

impl Core {
    /// The tenant's own row.
    pub(crate) async fn record_of(&self, tenant: &TenantState) -> Result<Arc<TenantRecord>, Refusal> {
        if let Some(record) = tenant.record() {
            return Ok(record);
        }
        let mark = tenant.mark();
        let found = self.store.tenant::<TenantDoc>(&tenant.id).await;
        let row = found.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        let row = row.ok_or_else(|| errors::internal(Stage::Authenticate, "the tenant's row is gone"))?;
        let doc = tenant.vault.open(&TenantDoc::place(row.version), &row.doc);
        let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
        let record = Arc::new(TenantRecord { doc, created_ms: row.created_ms, version: row.version });
        tenant.keep_record(mark, &record);
        Ok(record)
    }
}
