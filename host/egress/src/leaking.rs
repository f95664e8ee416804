//! Secrets that a plugin puts into a request itself.
//!
//! The host injects keys; a plugin never has their bytes. One that was told them all the same, by an upstream that echoes
//! or by another plugin, must not carry them elsewhere. So a request is looked through as the plugin made it, before
//! anything is injected: one that holds the value of any key of the tenant does not leave. The keys of its own rule may
//! stand in it, because that destination is where the host sends them.

use opsiq_contract::{Denial, GrantedRule};
use opsiq_vault::LeakWatch;

use crate::request::Outgoing;

/// Why `request` may not leave by `rule`: the value of a key stands in it.
pub(crate) fn leaking(leaks: &LeakWatch, request: &Outgoing, rule: &GrantedRule) -> Option<Denial> {
    if leaks.is_idle() {
        return None;
    }
    let carries = |key: &str| rule.inject.as_ref().is_some_and(|inject| inject.value.keys().any(|own| own == key));
    let holds = |part: &'static str, bytes: &[u8]| {
        let place = || format!("{part} of a request by rule {}", rule.name).into();
        let key = leaks.catches_but("http.secret", place, bytes, carries)?;
        Some(Denial::new(
            "http.secret",
            format!(
                "the {part} of the request holds the value of {key}, which the rule `{}` does not carry",
                rule.name
            ),
            "take it out; where a destination needs a key, the rule says so with `inject` and the host puts it in",
        ))
    };
    let headers = || {
        request.headers.iter().find_map(|(name, value)| {
            holds("headers", name.as_str().as_bytes()).or_else(|| holds("headers", value.as_bytes()))
        })
    };
    holds("URL", request.url.as_str().as_bytes())
        .or_else(headers)
        .or_else(|| holds("body", request.body.as_deref().unwrap_or_default()))
}
