//! What a provider is asked, by whoever has a way out.

use crate::sso_fault::{SsoFault, refuse};
use async_trait::async_trait;
use opsiq_contract::parse_strict;
use serde_json::{Map, Value};

/// Nesting of a provider's documents, at most.
const DEPTH: usize = 16;

/// A request to a provider. Redirects are not followed.
#[derive(Default)]
pub struct FetchRequest {
    /// An absolute URL.
    pub url: String,
    /// Names and values of header fields; some are secret.
    pub headers: Vec<(String, String)>,
    /// With a body it is a POST, else a GET; some are secret.
    pub body: Option<Vec<u8>>,
}

impl FetchRequest {
    /// A GET of JSON.
    pub(super) fn get(url: &str) -> Self {
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        Self { url: url.to_owned(), headers, body: None }
    }
}

/// Does not show what may be secret.
impl std::fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a provider answered.
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The whole body, within a bound of whoever fetched it.
    pub body: Vec<u8>,
}

/// The way out.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// One exchange.
    ///
    /// # Errors
    /// Why there is no answer, for the audit log.
    async fn fetch(&self, request: FetchRequest) -> Result<Fetched, String>;
}

/// The JSON object that answers `request`; `what` names it, and `rule` what is refused without it.
pub(super) async fn object(
    way: &dyn Fetch,
    request: FetchRequest,
    rule: &'static str,
    what: &'static str,
) -> Result<Map<String, Value>, SsoFault> {
    let fetched = way.fetch(request).await;
    let fetched = fetched.map_err(|why| SsoFault::new("sso.unreachable", format!("{what}: {why}")))?;
    if fetched.status != 200 {
        return Err(SsoFault::new(rule, format!("{what} is answered with status {}", fetched.status)));
    }
    parse(&fetched.body).ok_or_else(|| SsoFault::new(rule, format!("{what} is not one JSON object")))
}

/// A JSON object that any two readers read alike.
pub(super) fn parse(bytes: &[u8]) -> Option<Map<String, Value>> {
    match parse_strict(bytes, DEPTH).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A text of an object.
pub(super) fn text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    rule: &'static str,
    missing: &'static str,
) -> Result<&'a str, SsoFault> {
    match object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) {
        Some(text) => Ok(text),
        None => refuse(rule, missing),
    }
}
