//! Which addresses are the open internet, and which are somebody's inside.
//!
//! A name or literal a plugin asks for may lead to the host itself, its network, or a cloud's metadata service. So
//! an address is dialable only when no range of the IANA special-purpose registries (RFC 6890, as updated), no
//! multicast or reserved block and no known metadata address contains it. What is unknown is not global: IPv6 outside
//! `2000::/3` is refused whole. Ranges that the registries call globally reachable but that serve a protocol and not
//! a site (anycast relays, AS112) are refused too. Forms that carry an IPv4 address inside an IPv6 one name it, so
//! that whoever opens such a form must also be allowed the address inside.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a range is not the open internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// This host or this network (`0.0.0.0/8`, `::`).
    Unspecified,
    /// The machine itself.
    Loopback,
    /// Private use (RFC 1918), unique local (RFC 4193), site-local (RFC 3879).
    Private,
    /// Shared by a carrier's customers (RFC 6598).
    CarrierNat,
    /// One link only.
    LinkLocal,
    /// A cloud provider's instance metadata or host agent.
    Metadata,
    /// Examples in texts.
    Documentation,
    /// Benchmarks of network devices.
    Benchmarking,
    /// Groups, not hosts.
    Multicast,
    /// All hosts of a network.
    Broadcast,
    /// IPv6 forms that carry an IPv4 address.
    EmbedsIpv4,
    /// Assigned to a protocol rather than to sites.
    Protocol,
    /// Packets sent here are dropped.
    Discard,
    /// Not assigned for use.
    Reserved,
}

/// One row of the special-purpose table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// Why it is special.
    pub kind: Kind,
    /// The range in CIDR form.
    pub range: &'static str,
    /// The document that sets it apart.
    pub source: &'static str,
    /// The IPv4 address inside, for the forms that carry one.
    pub embeds: Option<Ipv4Addr>,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({})", self.kind, self.range, self.source)
    }
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ordinary global unicast.
    Global,
    /// Anything else: not dialable unless the operator listed it.
    Special(Special),
}

impl Class {
    /// Whether the address belongs to the open internet.
    pub fn is_global(&self) -> bool {
        matches!(self, Class::Global)
    }
}

/// The class of an address, by the most specific range that contains it.
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    let bits = address.to_bits();
    for row in table::V4 {
        if (bits ^ row.base) >> (32 - u32::from(row.prefix)) == 0 {
            return row.special(None);
        }
    }
    Class::Global
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let bits = address.to_bits();
    for row in table::V6 {
        if (bits ^ row.base) >> (128 - u32::from(row.prefix)) == 0 {
            return row.special(row.embedding.map(|form| form.extract(bits)));
        }
    }
    // The interface identifier of an ISATAP node: 0000:5efe or 0200:5efe, then its IPv4 address.
    if matches!((bits >> 32) & 0xffff_ffff, 0x0000_5efe | 0x0200_5efe) {
        return Class::Special(Special {
            kind: Kind::EmbedsIpv4,
            range: "ISATAP",
            source: "RFC 5214 section 6.1",
            embeds: Some(table::Embedding::Last32.extract(bits)),
        });
    }
    Class::Global
}
