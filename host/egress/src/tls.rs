//! TLS out: version 1.3, the web's roots and those the operator added, and no switch to accept less.
//!
//! Sessions are not resumed: a ticket would tie requests of one tenant to those of another.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use url::{Host, Url};

/// Why TLS cannot be set up at start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A root certificate the operator added is not one.
    #[error("root certificate {index} is not usable: {source}")]
    Root {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The cryptographic library refuses the configuration.
    #[error("TLS cannot be configured: {0}")]
    Config(#[from] rustls::Error),
}

/// Client configurations and who gets which.
pub(crate) struct Tls {
    modern: Arc<ClientConfig>,
    old: Arc<ClientConfig>,
    old_hosts: BTreeSet<String>,
}

impl Tls {
    /// `old_hosts` are host names, as a URL shows them, that the operator lets speak TLS 1.2.
    pub(crate) fn new(extra_roots: &[CertificateDer<'static>], old_hosts: BTreeSet<String>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (index, root) in extra_roots.iter().enumerate() {
            roots.add(root.clone()).map_err(|source| TlsError::Root { index, source })?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self {
            modern: config(&provider, &roots, &[&TLS13])?,
            old: config(&provider, &roots, &[&TLS13, &TLS12])?,
            old_hosts,
        })
    }

    /// The configuration for the host of `url`.
    pub(crate) fn for_url(&self, url: &Url) -> Arc<ClientConfig> {
        Arc::clone(if self.is_old(url) { &self.old } else { &self.modern })
    }

    /// Whether the host of `url` may speak TLS 1.2.
    pub(crate) fn is_old(&self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.old_hosts.contains(host))
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name the certificate must show: the URL's host without a trailing dot (RFC 6066 section 3), or its address.
pub(crate) fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
        Host::Ipv4(v4) => Some(ServerName::IpAddress(std::net::IpAddr::V4(v4).into())),
        Host::Ipv6(v6) => Some(ServerName::IpAddress(std::net::IpAddr::V6(v6).into())),
    }
}
