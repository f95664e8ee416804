//! Sealed values and their stored format.

use std::fmt;
use std::marker::PhantomData;

use crate::KeyId;
use crate::cipher::{KEY, TAG, XNONCE};
use crate::error::Tampering;
use crate::live::InUse;

/// A value of type `T`, sealed. Only bytes can be got out of it without the vault that made it, so a room that takes
/// `Sealed<T>` cannot be given plaintext.
///
/// Stored format: one byte of format version, one of the kind of wrapping key, the wrapping key's id (8), nonce (24)
/// and wrapped data key (48); then the ciphertext and its tag (16). Everything before the ciphertext may be replaced
/// when keys rotate; the ciphertext never changes.
///
/// One that was just sealed keeps its key from being destroyed until it, and every clone, is dropped. So it is to be written
/// from [`Sealed::as_bytes`] or [`Sealed::take_bytes`], and dropped after that; and bytes read from storage are never written back as they were.
pub struct Sealed<T> {
    bytes: Vec<u8>,
    in_use: Option<InUse>,
    value: PhantomData<fn() -> T>,
}

impl<T> Sealed<T> {
    /// Bytes read from storage. Nothing is believed of them until a vault opens them.
    pub fn from_stored(bytes: Vec<u8>) -> Self {
        Self { bytes, in_use: None, value: PhantomData }
    }

    /// Bytes just sealed.
    pub(crate) fn fresh(bytes: Vec<u8>, in_use: InUse) -> Self {
        Self { bytes, in_use: Some(in_use), value: PhantomData }
    }

    /// The key it says it is under; `None` when it is in no known format.
    pub fn key_id(&self) -> Option<KeyId> {
        Parts::of(&self.bytes).ok().map(|parts| parts.key_id)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes to store, moved out of it. It still keeps its key in use, and is good for nothing else.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Of stored bytes, the part that stays the same when keys rotate: ciphertext and tag.
    pub fn lasting(stored: &[u8]) -> &[u8] {
        stored.get(PREFIX..).unwrap_or(stored)
    }

    /// The bytes to store.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), in_use: self.in_use.clone(), value: PhantomData }
    }
}

impl<T> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Sealed<T> {}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes.len())
    }
}

/// The format this host writes.
pub(crate) const FORMAT: u8 = 1;
/// The data key is wrapped by a key of the tenant.
pub(crate) const BY_TENANT_KEY: u8 = 1;

/// Bytes before the wrapped data key's nonce: format, kind, key id.
const HEADER: usize = 2 + KeyId::LEN;
const WRAPPED: usize = HEADER + XNONCE;
/// Bytes before the ciphertext.
pub(crate) const PREFIX: usize = WRAPPED + KEY + TAG;

/// The parts of a sealed value.
pub(crate) struct Parts<'a> {
    /// Format, kind and key id: authenticated when the data key is unwrapped.
    pub(crate) header: &'a [u8; HEADER],
    pub(crate) key_id: KeyId,
    pub(crate) nonce: &'a [u8; XNONCE],
    pub(crate) wrapped: &'a [u8; KEY],
    pub(crate) wrapped_tag: &'a [u8; TAG],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    /// Takes stored bytes apart.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, Tampering> {
        let take = || {
            let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
            let (nonce, rest) = rest.split_first_chunk()?;
            let (wrapped, rest) = rest.split_first_chunk()?;
            let (wrapped_tag, rest) = rest.split_first_chunk()?;
            let (ciphertext, tag) = rest.split_last_chunk()?;
            let key_id = KeyId::from_bytes(*header.last_chunk()?);
            (header[..2] == [FORMAT, BY_TENANT_KEY]).then_some(Self {
                header,
                key_id,
                nonce,
                wrapped,
                wrapped_tag,
                ciphertext,
                tag,
            })
        };
        take().ok_or(Tampering::Format)
    }
}

/// The header of a value whose data key is wrapped by tenant key `id`.
pub(crate) fn header(id: KeyId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = FORMAT;
    header[1] = BY_TENANT_KEY;
    header[2..].copy_from_slice(id.as_bytes());
    header
}
