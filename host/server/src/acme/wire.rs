//! How the authority is asked: over TLS 1.3 that the web's roots vouch for, or the one root the operator named. Wherever the
//! directory leads, it is asked over HTTPS, and answers of more than a megabyte are none.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::{TlsError, provider};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one.
const MOST: usize = 1 << 20;

/// Asks an authority.
#[derive(Clone)]
pub(super) struct Wire(TlsConnector);

impl Wire {
    pub(super) fn new(root: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = root {
            let found = CertificateDer::from_pem_file(path)
                .map_err(|_| TlsError::Pem { path: path.to_owned(), what: "certificate" })?;
            roots.add(found)?;
        } else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.0.clone();
        Box::pin(async move {
            timeout(PATIENCE, exchange(tls, request))
                .await
                .unwrap_or_else(|_| Err(Error::Other(format!("no answer within {PATIENCE:?}").into())))
        })
    }
}

async fn exchange(tls: TlsConnector, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
    let (mut parts, body) = request.into_parts();
    let uri = parts.uri.clone();
    let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::Other(format!("{uri} is not asked: it is no https URL").into()));
    };
    let about = |what: &str, error: &dyn std::fmt::Display| Error::Other(format!("{what} {authority}: {error}").into());
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| about("the name of", &error))?;
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443)))
        .await
        .map_err(|error| about("cannot reach", &error))?;
    let stream = tls.connect(name, tcp).await.map_err(|error| about("no TLS 1.3 with", &error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| about("no HTTP with", &error))?;
    let driven = tokio::spawn(connection);
    parts.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(http::Error::from)?);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    parts.uri = target.parse::<Uri>()?;
    let answer = async {
        let response = sender
            .send_request(Request::from_parts(parts, body))
            .await
            .map_err(|error| about("no answer from", &error))?;
        let (parts, body) = response.into_parts();
        let bytes = Limited::new(body, MOST).collect().await.map_err(Error::Other)?.to_bytes();
        Ok(BytesResponse { parts, body: Box::new(bytes) })
    };
    let answer = answer.await;
    driven.abort();
    answer
}
