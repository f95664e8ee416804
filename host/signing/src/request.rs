//! A signed request: reading one that came, and making one.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opsiq_vault::Secret;

use crate::base::Base;
use crate::digest::{CONTENT_DIGEST, claimed, content_digest, is_digest_of};
use crate::error::Refused;
use crate::field::one;
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::key_id::KeyId;
use crate::params::{SIGNATURE, SIGNATURE_INPUT, Signed, WINDOW_S, write_params, write_signature};
use crate::{Bound, SignedFields};

/// What is covered always.
const ALWAYS: [&str; 3] = ["@method", "@target-uri", CONTENT_DIGEST];
/// Fields that change what a request does: covered exactly when they are there, so that none can be added or taken away.
const WHEN_THERE: [&str; 3] = [IDEMPOTENCY_KEY, "content-encoding", "if-match"];
/// Fields that may be covered.
const MAY: [&str; 1] = ["content-type"];
/// Bytes of a covered field at most.
const COVERED_MOST: usize = 1024;

/// A request as it travels.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The whole target, see [`Origin::target_uri`](crate::Origin::target_uri).
    pub target_uri: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its body's bytes, before anything is decoded.
    pub body: &'a [u8],
}

/// A request whose signature has the accepted form. Whether its body is the one that was signed, whether the named key made
/// it, whether it is timely, and whether it came before is asked of it.
#[derive(Debug)]
pub struct Presented {
    /// Whose key is said to have signed.
    pub key_id: KeyId,
    /// When, in seconds since 1970.
    pub created: i64,
    /// What makes it unlike every other request of that client.
    pub nonce: String,
    /// The value of the request's digest, which is signed.
    digest: String,
    signed: Signed,
    base: String,
    bound: Bound,
}

impl Presented {
    /// Reads the signature of a request whose body is the one that was signed. Takes time in proportion to the body and no
    /// more than a few kilobytes of fields.
    ///
    /// # Errors
    /// [`Refused::Missing`], [`Refused::Form`], [`Refused::Digest`].
    pub fn read(request: &Request<'_>) -> Result<Self, Refused> {
        let presented = Self::read_head(request)?;
        presented.is_of(request.body)?;
        Ok(presented)
    }

    /// The same before the body came: it is not looked at, and must be [held against](Self::is_of) the signature later.
    ///
    /// # Errors
    /// [`Refused::Missing`], [`Refused::Form`].
    pub fn read_head(request: &Request<'_>) -> Result<Self, Refused> {
        let mut signed = Signed::read(request.headers)?;
        let key_id: KeyId = signed.keyid.parse()?;
        let nonce = signed.nonce.take().ok_or(Refused::Form("the signature of a request has a nonce"))?;
        let digest = claimed(request.headers)?;
        let mut base = Base::new();
        for (at, component) in signed.components.iter().enumerate() {
            if component.of_request {
                return Err(Refused::Form("`req` is for replies"));
            }
            let name = component.name.as_str();
            if signed.components[..at].contains(component) {
                return Err(Refused::Form("a component is covered twice"));
            }
            match name {
                "@method" => base.line(name, request.method.as_str()),
                "@target-uri" => base.line(name, request.target_uri),
                CONTENT_DIGEST => base.line(name, digest),
                _ if WHEN_THERE.contains(&name) || MAY.contains(&name) => {
                    let value = one(request.headers, name, COVERED_MOST)?;
                    base.line(name, value.ok_or(Refused::Form("a covered field is not there"))?);
                }
                _ => return Err(Refused::Form("a component is covered that is not known here")),
            }
        }
        let covers = |name: &str| signed.components.iter().any(|component| component.name == name);
        if !ALWAYS.into_iter().all(covers) {
            return Err(Refused::Form("@method, @target-uri and content-digest are to be covered"));
        }
        if WHEN_THERE.into_iter().any(|name| request.headers.contains_key(name) && !covers(name)) {
            return Err(Refused::Form(
                "idempotency-key, content-encoding and if-match are to be covered where they are there",
            ));
        }
        let base = base.end(&signed.params);
        let bound = Bound {
            method: request.method.as_str().to_owned(),
            target_uri: request.target_uri.to_owned(),
            signature: signed.field.clone(),
        };
        Ok(Self { key_id, created: signed.created, nonce, digest: digest.to_owned(), signed, base, bound })
    }

    /// Whether it was signed with this body.
    ///
    /// # Errors
    /// [`Refused::Digest`].
    pub fn is_of(&self, body: &[u8]) -> Result<(), Refused> {
        is_digest_of(&self.digest, body)
    }

    /// Whether it is made within [`WINDOW_S`] of `now_ms`, milliseconds since 1970, and has not expired.
    ///
    /// # Errors
    /// [`Refused::Time`].
    pub fn is_timely(&self, now_ms: i64) -> Result<(), Refused> {
        let apart = now_ms.abs_diff(self.created * 1000);
        let expired = |at: i64| at * 1000 <= now_ms || at <= self.created;
        if apart > WINDOW_S.unsigned_abs() * 1000 || self.signed.expires.is_some_and(expired) {
            return Err(Refused::Time);
        }
        Ok(())
    }

    /// Whether `secret` signed it. Takes the same time whatever the answer.
    ///
    /// # Errors
    /// [`Refused::Mac`].
    pub fn is_made_with(&self, secret: &Secret) -> Result<(), Refused> {
        if self.signed.is_made_with(secret, &self.base) { Ok(()) } else { Err(Refused::Mac) }
    }

    /// What a reply to it is bound to.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The text that was signed, for whoever looks for what differs.
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Signs a request: the fields to add to it, `content-digest` first. `created` is in seconds since 1970; `nonce` is 16 to
/// 128 visible ASCII characters that this client never used before, such as 24 random bytes in base64.
///
/// # Errors
/// [`Refused::Form`] when a field that is to be covered is there twice, is too long or is not ASCII, or the nonce is none.
pub fn sign_request(
    request: &Request<'_>,
    key_id: &KeyId,
    secret: &Secret,
    created: i64,
    nonce: &str,
) -> Result<SignedFields, Refused> {
    let digest = content_digest(request.body);
    let mut components = vec![("@method", false), ("@target-uri", false), (CONTENT_DIGEST, false)];
    let mut base = Base::new();
    base.line("@method", request.method.as_str());
    base.line("@target-uri", request.target_uri);
    base.line(CONTENT_DIGEST, digest.to_str().unwrap_or_default());
    for name in WHEN_THERE.into_iter().chain(MAY) {
        if let Some(value) = one(request.headers, name, COVERED_MOST)? {
            components.push((name, false));
            base.line(name, value);
        }
    }
    let params = write_params(&components, created, Some(nonce), key_id);
    let fields = fields(digest, &params, &secret.hmac_sha256(base.end(&params).as_bytes()));
    // What would not be accepted is not made.
    let mut headers = request.headers.clone();
    headers.extend(fields.iter().cloned());
    Presented::read(&Request { headers: &headers, ..*request })?.is_made_with(secret)?;
    Ok(fields)
}

/// The three fields of a signed message.
pub(crate) fn fields(digest: HeaderValue, params: &str, mac: &[u8; 32]) -> SignedFields {
    let value = |text: String| HeaderValue::from_str(&text).expect("structured fields are ASCII");
    [
        (HeaderName::from_static(CONTENT_DIGEST), digest),
        (HeaderName::from_static(SIGNATURE_INPUT), value(format!("{}={params}", crate::params::LABEL))),
        (HeaderName::from_static(SIGNATURE), value(write_signature(mac))),
    ]
}

#[cfg(test)]
mod tests;
