//! A tenant's programs, which sign what they ask for. Owners make them, say what each may do, rotate its secret and revoke
//! it; a secret is told once, when it is made, and never again.
//!
//! A rotation lets the older secret live on for a while, so that senders change over without a refused request. While it
//! does, there is no second rotation: a third secret would leave it unclear which of the two old ones is still out there. Whoever
//! wants the old one gone at once ends it, or rotates without overlap in the first place.
//!
//! What is accepted stands in the sealed document, so that no edit of the database lets an ended secret live on.

mod known;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opsiq_audit::{Draft, Kind, Op, field};
use opsiq_contract::{Role, visible};
use opsiq_signing::KeyId;
use opsiq_store::{ApiClientKeyRow, ApiClientRow};
use opsiq_vault::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::{ClientDoc, ClientKeyDoc, client_key_place};
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;
use crate::{errors, names};

pub(crate) use known::{Client, Clients};

/// How long an older secret lives on after a rotation, unless said otherwise.
pub const OVERLAP: Duration = Duration::from_hours(24);
/// The longest that it may.
const OVERLAP_MOST: Duration = Duration::from_hours(30 * 24);
/// Most clients of a tenant.
const MOST: usize = 1_000;
/// What a secret begins with, so that scanners of source code know one.
const PREFIX: &str = "opsiq_cs_";
/// Random bytes of a secret.
const RANDOM: usize = 32;

/// The life of one version of a client's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKeyState {
    /// The newest, to sign with.
    Current,
    /// Older, and accepted until its time is up.
    Ending,
}

/// One version of a client's secret, never the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientKeyView {
    /// The id to sign under: `tenant/client/version`.
    pub key_id: String,
    /// What it still does.
    pub state: ClientKeyState,
    /// A short keyed fingerprint, to tell versions apart.
    pub fingerprint: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Until when it is accepted, in milliseconds since 1970, if it ends.
    pub until_ms: Option<i64>,
}

/// An API client of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientView {
    /// The name, unique in the tenant, for ever.
    pub name: String,
    /// What it may do at most, as a contract's `roles` mean it. It never does what is for a person, whatever its role.
    pub role: Role,
    /// What it holds: `resource:action`.
    pub scopes: BTreeSet<String>,
    /// Whether it is revoked, which cannot be undone.
    pub revoked: bool,
    /// The accepted versions of its secret, newest first.
    pub keys: Vec<ClientKeyView>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A new secret, told this once.
#[derive(Debug)]
pub struct NewClientKey {
    /// The client.
    pub client: ClientView,
    /// The id to sign under.
    pub key_id: String,
    /// What to sign with: the bytes of this text are the key of HMAC-SHA256.
    pub secret: Secret,
}

/// The API clients of a tenant. See [`Host::clients`](crate::Host::clients).
#[derive(Clone)]
pub struct ApiClients {
    pub(crate) core: Arc<Core>,
}

impl ApiClients {
    /// Makes a client and its first secret. For owners.
    ///
    /// # Errors
    /// Not an owner; a name that is taken or not valid, or was a revoked client's; scopes that are none; too many clients.
    pub async fn create(
        &self,
        actor: &Actor,
        name: &str,
        role: Role,
        scopes: &BTreeSet<String>,
    ) -> Result<NewClientKey, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "client create";
        self.core
            .act(&person, &[Role::Owner], act, &visible(name, 64).text, async {
                names::client(name)?;
                names::scopes(scopes)?;
                let tenant = &person.tenant;
                let all = self.core.clients_of(tenant).await?;
                let refuse =
                    |code, message: String, fix| Err(Refusal::new(Class::Conflict, Stage::Admin, code, message, fix));
                if all.contains_key(name) {
                    let message = format!("there is, or was, a client {name} already");
                    return refuse("client.exists", message, "choose another name");
                }
                if all.len() >= MOST {
                    let message = format!("a tenant has at most {MOST} clients, revoked ones among them");
                    return refuse("client.too-many", message, "give more scopes to one that is there");
                }
                let (id, created_ms) = (uuid::Uuid::now_v7().to_string(), now_ms());
                let secret = new_secret()?;
                let key = key_doc(tenant, 1, &secret, created_ms);
                let (name, scopes) = (name.to_owned(), scopes.clone());
                let told = Some(BTreeSet::from([person.user.id.clone()]));
                let doc = ClientDoc { name, role, scopes, enabled: true, keys: vec![key], newest: 1, told };
                let row = row(tenant, &id, created_ms, 1, &doc)?;
                let key = key_row(tenant, &id, 1, created_ms, &secret);
                let draft = done(&person, act, &doc, "");
                let change = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.api_client_insert(&row).await?;
                        Ok(tx.api_client_key_insert(&key).await?)
                    })
                });
                self.core.change(tenant, vec![draft], change).await?;
                self.told(tenant, &doc.name, 1, secret).await
            })
            .await
    }

    /// The clients, oldest first, revoked ones among them. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<ClientView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner, Role::Admin], "client list", "", async {
                let clients = self.core.clients_of(&person.tenant).await?;
                let mut views: Vec<_> = clients.values().map(|client| client.view(&person.tenant)).collect();
                views.sort_by(|a, b| (a.created_ms, &a.name).cmp(&(b.created_ms, &b.name)));
                Ok(views)
            })
            .await
    }

    /// Makes a new secret. The older one is accepted for `overlap` more, which may be nothing and is 30 days at most. For
    /// owners.
    ///
    /// # Errors
    /// Not an owner; no such client, or a revoked one; one whose older secret is still accepted.
    pub async fn rotate(&self, actor: &Actor, name: &str, overlap: Duration) -> Result<NewClientKey, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "client rotate";
        self.core
            .act(&person, &[Role::Owner], act, &visible(name, 64).text, async {
                if overlap > OVERLAP_MOST {
                    return Err(Refusal::new(
                        Class::Invalid,
                        Stage::Admin,
                        "client.overlap",
                        "an older secret lives on for 30 days at most",
                        "choose a shorter overlap",
                    ));
                }
                let tenant = &person.tenant;
                let client = self.living(tenant, name).await?;
                let (now, mut doc) = (now_ms(), client.doc.clone());
                doc.keys.retain(|key| key.until_ms.is_none_or(|until| now < until));
                if let Some(until_ms) = doc.keys.iter().find_map(|key| key.until_ms) {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "client.rotating",
                        format!("the older secret of {name} is accepted until {}", crate::ending::day(until_ms)),
                        format!("wait until then, or end it now: opsiq client retire {name}"),
                    ));
                }
                let secret = new_secret()?;
                let version = doc.newest + 1;
                let until_ms = now.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
                if overlap.is_zero() {
                    doc.keys.clear();
                }
                for key in &mut doc.keys {
                    key.until_ms = Some(until_ms);
                }
                doc.keys.push(key_doc(tenant, version, &secret, now));
                doc.newest = version;
                if let Some(told) = &mut doc.told {
                    told.insert(person.user.id.clone());
                }
                let key = key_row(tenant, &client.user.id, version, now, &secret);
                let detail = format!(", secret {version}, the older one for {} s more", overlap.as_secs());
                self.store(&person, act, &client, &doc, &detail, Some(key)).await?;
                self.told(tenant, name, version, secret).await
            })
            .await
    }

    /// Ends the older secret of a rotation now. For owners.
    ///
    /// # Errors
    /// Not an owner; no such client, or a revoked one; one with no older secret.
    pub async fn retire(&self, actor: &Actor, name: &str) -> Result<ClientView, Refusal> {
        self.alter(actor, "client retire", name, |doc| {
            let now = now_ms();
            let before = doc.keys.iter().filter(|key| key.until_ms.is_some_and(|until| now < until)).count();
            doc.keys.retain(|key| key.until_ms.is_none());
            if before > 0 {
                return Ok(());
            }
            Err(Refusal::new(
                Class::NotFound,
                Stage::Admin,
                "client.not-rotating",
                "no older secret of this client is accepted",
                "see opsiq client list",
            ))
        })
        .await
    }

    /// Says what a client may do, from its next act on. For owners.
    ///
    /// # Errors
    /// Not an owner; no such client, or a revoked one; scopes that are none.
    pub async fn allow(
        &self,
        actor: &Actor,
        name: &str,
        role: Option<Role>,
        scopes: Option<&BTreeSet<String>>,
    ) -> Result<ClientView, Refusal> {
        self.alter(actor, "client allow", name, |doc| {
            if let Some(scopes) = scopes {
                names::scopes(scopes)?;
                doc.scopes.clone_from(scopes);
            }
            doc.role = role.unwrap_or(doc.role);
            Ok(())
        })
        .await
    }

    /// Ends a client for good, from its next request on: its secrets are destroyed, and what it asked for and nobody approved
    /// yet never runs. For owners.
    ///
    /// # Errors
    /// Not an owner; no such client, or one that is revoked already.
    pub async fn revoke(&self, actor: &Actor, name: &str) -> Result<ClientView, Refusal> {
        self.alter(actor, "client revoke", name, |doc| {
            doc.enabled = false;
            doc.keys.clear();
            Ok(())
        })
        .await
    }

    async fn alter(
        &self,
        actor: &Actor,
        act: &'static str,
        name: &str,
        alter: impl FnOnce(&mut ClientDoc) -> Result<(), Refusal>,
    ) -> Result<ClientView, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner], act, &visible(name, 64).text, async {
                let client = self.living(&person.tenant, name).await?;
                let mut doc = client.doc.clone();
                alter(&mut doc)?;
                self.store(&person, act, &client, &doc, "", None).await?;
                let client = self.core.client(&person.tenant, name).await?.ok_or_else(unknown)?;
                Ok(client.view(&person.tenant))
            })
            .await
    }

    /// Writes a changed document, with a new secret if there is one, and destroys secrets that it does not accept any more.
    async fn store(
        &self,
        person: &Person,
        act: &str,
        client: &Client,
        doc: &ClientDoc,
        detail: &str,
        key: Option<ApiClientKeyRow>,
    ) -> Result<(), Refusal> {
        let tenant = &person.tenant;
        let user = &client.user;
        let row = row(tenant, &user.id, user.created_ms, user.version + 1, doc)?;
        let oldest = doc.keys.iter().map(|key| key.version).min().unwrap_or(doc.newest + 1);
        let draft = done(person, act, doc, detail);
        let change = Op::new(move |tx| {
            Box::pin(async move {
                tx.api_client_update(&row, row.version - 1).await?;
                if let Some(key) = &key {
                    tx.api_client_key_insert(key).await?;
                }
                Ok(tx.api_client_keys_remove(&row.tenant, &row.id, oldest).await?)
            })
        });
        self.core.change(tenant, vec![draft], change).await
    }

    /// A client that is not revoked.
    async fn living(&self, tenant: &TenantState, name: &str) -> Result<Arc<Client>, Refusal> {
        let client = self.core.client(tenant, name).await?.ok_or_else(unknown)?;
        if client.user.enabled {
            return Ok(client);
        }
        Err(Refusal::new(
            Class::Conflict,
            Stage::Admin,
            "client.revoked",
            format!("the client {name} is revoked, which cannot be undone"),
            "make a new one: opsiq client create",
        ))
    }

    async fn told(
        &self,
        tenant: &TenantState,
        name: &str,
        version: u64,
        secret: Secret,
    ) -> Result<NewClientKey, Refusal> {
        let client = self.core.client(tenant, name).await?.ok_or_else(unknown)?;
        Ok(NewClientKey { client: client.view(tenant), key_id: key_id(tenant, name, version), secret })
    }
}

fn key_id(tenant: &TenantState, name: &str, version: u64) -> String {
    KeyId { tenant: tenant.id.clone(), client: name.to_owned(), version }.to_string()
}

fn new_secret() -> Result<Secret, Refusal> {
    let mut random = Zeroizing::new([0; RANDOM]);
    opsiq_vault::fresh(random.as_mut_slice());
    let text = Zeroizing::new(format!("{PREFIX}{}", Zeroizing::new(hex::encode(random.as_slice())).as_str()));
    Secret::verbatim(&text).map_err(|error| errors::vault(Stage::Admin, &error))
}

fn key_doc(tenant: &TenantState, version: u64, secret: &Secret, created_ms: i64) -> ClientKeyDoc {
    ClientKeyDoc { version, fingerprint: tenant.vault.fingerprint(secret), created_ms, until_ms: None }
}

fn key_row(tenant: &TenantState, id: &str, version: u64, created_ms: i64, secret: &Secret) -> ApiClientKeyRow {
    let secret = tenant.vault.seal_secret(&client_key_place(&[id], version), secret);
    ApiClientKeyRow { tenant: tenant.id.clone(), client: id.to_owned(), version, created_ms, secret }
}

fn row(
    tenant: &TenantState,
    id: &str,
    created_ms: i64,
    version: u64,
    doc: &ClientDoc,
) -> Result<ApiClientRow<ClientDoc>, Refusal> {
    let sealed = tenant.vault.seal(&ClientDoc::place(&[id], version), doc);
    Ok(ApiClientRow {
        tenant: tenant.id.clone(),
        id: id.to_owned(),
        name_index: tenant.vault.blind_index("client name", doc.name.as_bytes()),
        created_ms,
        version,
        doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
    })
}

fn done(person: &Person, act: &str, doc: &ClientDoc, detail: &str) -> Draft {
    let scopes = doc.scopes.iter().cloned().collect::<Vec<_>>().join(" ");
    let detail = format!("client {}, role {}, scopes [{scopes}], revoked {}{detail}", doc.name, doc.role, !doc.enabled);
    person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail)
}

fn unknown() -> Refusal {
    Refusal::new(Class::NotFound, Stage::Admin, "client.unknown", "there is no such client", "see opsiq client list")
}
