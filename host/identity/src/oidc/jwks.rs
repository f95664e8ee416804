//! The keys a provider publishes (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::fetch::{Fetch, FetchRequest, object};
use super::jws::Jws;
use super::metadata::Metadata;
use crate::public_key::{Algorithm, PublicKey, significant};
use crate::sso_fault::{SsoFault, refuse};

/// Keys of a set that are looked at, at most.
const MOST: usize = 100;

/// The keys of a provider that may sign tokens.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Published>);

#[derive(Debug, Clone)]
struct Published {
    kid: String,
    /// The only way it signs, if it says so.
    alg: Option<String>,
    key: PublicKey,
}

impl KeySet {
    /// The keys a provider publishes now.
    ///
    /// # Errors
    /// `sso.unreachable`; `sso.keys`.
    pub async fn fetch(way: &dyn Fetch, metadata: &Metadata) -> Result<Self, SsoFault> {
        let set = object(way, FetchRequest::get(metadata.jwks_uri.as_str()), "sso.keys", "the set of keys").await?;
        Self::read(&set)
    }

    /// Keys of other kinds, for other uses or without an id are passed over: they verify nothing.
    pub(super) fn read(set: &Map<String, Value>) -> Result<Self, SsoFault> {
        let Some(keys) = set.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MOST) else {
            return refuse("sso.keys", "the set of keys lists none, or too many");
        };
        Ok(Self(keys.iter().filter_map(Value::as_object).filter_map(published).collect()))
    }

    /// Whether there is a key of the id that this token names, whether or not it is of use. Where there is none, the provider may have
    /// taken a new one.
    pub fn knows(&self, token: &str) -> bool {
        Jws::read(token).is_ok_and(|token| self.0.iter().any(|published| published.kid == token.kid))
    }

    /// The key that verifies a token.
    pub(super) fn key(&self, token: &Jws<'_>) -> Result<&PublicKey, SsoFault> {
        let mut named = self.0.iter().filter(|published| published.kid == token.kid);
        let (Some(found), None) = (named.next(), named.next()) else {
            return refuse("sso.kid", "the provider publishes no key of the id that the token names, or several");
        };
        let says = found.alg.as_deref().is_none_or(|alg| Algorithm::named(alg) == Some(token.algorithm));
        if says && found.key.is_for(token.algorithm) {
            Ok(&found.key)
        } else {
            refuse("sso.alg", "the key that the token names does not sign in this way")
        }
    }
}

fn published(key: &Map<String, Value>) -> Option<Published> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
    if key.get("use").is_some_and(|usage| usage != "sig") || !key.get("key_ops").is_none_or(verifies) {
        return None;
    }
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), &y].concat())
    };
    let public = match (text("kty")?, text("crv")) {
        ("RSA", None) => PublicKey::Rsa { n: significant(&bytes("n")?), e: significant(&bytes("e")?) },
        ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
        ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    let kid = text("kid").filter(|kid| !kid.is_empty())?.to_owned();
    Some(Published { kid, alg: text("alg").map(str::to_owned), key: public })
}
