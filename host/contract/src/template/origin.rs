//! Where a request goes: scheme, host and port.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// An origin (RFC 6454 §4) of scheme `http` or `https`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: String,
    /// The host as the URL standard serialises it: lower case, punycode, an IPv6 address in brackets.
    pub host: String,
    /// The port, also when it is the scheme's default.
    pub port: u16,
}

impl Origin {
    /// The origin of a URL. `None` for schemes other than `http` and `https`.
    pub fn of(url: &Url) -> Option<Self> {
        matches!(url.scheme(), "http" | "https").then_some(())?;
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}
