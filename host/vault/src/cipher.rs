//! The two ciphers: AES-256-GCM for data under a key used once, and XAES-256-GCM to wrap keys.
//!
//! Why XAES-256-GCM (C2SP) for wrapping: one tenant key wraps the key of every value the tenant ever stores, and plain
//! AES-256-GCM with random 96-bit nonces is limited to 2³² messages a key (NIST SP 800-38D §8.3), which a busy tenant
//! reaches in days. XAES takes 192-bit nonces, for 2⁸⁰ messages, at the cost of two AES blocks and a key schedule.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::aes::{Aes256Enc, Block};
use aes_gcm::{AesGcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// GCM only ever encrypts blocks, so the schedule for decrypting is not made.
type Aes256Gcm = AesGcm<Aes256Enc, U12>;

/// Bytes of every symmetric key here.
pub(crate) const KEY: usize = 32;
/// Bytes of a GCM tag.
pub(crate) const TAG: usize = 16;
/// Bytes of an XAES-256-GCM nonce.
pub(crate) const XNONCE: usize = 24;

/// The bytes did not authenticate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unauthentic;

/// A key, wiped on drop. On the heap, so that moving it leaves no copy behind.
pub(crate) struct KeyBytes(Box<Zeroizing<[u8; KEY]>>);

impl KeyBytes {
    /// Room for a key, filled by `fill`.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        let mut key = Box::new(Zeroizing::new([0; KEY]));
        fill(&mut key);
        Self(key)
    }
}

impl std::ops::Deref for KeyBytes {
    type Target = [u8; KEY];

    fn deref(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// Fills `out` with random bytes of the operating system.
///
/// # Panics
/// When the operating system has no random source: nothing could be sealed safely, so nothing may go on.
pub(crate) fn random(out: &mut [u8]) {
    getrandom::fill(out).expect("the operating system gives random bytes");
}

/// HKDF-SHA256 (RFC 5869) of `key` without salt; the info is `labels`, each length-prefixed.
pub(crate) fn derive_into(key: &[u8], labels: &[&str], out: &mut [u8]) {
    let labels: Vec<&[u8]> = labels.iter().map(|l| l.as_bytes()).collect();
    Hkdf::<Sha256>::new(None, key)
        .expand(&crate::place::length_prefixed(&labels), out)
        .expect("derived keys are far shorter than 255 hashes");
}

/// As [`derive_into`], a whole key.
pub(crate) fn derive_key(key: &[u8], labels: &[&str]) -> KeyBytes {
    KeyBytes::filled(|out| derive_into(key, labels, out))
}

/// AES-256-GCM (NIST SP 800-38D) in place.
fn encrypt(cipher: &Aes256Gcm, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
    cipher
        .encrypt_inout_detached(nonce.into(), aad, buffer.into())
        .expect("keys and values are far shorter than 64 GiB")
        .into()
}

/// Undoes [`encrypt`] in place; untouched when unauthentic.
fn decrypt(
    cipher: &Aes256Gcm,
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), Unauthentic> {
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).map_err(|_| Unauthentic)
}

/// Encrypts `buffer` in place under a key that is never used again, so the nonce may be constant.
pub(crate) fn seal_once(key: &[u8; KEY], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
    encrypt(&Aes256Gcm::new(key.into()), &[0; 12], aad, buffer)
}

/// Decrypts what [`seal_once`] made, in place.
pub(crate) fn open_once(key: &[u8; KEY], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<(), Unauthentic> {
    decrypt(&Aes256Gcm::new(key.into()), &[0; 12], aad, buffer, tag)
}

/// XAES-256-GCM (C2SP) under one long-lived key, its schedule and subkey kept ready.
pub(crate) struct KeyWrap {
    aes: Aes256Enc,
    subkey: Zeroizing<[u8; 16]>,
}

impl KeyWrap {
    /// A wrapper under `key`.
    pub(crate) fn new(key: &[u8; KEY]) -> Self {
        let aes = Aes256Enc::new(key.into());
        let mut block = Block::default();
        aes.encrypt_block(&mut block);
        // CMAC's first subkey: doubling in GF(2¹²⁸) (NIST SP 800-38B §6.1)
        let l = u128::from_be_bytes(block.into());
        let subkey = Zeroizing::new(((l << 1) ^ (0x87 * (l >> 127))).to_be_bytes());
        Self { aes, subkey }
    }

    /// The message cipher and its 96-bit nonce for this 192-bit nonce.
    fn message(&self, nonce: &[u8; XNONCE]) -> (Aes256Gcm, [u8; 12]) {
        let mut key = Zeroizing::new([0; KEY]);
        for (counter, half) in [1, 2].into_iter().zip(key.chunks_exact_mut(16)) {
            let mut block = [0; 16];
            block[1] = counter;
            block[2] = b'X';
            block[4..].copy_from_slice(&nonce[..12]);
            for (b, k) in block.iter_mut().zip(self.subkey.iter()) {
                *b ^= k;
            }
            let mut block = Block::from(block);
            self.aes.encrypt_block(&mut block);
            half.copy_from_slice(&block);
        }
        let mut rest = [0; 12];
        rest.copy_from_slice(&nonce[12..]);
        (Aes256Gcm::new((&*key).into()), rest)
    }

    /// Encrypts `buffer` in place.
    pub(crate) fn seal(&self, nonce: &[u8; XNONCE], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
        let (cipher, nonce) = self.message(nonce);
        encrypt(&cipher, &nonce, aad, buffer)
    }

    /// Decrypts `buffer` in place; untouched when unauthentic.
    pub(crate) fn open(
        &self,
        nonce: &[u8; XNONCE],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unauthentic> {
        let (cipher, nonce) = self.message(nonce);
        decrypt(&cipher, &nonce, aad, buffer, tag)
    }
}

#[cfg(test)]
mod tests;
