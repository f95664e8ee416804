//! Names of keys, safe to show: they tell which key is meant and nothing about its bytes.

use std::fmt;

use crate::cipher::derive_into;

/// The id of a root, tenant or subject key: eight bytes derived one way from the key, shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The length of an id in a stored format, in bytes.
    pub(crate) const LEN: usize = 8;

    /// The id of `key`. `kind` separates ids of root keys from ids of tenant keys.
    pub(crate) fn of(kind: &'static str, key: &[u8]) -> Self {
        let mut id = [0; Self::LEN];
        derive_into(key, &["opsiq/1/key-id", kind], &mut id);
        Self(id)
    }

    /// An id read from a stored format.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a stored format.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
