//! Secret bytes: wiped on drop, printed as `[sealed]`, neither cloned, compared nor serialised by accident.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::VaultError;

/// Standard base64, padded or not: both are seen in secrets of the Standard Webhooks form.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keyed hashes a secret can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// HMAC-SHA256 (RFC 2104, FIPS 180-4): 32 bytes.
    HmacSha256,
    /// HMAC-SHA1: 20 bytes. Only for senders that offer nothing newer.
    HmacSha1,
}

/// Secret bytes.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of what a person typed, piped or put in a file. One line break at the end is dropped. The Standard
    /// Webhooks form `whsec_` and base64 becomes the bytes it encodes, which are what signs; every other text is its
    /// own bytes.
    ///
    /// For senders whose secrets only look like that form and sign as text (Stripe), and for keys injected as text,
    /// use [`Secret::verbatim`].
    ///
    /// # Errors
    /// [`VaultError::SecretText`] when it is empty, or `whsec_` is followed by something other than base64.
    pub fn from_user_input(text: &str) -> Result<Self, VaultError> {
        let line = one_line(text);
        match line.strip_prefix("whsec_") {
            None => Self::verbatim(text),
            Some("") => Err(VaultError::SecretText("nothing follows whsec_")),
            Some(encoded) => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
                BASE64
                    .decode_vec(encoded, &mut bytes)
                    .map_err(|_| VaultError::SecretText("what follows whsec_ is not base64"))?;
                Ok(Self(bytes))
            }
        }
    }

    /// A secret of a text as it is, without one line break at the end.
    ///
    /// # Errors
    /// [`VaultError::SecretText`] when it is empty.
    pub fn verbatim(text: &str) -> Result<Self, VaultError> {
        match one_line(text) {
            "" => Err(VaultError::SecretText("it is empty")),
            line => Ok(Self::from(line.as_bytes().to_vec())),
        }
    }

    /// The bytes. Whoever asks keeps them no longer than the call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// HMAC-SHA256 of `data`.
    pub fn hmac_sha256(&self, data: &[u8]) -> [u8; 32] {
        self.keyed::<Hmac<Sha256>>(data).finalize().into_bytes().into()
    }

    /// HMAC-SHA1 of `data`.
    pub fn hmac_sha1(&self, data: &[u8]) -> [u8; 20] {
        self.keyed::<Hmac<Sha1>>(data).finalize().into_bytes().into()
    }

    /// The keyed hash of `data`: 32 or 20 bytes.
    pub fn mac(&self, algorithm: MacAlgorithm, data: &[u8]) -> Vec<u8> {
        match algorithm {
            MacAlgorithm::HmacSha256 => self.hmac_sha256(data).to_vec(),
            MacAlgorithm::HmacSha1 => self.hmac_sha1(data).to_vec(),
        }
    }

    /// Whether `mac` is the whole keyed hash of `data`, compared in constant time. A shortened one is not.
    pub fn verify(&self, algorithm: MacAlgorithm, data: &[u8], mac: &[u8]) -> bool {
        match algorithm {
            MacAlgorithm::HmacSha256 => self.keyed::<Hmac<Sha256>>(data).verify_slice(mac).is_ok(),
            MacAlgorithm::HmacSha1 => self.keyed::<Hmac<Sha1>>(data).verify_slice(mac).is_ok(),
        }
    }

    /// A new secret whose bytes are the keyed hash of `data` under `prefix` and this secret, as the chains of AWS
    /// Signature Version 4 need (`prefix` is `AWS4` in the first step, empty in the others).
    #[must_use]
    pub fn derive(&self, algorithm: MacAlgorithm, prefix: &[u8], data: &[u8]) -> Self {
        let mut key = Zeroizing::new(Vec::with_capacity(prefix.len() + self.0.len()));
        key.extend_from_slice(prefix);
        key.extend_from_slice(&self.0);
        Self::from(Self(key).mac(algorithm, data))
    }

    /// Whether both hold the same bytes, in constant time for equal lengths.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn keyed<M: hmac::Mac + hmac::KeyInit>(&self, data: &[u8]) -> M {
        let mut mac = <M as hmac::KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(data);
        mac
    }
}

/// Whether `mac` is the keyed hash of `data` under any of `versions`. All are tried, so that the time does not tell
/// which one matched.
pub fn verify_any<'a>(
    versions: impl IntoIterator<Item = &'a Secret>,
    algorithm: MacAlgorithm,
    data: &[u8],
    mac: &[u8],
) -> bool {
    versions.into_iter().fold(false, |found, secret| found | secret.verify(algorithm, data, mac))
}

/// `text` without one line break at its end.
fn one_line(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

#[cfg(test)]
mod tests;
