//! Coming back from a provider of SAML, with a form that its page made the browser send.
//!
//! Leaving, the attempt that the browser keeps, and whose account it is, are as with any provider: see [`sso`](super::sso). What is its own is
//! that the answer itself says who signed in, so nothing is asked of the provider, and that the answer names the attempt inside what is signed.
//! A response nobody asked for answers no attempt, so there is none that a provider begins.

use std::sync::Arc;
use std::time::Instant;

use opsiq_contract::TenantId;
use opsiq_identity::oidc::Flow;
use opsiq_identity::saml::{Certificate, SamlExpected, believe_response};

use super::refused::who;
use super::sso::{SsoEntered, another_way, not_believed, refused, spent, unknown};
use super::{Door, Knock};
use crate::core::now_ms;
use crate::refusal::Refusal;
use crate::sso::SsoProtocol;
use crate::state::TenantState;

/// Where responses are sent, below this host's address for a provider.
pub(super) const ACS: &str = "/acs";

/// What a request is named by, and its answer names: an `NCName`, which begins with no digit.
pub(super) fn request_id(flow: &Flow) -> String {
    format!("_{}", flow.state)
}

impl Door {
    /// The second step at a provider of SAML: the response that the browser brought to the address of that provider, in base64, and what the
    /// browser kept.
    ///
    /// # Errors
    /// `sso.failed`, whatever speaks against it; `login.slow-down` after too many failures from that address; a host that cannot serve now.
    pub async fn saml_return(
        &self,
        knock: &Knock,
        (tenant, provider): (&str, &str),
        response: Option<&str>,
        kept: Option<&str>,
    ) -> Result<SsoEntered, Refusal> {
        let begun = Instant::now();
        let named = tenant.parse::<TenantId>().ok().and_then(|id| self.core.tenants.get(&id));
        let done = match &named {
            Some(tenant) => self.responded(knock, tenant, provider, response, kept).await,
            None => Err(unknown()),
        };
        match done {
            Ok(entered) => Ok(entered),
            Err(why) => Err(self.plainly(knock, named.as_deref(), why, begun).await),
        }
    }

    async fn responded(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        named: &str,
        response: Option<&str>,
        kept: Option<&str>,
    ) -> Result<SsoEntered, Refusal> {
        let (attempt, provider) = self.begun(knock, tenant, named, kept).await?;
        let SsoProtocol::Saml(saml) = &provider.doc.settings.protocol else { return Err(another_way()) };
        self.spend(tenant, &attempt, None).await?;
        let response = response.ok_or_else(|| refused("sso.xml", "the provider answers with no response"))?;
        // It counts for the address alone: who fails at a provider shall keep nobody else out.
        let who = who("sso", [tenant.id.as_str(), &attempt.flow.state], knock.address, None);
        let trial = self.core.attempt(&who).await?;
        let certificates = saml.certificates.iter().map(|text| Certificate::read(text)).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|fault| not_believed(&provider, &fault))?;
        let (request, at) = (request_id(&attempt.flow), attempt.redirect_uri.strip_suffix(ACS));
        let sp = at.map(|at| format!("{at}/metadata")).ok_or_else(another_way)?;
        let expected = SamlExpected {
            entity_id: &saml.entity_id,
            certificates: &certificates,
            sp: &sp,
            acs: &attempt.redirect_uri,
            request: &request,
            name_id: saml.name_id,
            email: saml.email.as_deref(),
            now_s: now_ms() / 1000,
            anew_since_s: attempt.anew.then_some(attempt.begun_ms / 1000),
        };
        let said = believe_response(response, &expected).map_err(|fault| not_believed(&provider, &fault))?;
        // Each assertion once, whichever attempt it is shown in.
        let assertion = spent(tenant, &attempt, "assertion", &said.assertion);
        self.take(tenant, [Some((assertion, said.until_s.saturating_mul(1000))), None]).await?;
        trial.succeeded().await;
        self.enter(knock, tenant, &provider, attempt.invitation, &said.believed).await
    }
}
