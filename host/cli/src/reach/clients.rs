//! API clients.

use std::collections::BTreeSet;
use std::time::Duration;

use opsiq_contract::Role;
use opsiq_gate::{ClientView, NewClientKey, ShownOnce};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Reach;
use crate::failure::Failure;
use crate::remote::path;

/// A client with its new secret, told this once.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewKey {
    pub(crate) key_id: String,
    pub(crate) secret: ShownOnce,
    pub(crate) client: ClientView,
}

impl NewKey {
    fn of(made: &NewClientKey) -> Self {
        // It is made of hex digits.
        let secret = ShownOnce::from(String::from_utf8_lossy(made.secret.expose()).into_owned());
        Self { key_id: made.key_id.clone(), secret, client: made.client.clone() }
    }
}

fn at(name: &str, what: &str) -> String {
    path(&["v1", "clients", name, what])
}

impl Reach<'_> {
    /// Makes a client.
    pub(crate) async fn client_create(
        &self,
        name: &str,
        role: Role,
        scopes: &BTreeSet<String>,
    ) -> Result<NewKey, Failure> {
        match self {
            Self::Here(host, actor) => Ok(NewKey::of(&host.clients().create(actor, name, role, scopes).await?)),
            Self::There(api) => {
                let make = json!({ "name": name, "role": role, "scopes": scopes });
                api.post_json("/v1/clients".to_owned(), &make).await
            }
        }
    }

    /// Makes a new secret.
    pub(crate) async fn client_rotate(&self, name: &str, overlap: Duration) -> Result<NewKey, Failure> {
        match self {
            Self::Here(host, actor) => Ok(NewKey::of(&host.clients().rotate(actor, name, overlap).await?)),
            Self::There(api) => api.post_json(at(name, "rotate"), &json!({ "overlap_s": overlap.as_secs() })).await,
        }
    }

    /// Says what a client may do.
    pub(crate) async fn client_allow(
        &self,
        name: &str,
        role: Option<Role>,
        scopes: Option<&BTreeSet<String>>,
    ) -> Result<ClientView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.clients().allow(actor, name, role, scopes).await?),
            Self::There(api) => api.put_json(at(name, "allowed"), &json!({ "role": role, "scopes": scopes })).await,
        }
    }

    /// Ends the older secret of a rotation.
    pub(crate) async fn client_retire(&self, name: &str) -> Result<ClientView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.clients().retire(actor, name).await?),
            Self::There(api) => api.post(at(name, "retire")).await,
        }
    }

    /// Ends a client.
    pub(crate) async fn client_revoke(&self, name: &str) -> Result<ClientView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.clients().revoke(actor, name).await?),
            Self::There(api) => api.post(at(name, "revoke")).await,
        }
    }

    /// The clients.
    pub(crate) async fn clients(&self) -> Result<Vec<ClientView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.clients().list(actor).await?),
            Self::There(api) => api.all("/v1/clients").await,
        }
    }
}
