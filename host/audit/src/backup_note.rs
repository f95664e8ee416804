//! Signing a backup: a checkpoint of one file, under a name of its own, so that it is never taken for the head of a log, nor
//! the other way round. Whoever has the public key tells a backup that was changed or cut off from one that was not, without
//! any key that opens it.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::{CheckpointKey, PublicKey};
use crate::tree::Hash;

/// Signs a file of so many bytes with this SHA-256; a C2SP signed note.
pub fn sign_backup(key: &CheckpointKey, bytes: u64, sha256: [u8; 32]) -> String {
    let public = key.backup();
    let origin = public.name().to_owned();
    Checkpoint { origin, size: bytes, root: Hash(sha256), rows: None }.signed(key, &public)
}

/// The size and the SHA-256 that such a note vouches for.
///
/// # Errors
/// When it is none, or not signed by `key`.
pub fn open_backup(note: &str, key: &PublicKey) -> Result<(u64, [u8; 32]), CheckpointError> {
    let Checkpoint { size, root, rows, .. } = Checkpoint::open(note, key)?;
    if rows.is_none() { Ok((size, root.0)) } else { Err(CheckpointError::Text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;

    #[test]
    fn a_note_vouches_for_one_file_and_for_no_log() {
        let key = CheckpointKey::from_seed(&[1; 32]);
        let note = sign_backup(&key, 7, [2; 32]);
        assert_eq!(open_backup(&note, &key.backup()), Ok((7, [2; 32])));
        assert_eq!(open_backup(&note, &key.public(&Log::Host)), Err(CheckpointError::Unsigned));
        let other = CheckpointKey::from_seed(&[3; 32]);
        assert_eq!(open_backup(&note, &other.backup()), Err(CheckpointError::Unsigned));
        let head = Checkpoint::sign(&key, &Log::Host, 7, Hash([2; 32]), None);
        assert_eq!(open_backup(&head, &key.backup()), Err(CheckpointError::Unsigned));
        let changed = note.replacen("\n7\n", "\n8\n", 1);
        assert_eq!(open_backup(&changed, &key.backup()), Err(CheckpointError::Signature));
    }
}
