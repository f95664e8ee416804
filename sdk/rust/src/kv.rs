//! Small storage of the installation: sealed at rest, shared by nobody else, with compare-and-swap.
//!
//! Needs `[kv]` in the contract. A key has at most 512 bytes, a value at most 64 KiB.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, host};

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// Grows by one with every write of this key; never 0.
    pub version: u64,
}

/// The storage, from [`Context::kv`](crate::Context::kv). Values are JSON.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kv {}

impl Kv {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// `denied`; `upstream` while the store cannot be reached; `internal` where the value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>> {
        let Some((value, version)) = host::kv_get(key)? else { return Ok(None) };
        Ok(Some(Entry { value: serde_json::from_slice(&value)?, version }))
    }

    /// Stores `value`, whatever was there. Answers the new version.
    ///
    /// # Errors
    /// `denied`; `upstream` while the store cannot be reached; `internal` where it is full.
    pub fn set(&self, key: &str, value: &impl Serialize) -> Result<u64> {
        write(key, value, None)
    }

    /// Stores `value` if the version is still `expected`; 0 stands for a key that does not exist.
    ///
    /// # Errors
    /// As [`Kv::set`], and `conflict` where the version is another.
    pub fn set_if(&self, key: &str, value: &impl Serialize, expected: u64) -> Result<u64> {
        write(key, value, Some(expected))
    }

    /// Deletes `key`; deleting what is not there succeeds.
    ///
    /// # Errors
    /// `denied`; `upstream` while the store cannot be reached.
    pub fn delete(&self, key: &str) -> Result<()> {
        Ok(host::kv_delete(key, None)?)
    }

    /// Deletes `key` if its version is still `expected`.
    ///
    /// # Errors
    /// As [`Kv::delete`], and `conflict` where the version is another.
    pub fn delete_if(&self, key: &str, expected: u64) -> Result<()> {
        Ok(host::kv_delete(key, Some(expected))?)
    }

    /// Every key that begins with `prefix`, in byte order. One host call per hundred keys.
    ///
    /// # Errors
    /// `denied`; `upstream` while the store cannot be reached.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = host::kv_list(prefix, keys.last().map(String::as_str))?;
            if page.is_empty() {
                return Ok(keys);
            }
            keys.extend(page);
        }
    }
}

fn write(key: &str, value: &impl Serialize, expected: Option<u64>) -> Result<u64> {
    Ok(host::kv_set(key, &serde_json::to_vec(value)?, expected)?)
}

#[cfg(test)]
mod tests;
