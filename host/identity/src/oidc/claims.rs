//! What a token says, and what must be true of it (`OpenID` Connect Core 1.0 section 3.1.3.7).

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::fault::{OidcFault, refuse};
use super::fetch::{parse, text};
use super::jwks::KeySet;
use super::jws::Jws;

/// Seconds that the clocks of host and provider may differ by.
const SKEW_S: i64 = 60;
/// Seconds after which a token was made too long ago for the attempt that just came back.
const OLDEST_S: i64 = 10 * 60;
/// Characters of a subject, at most (Core section 2).
const SUBJECT: usize = 255;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who made it, exactly.
    pub issuer: &'a str,
    /// For whom, and for nobody else.
    pub client_id: &'a str,
    /// For which attempt.
    pub nonce: &'a str,
    /// Now, in seconds since 1970.
    pub now_s: i64,
    /// Since when the person must have signed in at the provider, where that was asked for; in seconds since 1970.
    pub anew_since_s: Option<i64>,
}

/// Who signed in, as their provider says and signed for this attempt.
#[derive(Debug, Clone)]
pub struct Believed {
    sub: String,
    claims: Map<String, Value>,
}

impl Believed {
    /// Believes a token, or says what speaks against it.
    ///
    /// # Errors
    /// `sso.token`, `sso.header`, `sso.alg`, `sso.kid`, `sso.signature`; then each claim by its own name, such as `sso.iss`.
    pub fn token(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Self, OidcFault> {
        let token = Jws::read(token)?;
        let key = keys.key(&token)?;
        let payload = token.opened(key)?;
        let Some(claims) = parse(&payload) else { return refuse("sso.token", "the token holds no object of claims") };
        Self::claims(claims, expected)
    }

    fn claims(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Self, OidcFault> {
        if text(&claims, "iss", "sso.iss", "the token does not say who made it")? != expected.issuer {
            return refuse("sso.iss", "the token was made by another issuer");
        }
        // Others that it is for as well are others that could have it from somebody.
        let only = match claims.get("aud") {
            Some(Value::String(audience)) => Some(audience),
            Some(Value::Array(all)) => match all.as_slice() {
                [Value::String(audience)] => Some(audience),
                _ => None,
            },
            _ => None,
        };
        if only.is_none_or(|audience| audience != expected.client_id) {
            return refuse("sso.aud", "the token is not for this client alone");
        }
        if claims.get("azp").is_some_and(|party| party != expected.client_id) {
            return refuse("sso.azp", "the token was given to another client");
        }
        let Some(expires) = time(&claims, "exp")? else {
            return refuse("sso.exp", "the token does not say until when");
        };
        if expires.saturating_add(SKEW_S) <= expected.now_s {
            return refuse("sso.exp", "the token is not good any more");
        }
        let Some(issued) = time(&claims, "iat")? else { return refuse("sso.iat", "the token does not say since when") };
        if !(-OLDEST_S..=SKEW_S).contains(&issued.saturating_sub(expected.now_s)) {
            return refuse("sso.iat", "the token was made long before this attempt, or in the future");
        }
        if time(&claims, "nbf")?.is_some_and(|from| from > expected.now_s.saturating_add(SKEW_S)) {
            return refuse("sso.nbf", "the token is not good yet");
        }
        let nonce = text(&claims, "nonce", "sso.nonce", "the token is for no attempt in particular")?;
        if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return refuse("sso.nonce", "the token is for another attempt");
        }
        let sub = text(&claims, "sub", "sso.sub", "the token does not say who signed in")?.to_owned();
        if sub.chars().count() > SUBJECT {
            return refuse("sso.sub", "the token names its subject at too great length");
        }
        let believed = Self { sub, claims };
        if let Some(since) = expected.anew_since_s
            && believed.signed_in_s().is_none_or(|at| at < since.saturating_sub(SKEW_S))
        {
            return refuse("sso.auth-time", "the person did not sign in anew at the provider");
        }
        Ok(believed)
    }

    /// The provider's name for the person, which is theirs for ever. No two people have one, and e-mail addresses are none.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// When the person last proved to the provider who they are, in seconds since 1970, if it says so.
    pub fn signed_in_s(&self) -> Option<i64> {
        time(&self.claims, "auth_time").ok().flatten()
    }

    /// Whether they did so with several factors (RFC 8176 section 2).
    pub fn had_second_factor(&self) -> bool {
        self.claims.get("amr").and_then(Value::as_array).is_some_and(|methods| methods.iter().any(|m| m == "mfa"))
    }

    /// Their e-mail address, if the provider says that it is theirs. In lower case.
    pub fn verified_email(&self) -> Option<String> {
        // Some write the flag as a text.
        let verified = self.claims.get("email_verified").is_some_and(|flag| flag == true || flag == "true");
        let email = self.claims.get("email").and_then(Value::as_str).filter(|_| verified)?;
        let (local, domain) = email.rsplit_once('@')?;
        let plain = email.is_ascii() && email.len() <= 254 && !local.is_empty() && !domain.is_empty();
        plain.then(|| email.to_ascii_lowercase())
    }

    /// The texts of a claim: one, or all of a list. A name that begins with a slash is a JSON Pointer into the claims (RFC 6901).
    pub fn values(&self, claim: &str) -> Vec<&str> {
        let found = if let Some(pointer) = claim.strip_prefix('/') {
            let (first, rest) = pointer.split_once('/').map_or((pointer, None), |(a, b)| (a, Some(b)));
            let top = self.claims.get(&first.replace("~1", "/").replace("~0", "~"));
            rest.map_or(top, |rest| top.and_then(|top| top.pointer(&format!("/{rest}"))))
        } else {
            self.claims.get(claim)
        };
        match found {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the claim is there.
    pub fn says(&self, claim: &str) -> bool {
        !self.values(claim).is_empty()
    }

    /// Adds what is not said yet.
    pub(super) fn add(&mut self, said: Map<String, Value>) {
        // Both halves of what is said of an address come from one place.
        let address = ["email", "email_verified"].iter().any(|name| self.claims.contains_key(*name));
        for (name, value) in said {
            if !(address && name.starts_with("email")) {
                self.claims.entry(name).or_insert(value);
            }
        }
    }
}

/// A time of a claim, in whole seconds since 1970.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, OidcFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // Within ±2^53, as it was read.
    #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second is not needed")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => refuse("sso.claims", "a time in the token is no number"),
    }
}
