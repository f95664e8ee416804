//! Starting, opening and ending a server. It listens before its host is open, so that a sealed one can say so; it ends by
//! taking no more, finishing what has begun, and then letting go.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use cap_std::fs::Dir;
use opsiq_gate::{Actor, Host};
use rustix::fs::{AtFlags, Mode, chmodat, renameat, unlinkat};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

use crate::acme::Acme;
use crate::api;
use crate::ask::Content;
use crate::auth::Authenticate;
use crate::counts::Counts;
use crate::front::{Front, finish};
use crate::health;
use crate::listen::{self, App, Bounds};
use crate::metrics;
use crate::openapi;
use crate::pages;
use crate::routes::Route;
use crate::settings::Settings;
use crate::tls::{self, Certificates, TlsError};
use crate::viewer;

/// The operator's socket in the data directory.
pub const SOCKET: &str = "operator.sock";
/// Its name until it can be used.
const NEW: &str = "operator.sock.new";
/// Connections to it, and to the listener for health and metrics.
const OPERATOR_CONNECTIONS: usize = 64;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The operator's socket cannot be made.
    #[error("cannot make the operator's socket: {0}")]
    Socket(std::io::Error),
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running server.
pub struct Server {
    front: Arc<Front>,
    router: Router,
    bounds: Bounds,
    certificates: Arc<Certificates>,
    address: SocketAddr,
    operator_address: Option<SocketAddr>,
    drain: Duration,
    ends: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    socket: Option<OwnedFd>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens, with a certificate from files or one kept in the directory `data`, and answers that the host is not open yet.
    /// `door` proves who calls.
    ///
    /// # Errors
    /// An address that is taken; a certificate that cannot be used.
    pub async fn start(settings: &Settings, data: &Path, door: Box<dyn Authenticate>) -> Result<Self, StartError> {
        let certificates = Arc::new(if let Some((chain, key)) = &settings.tls_files {
            Certificates::from_files(chain, key)?
        } else {
            let dir = opened(data)?;
            match settings.acme {
                Some(_) => Certificates::issued(&dir, &settings.tls_names)?,
                None => Certificates::own(&dir, &settings.tls_names)?,
            }
        });
        let acme = match &settings.acme {
            Some(acme) => Some(Arc::new(Acme::new(acme, &settings.tls_names, opened(data)?, certificates.clone())?)),
            None => None,
        };
        if certificates.ends_soon() {
            tracing::warn!("the certificate ends soon, or has ended");
        }
        let acceptor = TlsAcceptor::from(tls::config(&certificates)?);
        let front = Front::new(settings, door);
        let mut table = api::routes();
        health::add(&mut table);
        pages::add(&mut table);
        let document = openapi::document(&table);
        let page = viewer::page(&document).into();
        // Nobody set it before.
        let _ = front.documents.set((document.to_string().into(), page));
        let (router, known) = table.router(&front);
        let bounds = Bounds::of(settings);
        let counts = Counts::new(settings.connections, settings.connections_per_address);
        let (ends, ended) = watch::channel(false);
        let listener = bind(settings.listen).await?;
        let address = listener.local_addr().unwrap_or(settings.listen);
        let _ = front.names.set(names(settings, address.port()));
        let app = App { front: front.clone(), router: router.clone(), counts: counts.clone(), bounds };
        let mut tasks = vec![tokio::spawn(listen::tcp(listener, Some(acceptor), app, ended.clone()))];
        let mut operator_address = None;
        if let Some(at) = settings.operator_listen {
            let listener = bind(at).await?;
            operator_address = listener.local_addr().ok();
            let router = operator(&front, counts.clone(), known, certificates.clone(), acme.clone());
            let counts = Counts::new(OPERATOR_CONNECTIONS, OPERATOR_CONNECTIONS);
            let app = App { front: front.clone(), router, counts, bounds };
            tasks.push(tokio::spawn(listen::tcp(listener, None, app, ended.clone())));
        }
        if let Some(acme) = acme {
            tasks.push(tokio::spawn(acme.keep(ended.clone())));
        }
        tasks.push(tokio::spawn(look(certificates.clone(), ended)));
        let drain = settings.drain;
        Ok(Self { front, router, bounds, certificates, address, operator_address, drain, ends, tasks, socket: None })
    }

    /// Serves this host from now on, over the network and, for the operator, over a socket in its data directory.
    ///
    /// # Errors
    /// When the socket cannot be made; nothing is served then.
    pub fn open(&mut self, host: &Host) -> Result<(), StartError> {
        let dir = host.dir().try_clone_to_owned().map_err(StartError::Socket)?;
        let listener = socket(&dir).map_err(StartError::Socket)?;
        let counts = Counts::new(OPERATOR_CONNECTIONS, OPERATOR_CONNECTIONS);
        let app = App { front: self.front.clone(), router: self.router.clone(), counts, bounds: self.bounds };
        self.tasks.push(tokio::spawn(listen::unix(listener, app, self.ends.subscribe())));
        self.socket = Some(dir);
        self.front.open(host.clone());
        Ok(())
    }

    /// Answers that the host is sealed, until it is opened. `why` is told to the operator alone.
    pub fn seal(&self, why: String) {
        self.front.seal(why);
    }

    /// Where the API is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are served.
    pub fn operator_address(&self) -> Option<SocketAddr> {
        self.operator_address
    }

    /// The certificate in use.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Takes no more connections, lets requests in progress end within the time that is set, and lets go of the host.
    pub async fn end(self) {
        if let Some(dir) = &self.socket {
            let _ = unlinkat(dir, SOCKET, AtFlags::empty());
        }
        let _ = self.ends.send(true);
        let mut tasks = self.tasks;
        let all = async {
            for task in &mut tasks {
                let _ = task.await;
            }
        };
        if timeout(self.drain, all).await.is_err() {
            tracing::warn!("requests are still in progress; their connections are cut");
        }
        for task in &tasks {
            task.abort();
        }
        self.front.end();
    }
}

/// What clients call this host: its public name alone, where there is one.
fn names(settings: &Settings, port: u16) -> Vec<String> {
    if let Some(url) = &settings.public_url {
        return vec![url.trim_start_matches("https://").to_owned()];
    }
    let named =
        settings.tls_names.iter().map(|name| if name.contains(':') { format!("[{name}]") } else { name.clone() });
    named.map(|name| if port == 443 { name } else { format!("{name}:{port}") }).collect()
}

fn opened(data: &Path) -> Result<Dir, TlsError> {
    Dir::open_ambient_dir(data, cap_std::ambient_authority())
        .map_err(|source| TlsError::File { path: data.to_owned(), source })
}

async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    tokio::net::TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Makes the socket, which nobody but the host's own user may open, and puts it in the place of one that was left behind.
fn socket(dir: &OwnedFd) -> std::io::Result<UnixListener> {
    let _ = unlinkat(dir, NEW, AtFlags::empty());
    // A socket's path may have some hundred bytes, a data directory's more.
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{NEW}", dir.as_fd().as_raw_fd()))?;
    chmodat(dir, NEW, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    renameat(dir, NEW, dir, SOCKET)?;
    Ok(listener)
}

/// Looks at the certificate's files, and warns once a day of one that ends soon.
async fn look(certificates: Arc<Certificates>, mut ended: watch::Receiver<bool>) {
    const DAY: u64 = 24 * 3600;
    let mut looks = interval(tls::LOOK);
    let mut since_warned = 0;
    loop {
        tokio::select! {
            () = listen::told(&mut ended) => return,
            _ = looks.tick() => {}
        }
        let looked = certificates.clone();
        let _ = tokio::task::spawn_blocking(move || looked.look()).await;
        since_warned += tls::LOOK.as_secs();
        if since_warned >= DAY {
            since_warned = 0;
            if certificates.ends_soon() {
                tracing::warn!("the certificate ends soon, or has ended");
            }
        }
    }
}

/// Health and metrics.
fn operator(
    front: &Arc<Front>,
    counts: Arc<Counts>,
    routes: Vec<Arc<Route>>,
    certificates: Arc<Certificates>,
    acme: Option<Arc<Acme>>,
) -> Router {
    let (ready, seal, measured, lost) = (front.clone(), front.clone(), front.clone(), front.clone());
    Router::new()
        .route("/healthz", get(|| async { plain(StatusCode::OK, "ok".to_owned()) }))
        .route(
            "/readyz",
            get(move || {
                let reply = health::ready(&ready);
                let word = match reply.content {
                    Content::Whole(word) => String::from_utf8_lossy(&word).into_owned(),
                    Content::Stream(_) => String::new(),
                };
                async move { plain(reply.status, word) }
            }),
        )
        .route(
            "/seal",
            get(move || {
                let why = seal.sealed();
                let said = why.map_or_else(|| "open".to_owned(), |why| format!("sealed: {why}"));
                async move { plain(StatusCode::OK, said) }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                let mut text = metrics::text(&measured.counters, counts.now(), &routes);
                text.push_str(&metrics::certificate(certificates.until()));
                text.push_str(&acme.as_ref().map(|acme| acme.metrics()).unwrap_or_default());
                text.push_str(&measured.guard.metrics(measured.there().as_ref()));
                let host = measured.host();
                async move {
                    if let Ok(host) = host
                        && let Ok(more) = host.control().metrics(&Actor::operator()).await
                    {
                        text.push_str(&more);
                    }
                    plain(StatusCode::OK, text)
                }
            }),
        )
        .fallback(move |request: Request| {
            let front = lost.clone();
            async move { front.refused(&request.into_parts().0, StatusCode::NOT_FOUND) }
        })
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    finish(response, "")
}
