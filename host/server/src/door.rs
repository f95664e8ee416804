//! The proofs there are: a program's signature (RFC 9421), or a person's session, by bearer token or by cookie.
//!
//! A cookie is sent by a browser whoever makes it do so. So a request that changes something and comes by cookie must say
//! that it comes from this host's own pages: by `Sec-Fetch-Site`, or by `Origin` where a browser does not send the first.

use async_trait::async_trait;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use opsiq_gate::{Actor, Class, Host, Origin, Refusal, ReplySigner, SignedHead, Stage};
use opsiq_shield::ClientIp;

use crate::auth::{Authenticate, Caller, Covers, Head, SignReply};

/// The cookie of a session: of this host alone, over TLS alone, for all paths.
pub(crate) const COOKIE_NAME: &str = "__Host-opsiq";
/// Whence a browser says a request comes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Proves callers by the gate's own door.
#[derive(Debug, Clone, Copy)]
pub struct HostDoor;

/// What a request offers as proof.
enum Proof<'a> {
    Signature,
    Bearer(&'a str),
    Cookie(&'a str),
}

#[async_trait]
impl Authenticate for HostDoor {
    async fn head(&self, host: &Host, parts: &Parts, client: ClientIp, authority: &str) -> Result<Head, Refusal> {
        let token = match proof(&parts.headers)? {
            Proof::Signature => {
                let authority = authority
                    .parse::<Authority>()
                    .map_err(|_| refused("request.host", "the name of this host is none"))?;
                let origin = Origin::new(&Scheme::HTTPS, &authority);
                return Ok(Head::Covering(Box::new(host.door().signed_head(&origin, parts, client).await?)));
            }
            Proof::Bearer(token) => token,
            Proof::Cookie(token) => {
                if !parts.method.is_safe() {
                    own_page(&parts.headers, authority)?;
                }
                token
            }
        };
        let (actor, _) = host.door().session(token, Some(client)).await?;
        Ok(Head::Known(Caller { actor, reply: None }))
    }
}

#[async_trait]
impl Covers for SignedHead {
    fn claims(&self) -> Actor {
        self.client()
    }

    async fn with_body(self: Box<Self>, body: &Bytes) -> Result<Caller, Refusal> {
        let (actor, signer) = Self::with_body(*self, body).await?;
        Ok(Caller { actor, reply: Some(Box::new(signer)) })
    }
}

#[async_trait]
impl SignReply for ReplySigner {
    async fn sign(&self, status: StatusCode, body: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        Ok(Self::sign(self, status, body).await?.into())
    }

    async fn settle(&self) -> Result<(), Refusal> {
        Self::settle(self).await
    }
}

fn refused(code: &'static str, message: &str) -> Refusal {
    let fix = "sign the request as an API client, or send a session's token as a bearer token";
    Refusal::new(Class::Denied, Stage::Authenticate, code, message, fix)
}

/// The one proof of a request. Of several, one could be somebody else's.
fn proof(headers: &HeaderMap) -> Result<Proof<'_>, Refusal> {
    let signed = ["signature", "signature-input"].iter().any(|name| headers.contains_key(*name));
    let bearer = headers.get(AUTHORIZATION);
    let cookie = session_cookie(headers)?;
    match (signed, bearer, cookie) {
        (true, None, None) => Ok(Proof::Signature),
        (false, Some(_), None) => bearer_token(headers).map(Proof::Bearer),
        (false, None, Some(token)) => Ok(Proof::Cookie(token)),
        (false, None, None) => Err(refused("caller.unauthenticated", "the request proves nobody")),
        _ => Err(refused("caller.several", "the request has several proofs of who sends it")),
    }
}

/// RFC 6750 section 2.1.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("caller.bearer", "Authorization is there once"));
    };
    let text = value.to_str().unwrap_or_default();
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim()).ok_or_else(|| refused("caller.bearer", "Authorization is `Bearer TOKEN`"))
}

/// The session's cookie, which is there once.
fn session_cookie(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    cookie(headers, COOKIE_NAME)
}

/// A cookie of this host, which is there once.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = None;
    for value in headers.get_all(COOKIE) {
        for pair in value.to_str().unwrap_or_default().split(';') {
            if let Some((named, token)) = pair.trim().split_once('=')
                && named == name
            {
                if found.is_some() {
                    return Err(refused("caller.several", "a cookie of this host is there twice"));
                }
                found = Some(token);
            }
        }
    }
    Ok(found)
}

/// The token of a session, as bearer token or cookie.
pub(crate) fn session_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    match proof(headers)? {
        Proof::Bearer(token) | Proof::Cookie(token) => Ok(token),
        Proof::Signature => Err(refused("session.none", "a signed request belongs to no session")),
    }
}

/// Refuses what another site's page made a browser send.
pub(crate) fn own_page(headers: &HeaderMap, authority: &str) -> Result<(), Refusal> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let own = match (text(&FETCH_SITE), text(&ORIGIN)) {
        (Some(site), None) => site == "same-origin",
        (Some(site), Some(origin)) => site == "same-origin" && is_own(origin, authority),
        (None, Some(origin)) => is_own(origin, authority),
        (None, None) => false,
    };
    if own { Ok(()) } else { Err(refused("request.cross-site", "this does not come from a page of this host")) }
}

fn is_own(origin: &str, authority: &str) -> bool {
    origin.strip_prefix("https://").is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_request_has_one_proof() {
        let code = |pairs: &[_]| proof(&headers(pairs)).map(drop).map_err(|refusal| refusal.code.into_owned()).err();
        assert_eq!(code(&[("authorization", "Bearer t")]), None);
        assert_eq!(code(&[("cookie", "a=b; __Host-opsiq=t")]), None);
        assert_eq!(code(&[("signature", "s"), ("signature-input", "i")]), None);
        assert_eq!(code(&[]).as_deref(), Some("caller.unauthenticated"));
        assert_eq!(code(&[("authorization", "Basic t")]).as_deref(), Some("caller.bearer"));
        for several in [
            &[("authorization", "Bearer t"), ("signature", "s")][..],
            &[("authorization", "Bearer t"), ("cookie", "__Host-opsiq=t")],
            &[("cookie", "__Host-opsiq=t"), ("cookie", "__Host-opsiq=u")],
        ] {
            assert_eq!(code(several).as_deref(), Some("caller.several"), "{several:?}");
        }
    }

    #[test]
    fn a_cookie_counts_only_from_an_own_page() {
        let own = |pairs: &[_]| own_page(&headers(pairs), "localhost:8443").is_ok();
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://localhost:8443")]));
        assert!(!own(&[]));
        assert!(!own(&[("sec-fetch-site", "cross-site")]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        assert!(!own(&[("origin", "http://localhost:8443")]));
        assert!(!own(&[("origin", "null")]));
        assert!(!own(&[("origin", "https://evil.example")]));
        assert!(!own(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")]));
    }
}
