//! A plugin under `cargo test`, without a host: what it asks for comes from the test, and what it does is kept to be
//! looked at.
//!
//! ```ignore
//! let host = Host::new()
//!     .config(json!({ "base-url": "https://shop.example" }))
//!     .key("signing", b"secret")
//!     .http(|request| Ok(Answer::json(200, &json!({ "id": "7" }))));
//! let order = host.run(|| Plugin::get_order(&Context::new(), GetOrderParams { id: "7".into() }))?;
//! assert_eq!(host.requests()[0].url, "https://shop.example/orders/7");
//! ```
//!
//! It grants whatever the test sets up and enforces no contract: that the contract allows what the code does is what
//! the real host checks. Of the algorithms it has HMAC-SHA256.

use core::cell::RefCell;
use core::fmt;
use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Denial;
use crate::bindings::opsiq::plugin::keys::Algorithm;

pub use crate::bindings::opsiq::plugin::http::{HttpFailure, Request};
pub use crate::bindings::opsiq::plugin::log::Level;

/// What the outside system answers in a test.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(value.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Handler = Box<dyn FnMut(&Request) -> Result<Answer, HttpFailure>>;

/// What the stand-in knows and has seen.
pub(crate) struct State {
    pub(crate) config: Value,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) now_ms: u64,
    pub(crate) elapsed_ns: u64,
    random: u64,
    keys: BTreeMap<String, Vec<u8>>,
    pub(crate) kv: BTreeMap<String, (Vec<u8>, u64)>,
    pub(crate) handler: Option<Handler>,
    pub(crate) requests: Vec<Request>,
    pub(crate) logs: Vec<(Level, String)>,
    events: Vec<(String, Value)>,
}

impl State {
    /// The next of an unending, always equal row of bytes (`SplitMix64`).
    pub(crate) fn next_random(&mut self) -> u8 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed.to_be_bytes()[0]
    }

    pub(crate) fn emit(&mut self, event: &str, detail: &str) -> Result<(), Denial> {
        match serde_json::from_str::<Value>(detail) {
            Ok(detail @ Value::Object(_)) => self.events.push((event.to_owned(), detail)),
            _ => return Err(denial("audit.detail", "the detail is no JSON object")),
        }
        Ok(())
    }

    pub(crate) fn key(&self, name: &str) -> Result<Vec<u8>, Denial> {
        self.keys.get(name).cloned().ok_or_else(|| denial("key.not-granted", "the key cannot be opened"))
    }

    pub(crate) fn mac(key: &[u8], algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Denial> {
        let mac = match algorithm {
            Algorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(key).ok(),
            Algorithm::HmacSha1 => None,
        };
        let mac = mac.ok_or_else(|| denial("key.algorithm", "the test host makes HMAC-SHA256 only"))?;
        Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
    }
}

fn denial(rule: &str, message: &str) -> Denial {
    Denial { rule: rule.into(), message: message.into(), fix: "set up the test's Host".into() }
}

thread_local! {
    static RUNNING: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// Uses the host that runs on this thread.
///
/// # Panics
/// Outside of [`Host::run`]: a test then forgot it.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut State) -> T) -> T {
    RUNNING.with_borrow_mut(|running| match running {
        Some(state) => use_it(state),
        None => panic!("a plugin reaches its host only inside testing::Host::run"),
    })
}

/// A host for tests. Built up, then used with [`Host::run`], then asked what the plugin did.
pub struct Host(RefCell<Option<State>>);

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host with empty config, no keys, an outside that cannot be reached, and the clock at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self(RefCell::new(Some(State {
            config: json!({}),
            idempotency_key: Some("test-idempotency-key".into()),
            now_ms: 1_767_225_600_000,
            elapsed_ns: 0,
            random: 0,
            keys: BTreeMap::new(),
            kv: BTreeMap::new(),
            handler: None,
            requests: Vec::new(),
            logs: Vec::new(),
            events: Vec::new(),
        })))
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Self {
        if let Some(state) = self.0.borrow_mut().as_mut() {
            change(state);
        }
        self
    }

    fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        match self.0.borrow().as_ref() {
            Some(state) => look(state),
            None => panic!("what a host has seen is asked after Host::run, not inside it"),
        }
    }

    /// Sets the tenant's config.
    #[must_use]
    pub fn config(self, config: Value) -> Self {
        self.set(|state| state.config = config)
    }

    /// Gives the plugin a key.
    #[must_use]
    pub fn key(self, name: &str, secret: &[u8]) -> Self {
        self.set(|state| {
            state.keys.insert(name.to_owned(), secret.to_owned());
        })
    }

    /// Sets the key for idempotent writes; `None` as for an action that reads.
    #[must_use]
    pub fn idempotency_key(self, key: Option<&str>) -> Self {
        self.set(|state| state.idempotency_key = key.map(str::to_owned))
    }

    /// Stores a value, as version 1.
    #[must_use]
    pub fn stored(self, key: &str, value: &impl Serialize) -> Self {
        let value = serde_json::to_vec(value).unwrap_or_default();
        self.set(|state| {
            state.kv.insert(key.to_owned(), (value, 1));
        })
    }

    /// Sets the clock, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now_ms(self, now_ms: u64) -> Self {
        self.set(|state| state.now_ms = now_ms)
    }

    /// Answers the plugin's requests.
    #[must_use]
    pub fn http(self, handler: impl FnMut(&Request) -> Result<Answer, HttpFailure> + 'static) -> Self {
        self.set(|state| state.handler = Some(Box::new(handler)))
    }

    /// Runs a part of the plugin on this host.
    ///
    /// # Panics
    /// Inside another run on the same thread.
    pub fn run<T>(&self, plugin: impl FnOnce() -> T) -> T {
        /// Gives the state back, also when the plugin panics.
        struct Back<'a>(&'a Host);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                *self.0.0.borrow_mut() = RUNNING.take();
            }
        }
        RUNNING.with_borrow_mut(|running| {
            assert!(running.is_none(), "one testing::Host runs at a time");
            *running = self.0.borrow_mut().take();
        });
        let _back = Back(self);
        plugin()
    }

    /// The requests sent, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.see(|state| state.requests.clone())
    }

    /// The audit events emitted, in order.
    #[must_use]
    pub fn events(&self) -> Vec<(String, Value)> {
        self.see(|state| state.events.clone())
    }

    /// The lines logged, in order.
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.see(|state| state.logs.clone())
    }
}
