//! Where a tenant's people sign in beside this host: its providers of identities. Owners alone say which, and what is believed of
//! each.
//!
//! Who somebody is, is told by issuer and subject alone. An e-mail address is what a provider says of a person today, and another may
//! say the same of somebody else: it names a new account, and never finds one. So two providers are two people, until an owner's
//! invitation says otherwise.
//!
//! A second factor stays: what a provider says counts for two only where an owner stated that it asks everybody for them, or
//! where it says so of this sign-in. Otherwise a code of ours follows, as after a password.
//!
//! Where a tenant enforces it, passwords open nothing but an owner's account, with the owner's second factor: so that a provider that is
//! gone, or was set up wrongly, shuts nobody out for good.

mod known;
mod said;
mod saml;
mod settings;
mod targets;

use std::sync::Arc;

use opsiq_audit::{Kind, Op, field};
use opsiq_contract::Role;
use opsiq_identity::SsoFault;
use opsiq_identity::oidc::{KeySet, Metadata};
use opsiq_store::SsoProviderRow;
use opsiq_vault::Secret;
use serde::Serialize;

pub(crate) use self::known::{SsoProvider, SsoProviders, identity_index, issuer_index};
pub(crate) use self::said::Said;
pub use self::saml::SamlFrom;
pub use self::settings::{ClaimRole, OidcSettings, SamlSettings, SsoProtocol, SsoSettings};
pub(crate) use self::targets::SsoTargets;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::{SsoProviderDoc, sso_secret_place};
use crate::refusal::{Class, Refusal, Stage};
use crate::{errors, names};

/// Providers of a tenant, at most.
const MOST: usize = 20;

/// A provider, as it is shown. What proves the host to it is in no view.
#[derive(Debug, Clone, Serialize)]
pub struct SsoProviderView {
    /// The name, unique in the tenant, and part of where people sign in.
    pub name: String,
    /// How it is spoken to: `oidc` or `saml`.
    pub kind: &'static str,
    /// What it is, and what is believed of it.
    #[serde(flatten)]
    pub settings: SsoSettings,
    /// A short keyed fingerprint of the client's secret, to tell one from another, where there is one.
    pub fingerprint: Option<String>,
    /// When it was set up, in milliseconds since 1970.
    pub created_ms: i64,
}

/// What a provider answered when it was asked who it is.
#[derive(Debug, Clone, Serialize)]
pub struct SsoChecked {
    /// The provider.
    pub name: String,
    /// Who it says it is: the issuer that was set up.
    pub issuer: String,
}

/// Providers. See [`Host::sso`](crate::Host::sso).
#[derive(Clone)]
pub struct Sso {
    pub(crate) core: Arc<Core>,
}

impl Sso {
    /// Sets a provider up, or changes one of that name, for whom the secret may stay as it is. A change ends the sessions of all who
    /// signed in there, but for the one it is made in. For owners.
    ///
    /// # Errors
    /// Not an owner; settings that are not valid, or name a role that is not there; no secret; too many providers.
    pub async fn set(
        &self,
        actor: &Actor,
        name: &str,
        settings: SsoSettings,
        secret: Option<Secret>,
    ) -> Result<SsoProviderView, Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("sso set", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                names::provider(name)?;
                settings.check()?;
                let turn = self.core.deciding(&person, act).await?;
                let roles = self.core.roles_of(tenant).await?;
                let there =
                    |name: &str| name.parse::<Role>().is_ok() || roles.iter().any(|found| found.role.name == name);
                if settings.role_names().any(|name| !there(name)) {
                    return Err(crate::roles::unknown());
                }
                let all = self.core.sso_providers(tenant).await?;
                let found = all.iter().find(|provider| provider.doc.name == name);
                if found.is_none() && all.len() >= MOST {
                    return Err(too_many());
                }
                let none = Secret::from(Vec::new());
                let secret = match (&settings.protocol, &secret) {
                    (SsoProtocol::Oidc(_), Some(secret)) => secret,
                    (SsoProtocol::Oidc(_), None) => found.and_then(|found| found.secret()).ok_or_else(needs_secret)?,
                    // Nothing proves the host to it, and the place of what would is kept empty.
                    (SsoProtocol::Saml(_), None) => &none,
                    (SsoProtocol::Saml(_), Some(_)) => return Err(needs_no_secret()),
                };
                let (id, created_ms, version) = found.map_or_else(
                    || (uuid::Uuid::now_v7().to_string(), now_ms(), 1),
                    |found| (found.id.clone(), found.created_ms, found.version + 1),
                );
                let fingerprint = tenant.vault.fingerprint(secret);
                let doc = SsoProviderDoc { name: name.to_owned(), fingerprint, settings };
                let sealed = tenant.vault.seal(&SsoProviderDoc::place(&[&id], version), &doc);
                let row = SsoProviderRow {
                    tenant: tenant.id.clone(),
                    name_index: tenant.vault.blind_index("sso provider", name.as_bytes()),
                    created_ms,
                    version,
                    secret: tenant.vault.seal_secret(&sso_secret_place(&[&id], version), secret),
                    doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
                    id,
                };
                let detail = format!("provider {name}, secret {}, {}", doc.fingerprint, doc.settings.told());
                let draft = person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail);
                let own = person.session.as_ref().map(|session| session.id.clone());
                let before = found.map(|found| issuer_index(tenant, &found.doc.settings.protocol.issuer()));
                let change = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.people_decide(&row.tenant, turn).await?;
                        let Some(issuer) = before else { return Ok(tx.sso_provider_insert(&row).await?) };
                        tx.sessions_end_of_issuer(&row.tenant, &issuer, own.as_deref()).await?;
                        Ok(tx.sso_provider_update(&row, row.version - 1).await?)
                    })
                });
                self.core.change(tenant, vec![draft], change).await?;
                self.view(&person.tenant, name).await
            })
            .await
    }

    /// The providers, oldest first. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; a row that does not open.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<SsoProviderView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, &[Role::Owner, Role::Admin], "sso list", "", async {
                Ok(self.core.sso_providers(&person.tenant).await?.iter().map(view).collect())
            })
            .await
    }

    /// One of them. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such provider.
    pub async fn show(&self, actor: &Actor, name: &str) -> Result<SsoProviderView, Refusal> {
        let person = self.core.person(actor).await?;
        let read = self.view(&person.tenant, name);
        self.core.act(&person, &[Role::Owner, Role::Admin], "sso show", "", read).await
    }

    /// What a provider of SAML says of itself, to be set with [`Sso::set`]. For owners.
    ///
    /// # Errors
    /// Not an owner; the rule by which what it says is not believed.
    pub async fn saml(&self, actor: &Actor, from: SamlFrom) -> Result<SamlSettings, Refusal> {
        let person = self.core.person(actor).await?;
        let read = async {
            let way = self.core.sso_way().await?;
            saml::read(&way, from).await.map_err(|fault| not_as_said(&fault))
        };
        self.core.act(&person, &[Role::Owner], "sso read", "", read).await
    }

    /// Asks a provider who it is and for its keys, as a sign-in would; of SAML, whether its metadata is as it was, where it says where
    /// that is. For owners.
    ///
    /// # Errors
    /// Not an owner; no such provider; the rule by which what it answers is not believed.
    pub async fn check(&self, actor: &Actor, name: &str) -> Result<SsoChecked, Refusal> {
        let person = self.core.person(actor).await?;
        let ask = async {
            let provider = self.core.sso_provider(&person.tenant, name).await?.ok_or_else(unknown)?;
            let way = self.core.sso_way().await?;
            let said = async {
                match &provider.doc.settings.protocol {
                    SsoProtocol::Oidc(oidc) => {
                        let metadata = Metadata::fetch(&way, &oidc.issuer).await?;
                        KeySet::fetch(&way, &metadata).await.map(|_| metadata.issuer)
                    }
                    SsoProtocol::Saml(saml) => saml::checked(&way, saml).await,
                }
            };
            let issuer = said.await.map_err(|fault| not_as_said(&fault))?;
            Ok(SsoChecked { name: name.to_owned(), issuer })
        };
        self.core.act(&person, &[Role::Owner], "sso check", "", ask).await
    }

    /// Removes a provider. Nobody signs in there any more, and the sessions of all who did end, but for the one it is done in; their
    /// accounts stay. For owners.
    ///
    /// # Errors
    /// Not an owner; no such provider.
    pub async fn remove(&self, actor: &Actor, name: &str) -> Result<(), Refusal> {
        let person = self.core.person(actor).await?;
        let (act, tenant) = ("sso remove", &person.tenant);
        self.core
            .act(&person, &[Role::Owner], act, "", async {
                let turn = self.core.deciding(&person, act).await?;
                let found = self.core.sso_provider(tenant, name).await?.ok_or_else(unknown)?;
                let draft = person.draft(Kind::Admin, act).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("provider {name}"));
                let (whose, issuer) = (tenant.id.clone(), issuer_index(tenant, &found.doc.settings.protocol.issuer()));
                let own = person.session.as_ref().map(|session| session.id.clone());
                let change = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.people_decide(&whose, turn).await?;
                        tx.sessions_end_of_issuer(&whose, &issuer, own.as_deref()).await?;
                        Ok(tx.sso_provider_remove(&whose, &found.id).await?)
                    })
                });
                self.core.change(tenant, vec![draft], change).await
            })
            .await
    }

    async fn view(&self, tenant: &crate::state::TenantState, name: &str) -> Result<SsoProviderView, Refusal> {
        Ok(view(&self.core.sso_provider(tenant, name).await?.ok_or_else(unknown)?))
    }
}

fn view(provider: &Arc<SsoProvider>) -> SsoProviderView {
    let SsoProviderDoc { name, fingerprint, settings } = provider.doc.clone();
    let kind = settings.protocol.word();
    let fingerprint = provider.secret().map(|_| fingerprint);
    SsoProviderView { name, kind, settings, fingerprint, created_ms: provider.created_ms }
}

/// What a provider answers is not believed.
fn not_as_said(fault: &SsoFault) -> Refusal {
    // Why it was not reached is for the operator: an owner could look around in the host's network.
    let message = if fault.rule == "sso.unreachable" { "the provider cannot be reached" } else { &fault.message };
    let fix = "compare what is set up with what the provider shows, and see that it can be reached from here";
    Refusal::new(Class::Invalid, Stage::Admin, fault.rule, message, fix)
}

/// There is no such provider.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(Class::NotFound, Stage::Admin, "sso.unknown", "there is no such provider", "see opsiq sso list")
}

fn needs_secret() -> Refusal {
    let message = "a new provider needs the client's secret, as the provider shows it";
    Refusal::new(Class::Invalid, Stage::Admin, "sso.secret", message, "give it on stdin or from a file")
}

fn needs_no_secret() -> Refusal {
    let message = "a provider of SAML is shown no secret";
    Refusal::new(Class::Invalid, Stage::Admin, "sso.secret", message, "leave it out")
}

fn too_many() -> Refusal {
    let message = format!("a tenant has at most {MOST} providers");
    Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "sso.too-many",
        message,
        "remove one that is not used: opsiq sso remove",
    )
}
