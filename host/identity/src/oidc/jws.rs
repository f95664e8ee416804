//! A signed token in its compact form (RFC 7515 section 7.1), and which signatures are believed.
//!
//! Only asymmetric ones: with a shared secret, or none, whoever knows what the provider publishes could make a token (RFC 8725
//! sections 2.1 and 3.1). The key decides together with the header, never the header alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::fetch::{parse, text};
use crate::public_key::{Algorithm, PublicKey};
use crate::sso_fault::{SsoFault, refuse};

/// Bytes of a token, at most.
const LONGEST: usize = 64 << 10;

/// A token whose form is right. Nothing of it is believed yet.
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    /// Which key signed it.
    pub(super) kid: String,
    signed: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// `sso.token` for another form; `sso.alg`, `sso.kid`, `sso.header` for a header that is not believed.
    pub(super) fn read(token: &'t str) -> Result<Self, SsoFault> {
        let malformed = || SsoFault::new("sso.token", "the token has not the form of a signed one");
        let (signed, signature) = Some(token)
            .filter(|token| token.len() <= LONGEST)
            .and_then(|token| token.rsplit_once('.'))
            .ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header = parse(&decoded(header)?).ok_or_else(malformed)?;
        let algorithm = text(&header, "alg", "sso.alg", "the token does not say how it is signed")?;
        let Some(algorithm) = Algorithm::named(algorithm) else {
            return refuse("sso.alg", "the token is not signed in a way that is believed: RS, PS, ES or EdDSA");
        };
        // What must be understood is not (RFC 7515 section 4.1.11).
        if header.contains_key("crit") {
            return refuse("sso.header", "the token asks for an extension");
        }
        if header.get("typ").is_some_and(|kind| !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("jwt"))) {
            return refuse("sso.header", "the token is of another kind");
        }
        let kid = text(&header, "kid", "sso.kid", "the token names no key")?.to_owned();
        Ok(Self { algorithm, kid, signed, payload: decoded(payload)?, signature: decoded(signature)? })
    }

    /// What it says, now that this key says that its provider did.
    ///
    /// # Errors
    /// `sso.signature`.
    pub(super) fn opened(self, key: &PublicKey) -> Result<Vec<u8>, SsoFault> {
        if key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(self.payload)
        } else {
            refuse("sso.signature", "the token's signature is not its provider's")
        }
    }
}
