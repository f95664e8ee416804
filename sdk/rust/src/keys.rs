//! Use of the tenant's secrets without ever seeing one.
//!
//! A key is opened by the name the contract declares, by an action that lists it; what can be done with it is what the
//! contract's `use` says. The bytes stay in the host.

use crate::{Result, host};

pub use crate::bindings::opsiq::plugin::keys::Algorithm;

/// An open key, from [`Context::key`](crate::Context::key). Dropping it gives back one of the invocation's resources.
#[derive(Debug)]
pub struct Key(host::Key);

impl Key {
    pub(crate) fn open(name: &str) -> Result<Self> {
        Ok(Self(host::Key::open(name)?))
    }

    /// The HMAC-SHA256 of `data` under the newest live version.
    ///
    /// # Errors
    /// `denied` without `use = ["sign"]`, and for a key declared `derive` at any but its declared depth.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.sign_with(Algorithm::HmacSha256, data)
    }

    /// The MAC of `data` by another algorithm.
    ///
    /// # Errors
    /// As [`Key::sign`].
    pub fn sign_with(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.sign(algorithm, data)?)
    }

    /// Whether `mac` is the HMAC-SHA256 of `data` under any live version, compared in constant time.
    ///
    /// # Errors
    /// `denied` without `use = ["verify"]`.
    pub fn verify(&self, data: &[u8], mac: &[u8]) -> Result<bool> {
        self.verify_with(Algorithm::HmacSha256, data, mac)
    }

    /// Whether `mac` is the MAC of `data` by another algorithm.
    ///
    /// # Errors
    /// As [`Key::verify`].
    pub fn verify_with(&self, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool> {
        Ok(self.0.verify(algorithm, data, mac)?)
    }

    /// The key whose bytes are the HMAC-SHA256 of `data`: one step of a chain as AWS Signature Version 4 makes it.
    ///
    /// # Errors
    /// `denied` without `use = ["derive"]` and beyond the declared depth.
    pub fn derive(&self, data: &[u8]) -> Result<Self> {
        Ok(Self(self.0.derive(Algorithm::HmacSha256, data)?))
    }
}
