//! A signed token in its compact form (RFC 7515 section 7.1), and which signatures are believed.
//!
//! Only asymmetric ones: with a shared secret, or none, whoever knows what the provider publishes could make a token (RFC 8725
//! sections 2.1 and 3.1). The key decides together with the header, never the header alone.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::fault::{OidcFault, refuse};
use super::fetch::{parse, text};

/// Bytes of a token, at most.
const LONGEST: usize = 64 << 10;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// By its name (RFC 7518 section 3.1, RFC 8037 section 3.1); `None` for all that is not believed.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    /// The same.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Whether it is one that signs so.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let done = match (self, algorithm, algorithm.rsa()) {
            (Self::Rsa { n, e }, _, Some(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
            }
            (Self::P256(point), Algorithm::Es256, _) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            (Self::P384(point), Algorithm::Es384, _) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature)
            }
            (Self::Ed25519(key), Algorithm::EdDsa, _) => {
                UnparsedPublicKey::new(&ED25519, key).verify(signed, signature)
            }
            _ => return false,
        };
        done.is_ok()
    }
}

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
    pub(super) fn read(token: &'t str) -> Result<Self, OidcFault> {
        let malformed = || OidcFault::new("sso.token", "the token has not the form of a signed one");
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
    pub(super) fn opened(self, key: &PublicKey) -> Result<Vec<u8>, OidcFault> {
        if key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(self.payload)
        } else {
            refuse("sso.signature", "the token's signature is not its provider's")
        }
    }
}
