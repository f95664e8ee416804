//! Signatures in the Standard Webhooks form: `webhook-id`, `webhook-timestamp` and `webhook-signature`, the last being
//! `v1,` and the Base64 of the HMAC-SHA256 over `id.timestamp.body`.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. The key must be
//! declared with `use = ["sign"]`.

use crate::encode::base64;
use crate::keys::Key;
use crate::{Result, host};

/// The three headers for a body sent now, under a fresh id.
///
/// # Errors
/// `denied`, where the key may not sign.
pub fn headers(key: &Key, body: &[u8]) -> Result<[(&'static str, String); 3]> {
    let id = fresh_id()?;
    let seconds = host::now_ms() / 1000;
    let signature = signature(key, &id, seconds, body)?;
    Ok([("webhook-id", id), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)])
}

/// The value of `webhook-signature` for one message. `seconds` are since 1970-01-01T00:00:00Z.
///
/// # Errors
/// `denied`, where the key may not sign.
pub fn signature(key: &Key, id: &str, seconds: u64, body: &[u8]) -> Result<String> {
    let mut signed = format!("{id}.{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    Ok(format!("v1,{}", base64(&key.sign(&signed)?)))
}

/// `msg_` and 128 unpredictable bits.
fn fresh_id() -> Result<String> {
    let bits = u128::from_be_bytes(host::random::<16>()?);
    Ok(format!("msg_{bits:032x}"))
}

#[cfg(test)]
mod tests;
