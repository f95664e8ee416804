//! A signed reply, bound to the request that it answers (RFC 9421 §2.4).

use http::{HeaderMap, StatusCode};
use opsiq_vault::Secret;

use crate::SignedFields;
use crate::base::Base;
use crate::digest::{CONTENT_DIGEST, checked, content_digest};
use crate::error::Refused;
use crate::key_id::KeyId;
use crate::params::{SIGNATURE, Signed, write_params};
use crate::request::fields;

/// What a reply covers: names, and whether they are the request's.
const COMPONENTS: [(&str, bool); 5] =
    [("@status", false), (CONTENT_DIGEST, false), ("@method", true), ("@target-uri", true), (SIGNATURE, true)];

/// What of a request its reply is bound to. The request's signature covers all else of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The method.
    pub method: String,
    /// The whole target.
    pub target_uri: String,
    /// The `Signature` field.
    pub signature: String,
}

impl Bound {
    fn line(&self, base: &mut Base, status: StatusCode, digest: &str, name: &str, of_request: bool) -> bool {
        match (name, of_request) {
            ("@status", false) => base.line(name, status.as_str()),
            (CONTENT_DIGEST, false) => base.line(name, digest),
            ("@method", true) => base.line_of_request(name, &self.method),
            ("@target-uri", true) => base.line_of_request(name, &self.target_uri),
            (SIGNATURE, true) => base.line_of_request(name, &self.signature),
            _ => return false,
        }
        true
    }
}

/// Signs a reply with the secret that signed the request: the fields to add to it. `created` is in seconds since 1970.
pub fn sign_reply(
    secret: &Secret,
    key_id: &KeyId,
    bound: &Bound,
    status: StatusCode,
    body: &[u8],
    created: i64,
) -> SignedFields {
    let digest = content_digest(body);
    let mut base = Base::new();
    for (name, of_request) in COMPONENTS {
        bound.line(&mut base, status, digest.to_str().unwrap_or_default(), name, of_request);
    }
    let params = write_params(&COMPONENTS, created, None, key_id);
    let mac = secret.hmac_sha256(base.end(&params).as_bytes());
    fields(digest, &params, &mac)
}

/// Whether a reply is the one that the host signed to that request, with the secret that signed the request. Answers when it
/// was made, in seconds since 1970.
///
/// # Errors
/// [`Refused::Missing`], [`Refused::Form`], [`Refused::Digest`]; [`Refused::Mac`] also when the reply names another key.
pub fn verify_reply(
    secret: &Secret,
    key_id: &KeyId,
    bound: &Bound,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<i64, Refused> {
    let signed = Signed::read(headers)?;
    let digest = checked(headers, body)?;
    let mut base = Base::new();
    for component in &signed.components {
        if !bound.line(&mut base, status, digest, &component.name, component.of_request) {
            return Err(Refused::Form("the reply covers a component that is not known here"));
        }
    }
    let covers = |(name, of_request): (&str, bool)| {
        let is = |component: &&crate::params::Component| component.name == name && component.of_request == of_request;
        signed.components.iter().filter(is).count() == 1
    };
    if !COMPONENTS.into_iter().all(covers) {
        return Err(Refused::Form("the reply does not cover each of what binds it to its request once"));
    }
    if signed.keyid != key_id.to_string() || !signed.is_made_with(secret, &base.end(&signed.params)) {
        return Err(Refused::Mac);
    }
    Ok(signed.created)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::SIGNATURE_INPUT;

    fn key_id() -> KeyId {
        "acme/till/1".parse().unwrap()
    }

    fn secret() -> Secret {
        Secret::from(b"0123456789abcdef0123456789abcdef".to_vec())
    }

    fn bound() -> Bound {
        Bound {
            method: "POST".to_owned(),
            target_uri: "https://api.example.com/v1/x".to_owned(),
            signature: "opsiq=:AAAA:".to_owned(),
        }
    }

    fn headers(fields: SignedFields) -> HeaderMap {
        fields.into_iter().collect()
    }

    fn verify(bound: &Bound, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<i64, Refused> {
        verify_reply(&secret(), &key_id(), bound, StatusCode::from_u16(status).unwrap(), headers, body)
    }

    #[test]
    fn a_reply_is_one_to_its_request_alone() {
        let made = headers(sign_reply(&secret(), &key_id(), &bound(), StatusCode::OK, b"{}", 1_700_000_000));
        assert_eq!(verify(&bound(), 200, &made, b"{}"), Ok(1_700_000_000));
        assert_eq!(verify(&bound(), 201, &made, b"{}"), Err(Refused::Mac));
        assert_eq!(verify(&bound(), 200, &made, b"{ }"), Err(Refused::Digest));
        for other in [
            Bound { method: "PUT".to_owned(), ..bound() },
            Bound { target_uri: "https://api.example.com/v1/y".to_owned(), ..bound() },
            Bound { signature: "opsiq=:AAAB:".to_owned(), ..bound() },
        ] {
            assert_eq!(verify(&other, 200, &made, b"{}"), Err(Refused::Mac));
        }
        let other = Secret::from(vec![1; 32]);
        assert_eq!(verify_reply(&other, &key_id(), &bound(), StatusCode::OK, &made, b"{}"), Err(Refused::Mac));
        let version: KeyId = "acme/till/2".parse().unwrap();
        assert_eq!(verify_reply(&secret(), &version, &bound(), StatusCode::OK, &made, b"{}"), Err(Refused::Mac));
    }

    /// One that covers less is refused although its signature is right.
    #[test]
    fn a_reply_that_covers_less_is_refused() {
        let components = [("@status", false), (CONTENT_DIGEST, false)];
        let digest = content_digest(b"");
        let params = write_params(&components, 1_700_000_000, None, &key_id());
        let mut base = Base::new();
        base.line("@status", "200");
        base.line(CONTENT_DIGEST, digest.to_str().unwrap());
        let mac = secret().hmac_sha256(base.end(&params).as_bytes());
        let made = headers(fields(digest, &params, &mac));
        assert!(matches!(verify(&bound(), 200, &made, b""), Err(Refused::Form(_))));
    }

    #[test]
    fn an_unsigned_reply_is_none() {
        assert_eq!(verify(&bound(), 200, &HeaderMap::new(), b""), Err(Refused::Missing));
        let mut made = headers(sign_reply(&secret(), &key_id(), &bound(), StatusCode::OK, b"", 1));
        made.remove(SIGNATURE_INPUT);
        assert!(matches!(verify(&bound(), 200, &made, b""), Err(Refused::Form(_))));
        made.insert(HeaderName::from_static(SIGNATURE_INPUT), HeaderValue::from_static("opsiq=()"));
        assert!(matches!(verify(&bound(), 200, &made, b""), Err(Refused::Form(_))));
    }
}
