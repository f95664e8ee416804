//! Small storage of one installation, as the guest sees it. Where it lies and how it is sealed is the business of
//! whoever implements [`Kv`]; sizes are checked here, before anything is handed on.

use async_trait::async_trait;
use opsiq_contract::Denial;

use crate::bindings::opsiq::plugin::kv::{Entry, Host, KvFailure};
use crate::live::Phase;
use crate::state::State;

/// Longest key, in bytes, as `wit/` says.
const KEY_MAX: usize = 512;
/// Longest value, in bytes, as `wit/` says.
const VALUE_MAX: usize = 64 << 10;
/// Keys a listing answers at most, as `wit/` says.
const LIST_MAX: usize = 100;

/// Storage of the installation a call runs for, and of no other.
#[async_trait]
pub trait Kv: Send + Sync {
    /// The value and version of `key`.
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError>;

    /// Writes when the current version is `expected` (`None` always, `Some(0)` only where nothing is) and the
    /// installation then holds at most `max_total` bytes of keys and values. Answers the new version.
    async fn set(&self, key: &str, value: Vec<u8>, expected: Option<u64>, max_total: u64) -> Result<u64, KvError>;

    /// Deletes when the current version is `expected`; `None` always. Deleting what is not there succeeds.
    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), KvError>;

    /// At most `limit` keys that begin with `prefix`, in byte order, after `after`.
    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, KvError>;
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Grows by one with every write; never 0.
    pub version: u64,
}

/// Why storage did not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The write would exceed a size, named.
    #[error("full: {0}")]
    Full(String),
    /// The version was another: the current one, 0 when the key does not exist.
    #[error("the current version is {0}")]
    Conflict(u64),
    /// The store cannot be reached now; nothing was written.
    #[error("unavailable")]
    Unavailable,
}

impl From<KvError> for KvFailure {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Full(what) => Self::Full(what),
            KvError::Conflict(version) => Self::Conflict(version),
            KvError::Unavailable => Self::Unavailable,
        }
    }
}

fn key_fits(key: &str) -> Result<(), KvFailure> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(KvFailure::Full(format!("a key has 1 to {KEY_MAX} bytes")));
    }
    Ok(())
}

impl State {
    /// The most bytes this installation may hold; a denial where `[kv]` is not declared or not granted.
    fn kv_max(&mut self) -> Result<u64, KvFailure> {
        self.authorized.kv_max().ok_or_else(|| {
            let denial = Denial::new(
                "kv.not-granted",
                "storage is not declared by the contract or not granted",
                "add `[kv] max = \"1MiB\"` to contract.toml; an owner or admin of the tenant then accepts it",
            );
            KvFailure::Denied(self.deny(denial))
        })
    }

    /// A denial where what is to be stored holds the value of one of the tenant's keys: later calls read it, of other
    /// actions and for other callers.
    fn holds_no_secret(&mut self, place: &'static str, bytes: &[u8]) -> Result<(), KvFailure> {
        let Some(key) = self.leaks.catches("kv.secret", place, bytes) else { return Ok(()) };
        let message = format!("the {place} holds the value of {key}");
        let denial = Denial::new("kv.secret", message, "store what the key is for, not the key");
        Err(KvFailure::Denied(self.deny(denial)))
    }
}

/// What the guest asked for fits and is granted, or why not; the same in each function below.
macro_rules! allowed {
    ($checks:expr) => {
        match $checks {
            Ok(value) => value,
            Err(failure) => return Ok(Err(failure)),
        }
    };
}

impl Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Entry>, KvFailure>> {
        self.enter_to_wait(key.len())?;
        allowed!(self.kv_max());
        allowed!(key_fits(&key));
        self.live.now(Phase::Storage);
        let found = self.kv.get(&key).await;
        self.goes_on();
        Ok(found.map(|entry| entry.map(|KvEntry { value, version }| Entry { value, version })).map_err(Into::into))
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> wasmtime::Result<Result<u64, KvFailure>> {
        self.enter_to_wait(key.len() + value.len())?;
        let max = allowed!(self.kv_max());
        allowed!(key_fits(&key));
        if value.len() > VALUE_MAX {
            return Ok(Err(KvFailure::Full(format!("a value has at most {VALUE_MAX} bytes"))));
        }
        allowed!(self.holds_no_secret("name of a stored entry", key.as_bytes()));
        allowed!(self.holds_no_secret("value of a stored entry", &value));
        self.live.now(Phase::Storage);
        let set = self.kv.set(&key, value, expected, max).await;
        self.goes_on();
        Ok(set.map_err(Into::into))
    }

    async fn delete(&mut self, key: String, expected: Option<u64>) -> wasmtime::Result<Result<(), KvFailure>> {
        self.enter_to_wait(key.len())?;
        allowed!(self.kv_max());
        allowed!(key_fits(&key));
        self.live.now(Phase::Storage);
        let deleted = self.kv.delete(&key, expected).await;
        self.goes_on();
        Ok(deleted.map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
    ) -> wasmtime::Result<Result<Vec<String>, KvFailure>> {
        self.enter_to_wait(prefix.len() + after.as_ref().map_or(0, String::len))?;
        allowed!(self.kv_max());
        if prefix.len() > KEY_MAX || after.as_ref().is_some_and(|after| after.len() > KEY_MAX) {
            return Ok(Err(KvFailure::Full(format!("a key has 1 to {KEY_MAX} bytes"))));
        }
        self.live.now(Phase::Storage);
        let found = self.kv.keys(&prefix, after.as_deref(), LIST_MAX).await;
        self.goes_on();
        let mut found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.into())),
        };
        found.truncate(LIST_MAX);
        Ok(Ok(found))
    }
}
