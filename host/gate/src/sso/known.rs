//! The providers of a tenant as last read, and how an identity is found.

use std::sync::Arc;

use opsiq_vault::Secret;

use crate::core::Core;
use crate::docs::{SsoProviderDoc, sso_secret_place};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::TenantState;

/// A provider as last read.
#[derive(Debug)]
pub(crate) struct SsoProvider {
    pub(crate) id: String,
    pub(crate) created_ms: i64,
    pub(crate) version: u64,
    secret: Arc<Secret>,
    pub(crate) doc: SsoProviderDoc,
}

impl SsoProvider {
    /// What proves the host to it, where something does.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        Some(&*self.secret).filter(|secret| !secret.expose().is_empty())
    }
}

/// All providers of a tenant, oldest first.
pub(crate) type SsoProviders = Arc<[Arc<SsoProvider>]>;

/// What an identity is found by: who says it, and whom. Nothing else is part of it.
pub(crate) fn identity_index(tenant: &TenantState, issuer: &str, sub: &str) -> [u8; 32] {
    let mut key = (issuer.len() as u64).to_be_bytes().to_vec();
    key.extend_from_slice(issuer.as_bytes());
    key.extend_from_slice(sub.as_bytes());
    tenant.vault.blind_index("sso identity", &key)
}

/// What the identities of one issuer have in common.
pub(crate) fn issuer_index(tenant: &TenantState, issuer: &str) -> [u8; 32] {
    tenant.vault.blind_index("sso issuer", issuer.as_bytes())
}

impl Core {
    /// The providers of a tenant, as they stand now.
    pub(crate) async fn sso_providers(&self, tenant: &TenantState) -> Result<SsoProviders, Refusal> {
        if let Some(providers) = tenant.sso_providers() {
            return Ok(providers);
        }
        let mark = tenant.mark();
        let rows = self.store.sso_providers::<SsoProviderDoc>(&tenant.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        let sealed = |error| errors::vault(Stage::Authenticate, &error);
        let opened = rows.into_iter().map(|row| {
            let place = [row.id.as_str()];
            let doc = tenant.vault.open(&SsoProviderDoc::place(&place, row.version), &row.doc).map_err(sealed)?;
            let secret = tenant.vault.open_secret(&sso_secret_place(&place, row.version), &row.secret);
            let secret = Arc::new(secret.map_err(sealed)?);
            Ok(Arc::new(SsoProvider { created_ms: row.created_ms, version: row.version, secret, doc, id: row.id }))
        });
        let providers: SsoProviders = opened.collect::<Result<Vec<_>, Refusal>>()?.into();
        tenant.keep_sso_providers(mark, &providers);
        Ok(providers)
    }

    /// One of them, by its name.
    pub(crate) async fn sso_provider(
        &self,
        tenant: &TenantState,
        name: &str,
    ) -> Result<Option<Arc<SsoProvider>>, Refusal> {
        Ok(self.sso_providers(tenant).await?.iter().find(|provider| provider.doc.name == name).cloned())
    }

    /// Whether passwords open nothing in this tenant but an owner's account.
    pub(crate) async fn sso_enforced(&self, tenant: &TenantState) -> Result<bool, Refusal> {
        Ok(self.sso_providers(tenant).await?.iter().any(|provider| provider.doc.settings.enforced))
    }
}
