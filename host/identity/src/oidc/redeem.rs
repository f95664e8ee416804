//! The code for tokens, at the provider's token endpoint (RFC 6749 section 4.1.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opsiq_vault::Secret;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::fetch::{Fetch, FetchRequest, object, text};
use super::flow::Flow;
use super::metadata::Metadata;
use crate::believed::Believed;
use crate::sso_fault::{SsoFault, refuse};

const RULE: &str = "sso.code";

/// As whom the host is known to a provider.
#[derive(Debug, Clone, Copy)]
pub struct OidcClient<'a> {
    /// What the provider calls the host.
    pub id: &'a str,
    /// What proves it.
    pub secret: &'a Secret,
}

/// What a code was redeemed for. Neither is kept.
pub struct Tokens {
    /// Who signed in; not believed yet.
    pub id_token: Zeroizing<String>,
    access_token: Option<Zeroizing<String>>,
}

impl Tokens {
    /// Redeems a code.
    ///
    /// # Errors
    /// `sso.unreachable`; `sso.code` for one that the provider does not take, or an answer without a token.
    pub async fn redeem(
        way: &dyn Fetch,
        metadata: &Metadata,
        client: OidcClient<'_>,
        redirect_uri: &str,
        flow: &Flow,
        code: &str,
    ) -> Result<Self, SsoFault> {
        let request = asking(metadata, client, redirect_uri, flow, code)?;
        let answer = object(way, request, RULE, "the code").await?;
        let id_token = text(&answer, "id_token", RULE, "the code was redeemed for no token of who signed in")?;
        let bearer = answer.get("token_type").and_then(Value::as_str).is_some_and(|t| t.eq_ignore_ascii_case("bearer"));
        let access_token = answer.get("access_token").and_then(Value::as_str).filter(|_| bearer);
        let keep = |token: &str| Zeroizing::new(token.to_owned());
        Ok(Self { id_token: keep(id_token), access_token: access_token.map(keep) })
    }

    /// Adds what the provider says of that person where it is asked for more, and not in the token (Core section 5.3). What the token
    /// says stands: it is signed for this attempt.
    ///
    /// # Errors
    /// `sso.unreachable`; `sso.userinfo` for an answer that is about somebody else, or none.
    pub async fn add_userinfo(
        &self,
        way: &dyn Fetch,
        metadata: &Metadata,
        believed: &mut Believed,
    ) -> Result<(), SsoFault> {
        let (Some(endpoint), Some(token)) = (&metadata.userinfo_endpoint, &self.access_token) else { return Ok(()) };
        let mut request = FetchRequest::get(endpoint.as_str());
        request.headers.push(("authorization".to_owned(), format!("Bearer {}", token.as_str())));
        let said = object(way, request, "sso.userinfo", "what the provider says of the person").await?;
        // Section 5.3.2: the token could be exchanged for another's.
        if said.get("sub").and_then(Value::as_str) != Some(believed.sub()) {
            return refuse("sso.userinfo", "the provider answers about somebody else");
        }
        believed.add(said);
        Ok(())
    }
}

/// The request for a code.
fn asking(
    metadata: &Metadata,
    client: OidcClient<'_>,
    redirect_uri: &str,
    flow: &Flow,
    code: &str,
) -> Result<FetchRequest, SsoFault> {
    let Ok(secret) = str::from_utf8(client.secret.expose()) else {
        return refuse(RULE, "the client's secret is no text");
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("code_verifier", &flow.verifier);
    let mut request = FetchRequest::get(metadata.token_endpoint.as_str());
    if metadata.secret_in_body {
        form.append_pair("client_id", client.id).append_pair("client_secret", secret);
    } else {
        // RFC 6749 section 2.3.1: each is encoded as in a form before they are joined.
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", encoded(client.id), Zeroizing::new(encoded(secret)).as_str()));
        request.headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
    }
    request.headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
    request.body = Some(form.finish().into_bytes());
    Ok(request)
}
