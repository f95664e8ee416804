//! A request of somebody who is nobody yet: what signing in is made of.

use std::net::IpAddr;

use axum::http::HeaderMap;
use bytes::Bytes;
use opsiq_gate::Host;
use serde::de::DeserializeOwned;

use crate::ask::read_json;
use crate::problem::Problem;

/// A request, its caller not known.
pub(crate) struct Knocked {
    pub(crate) host: Host,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From where; `None` over the operator's socket.
    pub(crate) address: Option<IpAddr>,
}

impl Knocked {
    /// The body, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        read_json(&self.body)
    }
}
