//! Who acts, as the front door established it. The gate trusts the identity and nothing else: role, state and tenant
//! are looked up anew on every act, so a role taken away or a user disabled counts at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use opsiq_contract::{Principal, TenantId};

/// An authenticated principal: the operator, or one user of one tenant.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) principal: Principal,
    pub(crate) scopes: Option<BTreeSet<String>>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) request: Option<Arc<str>>,
}

impl Actor {
    /// Whoever holds the data directory and its root key.
    pub fn operator() -> Self {
        Self { tenant: None, principal: Principal::Operator, scopes: None, address: None, request: None }
    }

    /// A person of `tenant`. Whether the user exists, is enabled, and in which role is asked at each act.
    pub fn user(tenant: TenantId, name: impl Into<String>) -> Self {
        Self { tenant: Some(tenant), principal: Principal::User { name: name.into() }, ..Self::operator() }
    }

    /// The same principal through a program that holds only `scopes`. Such a caller never approves a confirmation.
    #[must_use]
    pub fn limited_to(mut self, scopes: BTreeSet<String>) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// The peer's address, for the audit log.
    #[must_use]
    pub fn from_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The id that the front door gave the request, for the audit log.
    #[must_use]
    pub fn in_request(mut self, id: &str) -> Self {
        self.request = Some(id.into());
        self
    }

    /// The tenant, `None` for the operator.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// The principal, as audited.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}
