//! The two ciphers: AES-256-GCM for data under a key used once, and XAES-256-GCM to wrap keys.
//!
//! Why XAES-256-GCM (C2SP) for wrapping: one tenant key wraps the key of every value the tenant ever stores, and plain
//! AES-256-GCM with random 96-bit nonces is limited to 2³² messages a key (NIST SP 800-38D §8.3), which a busy tenant
//! reaches in days. XAES takes 192-bit nonces, for 2⁸⁰ messages, at the cost of two AES blocks and a key schedule.
//!
//! Values are short and each has a key of its own, so what counts is how soon a new key has sealed its one message. That
//! is why AES-256-GCM is aws-lc's, which TLS brings anyway; it wipes a key's schedule when the key is dropped.

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes256Enc, Block};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

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

/// Fills `out` with random bytes of a generator of this thread (`ChaCha12`, seeded and reseeded by the operating system):
/// for what is made anew with every value, keys used once, nonces and salts. A call of the kernel for each of them would
/// cost more than sealing does. Keys that live on come from [`random`].
///
/// # Panics
/// As [`random`].
pub fn fresh(out: &mut [u8]) {
    rand::fill(out);
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

/// AES-256-GCM under `key`.
fn gcm(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes is one of AES-256"))
}

/// AES-256-GCM (NIST SP 800-38D) in place.
fn encrypt(cipher: &LessSafeKey, nonce: [u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
    let sealed = cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer);
    let tag = sealed.expect("keys and values are far shorter than 64 GiB");
    tag.as_ref().try_into().expect("the tag is whole")
}

/// Undoes [`encrypt`] in place. What is unauthentic is wiped, so that nothing of it can be released.
fn decrypt(
    cipher: &LessSafeKey,
    nonce: [u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), Unauthentic> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    if cipher.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buffer).is_err() {
        buffer.zeroize();
        return Err(Unauthentic);
    }
    Ok(())
}

/// Encrypts `buffer` in place under a key that is never used again, so the nonce may be constant.
pub(crate) fn seal_once(key: &[u8; KEY], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
    encrypt(&gcm(key), [0; 12], aad, buffer)
}

/// Decrypts what [`seal_once`] made, in place; see [`decrypt`].
pub(crate) fn open_once(key: &[u8; KEY], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<(), Unauthentic> {
    decrypt(&gcm(key), [0; 12], aad, buffer, tag)
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
    fn message(&self, nonce: &[u8; XNONCE]) -> (LessSafeKey, [u8; 12]) {
        let (first, rest) = nonce.split_at(12);
        let mut blocks = [Block::default(), Block::default()];
        for (counter, block) in [1, 2].into_iter().zip(&mut blocks) {
            block[1] = counter;
            block[2] = b'X';
            block[4..].copy_from_slice(first);
            for (b, k) in block.iter_mut().zip(self.subkey.iter()) {
                *b ^= k;
            }
        }
        self.aes.encrypt_blocks(&mut blocks);
        let mut key = Zeroizing::new([0; KEY]);
        for (half, block) in key.chunks_exact_mut(16).zip(&mut blocks) {
            half.copy_from_slice(block);
            block.as_mut_slice().zeroize();
        }
        (gcm(&key), rest.try_into().expect("24 bytes without 12"))
    }

    /// Encrypts `buffer` in place.
    pub(crate) fn seal(&self, nonce: &[u8; XNONCE], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG] {
        let (cipher, nonce) = self.message(nonce);
        encrypt(&cipher, nonce, aad, buffer)
    }

    /// Decrypts `buffer` in place; see [`decrypt`].
    pub(crate) fn open(
        &self,
        nonce: &[u8; XNONCE],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unauthentic> {
        let (cipher, nonce) = self.message(nonce);
        decrypt(&cipher, nonce, aad, buffer, tag)
    }
}

#[cfg(test)]
mod tests;
