//! What an answer of GitHub that is no success means.
//!
//! 403 is three things there: too many requests within the hour (`x-ratelimit-remaining: 0`), too many at once (with
//! `retry-after`, or told by its message alone), and a token that may not.

use opsiq_sdk::http::Response;
use opsiq_sdk::prelude::*;
use opsiq_sdk::serde_json::Value;

use crate::Context;

/// Seconds that GitHub asks for where it is too much at once and no header says how long.
const SECONDARY_WAIT: u32 = 60;

/// The answer, if it is a success.
///
/// # Errors
/// The failure it means otherwise.
pub(crate) fn accepted(ctx: &Context, mut answer: Response) -> Result<Response> {
    let status = answer.status();
    if status < 300 {
        return Ok(answer);
    }
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Err(moved(&answer, &ctx.config()?.base_url));
    }
    let said = reason(&answer.failure_json().unwrap_or_default());
    if matches!(status, 403 | 429)
        && let Some(wait) = wait(ctx, &answer, &said)
    {
        return Err(Failure::RateLimited(wait));
    }
    let told = |what: String| if said.is_empty() { what } else { format!("{what}: {said}") };
    let text = told(format!("GitHub answered {status}"));
    let denied = |rule: &str, fix: &str| Denial { rule: rule.into(), message: text.clone(), fix: fix.into() };
    Err(match status {
        401 => denied("github.token", "GitHub does not accept the token: let an owner or admin set a valid one").into(),
        403 => {
            denied("github.permission", "let whoever made the token give it access to the repository's issues").into()
        }
        404 => Failure::not_found(format!("{text} (it may exist where the token may not look)")),
        410 => Failure::not_found(text),
        409 => Failure::conflict(text),
        400 | 422 => Failure::invalid(text),
        _ => Failure::upstream(Some(status), true, told("GitHub failed".into())),
    })
}

/// A redirect, which nobody follows.
fn moved(answer: &Response, base: &str) -> Failure {
    let status = answer.status();
    let to = answer.header("location").unwrap_or_default();
    if origin(to).is_none_or(|to| Some(to) == origin(base)) {
        let text =
            format!("GitHub answered {status}: the repository or issue has moved; ask for it by its present name");
        return Failure::not_found(text);
    }
    let text = "GitHub points to another host, where neither the request nor the token goes";
    Failure::upstream(Some(status), true, text)
}

/// Scheme, host and port of an absolute URL.
fn origin(url: &str) -> Option<&str> {
    let from = url.find("//")? + 2;
    let to = url[from..].find(['/', '?', '#']).map_or(url.len(), |at| from + at);
    Some(&url[..to])
}

/// How long GitHub asks to wait, if the refusal is about the rate at all.
#[allow(clippy::option_option, reason = "whether it is a rate limit, and how long if it said so")]
fn wait(ctx: &Context, answer: &Response, said: &str) -> Option<Option<u32>> {
    let number = |name| answer.header(name).and_then(|value| value.trim().parse::<u64>().ok());
    if let Some(seconds) = number("retry-after") {
        return Some(Some(u32::try_from(seconds).unwrap_or(u32::MAX)));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let left = |reset: u64| reset.saturating_sub(ctx.now_ms() / 1000).max(1);
        return Some(number("x-ratelimit-reset").map(|reset| u32::try_from(left(reset)).unwrap_or(u32::MAX)));
    }
    if said.contains("secondary rate limit") {
        return Some(Some(SECONDARY_WAIT));
    }
    (answer.status() == 429).then_some(None)
}

/// What GitHub says about a failure, on one line: its message, and what is wrong with which field.
fn reason(body: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut said = text(body, "message");
    for error in body.get("errors").and_then(Value::as_array).into_iter().flatten().take(5) {
        let detail = error.as_str().map_or_else(
            || {
                let parts = [text(error, "field"), text(error, "code"), text(error, "message")];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
            },
            str::to_owned,
        );
        if !detail.is_empty() {
            said = format!("{said}; {detail}");
        }
    }
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
