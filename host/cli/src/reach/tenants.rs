//! Tenants.

use opsiq_contract::TenantId;
use opsiq_gate::{EraseTenant, Invitation, NewTenant, TenantView};
use serde_json::json;

use super::Reach;
use crate::failure::Failure;
use crate::remote::path;

fn at(id: &TenantId, what: &str) -> String {
    path(&["v1", "tenants", id.as_str(), what])
}

impl Reach<'_> {
    /// Makes a tenant.
    pub(crate) async fn tenant_create(&self, new: NewTenant) -> Result<TenantView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().create(actor, new).await?),
            Self::There(api) => {
                let NewTenant { id, title, owner } = new;
                api.post_json("/v1/tenants".to_owned(), &json!({ "id": id, "title": title, "owner": owner })).await
            }
        }
    }

    /// Invites a tenant's first owner.
    pub(crate) async fn tenant_invite(&self, id: &TenantId) -> Result<Invitation, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().invite_owner(actor, id).await?),
            Self::There(api) => api.post(at(id, "invite")).await,
        }
    }

    /// All tenants.
    pub(crate) async fn tenants(&self) -> Result<Vec<TenantView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().list(actor).await?),
            Self::There(api) => api.all("/v1/tenants").await,
        }
    }

    /// Cancels a tenant.
    pub(crate) async fn tenant_cancel(&self, id: &TenantId) -> Result<TenantView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().cancel(actor, id).await?),
            Self::There(api) => api.post(at(id, "cancel")).await,
        }
    }

    /// Takes that back.
    pub(crate) async fn tenant_restore(&self, id: &TenantId) -> Result<TenantView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().restore(actor, id).await?),
            Self::There(api) => api.post(at(id, "restore")).await,
        }
    }

    /// Destroys a tenant's keys.
    pub(crate) async fn tenant_erase(&self, erase: &EraseTenant) -> Result<TenantView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.tenants().erase(actor, erase).await?),
            Self::There(api) => {
                let EraseTenant { id, confirm, now } = erase;
                api.post_json(at(id, "erase"), &json!({ "confirm": confirm, "now": now })).await
            }
        }
    }

    /// Says whether a risky write of the acting tenant needs a second person.
    pub(crate) async fn second_person(&self, required: bool) -> Result<TenantView, Failure> {
        match (self, self.tenant()) {
            (Self::Here(host, actor), _) => Ok(host.tenants().require_second_person(actor, required).await?),
            (Self::There(api), Some(tenant)) => {
                api.put_json(at(tenant, "second-person"), &json!({ "required": required })).await
            }
            (Self::There(_), None) => Err(Failure::usage("whose tenant?").fix("--as TENANT/USER")),
        }
    }
}
