//! Which address a request comes from, when it comes through proxies.
//!
//! Whatever a client sends may be a lie, a header about hops as well. So the peer of the connection counts, unless the operator
//! says that it is a proxy; then the hop that this proxy added counts, the last of the header, unless that is a proxy of the
//! operator's too; and so on, from the right. What stands further to the left is the client's own word and is not looked at.
//!
//! Fails closed: the header twice, or a hop that is looked at and names no address, is a refusal and not a guess.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::address::ClientIp;

/// The header by which the operator's proxies say whom they pass on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HopHeader {
    /// `X-Forwarded-For`: addresses, each perhaps with a port.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), of which `for` counts.
    Forwarded,
}

impl HopHeader {
    /// Its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => http::header::FORWARDED,
        }
    }
}

/// The text names no such header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be x-forwarded-for or forwarded")]
pub struct NotAHopHeader;

impl FromStr for HopHeader {
    type Err = NotAHopHeader;

    fn from_str(text: &str) -> Result<Self, NotAHopHeader> {
        [Self::XForwardedFor, Self::Forwarded].into_iter().find(|header| header.as_str() == text).ok_or(NotAHopHeader)
    }
}

/// It cannot be told for certain where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// The header is there more than once.
    #[error("{} is there more than once", .0.as_str())]
    Several(HopHeader),
    /// A hop that counts is no address.
    #[error("{} has a hop that names no address", .0.as_str())]
    Hop(HopHeader),
}

/// The operator's proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: HopHeader,
}

impl Proxies {
    /// Those of these networks, which say by this header whom they pass on.
    pub fn new(trusted: Vec<IpNet>, header: HopHeader) -> Self {
        Self { trusted, header }
    }

    /// Whether this is one of them.
    pub fn trust(&self, client: ClientIp) -> bool {
        let address = IpAddr::from(client);
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Where a request with these headers comes from, over a connection with this peer.
    ///
    /// # Errors
    /// [`Ambiguous`], of a peer that is trusted; what others say of hops is not looked at.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<ClientIp, Ambiguous> {
        let peer = ClientIp::from(peer);
        if !self.trust(peer) {
            return Ok(peer);
        }
        let mut values = headers.get_all(self.header.name()).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(peer),
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Err(Ambiguous::Several(self.header)),
        };
        let mut nearest = peer;
        for hop in self.hops(value)?.into_iter().rev() {
            nearest = self.address(hop).ok_or(Ambiguous::Hop(self.header))?.into();
            if !self.trust(nearest) {
                break;
            }
        }
        Ok(nearest)
    }

    /// The hops, the nearest last.
    fn hops<'v>(&self, value: &'v HeaderValue) -> Result<Vec<&'v str>, Ambiguous> {
        let text = value.to_str().map_err(|_| Ambiguous::Hop(self.header))?;
        match self.header {
            HopHeader::XForwardedFor => Ok(text.split(',').collect()),
            HopHeader::Forwarded => split(text, ',').ok_or(Ambiguous::Hop(self.header)),
        }
    }

    fn address(&self, hop: &str) -> Option<IpAddr> {
        match self.header {
            HopHeader::XForwardedFor => address(hop.trim()),
            HopHeader::Forwarded => address(forwarded_for(hop)?),
        }
    }
}

/// An address, perhaps with a port, in brackets where it is IPv6 and has one.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.and_then(|text| text.parse::<Ipv6Addr>().ok()).map(IpAddr::V6);
    bare.or_else(|| text.parse::<SocketAddr>().ok().filter(|_| !text.contains('%')).map(|address| address.ip()))
}

/// Splits at `by`, but not within quotes; `None` when a quote does not end.
fn split(text: &str, by: char) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == by && !quoted => {
                parts.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (!quoted).then_some(parts)
}

/// What one element of `Forwarded` says that it is for (RFC 7239 section 4): once, and no name in the place of an address.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("for") {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let value = value.trim();
        // No address has a character that would need a backslash.
        found = Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value));
    }
    found
}

impl fmt::Display for HopHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(header: HopHeader, peer: &str, values: &[&str]) -> Result<String, Ambiguous> {
        let trusted = ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.name(), HeaderValue::from_str(value).unwrap());
        }
        Proxies::new(trusted, header).client(peer.parse().unwrap(), &headers).map(|client| client.to_string())
    }

    fn x(peer: &str, values: &[&str]) -> Result<String, Ambiguous> {
        told(HopHeader::XForwardedFor, peer, values)
    }

    fn forwarded(values: &[&str]) -> Result<String, Ambiguous> {
        told(HopHeader::Forwarded, "10.0.0.1", values)
    }

    const HOP: Result<String, Ambiguous> = Err(Ambiguous::Hop(HopHeader::XForwardedFor));

    #[test]
    fn the_peer_counts_unless_it_is_a_proxy() {
        assert_eq!(x("203.0.113.1", &["198.51.100.1"]).unwrap(), "203.0.113.1");
        assert_eq!(x("203.0.113.1", &["nonsense", "twice"]).unwrap(), "203.0.113.1");
        assert_eq!(x("10.0.0.1", &[]).unwrap(), "10.0.0.1");
        assert_eq!(x("::ffff:10.0.0.1", &["198.51.100.1"]).unwrap(), "198.51.100.1");
        assert!(Proxies::default().client("10.0.0.1".parse().unwrap(), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_counts() {
        for (value, client) in [
            ("198.51.100.1", "198.51.100.1"),
            ("6.6.6.6, 198.51.100.1", "198.51.100.1"),
            ("6.6.6.6,198.51.100.1, 10.9.9.9", "198.51.100.1"),
            // A client may say what it likes to the left of what the proxy saw.
            ("10.0.0.7, nonsense, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1, fd00::1", "2001:db8::1"),
        ] {
            assert_eq!(x("10.0.0.1", &[value]).as_deref(), Ok(client), "{value}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused() {
        assert_eq!(x("10.0.0.1", &["198.51.100.1", "198.51.100.2"]), Err(Ambiguous::Several(HopHeader::XForwardedFor)));
        for value in
            ["", "198.51.100.1,", "unknown", "198.51.100.1, 10.0.0.300", "198.51.100.1, ,10.0.0.2", "fe80::1%eth0"]
        {
            assert_eq!(x("10.0.0.1", &[value]), HOP, "{value}");
        }
        assert_eq!(x("10.0.0.1", &["[fe80::1%1]:80"]), HOP);
    }

    #[test]
    fn the_standard_header_is_read_by_its_grammar() {
        for (value, client) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("for=6.6.6.6, For=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
            (r#"for="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17"),
            (r#"by="a,b;for=6.6.6.6" ; for="198.51.100.1:80", for=10.0.0.2"#, "198.51.100.1"),
        ] {
            assert_eq!(forwarded(&[value]).as_deref(), Ok(client), "{value}");
        }
        for value in [
            "",
            "proto=https",
            "for=unknown",
            "for=_hidden",
            "for=198.51.100.1;for=198.51.100.2",
            r#"for="198.51.100.1"#,
            "for=6.6.6.6, by=10.0.0.1",
        ] {
            assert_eq!(forwarded(&[value]), Err(Ambiguous::Hop(HopHeader::Forwarded)), "{value}");
        }
        // The other header is not this one.
        assert_eq!(told(HopHeader::Forwarded, "10.0.0.1", &[]).unwrap(), "10.0.0.1");
    }
}
