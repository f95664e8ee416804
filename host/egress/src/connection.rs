//! A connection to a checked address, on which one request at a time is spoken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use opsiq_contract::HttpLimits;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::egress::{Protocol, Reached};
use crate::exchange::{Broke, Pace};
use crate::wire::{Counted, Meter, Traffic};

/// How long to wait for a kept connection that is not ready although its last answer was read to the end.
const READY_WITHIN: Duration = Duration::from_millis(5);

/// What a connection was made for. It serves nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purpose {
    https: bool,
    host: String,
    port: Option<u16>,
    /// Whether TLS 1.2 was acceptable.
    old_tls: bool,
    /// What a head may hold is fixed when a connection is made.
    head: (u64, u64),
}

impl Purpose {
    pub(crate) fn of(url: &Url, old_tls: bool, limits: &HttpLimits) -> Self {
        Self {
            https: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default(),
            old_tls,
            head: (limits.header_count, limits.header_bytes),
        }
    }

    /// Whether it is that of a request to `url`.
    pub(crate) fn covers(&self, url: &Url, old_tls: bool, limits: &HttpLimits) -> bool {
        self.https == (url.scheme() == "https")
            && Some(self.host.as_str()) == url.host_str()
            && self.port == url.port_or_known_default()
            && self.old_tls == old_tls
            && self.head == (limits.header_count, limits.header_bytes)
    }
}

/// The task that moves a connection's bytes. Dropping it closes the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection. Dropping it closes it.
pub(crate) struct Connection {
    sender: Sender,
    meter: Arc<Meter>,
    pub(crate) purpose: Purpose,
    /// The address that was checked and connected to.
    pub(crate) address: SocketAddr,
    /// `TLS 1.3` or `TLS 1.2`; `None` for plain http.
    pub(crate) tls: Option<&'static str>,
    pub(crate) made: Instant,
    /// Requests it carried.
    pub(crate) carried: u32,
    /// How much is sent for the current one when its body has left, at least.
    due: u64,
    _driver: Driver,
}

impl Connection {
    /// Makes ready to speak HTTP over `reached`, for answers within `limits`; `traffic` counts from here on.
    pub(crate) async fn open(
        reached: Reached,
        purpose: Purpose,
        traffic: &Arc<Traffic>,
        limits: &HttpLimits,
    ) -> Result<Self, Broke> {
        let Reached { stream, address, protocol, tls } = reached;
        let (made, meter) = (Instant::now(), Arc::new(Meter::default()));
        meter.charge(traffic);
        let whole = protocol == Protocol::Http1;
        let io = TokioIo::new(Counted { stream, meter: Arc::clone(&meter), whole });
        // Names and values are limited; status line and separators come on top.
        let head = limits.header_bytes + 4 * limits.header_count + 256;
        let head = usize::try_from(head).unwrap_or(usize::MAX).min(1 << 24);
        let count = usize::try_from(limits.header_count).unwrap_or(usize::MAX).min(1 << 14);
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .max_headers(count)
                    .max_header_size(head)
                    .max_buf_size(head.max(32 << 10))
                    .handshake(io)
                    .await?;
                (Sender::Http1(sender), drive(connection))
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(head + 32 * count).unwrap_or(u32::MAX))
                    .handshake(io)
                    .await?;
                (Sender::Http2(sender), drive(connection))
            }
        };
        Ok(Self { sender, meter, purpose, address, tls, made, carried: 0, due: 0, _driver: driver })
    }

    /// Whether it speaks HTTP/1.1, whose messages are framed by what stands in them.
    pub(crate) fn is_http1(&self) -> bool {
        matches!(self.sender, Sender::Http1(_))
    }

    /// Whether it is known to be of no use any more.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Whether the body of its current request has left: a server may answer before it has taken it all, and what is sent
    /// then would be nobody's.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.meter.sent_for_request() > self.due
    }

    /// Bytes that move from now on belong to no request.
    pub(crate) fn rest(&self) {
        self.meter.rest();
    }

    /// Whether a kept one can carry another request: the message before is over in both directions, and nothing came after
    /// its end.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.is_ready() || matches!(timeout(READY_WITHIN, sender.ready()).await, Ok(Ok(())))
            }
            Sender::Http2(sender) => matches!(timeout(READY_WITHIN, sender.ready()).await, Ok(Ok(()))),
        }
    }

    /// Sends a request and waits for the head of its answer, until `deadline`. `traffic` counts what moves.
    pub(crate) async fn send(
        &mut self,
        message: Request<Full<Bytes>>,
        traffic: &Arc<Traffic>,
        pace: Pace,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Broke> {
        self.meter.charge(traffic);
        self.carried = self.carried.saturating_add(1);
        let body = message.body().size_hint().exact().unwrap_or_default();
        self.due = self.meter.sent_for_request() + body;
        match &mut self.sender {
            Sender::Http1(sender) => pace.head(traffic, body, deadline, sender.send_request(message)).await,
            Sender::Http2(sender) => {
                traffic.assume_request_sent();
                // A peer's settings are bytes too, so its answer cannot be timed by its first byte: the total time bounds it.
                let answer = tokio::time::timeout_at(deadline, sender.send_request(message)).await;
                Ok(answer.map_err(|_| Broke::Late)??)
            }
        }
    }
}

fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Driver {
    Driver(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    }))
}
