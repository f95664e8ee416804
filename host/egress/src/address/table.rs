//! The ranges themselves. The first row that contains an address decides, so narrow rows stand before wide ones.

use super::{Class, Kind, Special};
use std::net::Ipv4Addr;

/// Where an IPv6 form keeps the IPv4 address it carries.
#[derive(Clone, Copy)]
pub(super) enum Embedding {
    /// The low 32 bits.
    Last32,
    /// The 32 bits after a 16-bit prefix (6to4).
    After16,
    /// The low 32 bits, inverted (the client of a Teredo address).
    Last32Inverted,
}

impl Embedding {
    pub(super) fn extract(self, bits: u128) -> Ipv4Addr {
        let low = u32::try_from(bits & 0xffff_ffff).unwrap_or_default();
        Ipv4Addr::from_bits(match self {
            Embedding::Last32 => low,
            Embedding::Last32Inverted => !low,
            Embedding::After16 => u32::try_from((bits >> 80) & 0xffff_ffff).unwrap_or_default(),
        })
    }
}

/// A range with the reason it is special.
pub(super) struct Row<Bits> {
    pub(super) base: Bits,
    /// 1 to the width of the address.
    pub(super) prefix: u8,
    kind: Kind,
    range: &'static str,
    source: &'static str,
    pub(super) embedding: Option<Embedding>,
}

impl<Bits> Row<Bits> {
    pub(super) fn special(&self, embeds: Option<Ipv4Addr>) -> Class {
        Class::Special(Special { kind: self.kind, range: self.range, source: self.source, embeds })
    }
}

const fn v4(base: [u8; 4], prefix: u8, kind: Kind, range: &'static str, source: &'static str) -> Row<u32> {
    Row { base: u32::from_be_bytes(base), prefix, kind, range, source, embedding: None }
}

const fn v6(base: [u16; 8], prefix: u8, kind: Kind, range: &'static str, source: &'static str) -> Row<u128> {
    let mut bits = 0;
    let mut at = 0;
    while at < base.len() {
        bits = bits << 16 | base[at] as u128;
        at += 1;
    }
    Row { base: bits, prefix, kind, range, source, embedding: None }
}

const fn carrying(embedding: Embedding, row: &Row<u128>) -> Row<u128> {
    let Row { base, prefix, kind, range, source, .. } = *row;
    Row { base, prefix, kind, range, source, embedding: Some(embedding) }
}

/// IANA IPv4 Special-Purpose Address Registry, the multicast and reserved blocks, and cloud metadata addresses.
pub(super) static V4: &[Row<u32>] = &[
    v4([169, 254, 169, 254], 32, Kind::Metadata, "169.254.169.254/32", "instance metadata of most clouds"),
    v4([169, 254, 170, 2], 32, Kind::Metadata, "169.254.170.2/32", "AWS container credentials"),
    v4([100, 100, 100, 200], 32, Kind::Metadata, "100.100.100.200/32", "Alibaba Cloud instance metadata"),
    v4([192, 0, 0, 192], 32, Kind::Metadata, "192.0.0.192/32", "Oracle Cloud instance metadata"),
    // A public address that answers only inside Azure, with secrets of the machine.
    v4([168, 63, 129, 16], 32, Kind::Metadata, "168.63.129.16/32", "Azure host agent"),
    v4([0, 0, 0, 0], 8, Kind::Unspecified, "0.0.0.0/8", "RFC 791 section 3.2"),
    v4([10, 0, 0, 0], 8, Kind::Private, "10.0.0.0/8", "RFC 1918"),
    v4([100, 64, 0, 0], 10, Kind::CarrierNat, "100.64.0.0/10", "RFC 6598"),
    v4([127, 0, 0, 0], 8, Kind::Loopback, "127.0.0.0/8", "RFC 1122 section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, Kind::LinkLocal, "169.254.0.0/16", "RFC 3927"),
    v4([172, 16, 0, 0], 12, Kind::Private, "172.16.0.0/12", "RFC 1918"),
    // With 192.0.0.0/29 (DS-Lite), .8 (dummy), .9 (PCP), .10 (TURN), .170 and .171 (NAT64 discovery).
    v4([192, 0, 0, 0], 24, Kind::Protocol, "192.0.0.0/24", "RFC 6890 section 2.1"),
    v4([192, 0, 2, 0], 24, Kind::Documentation, "192.0.2.0/24", "RFC 5737"),
    v4([192, 31, 196, 0], 24, Kind::Protocol, "192.31.196.0/24", "RFC 7535"),
    v4([192, 52, 193, 0], 24, Kind::Protocol, "192.52.193.0/24", "RFC 7450"),
    v4([192, 88, 99, 0], 24, Kind::Protocol, "192.88.99.0/24", "RFC 7526"),
    v4([192, 168, 0, 0], 16, Kind::Private, "192.168.0.0/16", "RFC 1918"),
    v4([192, 175, 48, 0], 24, Kind::Protocol, "192.175.48.0/24", "RFC 7534"),
    v4([198, 18, 0, 0], 15, Kind::Benchmarking, "198.18.0.0/15", "RFC 2544"),
    v4([198, 51, 100, 0], 24, Kind::Documentation, "198.51.100.0/24", "RFC 5737"),
    v4([203, 0, 113, 0], 24, Kind::Documentation, "203.0.113.0/24", "RFC 5737"),
    v4([224, 0, 0, 0], 4, Kind::Multicast, "224.0.0.0/4", "RFC 5771"),
    v4([255, 255, 255, 255], 32, Kind::Broadcast, "255.255.255.255/32", "RFC 919 section 7"),
    v4([240, 0, 0, 0], 4, Kind::Reserved, "240.0.0.0/4", "RFC 1112 section 4"),
];

/// IANA IPv6 Special-Purpose Address Registry, deprecated forms, cloud metadata addresses, and all that is outside the
/// one block global unicast is assigned from.
pub(super) static V6: &[Row<u128>] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Kind::Unspecified, "::/128", "RFC 4291 section 2.5.2"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Kind::Loopback, "::1/128", "RFC 4291 section 2.5.3"),
    carrying(
        Embedding::Last32,
        &v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Kind::EmbedsIpv4, "::ffff:0:0/96", "RFC 4291 section 2.5.5.2"),
    ),
    carrying(
        Embedding::Last32,
        &v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Kind::EmbedsIpv4, "::ffff:0:0:0/96", "RFC 2765 section 2.1"),
    ),
    carrying(
        Embedding::Last32,
        &v6([0, 0, 0, 0, 0, 0, 0, 0], 96, Kind::EmbedsIpv4, "::/96", "RFC 4291 section 2.5.5.1"),
    ),
    carrying(
        Embedding::Last32,
        &v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Kind::EmbedsIpv4, "64:ff9b::/96", "RFC 6052"),
    ),
    carrying(
        Embedding::Last32,
        &v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Kind::EmbedsIpv4, "64:ff9b:1::/48", "RFC 8215"),
    ),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Kind::Discard, "100::/64", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Kind::Discard, "100:0:0:1::/64", "RFC 9780"),
    carrying(
        Embedding::Last32Inverted,
        &v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Kind::EmbedsIpv4, "2001::/32", "RFC 4380"),
    ),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Kind::Benchmarking, "2001:2::/48", "RFC 5180"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Kind::Protocol, "2001:10::/28", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Kind::Protocol, "2001:20::/28", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Kind::Protocol, "2001:30::/28", "RFC 9374"),
    // With 2001:1::1 to ::3 (PCP, TURN, DNS-SD), 2001:3::/32 (AMT) and 2001:4:112::/48 (AS112).
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Kind::Protocol, "2001::/23", "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Kind::Documentation, "2001:db8::/32", "RFC 3849"),
    carrying(Embedding::After16, &v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Kind::EmbedsIpv4, "2002::/16", "RFC 3056")),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Kind::Protocol, "2620:4f:8000::/48", "RFC 7534"),
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, Kind::Reserved, "3ffe::/16", "RFC 3701"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Kind::Documentation, "3fff::/20", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Kind::Protocol, "5f00::/16", "RFC 9602"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, Kind::Metadata, "fd00:ec2::254/128", "AWS instance metadata"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Kind::Metadata, "fd20:ce::254/128", "Google Cloud metadata"),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, Kind::Metadata, "fd00:42::42/128", "Scaleway instance metadata"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Kind::Private, "fc00::/7", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Kind::LinkLocal, "fe80::/10", "RFC 4291 section 2.5.6"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Kind::Private, "fec0::/10", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Kind::Multicast, "ff00::/8", "RFC 4291 section 2.7"),
    // Everything outside 2000::/3, in the three blocks that are not it.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, Kind::Reserved, "::/3", "RFC 4291 section 2.4"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, Kind::Reserved, "4000::/2", "RFC 4291 section 2.4"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, Kind::Reserved, "8000::/1", "RFC 4291 section 2.4"),
];
