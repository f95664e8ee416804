//! Names to addresses, once per request.
//!
//! The answer of one resolution is checked whole and then dialled; nothing below resolves again, so a name that
//! changes its answer between the check and the connection (DNS rebinding) gains nothing. Answers are remembered as long
//! as they say and a few seconds at most, so that a name that moves is followed soon; each use of one is checked anew.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

/// How long an answer is remembered at most, whatever it says of itself.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How long it is remembered that there is none.
const NONE_REMEMBERED: Duration = Duration::from_secs(1);
/// How many answers are remembered.
const ANSWERS: u64 = 4_096;

/// Why a name has no address. The text is for the operator and the audit log, never for a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// The one way names become addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every A and AAAA answer for `host`, an ASCII domain name as a URL holds it, perhaps with a trailing dot. Called
    /// once per hop. An empty list means the same as an error.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// The system's configuration: hosts file first, then the name servers it lists or the operator names. Search domains are not used: a URL's
/// host is a whole name.
pub struct SystemResolver {
    hosts: Hosts,
    dns: TokioResolver,
}

impl SystemResolver {
    /// Reads the hosts file and the resolver configuration. Without a readable configuration only the hosts file and
    /// `localhost` resolve.
    ///
    /// # Errors
    /// When the resolver cannot be built.
    pub fn new() -> Result<Self, ResolveError> {
        Self::asking(&[])
    }

    /// The same, asking these name servers instead of the system's, by UDP and TCP; with none, the system's.
    ///
    /// # Errors
    /// When the resolver cannot be built.
    pub fn asking(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let hosts = Hosts::from_system().unwrap_or_default();
        let of = |config| TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "no system DNS configuration: only names of the hosts file will resolve");
                of(ResolverConfig::default())
            })
        } else {
            of(ResolverConfig::from_parts(None, Vec::new(), servers.iter().copied().map(server).collect()))
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = ANSWERS;
        options.positive_max_ttl = Some(REMEMBERED);
        options.negative_max_ttl = Some(NONE_REMEMBERED);
        let dns = builder.build().map_err(|error| ResolveError(error.to_string()))?;
        Ok(Self { hosts, dns })
    }
}

/// How a name server at this address is asked.
fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut name = Name::from_ascii(host).map_err(|error| ResolveError(error.to_string()))?;
        name.set_fqdn(true);
        // As nsswitch's `files dns`: a name the hosts file knows is not asked of the network.
        let listed: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect();
        if !listed.is_empty() {
            return Ok(listed);
        }
        let (v4, v6) = futures::join!(self.dns.ipv4_lookup(name.clone()), self.dns.ipv6_lookup(name));
        if let (Err(error), Err(_)) = (&v4, &v6) {
            return Err(ResolveError(error.to_string()));
        }
        Ok([v6, v4]
            .into_iter()
            .flatten()
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_resolves_to_loopback_with_and_without_the_dot() {
        let resolver = SystemResolver::new().unwrap();
        for host in ["localhost", "localhost.", "LOCALHOST", "a.localhost"] {
            let addresses = resolver.resolve(host).await.unwrap();
            assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{host}: {addresses:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_name_has_no_address() {
        let resolver = SystemResolver::new().unwrap();
        for host in ["", "a..b", &"a".repeat(64)] {
            assert!(
                resolver.resolve(host).await.is_err() || resolver.resolve(host).await.unwrap().is_empty(),
                "{host}"
            );
        }
    }
}
