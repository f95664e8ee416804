//! Not coming back.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use opsiq_sdk::Failure;
use opsiq_sdk::bindings::opsiq::plugin::{context, http};
use opsiq_sdk::serde_json::Value;

use crate::allocator::STUCK;
use crate::reach::base_url;

/// Computes for ever.
pub(crate) fn spin() -> Value {
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Computes for ever while the host waits to hand over an answer.
pub(crate) fn spin_in_realloc() -> Value {
    STUCK.store(true, Ordering::Relaxed);
    let config = context::config();
    STUCK.store(false, Ordering::Relaxed);
    Value::String(config)
}

/// Waits for an answer that does not come, one request after the other.
pub(crate) fn sleep_in_host_call() -> Result<Value, Failure> {
    let url = format!("{}/sleep", base_url()?);
    loop {
        let request =
            http::Request { method: "GET".into(), url: url.clone(), headers: Vec::new(), body: None, timeout_ms: None };
        http::send(&request)?;
    }
}
