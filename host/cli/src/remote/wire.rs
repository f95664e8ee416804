//! One request and its answer, over TLS 1.3 or a socket. What the environment says of proxies is not looked at, and no
//! redirect is followed: a request goes where it was signed for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use crate::failure::{Exit, Failure, chain};

/// How long reaching the server may take.
const REACH: Duration = Duration::from_secs(10);

/// How a server is reached.
#[derive(Clone)]
pub(crate) struct Wire {
    address: Address,
    /// What is trusted over the network.
    tls: Option<Arc<ClientConfig>>,
}

impl Wire {
    /// To this address; `ca` is a file of roots to trust besides the public ones.
    pub(crate) fn new(address: Address, ca: Option<&Path>) -> Result<Self, Failure> {
        let tls = match &address {
            Address::Network(_) => Some(trusting(ca)?),
            Address::Socket(_) => None,
        };
        Ok(Self { address, tls })
    }

    /// Sends a request, and gives the answer whose body is still to come.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let unreached = |error: &dyn std::error::Error| {
            Failure::new(Exit::Unavailable, "addr.unreachable", format!("{} is not reached", self.address))
                .detail(chain(error))
                .fix("is opsiq serve running there? a certificate of a root of your own is trusted with --ca FILE or OPSIQ_CA")
        };
        let late = |_| unreached(&std::io::Error::from(std::io::ErrorKind::TimedOut));
        match (&self.address, &self.tls) {
            (Address::Socket(path), _) => {
                let stream = timeout(REACH, UnixStream::connect(path)).await.map_err(late)?;
                self.exchange(stream.map_err(|error| unreached(&error))?, request).await
            }
            (Address::Network(authority), Some(tls)) => {
                let (host, port) = Address::host_and_port(authority);
                let name = ServerName::try_from(host.to_owned()).map_err(|error| unreached(&error))?;
                let reached = async {
                    let stream = TcpStream::connect((host, port)).await?;
                    TlsConnector::from(tls.clone()).connect(name, stream).await
                };
                let stream = timeout(REACH, reached).await.map_err(late)?;
                self.exchange(stream.map_err(|error| unreached(&error))?, request).await
            }
            (Address::Network(_), None) => Err(Failure::usage("nothing is trusted over the network")),
        }
    }

    async fn exchange<T>(&self, stream: T, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    }

    /// The connection ended before the answer did: what was asked may have been done.
    pub(crate) fn broken(&self, error: &dyn std::error::Error) -> Failure {
        Failure::new(Exit::Unavailable, "addr.broken", format!("{} did not answer", self.address))
            .detail(format!("{}\nWhat was asked may have been done: look before trying again.", chain(error)))
    }
}

/// TLS 1.3 and nothing older, the public roots, and those of a file.
fn trusting(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        let wrong = |why: String| {
            Failure::new(Exit::Invalid, "addr.ca", format!("{} holds no certificate to trust", path.display()))
                .detail(why)
        };
        let pem = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
        let own: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
        if own.is_empty() {
            return Err(wrong("there is none in PEM form".to_owned()));
        }
        for root in own {
            roots.add(root).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| Failure::internal("TLS cannot be set up", &error))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
