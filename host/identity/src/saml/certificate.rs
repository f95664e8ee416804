//! The certificates by which a provider's signatures are believed: those an owner configured, and no others.
//!
//! A certificate is here what holds a key, and nothing more: who issued it and until when it was meant to be used say nothing of a
//! provider that an owner named by it (SAML V2.0 Metadata Interoperability Profile 1.0 section 2.6.1). What ends it is that an owner takes it out.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::public_key::PublicKey as Parsed;

use crate::public_key::{PublicKey, significant};
use crate::sso_fault::{SsoFault, refuse};

const RULE: &str = "sso.certificate";
/// Characters of one, at most.
const LONGEST: usize = 16 << 10;
/// Bytes of a modulus, at least: 2048 bits (NIST SP 800-131A).
const SHORTEST: usize = 256;

/// A certificate with a key that is understood.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) key: PublicKey,
}

impl Certificate {
    /// Reads one: PEM, or its DER in base64 as metadata has it.
    ///
    /// # Errors
    /// `sso.certificate` for what is none, or holds a key that is not RSA of 2048 bits or more, P-256 or P-384.
    pub fn read(text: &str) -> Result<Self, SsoFault> {
        let text = text.trim();
        let inner = match text.strip_prefix("-----BEGIN CERTIFICATE-----") {
            Some(rest) => rest.strip_suffix("-----END CERTIFICATE-----").unwrap_or_default(),
            None => text,
        };
        let inner: String = inner.split_ascii_whitespace().collect();
        let der = STANDARD.decode(&inner).ok().filter(|_| inner.len() <= LONGEST).unwrap_or_default();
        let Ok((rest, parsed)) = x509_parser::parse_x509_certificate(&der) else {
            return refuse(RULE, "a certificate is PEM of one, or its DER in base64");
        };
        if !rest.is_empty() {
            return refuse(RULE, "there is something behind the certificate");
        }
        let info = parsed.public_key();
        let key = match info.parsed() {
            Ok(Parsed::RSA(key)) => Some((significant(key.modulus), significant(key.exponent)))
                .filter(|(n, _)| n.len() >= SHORTEST)
                .map(|(n, e)| PublicKey::Rsa { n, e }),
            Ok(Parsed::EC(point)) => match (point.data().len(), point.data().first()) {
                (65, Some(4)) => Some(PublicKey::P256(point.data().to_vec())),
                (97, Some(4)) => Some(PublicKey::P384(point.data().to_vec())),
                _ => None,
            },
            _ => None,
        };
        let Some(key) = key else {
            return refuse(RULE, "the certificate's key is not RSA of 2048 bits or more, P-256 or P-384");
        };
        Ok(Self { der, key })
    }

    /// Its DER in base64, as it is kept.
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// SHA-256 of its DER, in hexadecimal with colons, as other programs show it.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.der);
        hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}
