//! What should not outlive a call.

use std::sync::atomic::{AtomicU32, Ordering};

use opsiq_sdk::{json, serde_json::Value};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// How many calls this memory has seen; 1, unless something survives.
pub(crate) fn count() -> Value {
    json!({ "count": COUNT.fetch_add(1, Ordering::Relaxed) + 1 })
}
