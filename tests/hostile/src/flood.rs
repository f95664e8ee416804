//! More of everything than is allowed.

use opsiq_sdk::Failure;
use opsiq_sdk::bindings::opsiq::plugin::{clock, http, keys, log, random as host_random};
use opsiq_sdk::{json, serde_json::Value};

use crate::reach::base_url;

/// Many lines, each with what would take over a terminal or forge another line.
pub(crate) fn log() -> Value {
    let lines = 900;
    for line in 0..lines {
        let message = format!("\u{1b}[2J\u{1b}]0;owned\u{7}line {line}\r\nERROR forged\0\u{202e}");
        log::write(log::Level::Info, &message);
    }
    json!({ "count": lines })
}

/// Calls of the cheapest import, without end.
pub(crate) fn host_calls() -> Value {
    let mut count = 0_u64;
    loop {
        clock::now_ms();
        count += 1;
        if count == u64::MAX {
            return json!({ "count": count });
        }
    }
}

/// More random bytes than one call is given.
pub(crate) fn random() -> Value {
    let mut count = 0;
    for _ in 0..100 {
        count += host_random::bytes(1024).len();
    }
    json!({ "count": count })
}

/// More open keys than one call may hold.
pub(crate) fn resources() -> Result<Value, Failure> {
    let mut held = Vec::new();
    for _ in 0..900 {
        held.push(keys::Key::open("signing-secret")?);
    }
    Ok(json!({ "count": held.len() }))
}

/// More requests than one call may make; counts those that went out.
pub(crate) fn http() -> Result<Value, Failure> {
    let url = format!("{}/flood", base_url()?);
    let mut count = 0;
    for _ in 0..100 {
        let request =
            http::Request { method: "GET".into(), url: url.clone(), headers: Vec::new(), body: None, timeout_ms: None };
        match http::send(&request) {
            Ok(_) => count += 1,
            Err(failure) if count == 0 => return Err(failure.into()),
            Err(_) => break,
        }
    }
    Ok(json!({ "count": count }))
}
