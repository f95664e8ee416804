//! Who acts, as the front door established it. The gate trusts the identity and nothing else: role, state and tenant
//! are looked up anew on every act, so a role taken away or a user disabled counts at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use opsiq_contract::{Principal, TenantId};
use opsiq_shield::ClientIp;

/// An authenticated principal: the operator, or one user or API client of one tenant.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) principal: Principal,
    pub(crate) scopes: Option<BTreeSet<String>>,
    pub(crate) address: Option<ClientIp>,
    /// The session they act in, by the blind index of its token; it is looked up anew on every act.
    pub(crate) session: Option<[u8; 32]>,
    pub(crate) request: Option<Arc<str>>,
}

impl Actor {
    /// Whoever holds the data directory and its root key.
    pub fn operator() -> Self {
        let (scopes, address, session, request) = (None, None, None, None);
        Self { tenant: None, principal: Principal::Operator, scopes, address, session, request }
    }

    /// A person of `tenant`. Whether the user exists, is enabled, and in which role is asked at each act.
    pub fn user(tenant: TenantId, name: impl Into<String>) -> Self {
        Self { tenant: Some(tenant), principal: Principal::User { name: name.into() }, ..Self::operator() }
    }

    /// A program of `tenant` that signed what it asks for. Whether the client exists, is enabled, in which role and with which
    /// scopes is asked at each act. It never does what is for a person, and never approves a confirmation.
    pub fn client(tenant: TenantId, name: impl Into<String>) -> Self {
        Self { tenant: Some(tenant), principal: Principal::Client { name: name.into() }, ..Self::operator() }
    }

    /// The same principal through a program that holds only `scopes`. Such a caller never approves a confirmation.
    #[must_use]
    pub fn limited_to(mut self, scopes: BTreeSet<String>) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// From where they act: what the audit log shows, and lists of addresses are asked about.
    #[must_use]
    pub fn from_address(mut self, address: ClientIp) -> Self {
        self.address = Some(address);
        self
    }

    /// The same principal within a session of theirs.
    pub(crate) fn in_session(mut self, index: [u8; 32]) -> Self {
        self.session = Some(index);
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
