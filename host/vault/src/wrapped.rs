//! Keys as they are stored: wrapped by the root key.

use std::fmt;

use zeroize::Zeroizing;

use crate::cipher::{KeyWrap, TAG, XNONCE, random};
use crate::error::Tampering;
use crate::place::length_prefixed;
use crate::{KeyId, VaultError};

const FORMAT: u8 = 1;
const TENANT_KEY: u8 = 0x11;
const HOST_KEYS: u8 = 0x21;

/// Bytes of secrets in a tenant's wrapped key: the key itself and the seed of its blind indexes.
const TENANT_SECRETS: usize = 64;
/// Bytes of secrets in the host's: key, seed of its blind indexes, seed of what [`crate::Vault::derive`] derives.
const HOST_SECRETS: usize = 96;
/// Format, kind, id of the wrapping root key, generation, id of the key within.
const HEADER: usize = 2 + KeyId::LEN + 4 + KeyId::LEN;

/// A tenant's key wrapped by the root key, to be stored apart from the data.
///
/// The generation counts a tenant's keys upwards from 1: the highest seals, all open.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(Stored<TENANT_SECRETS>);

/// The host's own keys wrapped by the root key. Opening it proves at start that the root key is the right one.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyCheck(Stored<HOST_SECRETS>);

impl WrappedKey {
    pub(crate) fn wrap(
        wrap: &KeyWrap,
        root: KeyId,
        tenant: &str,
        generation: u32,
        id: KeyId,
        secrets: &Zeroizing<[u8; TENANT_SECRETS]>,
    ) -> Self {
        Self(Stored::wrap(wrap, TENANT_KEY, root, tenant, generation, id, secrets))
    }

    pub(crate) fn unwrap(
        &self,
        wrap: &KeyWrap,
        tenant: &str,
    ) -> Result<Box<Zeroizing<[u8; TENANT_SECRETS]>>, Tampering> {
        self.0.unwrap(wrap, tenant)
    }

    /// Bytes read from storage.
    ///
    /// # Errors
    /// [`VaultError::Key`] when they are not in a known format.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, VaultError> {
        Stored::parse(bytes, TENANT_KEY).map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.0.id()
    }

    /// The id of the root key that wraps it.
    pub fn root(&self) -> KeyId {
        self.0.root()
    }

    /// Counts a tenant's keys upwards from 1.
    pub fn generation(&self) -> u32 {
        self.0.generation()
    }
}

impl KeyCheck {
    pub(crate) fn wrap(wrap: &KeyWrap, root: KeyId, id: KeyId, secrets: &Zeroizing<[u8; HOST_SECRETS]>) -> Self {
        Self(Stored::wrap(wrap, HOST_KEYS, root, "", 1, id, secrets))
    }

    pub(crate) fn unwrap(&self, wrap: &KeyWrap) -> Result<Box<Zeroizing<[u8; HOST_SECRETS]>>, Tampering> {
        self.0.unwrap(wrap, "")
    }

    /// Bytes read from storage.
    ///
    /// # Errors
    /// [`VaultError::Key`] when they are not in a known format.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, VaultError> {
        Stored::parse(bytes, HOST_KEYS).map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The id of the root key it was made with.
    pub fn root(&self) -> KeyId {
        self.0.root()
    }

    /// The id of the host's own key.
    pub(crate) fn id(&self) -> KeyId {
        self.0.id()
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey({} generation {} under {})", self.id(), self.generation(), self.root())
    }
}

impl fmt::Debug for KeyCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyCheck(under {})", self.root())
    }
}

/// The stored form of `N` secret bytes: header, nonce (24), wrapped bytes, tag (16). The header and the tenant are
/// authenticated.
#[derive(Clone, PartialEq, Eq)]
struct Stored<const N: usize> {
    bytes: Vec<u8>,
}

impl<const N: usize> Stored<N> {
    const LEN: usize = HEADER + XNONCE + N + TAG;

    fn wrap(
        wrap: &KeyWrap,
        kind: u8,
        root: KeyId,
        tenant: &str,
        generation: u32,
        id: KeyId,
        secrets: &Zeroizing<[u8; N]>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&[FORMAT, kind]);
        bytes.extend_from_slice(root.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(id.as_bytes());
        let mut nonce = [0; XNONCE];
        random(&mut nonce);
        let aad = additional_data(&bytes, tenant);
        bytes.extend_from_slice(&nonce);
        let start = bytes.len();
        bytes.extend_from_slice(secrets.as_slice());
        let tag = wrap.seal(&nonce, &aad, &mut bytes[start..]);
        bytes.extend_from_slice(&tag);
        Self { bytes }
    }

    fn unwrap(&self, wrap: &KeyWrap, tenant: &str) -> Result<Box<Zeroizing<[u8; N]>>, Tampering> {
        let parts = || {
            let (header, rest) = self.bytes.split_at_checked(HEADER)?;
            let (nonce, rest) = rest.split_first_chunk::<XNONCE>()?;
            let (wrapped, tag) = rest.split_last_chunk::<TAG>()?;
            Some((header, nonce, wrapped, tag))
        };
        let (header, nonce, wrapped, tag) = parts().ok_or(Tampering::Format)?;
        let mut secrets = Box::new(Zeroizing::new([0; N]));
        secrets.copy_from_slice(wrapped);
        wrap.open(nonce, &additional_data(header, tenant), secrets.as_mut_slice(), tag)
            .map_err(|_| Tampering::Changed)?;
        Ok(secrets)
    }

    /// Takes bytes of the right format, kind and length; the accessors rely on the length.
    fn parse(bytes: &[u8], kind: u8) -> Result<Self, VaultError> {
        if bytes.len() == Self::LEN && bytes[..2] == [FORMAT, kind] {
            Ok(Self { bytes: bytes.to_vec() })
        } else {
            Err(VaultError::Key(Tampering::Format))
        }
    }

    fn root(&self) -> KeyId {
        KeyId::from_bytes(self.field(2))
    }

    fn generation(&self) -> u32 {
        u32::from_be_bytes(self.field(2 + KeyId::LEN))
    }

    fn id(&self) -> KeyId {
        KeyId::from_bytes(self.field(2 + KeyId::LEN + 4))
    }

    fn field<const M: usize>(&self, at: usize) -> [u8; M] {
        let mut field = [0; M];
        field.copy_from_slice(&self.bytes[at..at + M]);
        field
    }
}

fn additional_data(header: &[u8], tenant: &str) -> Vec<u8> {
    length_prefixed(&[b"opsiq/1/stored-key", header, tenant.as_bytes()])
}
