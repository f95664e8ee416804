//! What providers say of themselves, asked by the host's own way out and remembered for minutes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsiq_contract::{HttpLimits, Limits, PrivateTarget, TenantId};
use opsiq_egress::{Egress, GuestRequest};
use opsiq_identity::oidc::{Expected, Fetch, FetchRequest, Fetched, KeySet, Metadata, believe_token};
use opsiq_identity::{Believed, SsoFault};

use super::known::SsoProvider;
use super::settings::OidcSettings;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::state::TenantState;

/// How long what a provider said is taken for so.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How soon it is asked again for a key that it did not have.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Providers that are remembered, at most.
const MOST: usize = 1024;
/// Bytes of an answer, at most.
const ANSWER: u64 = 256 << 10;

/// A provider, at one version of what an owner says of it.
type Of = (TenantId, String, u64);

/// What providers said, on this node.
#[derive(Default)]
pub(crate) struct Said(Mutex<HashMap<Of, Remembered>>);

/// What one said, and when.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub(crate) metadata: Arc<Metadata>,
    keys: Arc<KeySet>,
    at: Instant,
}

impl Said {
    fn of(&self, of: &Of) -> Option<Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned()
    }

    fn keep(&self, of: Of, said: Remembered) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, said| said.at.elapsed() < REMEMBERED);
        if all.len() < MOST {
            all.insert(of, said);
        }
    }
}

/// The host's way out to providers.
pub(crate) struct Way {
    egress: Arc<Egress>,
    targets: Vec<PrivateTarget>,
    limits: HttpLimits,
}

#[async_trait]
impl Fetch for Way {
    async fn fetch(&self, request: FetchRequest) -> Result<Fetched, String> {
        let FetchRequest { url, headers, body } = request;
        let method = if body.is_some() { "POST" } else { "GET" }.to_owned();
        let request = GuestRequest { method, url, headers, body, timeout_ms: None };
        let called = self.egress.call(request, &self.targets, &self.limits).await;
        let called = called.map_err(|failure| failure.detail)?;
        Ok(Fetched { status: called.status, body: called.body })
    }
}

impl Core {
    /// The way out to providers.
    pub(crate) async fn sso_way(&self) -> Result<Way, Refusal> {
        let limits = HttpLimits {
            requests: 1,
            response_bytes: ANSWER,
            connect_ms: 3_000,
            total_ms: 10_000,
            ..Limits::default().http
        };
        Ok(Way { egress: self.engine().await?.egress.clone(), targets: self.settings.sso_targets.clone(), limits })
    }

    /// What a provider says of itself, as of some minutes ago at most.
    pub(crate) async fn sso_said(
        &self,
        way: &Way,
        tenant: &TenantState,
        provider: &SsoProvider,
        oidc: &OidcSettings,
    ) -> Result<Remembered, SsoFault> {
        self.sso_said_within(way, tenant, provider, oidc, REMEMBERED).await
    }

    async fn sso_said_within(
        &self,
        way: &Way,
        tenant: &TenantState,
        provider: &SsoProvider,
        oidc: &OidcSettings,
        age: Duration,
    ) -> Result<Remembered, SsoFault> {
        let of = (tenant.id.clone(), provider.id.clone(), provider.version);
        if let Some(said) = self.identity.sso.of(&of).filter(|said| said.at.elapsed() < age) {
            return Ok(said);
        }
        let at = Instant::now();
        let metadata = Arc::new(Metadata::fetch(way, &oidc.issuer).await?);
        let keys = Arc::new(KeySet::fetch(way, &metadata).await?);
        let said = Remembered { metadata, keys, at };
        self.identity.sso.keep(of, said.clone());
        Ok(said)
    }

    /// Believes a token of a provider, or says what speaks against it. One that names a key it did not publish makes it be asked again,
    /// not too often.
    pub(crate) async fn sso_believed(
        &self,
        way: &Way,
        tenant: &TenantState,
        provider: &SsoProvider,
        oidc: &OidcSettings,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<Believed, SsoFault> {
        let mut said = self.sso_said(way, tenant, provider, oidc).await?;
        if !said.keys.knows(token) {
            said = self.sso_said_within(way, tenant, provider, oidc, ASK_AGAIN).await?;
        }
        believe_token(token, &said.keys, expected)
    }
}
