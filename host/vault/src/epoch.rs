//! Epoch keys, under which backups are sealed, and the ring that keeps them.
//!
//! Why: whoever erases somebody destroys a key, and a backup made before would bring that key back. So a backup opens with
//! two keys: the root key and that of the epoch it was made in. Epoch keys are random, lie in no backup and no database,
//! and are destroyed after some weeks; from then on no backup of that time opens, for anybody, the root key notwithstanding.
//!
//! The ring is one file that the root key seals as a whole, so that nothing can be added to it or taken out; a backup is a
//! stream of pieces, each sealed for its place in it. A piece that is moved, left out or cut off does not open.

use zeroize::Zeroizing;

use crate::cipher::{KEY, KeyBytes, KeyWrap, TAG, XNONCE, derive_key, open_once, random, seal_once};
use crate::error::Tampering;
use crate::place::length_prefixed;
use crate::{KeyId, RootKey, VaultError};

/// The format this host writes.
const FORMAT: u8 = 1;
/// Marks a ring, so that no other stored form is taken for one.
const RING: u8 = 0x31;
/// Bytes before the ciphertext of a ring: format, kind, id of the root key.
const HEADER: usize = 2 + KeyId::LEN;

/// The key of an epoch. Wiped when it is dropped.
pub struct EpochKey(KeyBytes);

impl EpochKey {
    /// A new random one.
    pub fn generate() -> Self {
        Self(KeyBytes::filled(|key| random(key)))
    }

    /// The key whose bytes these are; `None` when they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEY] = bytes.try_into().ok()?;
        Some(Self(KeyBytes::filled(|key| *key = *bytes)))
    }

    /// Its id, which every backup under it names.
    pub fn id(&self) -> KeyId {
        KeyId::of("epoch", self.0.as_slice())
    }

    /// Its bytes, for the ring.
    pub fn expose(&self) -> &[u8; KEY] {
        &self.0
    }

    /// What seals and opens the pieces of the backup whose clear header has this SHA-256, and holds this salt.
    pub fn stream(&self, salt: &[u8; 32], header: [u8; 32]) -> BackupStream {
        BackupStream { key: derive_key(self.0.as_slice(), &["opsiq/1/backup", &hex::encode(salt)]), header, next: 0 }
    }
}

impl std::fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochKey({} [sealed])", self.id())
    }
}

/// The pieces of one backup, in order.
pub struct BackupStream {
    key: KeyBytes,
    header: [u8; 32],
    next: u64,
}

impl BackupStream {
    /// Bytes a piece grows by.
    pub const OVERHEAD: usize = TAG;

    /// Seals the next piece in place. None comes after the `last`.
    pub fn seal(&mut self, piece: &mut Vec<u8>, last: bool) {
        let (key, aad) = self.piece(last);
        let tag = seal_once(&key, &aad, piece);
        piece.extend_from_slice(&tag);
    }

    /// Opens the next piece in place.
    ///
    /// # Errors
    /// [`VaultError::Backup`] when it is not the one that was sealed here.
    pub fn open(&mut self, piece: &mut Vec<u8>, last: bool) -> Result<(), VaultError> {
        let (key, aad) = self.piece(last);
        let at = piece.len().checked_sub(TAG).ok_or(VaultError::Backup(Tampering::Format))?;
        let tag: [u8; TAG] = piece[at..].try_into().expect("a tag was split off");
        piece.truncate(at);
        open_once(&key, &aad, piece, &tag).map_err(|_| VaultError::Backup(Tampering::Changed))
    }

    /// The key of the next piece, used once, and what is authenticated with it.
    fn piece(&mut self, last: bool) -> (KeyBytes, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let key = derive_key(self.key.as_slice(), &["opsiq/1/backup-piece", &number.to_string()]);
        (key, length_prefixed(&[b"opsiq/1/backup-piece", &self.header, &number.to_be_bytes(), &[u8::from(last)]]))
    }
}

impl RootKey {
    /// Seals a ring of epoch keys.
    pub fn seal_epochs(&self, ring: &[u8]) -> Vec<u8> {
        seal_ring(&self.wrap(), self.id(), ring)
    }

    /// Opens a ring of epoch keys.
    ///
    /// # Errors
    /// [`VaultError::WrongRoot`] when another root key sealed it, [`VaultError::Epochs`] when it was changed.
    pub fn open_epochs(&self, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let expected = epochs_root(stored)?;
        if expected != self.id() {
            return Err(VaultError::WrongRoot { expected, found: self.id() });
        }
        open_ring(&self.wrap(), stored)
    }
}

/// The root key that sealed a ring of epoch keys.
///
/// # Errors
/// [`VaultError::Epochs`] when it is in no known form.
pub fn epochs_root(stored: &[u8]) -> Result<KeyId, VaultError> {
    let header = stored.first_chunk::<HEADER>().filter(|header| header[..2] == [FORMAT, RING]);
    let header = header.ok_or(VaultError::Epochs(Tampering::Format))?;
    Ok(KeyId::from_bytes(*header.last_chunk().expect("a header ends with an id")))
}

/// Format, kind, id of the root key, nonce, ciphertext, tag. All before the nonce is authenticated.
pub(crate) fn seal_ring(wrap: &KeyWrap, root: KeyId, ring: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + XNONCE + ring.len() + TAG);
    out.extend_from_slice(&[FORMAT, RING]);
    out.extend_from_slice(root.as_bytes());
    let aad = length_prefixed(&[b"opsiq/1/epochs", &out]);
    let mut nonce = [0; XNONCE];
    random(&mut nonce);
    out.extend_from_slice(&nonce);
    let mut sealed = Zeroizing::new(ring.to_vec());
    let tag = wrap.seal(&nonce, &aad, &mut sealed);
    out.extend_from_slice(&sealed);
    out.extend_from_slice(&tag);
    out
}

pub(crate) fn open_ring(wrap: &KeyWrap, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let parts = || {
        let (header, rest) = stored.split_at_checked(HEADER)?;
        let (nonce, rest) = rest.split_first_chunk::<XNONCE>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        (header[..2] == [FORMAT, RING]).then_some((header, nonce, sealed, tag))
    };
    let (header, nonce, sealed, tag) = parts().ok_or(VaultError::Epochs(Tampering::Format))?;
    let mut ring = Zeroizing::new(sealed.to_vec());
    let opened = wrap.open(nonce, &length_prefixed(&[b"opsiq/1/epochs", header]), &mut ring, tag);
    opened.map_err(|_| VaultError::Epochs(Tampering::Changed))?;
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &EpochKey, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = key.stream(&[7; 32], [9; 32]);
        let last = pieces.len() - 1;
        let seal = |(at, piece): (usize, &&[u8])| {
            let mut piece = piece.to_vec();
            stream.seal(&mut piece, at == last);
            piece
        };
        pieces.iter().enumerate().map(seal).collect()
    }

    fn opened(key: &EpochKey, pieces: &[Vec<u8>]) -> Result<Vec<u8>, VaultError> {
        let mut stream = key.stream(&[7; 32], [9; 32]);
        let mut all = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let mut piece = piece.clone();
            stream.open(&mut piece, at + 1 == pieces.len())?;
            all.extend(piece);
        }
        Ok(all)
    }

    #[test]
    fn pieces_open_in_their_order_alone() {
        let key = EpochKey::generate();
        let pieces = sealed(&key, &[b"one", b"two", b"three", b""]);
        assert_eq!(opened(&key, &pieces).unwrap(), b"onetwothree");
        let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut pieces = pieces.clone();
            change(&mut pieces);
            opened(&key, &pieces)
        };
        assert!(changed(&|pieces| drop(pieces.pop())).is_err(), "cut off");
        assert!(changed(&|pieces| pieces.swap(0, 1)).is_err(), "moved");
        assert!(changed(&|pieces| drop(pieces.remove(1))).is_err(), "left out");
        assert!(changed(&|pieces| pieces[2][0] ^= 1).is_err(), "changed");
        assert!(changed(&|pieces| pieces[2].clear()).is_err(), "emptied");
        assert!(opened(&EpochKey::generate(), &pieces).is_err());
        let mut other = key.stream(&[7; 32], [8; 32]);
        assert!(other.open(&mut pieces[0].clone(), false).is_err(), "under another header");
        let mut other = key.stream(&[8; 32], [9; 32]);
        assert!(other.open(&mut pieces[0].clone(), false).is_err(), "of another backup");
    }

    #[test]
    fn a_ring_opens_with_its_root_key_alone_and_unchanged() {
        let (root, other) = (RootKey::generate(), RootKey::generate());
        let ring = root.seal_epochs(b"keys");
        assert_eq!(root.open_epochs(&ring).unwrap().as_slice(), b"keys");
        assert_eq!(epochs_root(&ring).unwrap(), root.id());
        let wrong = VaultError::WrongRoot { expected: root.id(), found: other.id() };
        assert_eq!(other.open_epochs(&ring).unwrap_err(), wrong);
        for at in 0..ring.len() {
            let mut changed = ring.clone();
            changed[at] ^= 1;
            assert!(root.open_epochs(&changed).is_err(), "byte {at}");
        }
        for end in 0..ring.len() {
            assert!(root.open_epochs(&ring[..end]).is_err(), "{end} bytes");
        }
    }
}
