//! Which log an entry belongs to.

use std::fmt;
use std::str::FromStr;

use opsiq_contract::TenantId;

/// A log: every tenant has its own, and what belongs to no tenant goes to the host's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// The log of one tenant, which its owners read.
    Tenant(TenantId),
    /// Acts of the operator and refusals before a tenant is known.
    Host,
}

impl Log {
    /// The value of the tenant column: the tenant, or the empty text, which is no tenant, for the host.
    pub fn column(&self) -> &str {
        match self {
            Self::Tenant(tenant) => tenant.as_ref(),
            Self::Host => "",
        }
    }

    /// The log of such a value.
    pub fn from_column(column: &str) -> Option<Self> {
        if column.is_empty() { Some(Self::Host) } else { column.parse().ok().map(Self::Tenant) }
    }
}

impl From<TenantId> for Log {
    fn from(tenant: TenantId) -> Self {
        Self::Tenant(tenant)
    }
}

/// `tenant/acme` or `host`: part of every leaf, so that an entry of one log is none of another.
impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "tenant/{tenant}"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// The text is neither `host` nor `tenant/` and a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log is `host` or `tenant/` and a tenant")]
pub struct NotALog;

impl FromStr for Log {
    type Err = NotALog;

    fn from_str(text: &str) -> Result<Self, NotALog> {
        match text.strip_prefix("tenant/") {
            Some(tenant) => tenant.parse().map(Self::Tenant).map_err(|_| NotALog),
            None if text == "host" => Ok(Self::Host),
            None => Err(NotALog),
        }
    }
}
