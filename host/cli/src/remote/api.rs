//! The API of a server, as the commands ask it: JSON in and out, and a refusal as the gate gave it.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use opsiq_contract::InvocationId;
use opsiq_gate::{Class, Fault, Refusal, Stage};
use opsiq_signing::SIGNATURE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::address::Address;
use super::proof::{Expected, Proof};
use super::wire::Wire;
use crate::failure::{Exit, Failure};

/// The media types of JSON, of problems (RFC 9457), and of components.
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
pub(crate) const WASM: &str = "application/wasm";
/// Bytes of an answer that is read whole, at most.
const MOST: usize = 64 << 20;
/// Items of a page.
const PAGE: usize = 1000;
/// What the host of a socket is called.
const LOCALHOST: &str = "localhost";

/// A server, and who asks it.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: Address,
    pub(crate) proof: Proof,
    wire: Wire,
}

/// What is sent.
pub(crate) struct Sent {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What came back, read whole.
pub(crate) struct Came {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// A refusal as it is written.
#[derive(Deserialize)]
struct Problem {
    rule: String,
    class: Class,
    stage: Stage,
    detail: String,
    fix: String,
    #[serde(default)]
    faults: Vec<Fault>,
    invocation: Option<InvocationId>,
    #[serde(default)]
    effect_possible: bool,
    retry_after: Option<std::num::NonZeroU32>,
}

/// A path of these segments, each with everything escaped that means something in a path.
pub(crate) fn path(segments: &[&str]) -> String {
    segments.iter().flat_map(|segment| ["/".to_owned(), escaped(segment)]).collect()
}

/// All but what is unreserved (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of a path or a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl Sent {
    /// A request without a body.
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self { method, path, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The same with bytes of this media type.
    pub(crate) fn body(mut self, media: &'static str, body: Vec<u8>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        self.body = body.into();
        self
    }

    /// The same with JSON.
    pub(crate) fn json(self, value: &Value) -> Self {
        self.body(JSON, value.to_string().into_bytes())
    }

    /// The same with JSON as it was written.
    pub(crate) fn json_text(self, text: Vec<u8>) -> Self {
        self.body(JSON, text)
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }
}

impl Api {
    /// The server at `address`, over `wire`.
    pub(crate) fn new(address: Address, proof: Proof, wire: Wire) -> Self {
        Self { address, proof, wire }
    }

    /// What is read at a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, Failure> {
        self.ask(Sent::new(Method::GET, path)).await
    }

    /// Everything of a list, page by page.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let Page { items, next } = self.get::<Page<T>>(format!("{path}?limit={PAGE}{after}")).await?;
            all.extend(items);
            match next {
                Some(next) => after = format!("&cursor={}", escaped(&next)),
                None => return Ok(all),
            }
        }
    }

    /// Does what is at a path.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: String) -> Result<T, Failure> {
        self.ask(Sent::new(Method::POST, path)).await
    }

    /// The same with JSON.
    pub(crate) async fn post_json<T: DeserializeOwned>(&self, path: String, body: &Value) -> Result<T, Failure> {
        self.ask(Sent::new(Method::POST, path).json(body)).await
    }

    /// Puts JSON at a path.
    pub(crate) async fn put_json<T: DeserializeOwned>(&self, path: String, body: &Value) -> Result<T, Failure> {
        self.ask(Sent::new(Method::PUT, path).json(body)).await
    }

    /// Removes what is at a path.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: String) -> Result<T, Failure> {
        self.ask(Sent::new(Method::DELETE, path)).await
    }

    /// Sends, and reads the answer as JSON; no content is `null`.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, sent: Sent) -> Result<T, Failure> {
        let came = self.whole(sent).await?;
        let body: &[u8] = if came.body.is_empty() { b"null" } else { &came.body };
        serde_json::from_slice(body).map_err(|error| unknown(came.status, &error.to_string()))
    }

    /// Sends, and reads the answer whole; a refusal is a failure.
    pub(crate) async fn whole(&self, sent: Sent) -> Result<Came, Failure> {
        let (response, expected) = self.send(sent).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MOST).collect().await.map_err(|error| self.wire.broken(&*error))?.to_bytes();
        let media = parts.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
        if let Some(expected) = expected {
            // Who asks is not known yet where a request is refused for its form or its signature: nobody could sign that.
            let before_known = media == PROBLEM && !parts.headers.contains_key(SIGNATURE);
            if !before_known {
                expected.verify(parts.status, &parts.headers, &body)?;
            }
        }
        if parts.status.is_success() {
            return Ok(Came { status: parts.status, body });
        }
        Err(refused(parts.status, media, &body))
    }

    /// Sends, and gives an answer that comes piece by piece, which no host signs; a refusal is a failure.
    pub(crate) async fn stream(&self, sent: Sent) -> Result<Incoming, Failure> {
        let (response, _) = self.send(sent).await?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let body = Limited::new(body, MOST).collect().await.map_err(|error| self.wire.broken(&*error))?.to_bytes();
        let media = parts.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
        Err(refused(parts.status, media, &body))
    }

    /// That the connection ended before a streamed answer did.
    pub(crate) fn broken(&self, error: &dyn std::error::Error) -> Failure {
        self.wire.broken(error)
    }

    async fn send(&self, sent: Sent) -> Result<(Response<Incoming>, Option<Expected>), Failure> {
        let Sent { method, path, mut headers, body } = sent;
        let authority = match &self.address {
            Address::Network(authority) => authority.as_str().to_ascii_lowercase(),
            Address::Socket(_) => LOCALHOST.to_owned(),
        };
        let target_uri = format!("https://{authority}{path}");
        let expected = self.proof.add(&method, &target_uri, &mut headers, &body)?;
        let impossible = |error: http::Error| Failure::internal("no request", &error);
        let host = HeaderValue::from_str(&authority).map_err(|error| impossible(error.into()))?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("opsiq/", env!("CARGO_PKG_VERSION"))));
        if !body.is_empty() || method != Method::GET {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut request = Request::builder().method(method).uri(path).body(Full::new(body)).map_err(impossible)?;
        *request.headers_mut() = headers;
        Ok((self.wire.send(request).await?, expected))
    }
}

/// A refusal as a command ends with it: as the gate gave it, whichever way it came.
fn refused(status: StatusCode, media: &str, body: &[u8]) -> Failure {
    if media != PROBLEM {
        return unknown(status, media);
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let Problem { rule, class, stage, detail, fix, faults, invocation, effect_possible, retry_after } = problem;
            let mut refusal = Refusal::new(class, stage, rule, detail, fix);
            refusal.faults = faults.into();
            refusal.invocation = invocation.map(Box::new);
            refusal.effect_possible = effect_possible;
            refusal.retry_after = retry_after;
            refusal.into()
        }
        Err(error) => unknown(status, &error.to_string()),
    }
}

fn unknown(status: StatusCode, why: &str) -> Failure {
    Failure::new(Exit::Internal, "addr.answer", format!("the server answered {status} in a form that is not known"))
        .detail(why)
        .fix("is it opsiq, and of this version? see opsiq version")
}
