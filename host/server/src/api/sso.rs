//! What owners of a tenant say of its providers of identities.

use std::collections::BTreeSet;

use opsiq_gate::{ClaimRole, NameIdFormat, OidcSettings, SamlFrom, SsoProtocol, SsoSettings};
use opsiq_vault::Secret;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::not_a;
use crate::ask::{Ask, Done, JSON, Reply};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// Bytes of what is said of a provider, at most: its metadata among it.
const SAID: usize = 640 << 10;

/// How a provider is spoken to.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderKind {
    /// `OpenID` Connect.
    #[default]
    Oidc,
    /// SAML 2.0.
    Saml,
}

/// A provider. What is left out is empty, or no. What belongs to another kind may not be there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutProvider {
    /// How it is spoken to: `oidc` unless said.
    #[serde(default)]
    kind: ProviderKind,
    /// `oidc`: who it is, exactly as its tokens say.
    issuer: Option<String>,
    /// `oidc`: what it calls this host.
    client_id: Option<String>,
    /// `oidc`: what proves this host to it. Left out, it stays as it is. It is in no answer.
    client_secret: Option<String>,
    /// `oidc`: what it is asked for beside `openid`; `email` and `profile` unless said.
    scopes: Option<Vec<String>>,
    /// `saml`: its metadata, an XML document of one entity. In its place `metadata_url`; or `entity_id`, `sso_url` and `certificates`.
    metadata: Option<String>,
    /// `saml`: where its metadata is. It is asked now, and what it says is kept as it is now.
    metadata_url: Option<String>,
    /// `saml`: who it is, exactly as its assertions say.
    entity_id: Option<String>,
    /// `saml`: where it takes requests by redirect.
    sso_url: Option<String>,
    /// `saml`: the certificates by which its signatures are believed: PEM, or DER in base64.
    certificates: Option<Vec<String>>,
    /// `saml`: what it names its people by: `persistent`, `email` or `unspecified`; `persistent` unless said.
    #[schema(value_type = Option<crate::schema::NameIdWord>)]
    name_id: Option<NameIdFormat>,
    /// `saml`: the attribute that is somebody's e-mail address; unless said, those by which it is known.
    email: Option<String>,
    /// Domains of e-mail addresses whose people may sign in.
    #[serde(default)]
    domains: BTreeSet<String>,
    /// The claim or attribute that says roles: its name, or a JSON Pointer into the claims.
    claim: Option<String>,
    /// Roles by its values; the first that is there counts.
    #[serde(default)]
    #[schema(value_type = Vec<crate::schema::ClaimRole>)]
    roles: Vec<ClaimRole>,
    /// The role of who has none of these.
    default_role: Option<String>,
    /// Whether who has no account yet gets one.
    #[serde(default)]
    make_accounts: bool,
    /// Whether passwords open nothing but the accounts of owners.
    #[serde(default)]
    enforced: bool,
    /// Whether the provider asks everybody for a second factor, as the owner states.
    #[serde(default)]
    second_factor: bool,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/sso/providers", "sso.list", "List where people of the tenant sign in. For owners and admins.")
            .gives("SsoProviderList", "Providers, oldest first."),
        list,
    );
    let one = "/v1/sso/providers/{provider}";
    routes.add(
        Spec::get(one, "sso.show", "One provider. For owners and admins.").gives("SsoProviderView", "The provider."),
        show,
    );
    routes.add(
        Spec::put(
            one,
            "sso.put",
            "Set a provider up, or change it, which ends the sessions of all who signed in there. For owners.",
        )
        .body(JSON, "PutProvider", SAID)
        .gives("SsoProviderView", "The provider."),
        put,
    );
    routes.add(
        Spec::delete(one, "sso.remove", "Let nobody sign in there any more. Accounts stay. For owners.")
            .gives_nothing("It is gone."),
        remove,
    );
    routes.add(
        Spec::post(
            "/v1/sso/providers/{provider}/check",
            "sso.check",
            "Ask a provider who it is and for its keys. For owners.",
        )
        .gives("SsoCheckedView", "It answers as it should."),
        check,
    );
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().list(&ask.actor).await?)
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().show(&ask.actor, ask.path("provider")).await?)
}

async fn put(ask: Ask) -> Done {
    let mut put: PutProvider = ask.json()?;
    let secret = put.client_secret.take().map(Zeroizing::new);
    let secret = secret.map(|text| Secret::verbatim(&text)).transpose();
    let secret = secret.map_err(|error| not_a("sso.secret", &error))?;
    let protocol = match put.kind {
        ProviderKind::Oidc => put.oidc()?.into(),
        ProviderKind::Saml => {
            let (from, name_id, email) = put.saml()?;
            let mut saml = ask.host.sso().saml(&ask.actor, from).await?;
            (saml.name_id, saml.email) = (name_id, email);
            SsoProtocol::Saml(saml)
        }
    };
    let settings = SsoSettings {
        protocol,
        domains: put.domains,
        claim: put.claim,
        roles: put.roles,
        default_role: put.default_role,
        make_accounts: put.make_accounts,
        enforced: put.enforced,
        second_factor: put.second_factor,
    };
    Reply::json(&ask.host.sso().set(&ask.actor, ask.path("provider"), settings, secret).await?)
}

impl PutProvider {
    /// What is said of a provider of `OpenID` Connect.
    fn oidc(&mut self) -> Result<OidcSettings, Problem> {
        let others = [&self.metadata, &self.metadata_url, &self.entity_id, &self.sso_url, &self.email];
        if others.iter().any(|other| other.is_some()) || self.certificates.is_some() || self.name_id.is_some() {
            return Err(Problem::malformed("request.body", "a part is of SAML alone, and the kind is oidc"));
        }
        let (Some(issuer), Some(client_id)) = (self.issuer.take(), self.client_id.take()) else {
            return Err(Problem::malformed("request.body", "a provider of kind oidc has issuer and client_id"));
        };
        let scopes = self.scopes.take().unwrap_or_else(|| vec!["email".to_owned(), "profile".to_owned()]);
        Ok(OidcSettings { issuer, client_id, scopes })
    }

    /// Where what a provider of SAML says of itself is from, what it names people by, and the attribute of their addresses.
    fn saml(&mut self) -> Result<(SamlFrom, NameIdFormat, Option<String>), Problem> {
        if self.issuer.is_some() || self.client_id.is_some() || self.scopes.is_some() {
            return Err(Problem::malformed("request.body", "a part is of OpenID Connect alone, and the kind is saml"));
        }
        let stated = (self.entity_id.take(), self.sso_url.take(), self.certificates.take());
        let from = match (self.metadata.take(), self.metadata_url.take(), stated) {
            (Some(document), None, (None, None, None)) => SamlFrom::Metadata(document),
            (None, Some(url), (None, None, None)) => SamlFrom::Url(url),
            (None, None, (Some(entity_id), Some(sso_url), Some(certificates))) => {
                SamlFrom::Stated { entity_id, sso_url, certificates }
            }
            _ => {
                let detail =
                    "a provider of kind saml has metadata, or metadata_url, or entity_id, sso_url and certificates";
                return Err(Problem::malformed("request.body", detail));
            }
        };
        Ok((from, self.name_id.unwrap_or_default(), self.email.take()))
    }
}

async fn remove(ask: Ask) -> Done {
    ask.host.sso().remove(&ask.actor, ask.path("provider")).await?;
    Ok(Reply::nothing())
}

async fn check(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().check(&ask.actor, ask.path("provider")).await?)
}
