//! One request to one destination: resolve and check, take a kept connection or make one, inject, send, wait for the head.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use opsiq_contract::{HttpLimits, Inject};
use tokio::time::{Instant, timeout_at};

use crate::connection::{Connection, Purpose};
use crate::exchange::{Broke, Pace, message};
use crate::failure::{HttpFailure, Reason, limit};
use crate::inject::fill;
use crate::kept::Back;
use crate::record::Entry;
use crate::request::Outgoing;
use crate::session::Session;
use crate::vet::Vetted;

/// How long after the time for connecting every failure to connect is answered. It covers what undoing an attempt
/// takes, so that an attempt given up at the last moment and one refused at once end at the same time.
const SETTLE: Duration = Duration::from_millis(25);

/// A head on its open connection, not yet decided about.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// A connection in use. Dropping it closes it.
pub(crate) struct Lease {
    connection: Connection,
    /// Where it goes when the answer is over.
    back: Option<Back>,
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn over(self) {
        if let Some(back) = self.back
            && self.connection.has_sent_all()
        {
            back.put(self.connection);
        }
    }
}

/// The times of one hop.
#[derive(Clone, Copy)]
struct Times {
    connect_by: Instant,
    deadline: Instant,
}

impl Session {
    /// One request to one destination.
    pub(crate) async fn hop(
        &self,
        request: &Outgoing,
        mut inject: Option<&Inject>,
        deadline: Instant,
        entry: &Arc<Entry>,
    ) -> Result<Answer, HttpFailure> {
        let mut times = self.times(deadline);
        let vet = self.egress.vet(&request.url, &self.grant.private_targets);
        let vetted = match timeout_at(times.connect_by.min(deadline), vet).await {
            Ok(Ok(vetted)) => vetted,
            Ok(Err(reason)) => return Err(self.unreachable(&reason, entry, times).await),
            Err(_) => return Err(self.unreachable(&self.too_late(), entry, times).await),
        };
        let mut injected = None;
        // From before it is taken or made: what is closed meanwhile is not put back.
        let back = self.kept.as_ref().map(|kept| kept.back(self.egress.pool()));
        let mut kept = self.kept_for(request, &vetted).await;
        loop {
            let reused = kept.is_some();
            let connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect(request, &vetted, entry, times).await?,
            };
            entry.note(|record| {
                record.address = Some(connection.address);
                record.tls = connection.tls;
                record.reused = reused;
            });
            if let Some(inject) = inject.take() {
                let filled = fill(inject, self.injector.as_ref()).map_err(|denial| {
                    let failure = HttpFailure::Denied(denial);
                    entry.fail(&failure);
                    failure
                })?;
                injected = Some(filled.header);
                self.remember(filled.secrets);
            }
            let before = (entry.traffic.sent(), entry.traffic.received());
            let message = message(request, injected.clone(), connection.is_http1(), back.is_none());
            let broke = match self.exchange(connection, message, back.clone(), entry, deadline).await {
                Ok(answer) => return self.headed(answer, entry),
                Err(broke) => broke,
            };
            // RFC 9112 section 9.3.1: the peer may end a connection at any time. What was not sent at all is sent anew, and
            // what asks for no effect may be (RFC 9110 section 9.2.2); once, and not on another that was kept.
            let unsent = entry.traffic.sent() == before.0;
            let silent = entry.traffic.received() == before.1;
            let again = unsent || (silent && request.method.is_safe());
            if !(reused && again && broke.is_loss()) {
                return Err(self.broke(broke, entry, times).await);
            }
            if !unsent {
                times = self.times(deadline);
            }
        }
    }

    fn times(&self, deadline: Instant) -> Times {
        Times { connect_by: Instant::now() + Duration::from_millis(self.grant.limits.connect_ms), deadline }
    }

    fn too_late(&self) -> Reason {
        Reason::Time(self.grant.limits.connect_ms)
    }

    /// A kept connection to one of the addresses that the host has now.
    async fn kept_for(&self, request: &Outgoing, vetted: &Vetted) -> Option<Connection> {
        let kept = self.kept.as_ref()?;
        let (limits, old_tls) = (&self.grant.limits, self.egress.old_tls(&request.url));
        loop {
            let mut found = kept.take(&request.url, old_tls, limits, vetted, !request.method.is_safe())?;
            if found.is_ready().await {
                return Some(found);
            }
        }
    }

    /// A new connection to one of the checked addresses.
    async fn connect(
        &self,
        request: &Outgoing,
        vetted: &Vetted,
        entry: &Arc<Entry>,
        times: Times,
    ) -> Result<Connection, HttpFailure> {
        let dial = self.egress.dial(&request.url, vetted);
        let reached = match timeout_at(times.connect_by.min(times.deadline), dial).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(reason)) => return Err(self.unreachable(&reason, entry, times).await),
            Err(_) => return Err(self.unreachable(&self.too_late(), entry, times).await),
        };
        let limits = &self.grant.limits;
        let purpose = Purpose::of(&request.url, self.egress.old_tls(&request.url), limits);
        let open = Connection::open(reached, purpose, &entry.traffic, limits);
        match timeout_at(times.deadline, open).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(broke)) => Err(self.broke(broke, entry, times).await),
            Err(_) => Err(self.broke(Broke::Late, entry, times).await),
        }
    }

    /// The request out, the answer's head in.
    async fn exchange(
        &self,
        mut connection: Connection,
        message: Option<Request<Full<Bytes>>>,
        back: Option<Back>,
        entry: &Arc<Entry>,
        deadline: Instant,
    ) -> Result<Answer, Broke> {
        let message = message.ok_or(Broke::Unsendable)?;
        let pace = Pace::of(&self.grant.limits);
        let response = connection.send(message, &entry.traffic, pace, deadline).await?;
        let back = back.filter(|_| !connection.is_http1() || ends_beyond_doubt(&response));
        Ok(Answer { response, lease: Lease { connection, back } })
    }

    /// An answer's head, unless it is too large.
    fn headed(&self, answer: Answer, entry: &Entry) -> Result<Answer, HttpFailure> {
        entry.note(|record| record.status = Some(answer.response.status().as_u16()));
        match oversized(answer.response.headers(), &self.grant.limits) {
            None => Ok(answer),
            Some(name) => {
                let failure = HttpFailure::Limit { name, sent: true };
                entry.fail_with(&failure, format!("{name}: the answer's head"));
                Err(failure)
            }
        }
    }

    /// The failure of an exchange on a connection that there was.
    async fn broke(&self, broke: Broke, entry: &Entry, times: Times) -> HttpFailure {
        let sent = entry.traffic.request_sent();
        let (failure, detail) = match broke {
            Broke::Peer(error) if !sent => {
                return self.unreachable(&Reason::Closed(error.to_string()), entry, times).await;
            }
            Broke::Peer(error) if out_of_time(&error) => {
                (HttpFailure::TimedOut { sent: true }, "waiting for the answer's head".to_owned())
            }
            Broke::Peer(error) => (HttpFailure::Broken, error.to_string()),
            Broke::Head => {
                let bytes = entry.traffic.received() > self.grant.limits.header_bytes;
                let name = if bytes { limit::HEADER_BYTES } else { limit::HEADERS };
                (HttpFailure::Limit { name, sent }, format!("{name}: the answer's head"))
            }
            Broke::Slow => {
                (HttpFailure::Limit { name: limit::MIN_RATE, sent }, format!("{}: the head", limit::MIN_RATE))
            }
            Broke::Late => (HttpFailure::TimedOut { sent }, "waiting for the answer's head".to_owned()),
            Broke::Unsendable => {
                let what = "the URL holds characters that HTTP cannot carry";
                (HttpFailure::Invalid(what.to_owned()), what.to_owned())
            }
        };
        entry.fail_with(&failure, detail);
        failure
    }

    /// Records why a destination was not reached, and answers when every such failure is answered: a little after the
    /// time for connecting, or when the time for the whole exchange ends, if that is sooner.
    async fn unreachable(&self, reason: &Reason, entry: &Entry, times: Times) -> HttpFailure {
        let Times { connect_by, deadline } = times;
        entry.fail_for(reason);
        let settled = connect_by + SETTLE;
        self.egress.settle(settled.min(deadline)).await;
        // A kept connection may have taken bytes before it was lost.
        match (deadline <= settled, entry.traffic.request_sent()) {
            (true, sent) => HttpFailure::TimedOut { sent },
            (false, true) => HttpFailure::Broken,
            (false, false) => HttpFailure::Unreachable,
        }
    }
}

/// Whether everybody agrees where an HTTP/1 answer ends. Where a message has two lengths, or a length and chunks, or changes
/// the protocol, what comes after it may be taken for something else (RFC 9112 section 11.2).
fn ends_beyond_doubt(response: &Response<Incoming>) -> bool {
    let count = |name| response.headers().get_all(name).iter().count();
    response.version() == Version::HTTP_11
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
        && count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1
}

/// Whether the connection itself gave up waiting, as a system does for a peer that has gone.
fn out_of_time(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// The limit that an answer's head exceeds, if any. HTTP/1 heads beyond it were not even read whole.
fn oversized(headers: &HeaderMap, limits: &HttpLimits) -> Option<&'static str> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() as u64 > limits.header_count {
        Some(limit::HEADERS)
    } else if bytes as u64 > limits.header_bytes {
        Some(limit::HEADER_BYTES)
    } else {
        None
    }
}
