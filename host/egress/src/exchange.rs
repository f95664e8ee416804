//! One request as it is written, and the pace at which the head of its answer must come.

use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RANGE};
use http::{Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use opsiq_contract::HttpLimits;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::request::Outgoing;
use crate::wire::Traffic;

/// Bytes that may come while the head of an answer does not.
const MOST_BEFORE_HEAD: u64 = 1 << 20;

/// Why there is no answer on a connection that was made.
pub(crate) enum Broke {
    /// The peer spoke something else, or closed.
    Peer(hyper::Error),
    /// The answer's head has too many fields or bytes.
    Head,
    /// Bytes moved too slowly.
    Slow,
    /// The time for the exchange is over.
    Late,
    /// HTTP cannot carry the URL. Nothing was sent.
    Unsendable,
}

impl From<hyper::Error> for Broke {
    fn from(error: hyper::Error) -> Self {
        // hyper tells the kinds of parse errors apart in its servers only; if its wording changed, the answer would
        // become `broken` instead of a limit.
        let too_large = error.is_parse() && error.to_string().contains("too large");
        if too_large { Self::Head } else { Self::Peer(error) }
    }
}

impl Broke {
    /// Whether the connection ended without a word, as one does whose peer gave it up while it was not used.
    pub(crate) fn is_loss(&self) -> bool {
        let Self::Peer(error) = self else { return false };
        error.is_canceled() || error.is_closed() || error.is_incomplete_message() || error.source().is_some_and(is_gone)
    }
}

fn is_gone(cause: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let gone = |error: &std::io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    };
    cause.downcast_ref::<std::io::Error>().is_some_and(gone)
}

/// The message for `request`, with `injected` as its credential, added last; `None` when HTTP cannot carry its URL. With
/// `last` the connection is to end after it.
pub(crate) fn message(
    request: &Outgoing,
    injected: Option<(HeaderName, HeaderValue)>,
    http1: bool,
    last: bool,
) -> Option<Request<Full<Bytes>>> {
    let body = request.body.clone().unwrap_or_default();
    let length = body.len();
    let mut message = Request::new(Full::new(body));
    *message.method_mut() = request.method.clone();
    let headers = message.headers_mut();
    *headers = request.headers.clone();
    if request.body.is_some() || matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // A part of a compressed answer cannot be decoded.
    let codings = if headers.contains_key(RANGE) { "identity" } else { "gzip" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
    if http1 {
        if last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(HOST, HeaderValue::from_str(&authority(&request.url)).ok()?);
    }
    if let Some((name, value)) = injected {
        headers.insert(name, value);
    }
    *message.uri_mut() = if http1 { request.target.clone() } else { request.url.as_str().parse().ok()? };
    *message.version_mut() = if http1 { Version::HTTP_11 } else { Version::HTTP_2 };
    Some(message)
}

/// `Host` as RFC 9110 section 7.2 has it: the port only when it is not the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The slowest rate an exchange may have, after a time of grace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    rate: u64,
    grace: Duration,
}

impl Pace {
    pub(crate) fn of(limits: &HttpLimits) -> Self {
        Self { rate: limits.min_rate_bytes_per_s, grace: Duration::from_millis(limits.min_rate_after_ms) }
    }

    /// Whether `bytes` are too few for having waited `waited` for them.
    pub(crate) fn too_slow(self, bytes: u64, waited: Duration) -> bool {
        let over = waited.saturating_sub(self.grace).as_millis();
        over > 0 && u128::from(bytes) * 1_000 < u128::from(self.rate) * over
    }

    /// How often to look.
    pub(crate) fn tick(self) -> Duration {
        (self.grace / 4).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// Waits for an HTTP/1 answer's head, until `deadline`, while the request goes out, and then from the answer's first
    /// byte on, at this rate at least. What the peer takes to think in between is not counted.
    pub(crate) async fn head<F>(
        self,
        traffic: &Traffic,
        body: u64,
        deadline: Instant,
        answer: F,
    ) -> Result<Response<Incoming>, Broke>
    where
        F: Future<Output = hyper::Result<Response<Incoming>>>,
    {
        let mut answer = pin!(answer);
        let (begun, before) = (Instant::now(), (traffic.sent(), traffic.received()));
        let mut wake = pin!(sleep_until(deadline.min(begun + self.tick())));
        let mut first_byte = None;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer?),
                () = &mut wake => {}
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Broke::Late);
            }
            // One head is bounded as it is parsed; interim answers (RFC 9110 section 15.2) may come without end.
            let (sent, received) = (traffic.sent() - before.0, traffic.received() - before.1);
            if received > MOST_BEFORE_HEAD {
                return Err(Broke::Head);
            }
            let slow = if received > 0 {
                self.too_slow(received, now - *first_byte.get_or_insert(now))
            } else {
                sent < body && self.too_slow(sent, now - begun)
            };
            if slow {
                return Err(Broke::Slow);
            }
            wake.as_mut().reset(deadline.min(now + self.tick()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_after_the_grace() {
        let pace = Pace { rate: 1_024, grace: Duration::from_secs(5) };
        assert!(!pace.too_slow(0, Duration::from_secs(5)));
        assert!(pace.too_slow(5, Duration::from_millis(5_010)));
        assert!(!pace.too_slow(1_024, Duration::from_secs(6)));
        assert!(pace.too_slow(1_023, Duration::from_secs(6)));
        assert!(!Pace { rate: 0, grace: Duration::ZERO }.too_slow(0, Duration::from_secs(59)));
    }

    #[test]
    fn host_names_the_port_only_when_it_is_not_the_schemes() {
        for (url, expected) in [
            ("https://a.example/", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("https://a.example:8443/", "a.example:8443"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(authority(&url.parse().unwrap()), expected);
        }
    }
}
