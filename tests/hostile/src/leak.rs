//! Passing on what an outside system told.

use opsiq_sdk::Failure;
use opsiq_sdk::bindings::opsiq::plugin::{audit, http, kv, log};
use opsiq_sdk::json;
use opsiq_sdk::serde_json::Value;

use crate::reach::base_url;

/// Asks the upstream for `what` and puts the answer into `to`; answers what was answered there, if anything was.
pub(crate) fn pass_on(params: &Value) -> Result<Value, Failure> {
    let base = base_url()?;
    let what = params["what"].as_str().unwrap_or_default();
    let told = body(&send("GET", format!("{base}/told/{what}"), Vec::new(), None)?)?;
    match params["to"].as_str().unwrap_or_default() {
        "result" => return Ok(json!({ "text": told })),
        "failure" => return Err(Failure::conflict(told)),
        "log" => log::write(log::Level::Info, &told),
        "event" => audit::emit("hostile.declared", &json!({ "told": told }).to_string())?,
        "kv-value" => {
            kv::set("told", told.as_bytes(), None)?;
        }
        "kv-name" => {
            kv::set(&told, b"told", None)?;
        }
        "path" => drop(send("GET", format!("{base}/out/{}", percent(&told)), Vec::new(), None)?),
        "query" => drop(send("GET", format!("{base}/out?q={}", percent(&told)), Vec::new(), None)?),
        "header" => drop(send("GET", format!("{base}/out"), vec![("x-told".into(), told)], None)?),
        "body" => drop(send("POST", format!("{base}/out"), Vec::new(), Some(told.into_bytes()))?),
        other => return Err(Failure::internal(format!("there is no {other}"))),
    }
    Ok(json!({ "text": "passed on" }))
}

fn send(
    method: &str,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
) -> Result<http::Response, Failure> {
    Ok(http::send(&http::Request { method: method.into(), url, headers, body, timeout_ms: None })?)
}

fn body(answer: &http::Response) -> Result<String, Failure> {
    let mut whole = Vec::new();
    loop {
        let piece = answer.body.read(4096)?;
        if piece.is_empty() {
            return Ok(String::from_utf8_lossy(&whole).into_owned());
        }
        whole.extend(piece);
    }
}

/// Everything but letters and digits escaped.
fn percent(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}
