//! A request of somebody who is nobody yet: what signing in is made of.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use opsiq_gate::Host;
use opsiq_shield::ClientIp;
use serde::de::DeserializeOwned;

use crate::ask::read_json;
use crate::guard::Guard;
use crate::problem::Problem;

/// A request, its caller not known.
pub(crate) struct Knocked {
    pub(crate) host: Host,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    /// What the request calls this host, if that is one of its names.
    pub(crate) authority: Option<String>,
    /// From where; `None` over the operator's socket.
    pub(crate) address: Option<ClientIp>,
    /// Whether a known device was shown.
    pub(crate) known: bool,
    pub(crate) guard: Arc<Guard>,
}

impl Knocked {
    /// The part of the path called `name`.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Counts a sign-in to a tenant, unless a known device was shown.
    pub(crate) async fn to_tenant(&self, tenant: &str) -> Result<(), Problem> {
        match self.address {
            Some(client) if !self.known => self.guard.stranger(&self.host, client, tenant).await,
            _ => Ok(()),
        }
    }

    /// The body, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        read_json(&self.body)
    }
}
