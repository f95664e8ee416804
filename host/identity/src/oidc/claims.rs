//! What a token says, and what must be true of it (`OpenID` Connect Core 1.0 section 3.1.3.7).

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::fetch::{parse, text};
use super::jwks::KeySet;
use super::jws::Jws;
use crate::believed::{self, Believed};
use crate::sso_fault::{SsoFault, refuse};

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

/// Believes a token, or says what speaks against it.
///
/// # Errors
/// `sso.token`, `sso.header`, `sso.alg`, `sso.kid`, `sso.signature`; then each claim by its own name, such as `sso.iss`.
pub fn believe_token(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Believed, SsoFault> {
    let token = Jws::read(token)?;
    let key = keys.key(&token)?;
    let payload = token.opened(key)?;
    let Some(claims) = parse(&payload) else { return refuse("sso.token", "the token holds no object of claims") };
    believe(claims, expected)
}

pub(super) fn believe(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Believed, SsoFault> {
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
    let believed = Believed::by_claims(sub, claims);
    if let Some(since) = expected.anew_since_s
        && believed.signed_in_s().is_none_or(|at| at < since.saturating_sub(SKEW_S))
    {
        return refuse("sso.auth-time", "the person did not sign in anew at the provider");
    }
    Ok(believed)
}

/// A time of a claim, in whole seconds since 1970.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, SsoFault> {
    believed::time(claims, name).or_else(|_| refuse("sso.claims", "a time in the token is no number"))
}
