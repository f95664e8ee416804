//! From a URL's host to the exact socket addresses that may be dialled.
//!
//! One resolution, every answer checked, one bad answer refuses all: a name with a good and a bad address is either an
//! attack or a mistake, and choosing among them would let whoever answers for the name choose. Address literals go the
//! same way, in whatever form they were written, since `url` has already made them numbers.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use opsiq_contract::PrivateTarget;
use url::{Host, Url};

use crate::address::{Class, classify};
use crate::failure::Reason;
use crate::resolve::Resolve;

/// More answers than this for one name are refused: nobody needs them, and each would be checked.
const MAX_ANSWERS: usize = 64;

/// Checked addresses of one URL, to be dialled as they are.
#[derive(Debug, Clone)]
pub(crate) struct Vetted {
    /// Not empty; the resolver's order, without duplicates.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Resolves the host of `url` once and checks every answer.
///
/// # Errors
/// The reason that refuses all, for the audit log.
pub(crate) async fn vet(url: &Url, targets: &[PrivateTarget], resolver: &dyn Resolve) -> Result<Vetted, Reason> {
    let port = url.port_or_known_default().ok_or_else(|| Reason::Unresolved("the URL has no port".to_owned()))?;
    let found = match url.host() {
        Some(Host::Ipv4(v4)) => vec![IpAddr::V4(v4)],
        Some(Host::Ipv6(v6)) => vec![IpAddr::V6(v6)],
        Some(Host::Domain(name)) => {
            resolver.resolve(name).await.map_err(|error| Reason::Unresolved(error.to_string()))?
        }
        None => return Err(Reason::Unresolved("the URL has no host".to_owned())),
    };
    if found.is_empty() {
        return Err(Reason::Unresolved("no address".to_owned()));
    }
    if found.len() > MAX_ANSWERS {
        return Err(Reason::Unresolved(format!("{} addresses are more than {MAX_ANSWERS}", found.len())));
    }
    let tls = url.scheme() == "https";
    let mut addresses = Vec::with_capacity(found.len());
    for address in found {
        dialable(address, port, tls, targets).map_err(|why| Reason::Address { address, port, why })?;
        let socket = SocketAddr::new(address, port);
        if !addresses.contains(&socket) {
            addresses.push(socket);
        }
    }
    Ok(Vetted { addresses })
}

/// Whether one address may be dialled: global addresses with TLS, others only as the operator listed them. An IPv6 form
/// that carries an IPv4 address needs both to be allowed.
fn dialable(address: IpAddr, port: u16, tls: bool, targets: &[PrivateTarget]) -> Result<(), String> {
    if targets.iter().any(|target| target.port == port && target.cidr.contains(&address) && (tls || !target.tls)) {
        return match classify(address) {
            Class::Special(special) => match special.embeds {
                Some(inside) => dialable(IpAddr::V4(inside), port, tls, targets),
                None => Ok(()),
            },
            Class::Global => Ok(()),
        };
    }
    match classify(address) {
        Class::Special(special) => Err(special.to_string()),
        Class::Global if !tls => Err("plain http is for targets the operator listed so".to_owned()),
        Class::Global if is_own(address) => Err("an address of this machine".to_owned()),
        Class::Global => Ok(()),
    }
}

/// Whether a connection to the address would stay on this machine: the kernel picks the address itself as its source.
/// Connecting a UDP socket sends nothing.
fn is_own(address: IpAddr) -> bool {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    UdpSocket::bind(any)
        .and_then(|socket| socket.connect((address, 9)).and_then(|()| socket.local_addr()))
        .is_ok_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::resolve::ResolveError;

    struct Answers(Vec<&'static str>, AtomicUsize);

    #[async_trait]
    impl Resolve for Answers {
        async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(self.0.iter().map(|text| text.parse().unwrap()).collect())
        }
    }

    fn target(cidr: &str, port: u16, tls: bool) -> PrivateTarget {
        PrivateTarget { cidr: cidr.parse().unwrap(), port, tls }
    }

    async fn check(url: &str, answers: &[&'static str], targets: &[PrivateTarget]) -> Result<Vec<SocketAddr>, Reason> {
        let resolver = Answers(answers.to_vec(), AtomicUsize::new(0));
        vet(&url.parse().unwrap(), targets, &resolver).await.map(|vetted| vetted.addresses)
    }

    #[tokio::test]
    async fn global_addresses_pass_and_keep_their_order() {
        let found = check("https://a.example/", &["8.8.8.8", "2606:4700::1", "8.8.8.8"], &[]).await.unwrap();
        assert_eq!(found, ["8.8.8.8:443".parse().unwrap(), "[2606:4700::1]:443".parse().unwrap()]);
    }

    #[tokio::test]
    async fn one_bad_answer_refuses_all() {
        for bad in
            ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(
                matches!(check("https://a.example/", &["8.8.8.8", bad], &[]).await, Err(Reason::Address { .. })),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn every_written_form_of_a_private_literal_is_refused_and_passes_when_listed() {
        let listed =
            [target("127.0.0.1/32", 443, true), target("::1/128", 443, true), target("169.254.169.254/32", 443, true)];
        for url in [
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f.1",
            "https://2130706433",
            "https://017700000001",
            "https://[::1]",
            "https://[0:0::1]",
            "https://169.254.169.254",
            "https://127。0。0。1",
            "https://①②⑦.0.0.1",
        ] {
            assert!(matches!(check(url, &[], &[]).await, Err(Reason::Address { .. })), "{url}");
            assert!(check(url, &[], &listed).await.is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_listed_form_that_carries_an_address_needs_that_address_too() {
        let nat64 = [target("64:ff9b::/96", 443, true)];
        assert!(check("https://[64:ff9b::808:808]/", &[], &nat64).await.is_ok());
        assert!(check("https://[64:ff9b::a00:1]/", &[], &nat64).await.is_err());
        let both = [target("64:ff9b::/96", 443, true), target("10.0.0.1/32", 443, true)];
        assert!(check("https://[64:ff9b::a00:1]/", &[], &both).await.is_ok());
    }

    #[tokio::test]
    async fn port_and_scheme_of_a_listed_target_are_exact() {
        let targets = [target("10.0.0.0/8", 8443, true), target("10.0.0.0/8", 8080, false)];
        assert!(check("https://10.1.2.3:8443/", &[], &targets).await.is_ok());
        assert!(check("http://10.1.2.3:8443/", &[], &targets).await.is_err());
        assert!(check("https://10.1.2.3:8444/", &[], &targets).await.is_err());
        assert!(check("http://10.1.2.3:8080/", &[], &targets).await.is_ok());
        assert!(check("https://11.1.2.3:8443/", &[], &targets).await.is_ok());
        assert!(check("http://11.1.2.3:8080/", &[], &targets).await.is_err());
    }

    #[tokio::test]
    async fn none_and_too_many_answers_are_refused() {
        assert!(matches!(check("https://a.example/", &[], &[]).await, Err(Reason::Unresolved(_))));
        assert!(matches!(check("https://a.example/", &["8.8.8.8"; 65], &[]).await, Err(Reason::Unresolved(_))));
    }

    #[tokio::test]
    async fn a_name_is_resolved_once() {
        let resolver = Answers(vec!["8.8.8.8"], AtomicUsize::new(0));
        vet(&"https://a.example/".parse().unwrap(), &[], &resolver).await.unwrap();
        assert_eq!(resolver.1.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_address_of_this_machine_is_known_without_sending() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("8.8.8.8".parse().unwrap()));
    }
}
