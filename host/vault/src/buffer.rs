//! A growing buffer for plaintext that leaves no copy behind when it grows: `Vec` frees its old allocation as it is.

use std::io;

use zeroize::Zeroize as _;

/// A byte buffer wiped on growth and, unless taken, on drop.
pub(crate) struct WipingBuffer(Vec<u8>);

impl WipingBuffer {
    /// A buffer beginning with `prefix` zero bytes, with room for `room` more.
    pub(crate) fn with_prefix(prefix: usize, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(prefix + room);
        bytes.resize(prefix, 0);
        Self(bytes)
    }

    /// Appends, wiping what a move leaves behind.
    #[inline]
    pub(crate) fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            self.grow(needed);
        }
        self.0.extend_from_slice(more);
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut grown = Vec::with_capacity(needed.max(self.0.capacity() * 2));
        grown.extend_from_slice(&self.0);
        self.0.zeroize();
        self.0 = grown;
    }

    /// The bytes, to be encrypted in place.
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The bytes, once they hold no plaintext any more.
    pub(crate) fn take(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl io::Write for WipingBuffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    /// JSON comes in many small pieces.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WipingBuffer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
