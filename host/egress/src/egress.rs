//! The way out itself: a URL in, a connection to a checked address out.
//!
//! It knows nothing of plugins, so everything of the host that dials (a plugin's request, a webhook, a model provider)
//! can go through it and meets the same checks.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use opsiq_contract::PrivateTarget;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::dial;
use crate::failure::Reason;
use crate::kept::Pool;
use crate::rehearsal::{Anywhere, Pipes, Upstream};
use crate::resolve::{Resolve, ResolveError, SystemResolver};
use crate::tls::{Tls, TlsError, server_name};
use crate::vet::{Vetted, vet};
use crate::wire::Stream;

/// What the operator decides about the way out.
pub struct EgressConfig {
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Root certificates trusted beside the web's, such as a company's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// Hosts, as a URL shows them, that may speak TLS 1.2 because they cannot speak 1.3. Records show the version.
    pub tls12_hosts: BTreeSet<String>,
}

/// Why there is no way out at start.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The system's resolver cannot be used.
    #[error("names cannot be resolved: {0}")]
    Resolver(#[from] ResolveError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl EgressConfig {
    /// The system's resolver, the web's roots, TLS 1.3 for all.
    ///
    /// # Errors
    /// When the system's resolver cannot be built.
    pub fn system() -> Result<Self, EgressError> {
        Ok(Self { resolver: Arc::new(SystemResolver::new()?), roots: Vec::new(), tls12_hosts: BTreeSet::new() })
    }

    /// Trusts the certificates in a text of PEM blocks as roots, too. How many they are.
    ///
    /// # Errors
    /// When a block is broken; nothing is trusted then.
    pub fn trust(&mut self, pem: &[u8]) -> Result<usize, String> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let roots = roots.map_err(|error| error.to_string())?;
        let count = roots.len();
        self.roots.extend(roots);
        Ok(count)
    }
}

/// What both sides agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed by ALPN.
    Http2,
}

/// A connection to a checked address, on which nothing was said yet.
pub struct Reached {
    /// The bytes, within TLS where the URL says https.
    pub stream: Box<dyn Stream>,
    /// The address that was checked and connected to.
    pub address: SocketAddr,
    /// What to speak.
    pub protocol: Protocol,
    /// `TLS 1.3` or `TLS 1.2`; `None` for plain http.
    pub tls: Option<&'static str>,
}

/// The one way out. It holds no connection itself: [`Kept`](crate::Kept) does, for one installation each, so that none is
/// ever shared between tenants, installations or origins.
pub struct Egress {
    resolver: Arc<dyn Resolve>,
    way: Way,
    pool: Arc<Pool>,
}

/// Where it leads once an address is checked.
enum Way {
    /// Out.
    Network(Tls),
    /// Nowhere.
    Rehearsal(Pipes),
}

impl Egress {
    /// # Errors
    /// When a root certificate is none.
    pub fn new(config: EgressConfig) -> Result<Self, EgressError> {
        let way = Way::Network(Tls::new(&config.roots, config.tls12_hosts)?);
        Ok(Self { resolver: config.resolver, way, pool: Arc::default() })
    }

    /// A way out that leads nowhere but to `upstream`, in this process. Everything before the dial is as in earnest, but
    /// that every name resolves to an address that may be dialled, and that no time passes.
    pub fn rehearsal(upstream: Arc<dyn Upstream>) -> Self {
        Self { resolver: Arc::new(Anywhere), way: Way::Rehearsal(Pipes::new(upstream)), pool: Arc::default() }
    }

    /// Whether the upstream of a rehearsal ended it.
    pub fn ended(&self) -> bool {
        matches!(&self.way, Way::Rehearsal(pipes) if pipes.ended())
    }

    /// Resolves the host of an http or https URL once, checks every answer, connects to a checked address and, for
    /// https, completes the TLS handshake under the URL's name. `targets` are the private destinations the operator
    /// listed; plain http goes to those of them alone that say so.
    ///
    /// It has no time limit of its own: wrap it in one, and answer all failures alike.
    ///
    /// # Errors
    /// The reason, for the audit log and not for whoever asked.
    pub async fn reach(&self, url: &Url, targets: &[PrivateTarget]) -> Result<Reached, Reason> {
        let vetted = self.vet(url, targets).await?;
        self.dial(url, &vetted).await
    }

    /// Closes every connection that is kept, and keeps none from now on.
    pub fn close(&self) {
        self.pool.end();
    }

    /// How many connections are kept now, of all installations.
    pub fn kept(&self) -> usize {
        self.pool.kept()
    }

    /// The addresses of the host of `url` now, each of them checked.
    pub(crate) async fn vet(&self, url: &Url, targets: &[PrivateTarget]) -> Result<Vetted, Reason> {
        vet(url, targets, self.resolver.as_ref()).await
    }

    /// A new connection to one of the checked addresses.
    pub(crate) async fn dial(&self, url: &Url, vetted: &Vetted) -> Result<Reached, Reason> {
        match &self.way {
            Way::Network(tls) => dialled(tls, url, vetted).await,
            Way::Rehearsal(pipes) => {
                let address = vetted.addresses.first().copied();
                let address = address.ok_or_else(|| Reason::Unresolved("no address".to_owned()))?;
                Ok(pipes.reach(url, address))
            }
        }
    }

    /// Whether the host of `url` may speak TLS 1.2.
    pub(crate) fn old_tls(&self, url: &Url) -> bool {
        matches!(&self.way, Way::Network(tls) if tls.is_old(url))
    }

    /// What all kept connections count on.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Waits until `moment`, so that what ended earlier is answered then. A rehearsal has nobody to hide time from.
    pub(crate) async fn settle(&self, moment: Instant) {
        if matches!(self.way, Way::Network(_)) {
            sleep_until(moment).await;
        }
    }
}

/// A connection to one of the checked addresses.
async fn dialled(tls: &Tls, url: &Url, vetted: &Vetted) -> Result<Reached, Reason> {
    let (stream, address) =
        dial::connect(&vetted.addresses).await.map_err(|error| Reason::Connect(error.to_string()))?;
    if url.scheme() != "https" {
        return Ok(Reached { stream: Box::new(stream), address, protocol: Protocol::Http1, tls: None });
    }
    let name = server_name(url).ok_or_else(|| Reason::Tls("the host is no name a certificate can have".to_owned()))?;
    let stream = TlsConnector::from(tls.for_url(url))
        .connect(name, stream)
        .await
        .map_err(|error| Reason::Tls(error.to_string()))?;
    let (_, session) = stream.get_ref();
    let protocol = if session.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let tls = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    Ok(Reached { stream: Box::new(stream), address, protocol, tls: Some(tls) })
}
