//! The address of a request, and the networks it counts for.

use std::fmt;
use std::net::{AddrParseError, IpAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// From where a request comes: the one address that limits, lists, entries and sessions all know. An IPv4 address in IPv6
/// form is the IPv4 address (RFC 4291 section 2.5.5.2), so that no rule about it can be gone around by writing it otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "IpAddr", into = "IpAddr")]
pub struct ClientIp(IpAddr);

impl From<IpAddr> for ClientIp {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

impl From<ClientIp> for IpAddr {
    fn from(ClientIp(address): ClientIp) -> Self {
        address
    }
}

impl FromStr for ClientIp {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse::<IpAddr>().map(Self::from)
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Addresses that count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl ClientIp {
    /// What one customer usually has to himself: an IPv4 address, an IPv6 network of 64 bits.
    pub fn near(self) -> Network {
        self.network(32, 64)
    }

    /// What one site usually has: an IPv4 network of 24 bits, an IPv6 network of 48.
    pub fn wide(self) -> Network {
        self.network(24, 48)
    }

    fn network(self, v4: u8, v6: u8) -> Network {
        let bits = if self.0.is_ipv4() { v4 } else { v6 };
        Network(IpNet::new_assert(self.0, bits).trunc())
    }
}

/// A single address without its length.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientIp {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn one_address_has_one_form() {
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("::ffff:c000:201").to_string(), "192.0.2.1");
        let stored: ClientIp = serde_json::from_str("\"::ffff:192.0.2.1\"").unwrap();
        assert_eq!(stored, client("192.0.2.1"));
        assert_eq!(serde_json::to_string(&stored).unwrap(), "\"192.0.2.1\"");
    }

    #[test]
    fn one_customer_is_one_network_and_one_site_is_a_wider_one() {
        for (a, b, near, wide) in [
            ("2001:db8::1", "2001:db8::ffff:1", true, true),
            ("2001:db8::1", "2001:db8:0:1::1", false, true),
            ("2001:db8::1", "2001:db8:1::1", false, false),
            ("::ffff:192.0.2.1", "192.0.2.1", true, true),
            ("192.0.2.1", "192.0.2.2", false, true),
            ("192.0.2.1", "192.0.3.1", false, false),
        ] {
            let (a, b) = (client(a), client(b));
            assert_eq!((a.near() == b.near(), a.wide() == b.wide()), (near, wide), "{a} {b}");
        }
        assert_eq!(client("192.0.2.1").near().to_string(), "192.0.2.1");
        assert_eq!(client("192.0.2.1").wide().to_string(), "192.0.2.0/24");
        assert_eq!(client("2001:db8::1").near().to_string(), "2001:db8::/64");
    }
}
