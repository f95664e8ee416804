//! Taking connections, and what each may use: how many there are, how long a handshake and a header may take, how long it
//! may say nothing and take nothing, and how it ends when the server does.
//!
//! A connection that is one too many is closed before anything is spent on it. HTTP/2 has further bounds: requests at
//! once, requests that are reset before they are answered, and bytes on their way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use opsiq_shield::ClientIp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::counts::Counts;
use crate::front::Front;
use crate::metrics::Counters;
use crate::patience::Patient;
use crate::settings::Settings;
use crate::tls::ACME_TLS;

/// Requests that a client may reset before they are answered, on one connection, before it is closed.
const RESETS: usize = 32;
/// Bytes that an HTTP/2 client may send on one stream, and on one connection, before we take some.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answers held for one HTTP/2 stream.
const SEND_BUFFER: usize = 256 << 10;
/// How long a connection that was told to end may take to.
const LINGER: Duration = Duration::from_secs(5);
/// How long to wait when the system has no descriptor for another connection.
const NO_ROOM: Duration = Duration::from_millis(50);

/// What a connection is served with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) front: Arc<Front>,
    pub(crate) router: Router,
    pub(crate) counts: Arc<Counts>,
    pub(crate) bounds: Bounds,
}

/// What a connection may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    streams: u32,
    headers: usize,
    header_bytes: usize,
    header_read: Duration,
    write_stall: Duration,
    idle: Duration,
}

impl Bounds {
    pub(crate) fn of(settings: &Settings) -> Self {
        let Settings { streams, headers, header_bytes, header_read, write_stall, idle, .. } = *settings;
        Self { streams, headers, header_bytes, header_read, write_stall, idle }
    }
}

/// Takes connections over TCP until it is told to end, and then waits for those there are.
pub(crate) async fn tcp(listener: TcpListener, tls: Option<TlsAcceptor>, app: App, mut ends: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = told(&mut ends) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            came = listener.accept() => if let Ok(came) = came { came } else {
                sleep(NO_ROOM).await;
                continue;
            },
        };
        let from = ClientIp::from(peer.ip());
        // Behind a proxy of the operator's are many.
        let Some(counted) = app.counts.enter(from, !app.front.guard.proxies.trust(from)) else {
            Counters::more(&app.front.counters.closed);
            continue;
        };
        Counters::more(&app.front.counters.taken);
        let _ = stream.set_nodelay(true);
        let (app, tls, ends) = (app.clone(), tls.clone(), ends.clone());
        connections.spawn(async move {
            let _counted = counted;
            let peer = Some(peer.ip());
            let Some(tls) = tls else { return serve(stream, false, peer, app, ends).await };
            match timeout(app.bounds.header_read, tls.accept(stream)).await {
                // An authority has seen what it came for; nothing else is said to it (RFC 8737 section 3).
                Ok(Ok(mut stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {
                    let _ = timeout(LINGER, stream.shutdown()).await;
                }
                Ok(Ok(stream)) => {
                    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, h2, peer, app, ends).await;
                }
                _ => Counters::more(&app.front.counters.handshakes_failed),
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The same for the operator's socket, whose peers are the host's own user and root.
pub(crate) async fn unix(listener: UnixListener, app: App, mut ends: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = told(&mut ends) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            came = listener.accept() => if let Ok((stream, _)) = came { stream } else {
                sleep(NO_ROOM).await;
                continue;
            },
        };
        let ours = rustix::process::geteuid().as_raw();
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == ours) {
            continue;
        }
        let Some(counted) = app.counts.enter(IpAddr::from(Ipv4Addr::LOCALHOST).into(), true) else { continue };
        let (app, ends) = (app.clone(), ends.clone());
        connections.spawn(async move {
            let _counted = counted;
            serve(stream, false, None, app, ends).await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the server ends.
pub(crate) async fn told(ends: &mut watch::Receiver<bool>) {
    // A sender that is gone has ended, too.
    let _ = ends.wait_for(|ends| *ends).await.map(drop);
}

/// Requests in progress on one connection, and since when there is none.
#[derive(Debug)]
struct Activity {
    now: AtomicUsize,
    since: Mutex<Instant>,
}

/// A request in progress.
struct Busy(Arc<Activity>);

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicUsize::new(0), since: Mutex::new(Instant::now()) })
    }

    fn enter(self: &Arc<Self>) -> Busy {
        self.now.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// When the connection will have been idle for `most`, as things stand.
    fn idle_at(&self, most: Duration) -> Instant {
        if self.now.load(Ordering::Acquire) > 0 {
            return Instant::now() + most;
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) + most
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.now.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve<T>(stream: T, h2: bool, peer: Option<IpAddr>, app: App, ends: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bounds = app.bounds;
    let io = TokioIo::new(Patient::new(stream, bounds.write_stall));
    let activity = Activity::new();
    let busy = activity.clone();
    let service = service_fn(move |request| {
        let (app, busy) = (app.clone(), busy.enter());
        async move {
            let _busy = busy;
            Ok::<_, Infallible>(answer(app, request, peer).await)
        }
    });
    if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(bounds.streams)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(bounds.idle.max(Duration::from_secs(1)))
            .keep_alive_timeout(bounds.header_read);
        let connection = pin!(builder.serve_connection(io, service));
        watched(connection, http2::Connection::graceful_shutdown, &activity, bounds.idle, ends).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .max_headers(bounds.headers + 1)
            .max_header_size(bounds.header_bytes + 1024)
            .header_read_timeout(bounds.header_read);
        let connection = pin!(builder.serve_connection(io, service));
        watched(connection, http1::Connection::graceful_shutdown, &activity, bounds.idle, ends).await;
    }
}

/// Polls a connection to its end, and tells it to end when it was idle too long or the server ends.
async fn watched<C: Future>(
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
    activity: &Activity,
    idle: Duration,
    mut ends: watch::Receiver<bool>,
) {
    loop {
        let idle_at = activity.idle_at(idle);
        tokio::select! {
            _ = poll_fn(|cx| connection.as_mut().poll(cx)) => return,
            () = told(&mut ends) => {
                end(connection.as_mut());
                connection.await;
                return;
            }
            () = sleep_until(idle_at) => {
                if activity.idle_at(idle) <= Instant::now() {
                    end(connection.as_mut());
                    // What is still written is waited for, but nobody who does not listen.
                    let _ = timeout(LINGER, connection).await;
                    return;
                }
            }
        }
    }
}

async fn answer(mut app: App, request: Request<Incoming>, peer: Option<IpAddr>) -> Response<Body> {
    let mut request = request.map(Body::new);
    if let Err((id, problem)) = app.front.receive(&mut request, peer) {
        return Front::refusal(&problem, &id);
    }
    // A router is always ready.
    match app.router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
