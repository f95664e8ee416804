//! One request and the head of its answer, over a connection that carries nothing else.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RANGE};
use http::{Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use opsiq_contract::HttpLimits;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::egress::{Protocol, Reached};
use crate::request::{Outgoing, target};
use crate::wire::{Counted, Traffic};

/// The task that moves a connection's bytes. Dropping it closes the connection.
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no answer on a connection that was made.
pub(crate) enum Broke {
    /// The peer spoke something else, or closed.
    Peer(hyper::Error),
    /// The answer's head has too many fields or bytes.
    Head,
    /// Bytes moved too slowly.
    Slow,
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

/// Sends `request` and waits for the answer's head. `traffic` counts from here on; `injected` is the credential, added
/// last. There is a rate but no time limit: the caller has that.
pub(crate) async fn exchange(
    reached: Reached,
    request: &Outgoing,
    injected: Option<(HeaderName, HeaderValue)>,
    traffic: &Arc<Traffic>,
    limits: &HttpLimits,
) -> Result<(Response<Incoming>, Driver), Broke> {
    let http1 = reached.protocol == Protocol::Http1;
    let io = TokioIo::new(Counted { stream: reached.stream, traffic: Arc::clone(traffic), whole: http1 });
    let message = message(request, injected, http1).ok_or(Broke::Unsendable)?;
    // Names and values are limited; status line and separators come on top.
    let head = usize::try_from(limits.header_bytes + 4 * limits.header_count + 256).unwrap_or(usize::MAX).min(1 << 24);
    let count = usize::try_from(limits.header_count).unwrap_or(usize::MAX).min(1 << 14);
    let pace = Pace::of(limits);
    if http1 {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(count)
            .max_header_size(head)
            .max_buf_size(head.max(32 << 10))
            .handshake(io)
            .await?;
        let driver = drive(connection);
        let answer = pace.head(traffic, request.body_len(), sender.send_request(message)).await?;
        Ok((answer, driver))
    } else {
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(head + 32 * count).unwrap_or(u32::MAX))
            .handshake(io)
            .await?;
        let driver = drive(connection);
        traffic.assume_request_sent();
        // A peer's settings are bytes too, so its answer cannot be timed by its first byte: the total time bounds it.
        let answer = sender.send_request(message).await?;
        Ok((answer, driver))
    }
}

fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Driver {
    Driver(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    }))
}

fn message(
    request: &Outgoing,
    injected: Option<(HeaderName, HeaderValue)>,
    http1: bool,
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
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(HOST, HeaderValue::from_str(&authority(&request.url)).ok()?);
    }
    if let Some((name, value)) = injected {
        headers.insert(name, value);
    }
    *message.uri_mut() = if http1 { target(&request.url)? } else { request.url.as_str().parse().ok()? };
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

    /// Waits for an HTTP/1 answer's head while the request goes out, and then from the answer's first byte on, at this
    /// rate at least. What the peer takes to think in between is not counted.
    async fn head<F>(self, traffic: &Traffic, body: u64, answer: F) -> Result<Response<Incoming>, Broke>
    where
        F: Future<Output = hyper::Result<Response<Incoming>>>,
    {
        let mut answer = pin!(answer);
        let begun = Instant::now();
        let mut first_byte = None;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer?),
                () = sleep(self.tick()) => {}
            }
            let slow = if traffic.received() > 0 {
                self.too_slow(traffic.received(), first_byte.get_or_insert_with(Instant::now).elapsed())
            } else {
                traffic.sent() < body && self.too_slow(traffic.sent(), begun.elapsed())
            };
            if slow {
                return Err(Broke::Slow);
            }
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
