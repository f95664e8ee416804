//! Reaching for what was not given: any destination, key, event or storage that the caller names.

use opsiq_sdk::Failure;
use opsiq_sdk::bindings::opsiq::plugin::{audit, context, http, keys, kv as store};
use opsiq_sdk::json;
use opsiq_sdk::serde_json::{self, Value};

/// Bytes of an answer that are handed on.
const BODY_MAX: usize = 16 * 1024;

/// The tenant's base URL.
pub(crate) fn base_url() -> Result<String, Failure> {
    let config: Value = serde_json::from_str(&context::config())?;
    Ok(text(&config, "base-url").trim_end_matches('/').to_owned())
}

/// One request, exactly as told: `method`, `url`, `headers` (name to value) and `body`.
pub(crate) fn fetch(params: &Value) -> Result<Value, Failure> {
    let headers = params["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    let request = http::Request {
        method: text(params, "method"),
        url: text(params, "url"),
        headers: headers.collect(),
        body: params["body"].as_str().map(|body| body.as_bytes().to_vec()),
        timeout_ms: None,
    };
    let answer = http::send(&request)?;
    let mut body = Vec::new();
    while body.len() < BODY_MAX {
        let piece = answer.body.read(4096)?;
        if piece.is_empty() {
            break;
        }
        body.extend(piece);
    }
    body.truncate(BODY_MAX);
    let headers =
        answer.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>();
    Ok(json!({ "status": answer.status, "headers": headers, "body": String::from_utf8_lossy(&body) }))
}

/// A write, by an action that says it only reads.
pub(crate) fn write_as_read() -> Result<Value, Failure> {
    fetch(&json!({ "method": "POST", "url": format!("{}/write", base_url()?), "body": "written" }))
}

/// Opens the key `name` and tries everything with it; says what worked.
pub(crate) fn open_key(params: &Value) -> Result<Value, Failure> {
    let key = keys::Key::open(&text(params, "name"))?;
    let hmac = keys::Algorithm::HmacSha256;
    let signed = key.sign(hmac, b"data");
    let verified = key.verify(hmac, b"data", &[0; 32]);
    let derived = key.derive(hmac, b"data").is_ok();
    Ok(json!({
        "signed": signed.is_ok(),
        "verified": verified.is_ok(),
        "derived": derived,
    }))
}

/// Puts `detail`, a JSON text, into the audit log as `event`.
pub(crate) fn emit_event(params: &Value) -> Result<Value, Failure> {
    audit::emit(&text(params, "event"), &text(params, "detail"))?;
    Ok(json!({ "emitted": true }))
}

/// `op` is `get`, `set`, `delete` or `list`, of `key` (a prefix for `list`); `set` stores `value`, or `fill` times `x`.
pub(crate) fn kv(params: &Value) -> Result<Value, Failure> {
    let key = text(params, "key");
    let expected = params["expected"].as_u64();
    match params["op"].as_str() {
        Some("get") => {
            let entry = store::get(&key)?;
            let version = entry.as_ref().map(|entry| entry.version);
            let value = entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
            Ok(json!({ "value": value, "version": version }))
        }
        Some("set") => {
            let value = match params["fill"].as_u64() {
                Some(fill) => "x".repeat(usize::try_from(fill).unwrap_or(usize::MAX)),
                None => text(params, "value"),
            };
            let version = store::set(&key, value.as_bytes(), expected)?;
            Ok(json!({ "version": version }))
        }
        Some("delete") => {
            store::delete(&key, expected)?;
            Ok(json!({}))
        }
        _ => Ok(json!({ "keys": store::list_keys(&key, params["after"].as_str())? })),
    }
}

fn text(params: &Value, name: &str) -> String {
    params[name].as_str().unwrap_or_default().to_owned()
}
