//! Public keys as authenticators write them (RFC 9052 section 7, RFC 9053), and whether they signed something.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::cbor::{self, Item};
use super::fault::{PasskeyFault, fault, malformed};

/// The algorithms that are taken, the best first, by their numbers in COSE: `EdDSA` with Ed25519, ES256, RS256.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const EDDSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

// Labels of a key (RFC 9053 section 7, RFC 8230 section 4).
const KIND: i64 = 1;
const ALGORITHM: i64 = 3;
const CURVE: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
const MODULUS: i64 = -1;
const EXPONENT: i64 = -2;
// Their values.
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
const P256: i64 = 1;
const ED25519_CURVE: i64 = 6;

/// A key of one of the algorithms that are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// A point, uncompressed.
    Es256([u8; 65]),
    EdDsa([u8; 32]),
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads the key at the beginning of `input`; what follows it.
    pub(super) fn first(input: &[u8]) -> Result<(Self, &[u8]), PasskeyFault> {
        let (item, rest) = cbor::first(input).ok_or(malformed("its public key is no COSE key"))?;
        Ok((Self::of(&item)?, rest))
    }

    /// The key that `input` is.
    pub(super) fn whole(input: &[u8]) -> Result<Self, PasskeyFault> {
        Self::of(&cbor::whole(input).ok_or(malformed("its public key is no COSE key"))?)
    }

    fn of(item: &Item<'_>) -> Result<Self, PasskeyFault> {
        const OTHER: PasskeyFault =
            fault("passkey.algorithm", "its key is of no algorithm that is taken: EdDSA, ES256, RS256");
        const ODD: PasskeyFault = malformed("its public key is not one of its algorithm");
        let kind = (item.integer_at(KIND), item.integer_at(ALGORITHM));
        match (kind, item.integer_at(CURVE)) {
            ((Some(EC2), Some(ES256)), Some(P256)) => {
                let (x, y) = item.bytes_at(X).zip(item.bytes_at(Y)).ok_or(ODD)?;
                let point = [&[4], x, y].concat();
                // Halves of other lengths could add up to the same.
                (x.len() == 32).then_some(()).ok_or(ODD)?;
                point.try_into().map(Self::Es256).map_err(|_| ODD)
            }
            ((Some(OKP), Some(EDDSA)), Some(ED25519_CURVE)) => {
                item.bytes_at(X).and_then(|x| x.try_into().ok()).map(Self::EdDsa).ok_or(ODD)
            }
            ((Some(RSA), Some(RS256)), None) => {
                let (n, e) = item.bytes_at(MODULUS).zip(item.bytes_at(EXPONENT)).ok_or(ODD)?;
                let minimal = n.first().is_some_and(|byte| *byte != 0) && e.first().is_some_and(|byte| *byte != 0);
                if !minimal || !(256..=1024).contains(&n.len()) || e.len() > 4 {
                    return Err(ODD);
                }
                Ok(Self::Rs256 { n: n.to_vec(), e: e.to_vec() })
            }
            ((_, Some(EDDSA | ES256 | RS256)), _) => Err(ODD),
            _ => Err(OTHER),
        }
    }

    /// Whether its owner signed this.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let done = match self {
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        done.is_ok()
    }
}
