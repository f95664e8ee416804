//! Plugin files by digest. A file is whole and on disk before its name exists, and is checked against its name on every
//! read, so a file cut off, swapped or changed is never used.

use std::io::{Read as _, Write as _};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use opsiq_contract::Digest;

use crate::StoreError;

/// Plugin files by digest. Calls block; the files are at most tens of MiB.
#[derive(Debug)]
pub struct Blobs(Dir);

impl Blobs {
    pub(crate) fn new(dir: Dir) -> Self {
        Self(dir)
    }

    /// Keeps `bytes`, durable when this returns, and answers their digest. Keeping the same twice is harmless, and mends
    /// a damaged copy.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::File`]; nothing then stands under the digest that was not there.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let failed = |error: std::io::Error| StoreError::of_io("keeping a plugin file", &error);
        let partial = format!("{}.{}.partial", digest.hex(), uuid::Uuid::now_v7());
        let write = || {
            let mut file = self.0.open_with(&partial, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            self.0.rename(&partial, &self.0, digest.hex())?;
            self.sync()
        };
        write().map_err(|error| {
            // a leftover is only wasted space, and has a name nothing reads
            let _ = self.0.remove_file(&partial);
            failed(error)
        })?;
        Ok(digest)
    }

    /// The bytes of `digest`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::BlobChanged`] when they are not what the digest says.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::NotFound { what: "plugin file" },
            _ => StoreError::of_io("reading a plugin file", &error),
        };
        let mut bytes = Vec::new();
        self.0.open(digest.hex()).map_err(failed)?.read_to_end(&mut bytes).map_err(failed)?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::BlobChanged(*digest)) }
    }

    /// Removes the file of `digest`; nothing happens when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::File`].
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.0.remove_file(digest.hex()).and_then(|()| self.sync()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::of_io("removing a plugin file", &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes renames and removals durable.
    fn sync(&self) -> std::io::Result<()> {
        self.0.open(".")?.sync_all()
    }
}

#[cfg(test)]
mod tests;
