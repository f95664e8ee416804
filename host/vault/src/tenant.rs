//! One tenant's vault: seals, opens, and makes blind indexes.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::buffer::WipingBuffer;
use crate::cipher::{KEY, KeyBytes, TAG, XNONCE, derive_key, fresh, open_once, seal_once};
use crate::error::Tampering;
use crate::live::{LiveKey, LiveKeys};
use crate::place::length_prefixed;
use crate::sealed::{PREFIX, Parts, header};
use crate::{KeyId, Place, Sealed, Secret, VaultError};

/// Separates sealed documents from sealed secret bytes.
const JSON: &str = "opsiq/1/sealed/json";
const BYTES: &str = "opsiq/1/sealed/bytes";

/// Bytes of JSON most values fit in: growing wipes and copies.
const ROOM: usize = 1536;

/// What one tenant's keys can do. Cheap to clone; the keys are wiped when the last clone is dropped. All clones see a
/// rotation at once.
#[derive(Clone)]
pub struct TenantVault(Arc<Inner>);

struct Inner {
    tenant: String,
    keys: LiveKeys,
    /// HMAC under the blind-index key, ready to be cloned.
    index: Hmac<Sha256>,
}

/// The two forms of sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A document, see [`TenantVault::seal`].
    Document,
    /// The bytes of a secret, see [`TenantVault::seal_secret`].
    Secret,
}

impl TenantVault {
    /// `keys` oldest first and not empty; `index` is the seed of the blind indexes.
    pub(crate) fn new(tenant: &str, keys: Vec<LiveKey>, index: &[u8]) -> Self {
        let key = derive_key(index, &["opsiq/1/blind-index"]);
        let index = Hmac::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
        Self(Arc::new(Inner { tenant: tenant.to_owned(), keys: LiveKeys::new(keys), index }))
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// The id of the key that seals now.
    pub fn key_id(&self) -> KeyId {
        self.0.keys.newest().0.id
    }

    /// The ids of all keys that open, oldest first; the last one seals.
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.0.keys.ids()
    }

    /// Whether a value sealed by key `id` is still in memory and may yet be written. Once another key seals, an answer of
    /// `false` is for ever.
    pub fn in_use(&self, id: KeyId) -> bool {
        self.0.keys.in_use(id)
    }

    /// Opens nothing under key `id` any more. `false` for the key that seals, which stays, and for one that is not live.
    pub fn retire(&self, id: KeyId) -> bool {
        self.0.keys.retire(id)
    }

    /// Takes over the keys of `fresh`, another vault of this tenant. All clones seal under its newest key from now on.
    /// `false`, and nothing changed, when `fresh` is not of this tenant.
    pub(crate) fn adopt(&self, fresh: Self) -> bool {
        const DOMAIN: &str = "opsiq/1/same-tenant";
        let same = fresh.0.tenant == self.0.tenant && fresh.blind_index(DOMAIN, b"") == self.blind_index(DOMAIN, b"");
        match Arc::try_unwrap(fresh.0) {
            Ok(fresh) if same => {
                self.0.keys.adopt(fresh.keys);
                true
            }
            _ => false,
        }
    }

    /// Seals `value` for `place`.
    ///
    /// # Errors
    /// [`VaultError::Form`] when the value has no JSON form.
    pub fn seal<T: Serialize>(&self, place: &Place<'_>, value: &T) -> Result<Sealed<T>, VaultError> {
        let mut buffer = WipingBuffer::with_prefix(PREFIX, ROOM);
        serde_json::to_writer(&mut buffer, value).map_err(|_| place.form())?;
        Ok(self.seal_buffer(JSON, place, buffer))
    }

    /// Opens what [`TenantVault::seal`] sealed for the same place.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when the bytes or the place are not the ones sealed, or the key is not the tenant's;
    /// [`VaultError::Form`] when the value is authentic and not a `T`.
    pub fn open<T: DeserializeOwned>(&self, place: &Place<'_>, sealed: &Sealed<T>) -> Result<T, VaultError> {
        let plain = self.open_bytes(JSON, place, sealed.as_bytes())?;
        serde_json::from_slice(&plain).map_err(|_| place.form())
    }

    /// Seals the bytes of a secret for `place`.
    pub fn seal_secret(&self, place: &Place<'_>, secret: &Secret) -> Sealed<Secret> {
        let bytes = secret.expose();
        let mut buffer = WipingBuffer::with_prefix(PREFIX, bytes.len() + TAG);
        buffer.extend(bytes);
        self.seal_buffer(BYTES, place, buffer)
    }

    /// Opens what [`TenantVault::seal_secret`] sealed for the same place.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] as [`TenantVault::open`].
    pub fn open_secret(&self, place: &Place<'_>, sealed: &Sealed<Secret>) -> Result<Secret, VaultError> {
        self.open_bytes(BYTES, place, sealed.as_bytes()).map(Secret::from)
    }

    /// The same sealed value with its data key wrapped by the newest key; `None` when it already is. The ciphertext
    /// stays as it is, so a place is not needed, and doing it twice or being stopped halfway harms nothing.
    ///
    /// # Errors
    /// [`Tampering`] when the data key does not unwrap.
    pub fn rewrap<T>(&self, sealed: &Sealed<T>) -> Result<Option<Sealed<T>>, Tampering> {
        let bytes = sealed.as_bytes();
        let parts = Parts::of(bytes)?;
        let (newest, in_use) = self.0.keys.newest();
        if parts.key_id == newest.id {
            return Ok(None);
        }
        let key = self.unwrap_key(&parts)?;
        let mut nonce = [0; XNONCE];
        fresh(&mut nonce);
        let mut out = bytes.to_vec();
        self.write_prefix(&newest, &mut out, &nonce, &key);
        Ok(Some(Sealed::fresh(out, in_use)))
    }

    /// Opens stored bytes and throws the content away: proves that they are what was sealed for `place`. Answers the key
    /// they are under.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] as [`TenantVault::open`].
    pub fn prove(&self, place: &Place<'_>, form: Form, stored: &[u8]) -> Result<KeyId, VaultError> {
        let domain = match form {
            Form::Document => JSON,
            Form::Secret => BYTES,
        };
        self.open_bytes(domain, place, stored)?;
        Parts::of(stored).map(|parts| parts.key_id).map_err(|why| place.tampered(why))
    }

    /// A keyed hash of `value` to look it up by without storing it: the same for the same domain and value of this
    /// tenant, and for no other tenant. It outlives rotations.
    pub fn blind_index(&self, domain: &'static str, value: &[u8]) -> [u8; 32] {
        let mut mac = self.0.index.clone();
        mac.update(&length_prefixed(&[domain.as_bytes()]));
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    /// A short mark of a secret to show in lists: 8 hex digits, keyed by the tenant, so that a person can tell two
    /// versions apart and nobody can guess the secret from it.
    pub fn fingerprint(&self, secret: &Secret) -> String {
        hex::encode(&self.blind_index("secret-fingerprint", secret.expose())[..4])
    }

    fn seal_buffer<T>(&self, domain: &str, place: &Place<'_>, mut buffer: WipingBuffer) -> Sealed<T> {
        let mut drawn = Zeroizing::new([0; KEY + XNONCE]);
        fresh(drawn.as_mut_slice());
        let (key, nonce) = drawn.split_at(KEY);
        let (key, nonce): (&[u8; KEY], &[u8; XNONCE]) =
            (key.try_into().expect("a key"), nonce.try_into().expect("a nonce"));
        let aad = place.additional_data(domain, &self.0.tenant);
        let (prefix, plain) = buffer.as_mut().split_at_mut(PREFIX);
        let tag = seal_once(key, &aad, plain);
        let (newest, in_use) = self.0.keys.newest();
        self.write_prefix(&newest, prefix, nonce, key);
        buffer.extend(&tag);
        Sealed::fresh(buffer.take(), in_use)
    }

    /// Writes header, nonce and `key` wrapped by `newest` over the first [`PREFIX`] bytes of `out`.
    fn write_prefix(&self, newest: &LiveKey, out: &mut [u8], nonce: &[u8; XNONCE], key: &[u8; KEY]) {
        let header = header(newest.id);
        let (head, rest) = out.split_at_mut(header.len());
        let (nonce_at, rest) = rest.split_at_mut(XNONCE);
        let (key_at, rest) = rest.split_at_mut(KEY);
        head.copy_from_slice(&header);
        nonce_at.copy_from_slice(nonce);
        key_at.copy_from_slice(key);
        let tag = newest.wrap.seal(nonce, &self.wrap_data(&header), key_at);
        rest[..TAG].copy_from_slice(&tag);
    }

    fn open_bytes(&self, domain: &str, place: &Place<'_>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let open = || {
            let parts = Parts::of(bytes)?;
            let key = self.unwrap_key(&parts)?;
            let mut plain = Zeroizing::new(parts.ciphertext.to_vec());
            let aad = place.additional_data(domain, &self.0.tenant);
            open_once(&key, &aad, &mut plain, parts.tag).map_err(|_| Tampering::Changed)?;
            Ok(plain)
        };
        open().map_err(|why| place.tampered(why))
    }

    fn unwrap_key(&self, parts: &Parts<'_>) -> Result<KeyBytes, Tampering> {
        let live = self.0.keys.find(parts.key_id).ok_or(Tampering::ForeignKey(parts.key_id))?;
        let aad = self.wrap_data(parts.header);
        let mut opened = Ok(());
        let key = KeyBytes::filled(|key| {
            *key = *parts.wrapped;
            opened = live.wrap.open(parts.nonce, &aad, key, parts.wrapped_tag);
        });
        opened.map_err(|_| Tampering::Changed)?;
        Ok(key)
    }

    /// Additional data of a wrapped data key: without the place, which the data itself carries, so that re-wrapping
    /// needs no knowledge of tables.
    fn wrap_data(&self, header: &[u8]) -> Vec<u8> {
        length_prefixed(&[b"opsiq/1/data-key", self.0.tenant.as_bytes(), header])
    }
}

impl std::fmt::Debug for TenantVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TenantVault({:?} under {})", self.0.tenant, self.key_id())
    }
}

#[cfg(test)]
mod tests;
