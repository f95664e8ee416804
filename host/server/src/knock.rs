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
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    /// What the request calls this host, if that is one of its names.
    pub(crate) authority: Option<String>,
    /// From where; `None` over the operator's socket.
    pub(crate) address: Option<IpAddr>,
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

    /// The body, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        read_json(&self.body)
    }
}
