//! Plugin files by digest. A file is whole and on disk before its name exists, and is checked against its name on every
//! read, so a file cut off, swapped or changed is never used.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use opsiq_contract::Digest;

use crate::db::{query, query_scalar};
use crate::{Store, StoreError};

/// Bytes that are read from a server for one file, at most.
const SHARED_MAX: i64 = 256 << 20;
const WHAT: &str = "plugin file";

/// Plugin files of this node by digest. Calls block; the files are at most tens of MiB.
#[derive(Debug, Clone)]
pub struct Blobs(Arc<Dir>);

impl Blobs {
    pub(crate) fn new(dir: Dir) -> Self {
        Self(Arc::new(dir))
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
            std::io::ErrorKind::NotFound => StoreError::NotFound { what: WHAT },
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

impl Store {
    /// Lets the other nodes have a plugin file of this one; nothing happens where there are none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this node does not have it, [`StoreError::Unavailable`].
    pub async fn blob_share(&self, digest: &Digest) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let bytes = self.blob_local(digest).await?;
        // In the place of a damaged copy, too.
        let put = query(
            "INSERT INTO blob (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes",
        );
        let put = put.bind(digest.to_string()).bind(bytes);
        let mut tx = self.begin().await?;
        tx.run(WHAT, put).await?;
        tx.commit().await
    }

    /// Makes sure that this node has a plugin file that another may have registered. Whether there is one, and whether it is
    /// what it should be, is seen when it is read from [`Store::blobs`].
    ///
    /// # Errors
    /// [`StoreError::BlobChanged`] when the shared copy is not what the digest says, [`StoreError::Unavailable`].
    pub async fn blob_fetch(&self, digest: &Digest) -> Result<(), StoreError> {
        if !self.is_shared() || self.blob_local(digest).await.is_ok() {
            return Ok(());
        }
        let get = query_scalar::<Vec<u8>>("SELECT bytes FROM blob WHERE digest = $1 AND octet_length(bytes) <= $2");
        let found = get.bind(digest.to_string()).bind(SHARED_MAX).fetch_optional(self.reader()).await;
        let Some(bytes) = found.map_err(|error| StoreError::of(WHAT, &error))? else { return Ok(()) };
        if Digest::of(&bytes) != *digest {
            return Err(StoreError::BlobChanged(*digest));
        }
        let blobs = self.blobs().clone();
        blocking(move || blobs.put(&bytes)).await.map(drop)
    }

    /// The bytes of a plugin file, of this node or of another.
    pub(crate) async fn blob_bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.blob_fetch(digest).await?;
        self.blob_local(digest).await
    }

    async fn blob_local(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let (blobs, digest) = (self.blobs().clone(), *digest);
        blocking(move || blobs.get(&digest)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreError::File { what: "a plugin file", kind: std::io::ErrorKind::Other })?
}

#[cfg(test)]
mod tests;
