//! What a provider says of itself (`OpenID` Connect Discovery 1.0).

use serde_json::{Map, Value};
use url::Url;

use super::fetch::{Fetch, FetchRequest, object, text};
use crate::sso_fault::{SsoFault, refuse};

const RULE: &str = "sso.discovery";
/// Characters of an issuer or an endpoint, at most.
const LONGEST: usize = 2048;

/// A provider, as far as it is asked for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Who it is, exactly as tokens name it.
    pub issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    /// Whether the client's secret goes into the body, since it is not taken as a header.
    pub(super) secret_in_body: bool,
    /// Whether its answers name it (RFC 9207), so that one that does not is another's.
    pub names_itself: bool,
}

impl Metadata {
    /// Where the provider of that issuer says what it is (section 4).
    ///
    /// # Errors
    /// `sso.discovery` for an issuer that is none: a URL without query and fragment.
    pub fn address(issuer: &str) -> Result<Url, SsoFault> {
        let Some(url) = endpoint(issuer, None).filter(|url| url.query().is_none()) else {
            return refuse(RULE, "an issuer is an https URL without query and fragment");
        };
        // Some write the issuer with a slash at its end, and mean it so: it is compared as it is, and joined without.
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        Url::parse(&address)
            .ok()
            .filter(|address| address.origin() == url.origin())
            .map_or_else(|| refuse(RULE, "an issuer is an https URL without query and fragment"), Ok)
    }

    /// Asks the provider of that issuer.
    ///
    /// # Errors
    /// `sso.unreachable`; `sso.discovery`.
    pub async fn fetch(way: &dyn Fetch, issuer: &str) -> Result<Self, SsoFault> {
        let address = Self::address(issuer)?;
        let said = object(way, FetchRequest::get(address.as_str()), RULE, "what the provider says of itself").await?;
        Self::read(issuer, &said)
    }

    pub(super) fn read(issuer: &str, said: &Map<String, Value>) -> Result<Self, SsoFault> {
        if text(said, "issuer", RULE, "the provider does not say who it is")? != issuer {
            return refuse(RULE, "the provider says that it is another issuer");
        }
        let secure = issuer.starts_with("https:");
        let place = |name: &str| said.get(name).and_then(Value::as_str).and_then(|text| endpoint(text, Some(secure)));
        let lists = |name: &str, value: &str| {
            let listed = said.get(name)?.as_array()?;
            Some(listed.iter().any(|one| one == value))
        };
        let (Some(authorization_endpoint), Some(token_endpoint), Some(jwks_uri)) =
            (place("authorization_endpoint"), place("token_endpoint"), place("jwks_uri"))
        else {
            return refuse(RULE, "the provider does not say where to ask it, or without TLS");
        };
        if lists("response_types_supported", "code") == Some(false) {
            return refuse(RULE, "the provider does not know the authorization code flow");
        }
        if lists("code_challenge_methods_supported", "S256") == Some(false) {
            return refuse(RULE, "the provider does not know PKCE with S256");
        }
        let methods = "token_endpoint_auth_methods_supported";
        let secret_in_body = match (lists(methods, "client_secret_basic"), lists(methods, "client_secret_post")) {
            (None | Some(true), _) => false,
            (Some(false), Some(true)) => true,
            _ => return refuse(RULE, "the provider takes a client's secret neither as a header nor in a body"),
        };
        let names_itself = said.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true));
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization_endpoint,
            token_endpoint,
            jwks_uri,
            userinfo_endpoint: place("userinfo_endpoint"),
            secret_in_body,
            names_itself,
        })
    }
}

/// A URL that may be asked. Without TLS only where the issuer is itself: then it is one that the operator listed, or is not reached.
fn endpoint(text: &str, secure: Option<bool>) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST)?;
    let scheme = match url.scheme() {
        "https" => true,
        "http" => secure != Some(true),
        _ => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && plain && url.host_str().is_some()).then_some(url)
}
