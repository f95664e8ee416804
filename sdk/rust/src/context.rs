//! What one call of an action is given.

use core::cell::OnceCell;
use core::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::Http;
use crate::keys::Key;
use crate::kv::Kv;
use crate::{Failure, Result, host};

/// The config of a plugin whose contract declares none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct NoConfig {}

/// The running invocation: who it is, what the tenant set, and every means the contract grants. `C` is the contract's
/// config; `plugin!` makes an alias `Context` with it filled in.
#[derive(Debug)]
pub struct Context<C> {
    config: OnceCell<C>,
}

impl<C> Context<C> {
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made by generated code only")]
    pub fn new() -> Self {
        Self { config: OnceCell::new() }
    }

    /// The tenant's config for this installation; the host keeps it valid against the contract's schema.
    ///
    /// # Errors
    /// `internal`, where the schema and the type made from it disagree.
    pub fn config(&self) -> Result<&C>
    where
        C: DeserializeOwned,
    {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config =
            serde_json::from_str(&host::config()).map_err(|error| Failure::internal(format!("config: {error}")))?;
        Ok(self.config.get_or_init(|| config))
    }

    /// HTTP requests, through the rules of the contract.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new()
    }

    /// Opens a key that the contract declares and the action lists.
    ///
    /// # Errors
    /// `denied`, in the same words for every key that cannot be opened.
    pub fn key(&self, name: &str) -> Result<Key> {
        Key::open(name)
    }

    /// The installation's own small storage.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new()
    }

    /// Puts an event into the tenant's audit log. `detail` must be a JSON object of at most 16 KiB.
    ///
    /// # Errors
    /// `denied` for an event that the contract does not declare.
    pub fn audit(&self, event: &str, detail: &impl Serialize) -> Result<()> {
        let detail = serde_json::to_string(detail)?;
        Ok(host::emit(event, &detail)?)
    }

    /// The invocation's id, the same that the audit log shows.
    #[must_use]
    pub fn invocation_id(&self) -> String {
        host::invocation_id()
    }

    /// A key made by the host, the same for every attempt at the same call, to be passed to an outside system that
    /// supports idempotent writes. `None` for an action whose effect is `read`.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<String> {
        host::idempotency_key()
    }

    /// Wall time this invocation has left.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(host::remaining_ms())
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, by the host's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        host::now_ms()
    }

    /// Time since the invocation began; never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(host::monotonic_ns())
    }

    /// `N` unpredictable bytes, at most 64 KiB in one invocation.
    ///
    /// # Errors
    /// `internal`, should the host answer another number of bytes.
    pub fn random<const N: usize>(&self) -> Result<[u8; N]> {
        host::random()
    }
}
