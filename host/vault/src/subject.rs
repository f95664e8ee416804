//! Keys of data subjects: whoever a tenant keeps data about.
//!
//! Why keys of their own: erasing a person is then destroying one key, and everything sealed under it is unreadable at
//! once, in the log and in every copy, while the entries it stood in keep their place and their proof.
//!
//! A subject's key is random and stored sealed by its tenant's vault, so whoever destroys the tenant's keys destroys it
//! too. What it seals is an [`Apart`]: a part of a document that the tenant's vault seals as a whole, so that rotating the
//! tenant's key never touches it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::buffer::WipingBuffer;
use crate::cipher::{KEY, KeyBytes, KeyWrap, TAG, XNONCE, derive_key, fresh, random};
use crate::error::Tampering;
use crate::{KeyId, Place, Sealed, Secret, TenantVault, VaultError};

/// What an id of a subject's key is derived with.
const KIND: &str = "subject";
/// Separates what a subject's key seals from everything else.
const APART: &str = "opsiq/1/apart/json";

/// The format this host writes.
const FORMAT: u8 = 1;
/// Bytes before the ciphertext: format, key id, nonce.
const HEAD: usize = 1 + KeyId::LEN + XNONCE;
/// Bytes of JSON most values fit in.
const ROOM: usize = 1024;

/// The key of one data subject of one tenant. Cheap to clone; wiped when the last clone is dropped.
#[derive(Clone)]
pub struct SubjectKey(Arc<Inner>);

struct Inner {
    tenant: String,
    id: KeyId,
    wrap: KeyWrap,
}

/// A value sealed under a subject's key, to stand inside a document of the tenant: one byte of format version, the key's
/// id (8), a nonce (24), the ciphertext and its tag (16). In JSON it is base64.
pub struct Apart<T> {
    bytes: Vec<u8>,
    value: PhantomData<fn() -> T>,
}

impl SubjectKey {
    fn new(tenant: &str, key: &[u8]) -> Self {
        let wrap = KeyWrap::new(&derive_key(key, &["opsiq/1/subject-seal"]));
        Self(Arc::new(Inner { tenant: tenant.to_owned(), id: KeyId::of(KIND, key), wrap }))
    }

    /// Its id, which every [`Apart`] under it names.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// Seals `value` for `place`, that of the document it will stand in.
    ///
    /// # Errors
    /// [`VaultError::Form`] when the value has no JSON form.
    pub fn seal<T: Serialize>(&self, place: &Place<'_>, value: &T) -> Result<Apart<T>, VaultError> {
        let mut buffer = WipingBuffer::with_prefix(HEAD, ROOM);
        serde_json::to_writer(&mut buffer, value).map_err(|_| place.form())?;
        let mut nonce = [0; XNONCE];
        fresh(&mut nonce);
        let (head, plain) = buffer.as_mut().split_at_mut(HEAD);
        head[0] = FORMAT;
        head[1..=KeyId::LEN].copy_from_slice(self.0.id.as_bytes());
        head[1 + KeyId::LEN..].copy_from_slice(&nonce);
        let tag = self.0.wrap.seal(&nonce, &place.additional_data(APART, &self.0.tenant), plain);
        buffer.extend(&tag);
        Ok(Apart { bytes: buffer.take(), value: PhantomData })
    }

    /// Opens what [`SubjectKey::seal`] sealed for the same place.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when the bytes or the place are not the ones sealed, or the key is another;
    /// [`VaultError::Form`] when the value is authentic and not a `T`.
    pub fn open<T: DeserializeOwned>(&self, place: &Place<'_>, apart: &Apart<T>) -> Result<T, VaultError> {
        let parts = || {
            let (head, rest) = apart.bytes.split_at_checked(HEAD)?;
            let (ciphertext, tag) = rest.split_last_chunk::<TAG>()?;
            let nonce: &[u8; XNONCE] = head.last_chunk()?;
            (head[0] == FORMAT).then_some((nonce, ciphertext, tag))
        };
        let (nonce, ciphertext, tag) = parts().ok_or_else(|| place.tampered(Tampering::Format))?;
        if apart.key_id() != Some(self.0.id) {
            return Err(place.tampered(Tampering::ForeignKey(self.0.id)));
        }
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let aad = place.additional_data(APART, &self.0.tenant);
        let opened = self.0.wrap.open(nonce, &aad, &mut plain, tag);
        opened.map_err(|_| place.tampered(Tampering::Changed))?;
        serde_json::from_slice(&plain).map_err(|_| place.form())
    }
}

impl TenantVault {
    /// How a subject is found without being named: a blind index of whatever the tenant calls them.
    pub fn subject_index(&self, subject: &str) -> [u8; 32] {
        self.blind_index(KIND, subject.as_bytes())
    }

    /// A new key for the subject of that index, and the form to store it in before anything is sealed under it.
    pub fn new_subject_key(&self, subject: &[u8; 32]) -> (SubjectKey, Sealed<Secret>) {
        let bytes = KeyBytes::filled(|key: &mut [u8; KEY]| random(key));
        let key = SubjectKey::new(self.tenant(), bytes.as_slice());
        let secret = Secret::from(bytes.to_vec());
        let sealed = with_place(key.id(), subject, |place| self.seal_secret(place, &secret));
        (key, sealed)
    }

    /// The key `id` of the subject of that index, as stored.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when it does not open, or is another key.
    pub fn subject_key(
        &self,
        id: KeyId,
        subject: &[u8; 32],
        stored: &Sealed<Secret>,
    ) -> Result<SubjectKey, VaultError> {
        with_place(id, subject, |place| {
            let secret = self.open_secret(place, stored)?;
            let key = SubjectKey::new(self.tenant(), secret.expose());
            if key.id() == id { Ok(key) } else { Err(place.tampered(Tampering::Changed)) }
        })
    }
}

/// Where a subject's key is stored: its id and its subject, in hex.
fn with_place<T>(id: KeyId, subject: &[u8; 32], run: impl FnOnce(&Place<'_>) -> T) -> T {
    let (id, subject) = (id.to_string(), hex::encode(subject));
    run(&Place { table: "subject_key", row: &[&id, &subject], column: "wrapped", version: 0 })
}

impl<T> Apart<T> {
    /// The subject's key it says it is under; `None` when it is in no known format.
    pub fn key_id(&self) -> Option<KeyId> {
        let (head, _) = self.bytes.split_at_checked(HEAD)?;
        let id = head[1..].first_chunk()?;
        (head[0] == FORMAT).then(|| KeyId::from_bytes(*id))
    }
}

impl<T> Serialize for Apart<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.bytes))
    }
}

impl<'de, T> Deserialize<'de> for Apart<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| D::Error::custom("not base64"))?;
        Ok(Self { bytes, value: PhantomData })
    }
}

impl<T> Clone for Apart<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Apart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Apart({} bytes)", self.bytes.len())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectKey({} of {:?})", self.0.id, self.0.tenant)
    }
}

#[cfg(test)]
mod tests;
