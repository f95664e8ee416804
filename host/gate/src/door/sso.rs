//! Signing in at a provider of the tenant: the browser leaves, comes back, and somebody is let in or is not.
//!
//! What one attempt is told by is sealed and kept by the browser that began it, as a cookie that no page reads: nothing is stored
//! before somebody comes back, any node takes them, and nobody comes back in another browser's attempt. What came back is spent in
//! the store before it is believed, so that of many who show it, on any node, one succeeds.
//!
//! Fails closed, and tells one thing: whatever speaks against it, the browser hears that it did not work, and the audit log the rule.

use std::sync::Arc;
use std::time::Instant;

use opsiq_audit::{Log, Op};
use opsiq_contract::TenantId;
use opsiq_identity::oidc::{Asking, Expected, Flow, OidcClient, Tokens};
use opsiq_identity::saml::SamlAsking;
use opsiq_identity::{Believed, SsoFault, TokenKind};
use serde::{Deserialize, Serialize};

use super::enrol::Enrolment;
use super::login::{Pending, SignedIn};
use super::pending::{self, ShownOnce, Step, of_token};
use super::refused::{even, used_first, who};
use super::sso_saml::{ACS, request_id};
use super::{Door, Knock};
use crate::core::now_ms;
use crate::refusal::{Class, Refusal, Stage};
use crate::sso::{OidcSettings, SsoProtocol, SsoProvider};
use crate::state::TenantState;

/// How long an attempt may take, in milliseconds.
const WITHIN_MS: i64 = 10 * 60_000;
/// How long a code is remembered as spent, in milliseconds: providers take one for ten minutes at most (RFC 6749 section 4.1.2).
const SPENT_MS: i64 = 60 * 60_000;
/// Characters of a code or a state, at most.
const LONGEST: usize = 4096;

/// Where somebody wants to sign in.
#[derive(Debug, Clone, Copy)]
pub struct SsoLeave<'a> {
    /// The tenant's name, as asked for.
    pub tenant: &'a str,
    /// The provider's name, as asked for.
    pub provider: &'a str,
    /// This host's own address for that provider, without a slash at its end: what the browser comes back to is below it.
    pub at: &'a str,
    /// Whether the person is to sign in there anew, whatever the provider remembers.
    pub anew: bool,
    /// An invitation to take up with that identity.
    pub invitation: Option<&'a str>,
}

/// What the browser is told when it leaves.
#[derive(Debug)]
pub struct SsoAway {
    /// Where to go.
    pub url: String,
    /// To be kept by the browser, as a cookie, and shown by it when it comes back.
    pub kept: ShownOnce,
    /// For how long, in seconds.
    pub seconds: i64,
    /// Whether the browser comes back with a form that the provider's page makes it send, rather than by a link.
    pub by_form: bool,
}

/// What a browser comes back with. Nothing of it is trusted.
#[derive(Clone, Copy, Default)]
pub struct SsoAnswer<'a> {
    /// To be redeemed.
    pub code: Option<&'a str>,
    /// Which attempt it answers.
    pub state: Option<&'a str>,
    /// Who answers.
    pub iss: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
}

/// How far somebody who came back has come.
#[derive(Debug)]
pub enum SsoEntered {
    /// They are signed in.
    SignedIn(Box<SignedIn>),
    /// A code of their authenticator is awaited: [`Door::code`].
    Code(Pending),
    /// They have no authenticator yet, and get one: [`Door::sso_enrol`].
    Enrol(Enrolment),
}

/// One attempt.
#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) provider: String,
    version: u64,
    pub(super) flow: Flow,
    /// Where the browser is to come back.
    pub(super) redirect_uri: String,
    pub(super) begun_ms: i64,
    pub(super) until_ms: i64,
    pub(super) anew: bool,
    pub(super) invitation: Option<InvitedHere>,
}

/// Whom an invitation invites that is taken up so.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct InvitedHere {
    pub(super) invitation: String,
    pub(super) user: String,
    pub(super) name: String,
}

impl Door {
    /// The first step: where to go, and what to keep until the return.
    ///
    /// # Errors
    /// `sso.failed`, whatever it is; a host that cannot serve now.
    pub async fn sso_leave(&self, knock: &Knock, leave: &SsoLeave<'_>) -> Result<SsoAway, Refusal> {
        let begun = Instant::now();
        let tenant = leave.tenant.parse::<TenantId>().ok().and_then(|id| self.core.tenants.get(&id));
        let done = self.leave(knock, tenant.as_ref(), leave).await;
        match done {
            Ok(away) => Ok(away),
            Err(why) => Err(self.plainly(knock, tenant.as_deref(), why, begun).await),
        }
    }

    async fn leave(
        &self,
        knock: &Knock,
        tenant: Option<&Arc<TenantState>>,
        leave: &SsoLeave<'_>,
    ) -> Result<SsoAway, Refusal> {
        let Some(tenant) = tenant else { return Err(unknown()) };
        self.core.tenants_list(tenant, knock.address)?;
        let provider = self.core.sso_provider(tenant, leave.provider).await?.ok_or_else(unknown)?;
        let invitation = match leave.invitation {
            None => None,
            Some(token) => Some(self.invited_here(tenant, token).await?),
        };
        let (flow, begun_ms) = (Flow::begin(), now_ms());
        let SsoLeave { at, anew, .. } = *leave;
        let (url, redirect_uri, by_form) = match &provider.doc.settings.protocol {
            SsoProtocol::Oidc(oidc) => {
                let way = self.core.sso_way().await?;
                let said = self.core.sso_said(&way, tenant, &provider, oidc).await;
                let said = said.map_err(|fault| not_believed(&provider, &fault))?;
                let redirect_uri = format!("{at}/return");
                let asking =
                    Asking { client_id: &oidc.client_id, redirect_uri: &redirect_uri, scopes: &oidc.scopes, anew };
                (flow.leave(&said.metadata, &asking).into(), redirect_uri, false)
            }
            SsoProtocol::Saml(saml) => {
                let (sp, acs) = (format!("{at}/metadata"), format!("{at}{ACS}"));
                let (sp, acs, request) = (sp.as_str(), acs.as_str(), request_id(&flow));
                let (sso_url, name_id, now_s) = (saml.sso_url.as_str(), saml.name_id, begun_ms / 1000);
                let asking = SamlAsking { sso_url, sp, acs, request: &request, name_id, anew, now_s };
                let url = asking.url();
                let url = url.ok_or_else(|| refused("sso.settings", "the provider's address is none"))?;
                (url, acs.to_owned(), true)
            }
        };
        let (provider, version) = (provider.id.clone(), provider.version);
        let until_ms = begun_ms + WITHIN_MS;
        let attempt = Attempt { provider, version, flow, redirect_uri, begun_ms, until_ms, anew, invitation };
        Ok(SsoAway { url, kept: pending::seal(tenant, Step::Sso, &attempt)?, seconds: WITHIN_MS / 1000, by_form })
    }

    async fn invited_here(&self, tenant: &TenantState, token: &str) -> Result<InvitedHere, Refusal> {
        let index = of_token(&self.core, TokenKind::Invitation, token).filter(|(of, _)| of.id == tenant.id);
        let good = match index {
            Some((_, index)) => self.good(tenant, &index).await?,
            None => None,
        };
        let (row, user) =
            good.ok_or_else(|| refused("invitation.unknown", "the invitation is not good, or not any more"))?;
        Ok(InvitedHere { invitation: row.id, user: user.id.clone(), name: user.name.clone() })
    }

    /// The second step: what the browser came back with to the address of that provider, and what it kept.
    ///
    /// # Errors
    /// `sso.failed`, whatever speaks against it; `login.slow-down` after too many failures from that address; a host that cannot serve now.
    pub async fn sso_return(
        &self,
        knock: &Knock,
        (tenant, provider): (&str, &str),
        answer: &SsoAnswer<'_>,
        kept: Option<&str>,
    ) -> Result<SsoEntered, Refusal> {
        let begun = Instant::now();
        let named = tenant.parse::<TenantId>().ok().and_then(|id| self.core.tenants.get(&id));
        let done = match &named {
            Some(tenant) => self.returned(knock, tenant, provider, answer, kept).await,
            None => Err(unknown()),
        };
        match done {
            Ok(entered) => Ok(entered),
            Err(why) => Err(self.plainly(knock, named.as_deref(), why, begun).await),
        }
    }

    async fn returned(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        named: &str,
        answer: &SsoAnswer<'_>,
        kept: Option<&str>,
    ) -> Result<SsoEntered, Refusal> {
        let (attempt, provider) = self.begun(knock, tenant, named, kept).await?;
        let SsoProtocol::Oidc(oidc) = &provider.doc.settings.protocol else { return Err(another_way()) };
        let state = answer.state.filter(|state| state.len() <= LONGEST).unwrap_or_default();
        if !same(state, &attempt.flow.state) {
            return Err(refused("sso.state", "the answer is for another attempt, or for none"));
        }
        let code = answer.code.filter(|code| (1..=LONGEST).contains(&code.len()));
        let until = now_ms() + SPENT_MS;
        self.spend(tenant, &attempt, code.map(|code| ("code", code, until))).await?;
        if answer.iss.is_some_and(|iss| iss != oidc.issuer) {
            return Err(refused("sso.iss", "somebody else than the provider answers"));
        }
        if let Some(error) = answer.error {
            let message = format!("the provider answers with the error {}", known_error(error));
            return Err(refused("sso.provider-error", &message));
        }
        let Some(code) = code else { return Err(refused("sso.code", "the provider answers with no code")) };
        // It counts for the address alone: who fails at a provider shall keep nobody else out.
        let who = who("sso", [tenant.id.as_str(), &attempt.flow.state], knock.address, None);
        let trial = self.core.attempt(&who).await?;
        let believed = self.redeem(tenant, &provider, oidc, &attempt, answer.iss, code).await;
        let believed = believed?.map_err(|fault| not_believed(&provider, &fault))?;
        trial.succeeded().await;
        self.enter(knock, tenant, &provider, attempt.invitation, &believed).await
    }

    /// The attempt that this browser began at that provider, and the provider, which is as it was then.
    pub(super) async fn begun(
        &self,
        knock: &Knock,
        tenant: &Arc<TenantState>,
        named: &str,
        kept: Option<&str>,
    ) -> Result<(Attempt, Arc<SsoProvider>), Refusal> {
        self.core.tenants_list(tenant, knock.address)?;
        let attempt = kept.and_then(|kept| pending::open::<Attempt>(&self.core, Step::Sso, kept));
        let attempt = attempt.filter(|(of, attempt)| of.id == tenant.id && now_ms() < attempt.until_ms);
        let Some((_, attempt)) = attempt else {
            return Err(refused("sso.state", "this browser began no attempt that could end now"));
        };
        let provider = self.core.sso_provider(tenant, named).await?;
        let provider =
            provider.filter(|provider| provider.id == attempt.provider && provider.version == attempt.version);
        let Some(provider) = provider else {
            return Err(refused("sso.provider", "the attempt was at another provider, or what is said of it changed"));
        };
        Ok((attempt, provider))
    }

    /// Marks an attempt as taken, before anything of what came back is believed; and what came back, by its kind and until when it could
    /// come again, in milliseconds since 1970.
    pub(super) async fn spend(
        &self,
        tenant: &Arc<TenantState>,
        attempt: &Attempt,
        came: Option<(&str, &str, i64)>,
    ) -> Result<(), Refusal> {
        let state = spent(tenant, attempt, "state", &attempt.flow.state);
        let came = came.map(|(kind, text, until)| (spent(tenant, attempt, kind, text), until));
        self.take(tenant, [Some((state, attempt.until_ms)), came]).await
    }

    /// Takes what may be taken once, all or nothing.
    pub(super) async fn take(
        &self,
        tenant: &Arc<TenantState>,
        taken: [Option<([u8; 32], i64)>; 2],
    ) -> Result<(), Refusal> {
        let (whose, now) = (tenant.id.clone(), now_ms());
        let op = Op::new(move |tx| {
            Box::pin(async move {
                for (what, until) in taken.into_iter().flatten() {
                    tx.sso_spend(&whose, &what, now, until).await?;
                }
                Ok(())
            })
        });
        let done = self.core.journal.commit(&Log::Tenant(tenant.id.clone()), Vec::new(), op).await;
        done.map_err(|error| {
            used_first(&error, refused("sso.replayed", "the answer, or what is in it, was shown before"))
        })
    }

    /// Who signed in, as the provider says.
    async fn redeem(
        &self,
        tenant: &TenantState,
        provider: &SsoProvider,
        oidc: &OidcSettings,
        attempt: &Attempt,
        iss: Option<&str>,
        code: &str,
    ) -> Result<Result<Believed, SsoFault>, Refusal> {
        let way = self.core.sso_way().await?;
        let Some(secret) = provider.secret() else { return Err(another_way()) };
        let client = OidcClient { id: &oidc.client_id, secret };
        let expected = Expected {
            issuer: &oidc.issuer,
            client_id: &oidc.client_id,
            nonce: &attempt.flow.nonce,
            now_s: now_ms() / 1000,
            anew_since_s: attempt.anew.then_some(attempt.begun_ms / 1000),
        };
        let done = async {
            let said = self.core.sso_said(&way, tenant, provider, oidc).await?;
            if said.metadata.names_itself && iss.is_none() {
                return Err(SsoFault::new(
                    "sso.iss",
                    "the provider names itself in its answers, and this one does not",
                ));
            }
            let tokens =
                Tokens::redeem(&way, &said.metadata, client, &attempt.redirect_uri, &attempt.flow, code).await?;
            let mut believed =
                self.core.sso_believed(&way, tenant, provider, oidc, &tokens.id_token, &expected).await?;
            if provider.doc.settings.wants_more(&believed) {
                tokens.add_userinfo(&way, &said.metadata, &mut believed).await?;
            }
            Ok(believed)
        };
        Ok(done.await)
    }

    /// Puts on record why somebody was not let in, and tells them that it did not work.
    pub(super) async fn plainly(
        &self,
        knock: &Knock,
        tenant: Option<&TenantState>,
        why: Refusal,
        begun: Instant,
    ) -> Refusal {
        let told = self.core.refused_knock(tenant, None, "login", knock.address, why).await;
        even(begun).await;
        match told.class {
            Class::Unavailable | Class::Internal | Class::Tampered | Class::Busy | Class::Limited => told,
            _ => refused("sso.failed", "signing in at the provider did not work"),
        }
    }
}

/// By what an attempt, or what came back in it, is known as spent.
pub(super) fn spent(tenant: &TenantState, attempt: &Attempt, kind: &str, text: &str) -> [u8; 32] {
    tenant.vault.blind_index(
        "sso answer",
        &[kind.as_bytes(), b"/", attempt.provider.as_bytes(), b"/", text.as_bytes()].concat(),
    )
}

fn same(a: &str, b: &str) -> bool {
    // Compared by hashes, so that it takes the same time wherever they differ.
    opsiq_contract::Digest::of(a.as_bytes()) == opsiq_contract::Digest::of(b.as_bytes())
}

/// A refusal at a provider's door, for the log.
pub(super) fn refused(rule: &'static str, message: &str) -> Refusal {
    let fix = "begin again; an owner of the tenant sees why in the audit log";
    Refusal::new(Class::Unauthenticated, Stage::Authenticate, rule, message, fix)
}

/// What came back is of another way of signing in than its provider's.
pub(super) fn another_way() -> Refusal {
    refused("sso.provider", "what came back is of another way of signing in than the provider's")
}

pub(super) fn unknown() -> Refusal {
    refused("sso.unknown", "there is no such tenant or provider")
}

pub(super) fn not_believed(provider: &SsoProvider, fault: &SsoFault) -> Refusal {
    refused(fault.rule, &format!("provider {}: {fault}", provider.doc.name))
}

/// An error that is known (RFC 6749 section 4.1.2.1, Core section 3.1.2.6); no other is repeated.
fn known_error(error: &str) -> &str {
    const KNOWN: &[&str] = &[
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    KNOWN.iter().find(|known| **known == error).copied().unwrap_or("of its own")
}
