//! The key that signs checkpoints, and its public half in the form of C2SP signed notes.
//!
//! One key signs for all logs of a host; the *name* beside it is that of one log, so a checkpoint of one log never verifies
//! as another's. The seed hangs on a random secret of the host that the root key wraps: the same after every restart and after
//! every rotation of the root key, nowhere stored in clear.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use opsiq_vault::Vault;
use sha2::{Digest as _, Sha256};

use crate::log::Log;

/// Byte that marks Ed25519 in verifier keys and key ids (C2SP signed-note).
const ED25519: u8 = 1;

/// The private key that signs the heads of a host's logs. Wiped when dropped; never shown.
#[derive(Clone)]
pub struct CheckpointKey {
    key: SigningKey,
    /// Tells hosts apart in the names of logs: the first digits of the public key's hash.
    host: String,
}

impl CheckpointKey {
    /// The key of the host whose vault this is.
    ///
    /// # Errors
    /// When the vault derives something else than 32 bytes.
    pub fn derive(vault: &Vault) -> Result<Self, KeyError> {
        let seed = vault.derive("audit checkpoint signing key");
        let seed: &[u8; 32] = seed.expose().try_into().map_err(|_| KeyError)?;
        Ok(Self::from_seed(seed))
    }

    /// The key of a 32-byte Ed25519 seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let host = hex::encode(&Sha256::digest(key.verifying_key().as_bytes())[..4]);
        Self { key, host }
    }

    /// The name of a log in checkpoints, unique among hosts: `opsiq/89abcdef/tenant/acme`.
    pub fn origin(&self, log: &Log) -> String {
        format!("opsiq/{}/{log}", self.host)
    }

    /// What somebody needs to verify exports of a log.
    pub fn public(&self, log: &Log) -> PublicKey {
        PublicKey { name: self.origin(log), key: self.key.verifying_key() }
    }

    /// What somebody needs to verify backups. No log has its name.
    pub fn backup(&self) -> PublicKey {
        PublicKey { name: format!("opsiq/{}/backup", self.host), key: self.key.verifying_key() }
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey(opsiq/{}, [sealed])", self.host)
    }
}

/// The public key of one log. Written and read as a C2SP verifier key, `name+hash+base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// The name of the log it verifies.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The short id that stands before each signature: the first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
    pub fn id(&self) -> [u8; 4] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize()
            .into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether the signature over `text` is this key's. Strict: no weak keys, one signature per text (RFC 8032 §5.1.7).
    pub(crate) fn verify(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

/// The text is no Ed25519 verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier key of the form name+hash+base64 for Ed25519")]
pub struct KeyError;

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(id), Some(key)) = (name, id, key) else { return Err(KeyError) };
        if !is_name(name) {
            return Err(KeyError);
        }
        let bytes = STANDARD.decode(key).map_err(|_| KeyError)?;
        let [ED25519, key @ ..] = bytes.as_slice() else { return Err(KeyError) };
        let key = VerifyingKey::from_bytes(key.try_into().map_err(|_| KeyError)?).map_err(|_| KeyError)?;
        let key = Self { name: name.to_owned(), key };
        if id == hex::encode(key.id()) { Ok(key) } else { Err(KeyError) }
    }
}

/// Whether a text may name a key: not empty, no spaces, no plus, no control characters.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}
