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
    /// From where; `None` over the operator's socket.
    pub(crate) address: Option<ClientIp>,
    /// Whether a known device was shown.
    pub(crate) known: bool,
    pub(crate) guard: Arc<Guard>,
}

impl Knocked {
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
