use super::*;

fn special(text: &str) -> Special {
    match classify(text.parse().unwrap()) {
        Class::Special(special) => special,
        Class::Global => panic!("{text} counted as global"),
    }
}

/// First and last address of every IPv4 range, and its neighbours outside.
#[test]
fn ipv4_ranges_to_their_edges() {
    use Kind::{
        Benchmarking, Broadcast, CarrierNat, Documentation, LinkLocal, Loopback, Metadata, Multicast, Private,
        Protocol, Reserved, Unspecified,
    };
    let table: &[(&str, &str, Kind)] = &[
        ("0.0.0.0", "0.255.255.255", Unspecified),
        ("10.0.0.0", "10.255.255.255", Private),
        ("100.64.0.0", "100.127.255.255", CarrierNat),
        ("127.0.0.0", "127.255.255.255", Loopback),
        ("169.254.0.0", "169.254.255.255", LinkLocal),
        ("172.16.0.0", "172.31.255.255", Private),
        ("192.0.0.0", "192.0.0.255", Protocol),
        ("192.0.2.0", "192.0.2.255", Documentation),
        ("192.31.196.0", "192.31.196.255", Protocol),
        ("192.52.193.0", "192.52.193.255", Protocol),
        ("192.88.99.0", "192.88.99.255", Protocol),
        ("192.168.0.0", "192.168.255.255", Private),
        ("192.175.48.0", "192.175.48.255", Protocol),
        ("198.18.0.0", "198.19.255.255", Benchmarking),
        ("198.51.100.0", "198.51.100.255", Documentation),
        ("203.0.113.0", "203.0.113.255", Documentation),
        ("224.0.0.0", "239.255.255.255", Multicast),
        ("240.0.0.0", "255.255.255.254", Reserved),
        ("255.255.255.255", "255.255.255.255", Broadcast),
        ("169.254.169.254", "169.254.169.254", Metadata),
        ("169.254.170.2", "169.254.170.2", Metadata),
        ("100.100.100.200", "100.100.100.200", Metadata),
        ("192.0.0.192", "192.0.0.192", Metadata),
        ("168.63.129.16", "168.63.129.16", Metadata),
    ];
    for (first, last, kind) in table {
        assert_eq!(special(first).kind, *kind, "{first}");
        assert_eq!(special(last).kind, *kind, "{last}");
    }
    for outside in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.31.195.255",
        "192.31.197.0",
        "192.52.192.255",
        "192.52.194.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "192.175.47.255",
        "192.175.49.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "1.1.1.1",
    ] {
        assert!(classify(outside.parse().unwrap()).is_global(), "{outside}");
    }
}

#[test]
fn ipv6_ranges_to_their_edges() {
    use Kind::{
        Benchmarking, Discard, Documentation, EmbedsIpv4, LinkLocal, Loopback, Metadata, Multicast, Private, Protocol,
        Reserved, Unspecified,
    };
    let table: &[(&str, Kind)] = &[
        ("::", Unspecified),
        ("::1", Loopback),
        ("::2", EmbedsIpv4),
        ("::ffff:ffff", EmbedsIpv4),
        ("::1:0:0", Reserved),
        ("::ffff:0:0", EmbedsIpv4),
        ("::ffff:255.255.255.255", EmbedsIpv4),
        ("::ffff:0:8.8.8.8", EmbedsIpv4),
        ("64:ff9b::", EmbedsIpv4),
        ("64:ff9b::ffff:ffff", EmbedsIpv4),
        ("64:ff9b::1:0:0", Reserved),
        ("64:ff9b:1::", EmbedsIpv4),
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", EmbedsIpv4),
        ("64:ff9b:2::", Reserved),
        ("100::", Discard),
        ("100::ffff:ffff:ffff:ffff", Discard),
        ("100:0:0:1::", Discard),
        ("100:0:0:2::", Reserved),
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("2001::", EmbedsIpv4),
        ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", EmbedsIpv4),
        ("2001:1::1", Protocol),
        ("2001:2::", Benchmarking),
        ("2001:2:0:ffff:ffff:ffff:ffff:ffff", Benchmarking),
        ("2001:2:1::", Protocol),
        ("2001:10::", Protocol),
        ("2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
        ("2001:20::", Protocol),
        ("2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
        ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
        ("2001:db8::", Documentation),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
        ("2002::", EmbedsIpv4),
        ("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", EmbedsIpv4),
        ("2620:4f:8000::", Protocol),
        ("2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Protocol),
        ("3ffe::", Reserved),
        ("3fff::", Documentation),
        ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
        ("4000::", Reserved),
        ("5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("5f00::", Protocol),
        ("5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
        ("7fff::", Reserved),
        ("8000::", Reserved),
        ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("fc00::", Private),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("fd00:42::42", Metadata),
        ("fe00::", Reserved),
        ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("fe80::", LinkLocal),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
        ("fec0::", Private),
        ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
        ("ff00::", Multicast),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ("2606:4700::5efe:10.0.0.1", EmbedsIpv4),
        ("2606:4700::200:5efe:10.0.0.1", EmbedsIpv4),
    ];
    for (text, kind) in table {
        assert_eq!(special(text).kind, *kind, "{text}");
    }
    for outside in [
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2620:4f:7fff::",
        "2620:4f:8001::",
        "3ffd::",
        "3fff:1000::",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
    ] {
        assert!(classify(outside.parse().unwrap()).is_global(), "{outside}");
    }
}

#[test]
fn the_ipv4_address_inside_is_found() {
    for (text, inside) in [
        ("::ffff:169.254.169.254", "169.254.169.254"),
        ("::ffff:0:10.1.2.3", "10.1.2.3"),
        ("::10.1.2.3", "10.1.2.3"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("64:ff9b:1::7f00:1", "127.0.0.1"),
        ("2002:7f00:1::", "127.0.0.1"),
        // The example of RFC 4380 section 4: client 192.0.2.45.
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
        ("2606:4700::5efe:10.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(special(text).embeds, Some(inside.parse().unwrap()), "{text}");
    }
}

/// The text of each row is what the row matches.
#[test]
fn rows_match_the_range_they_show() {
    for row in table::V4 {
        let net: ipnet::Ipv4Net = shown(row.special(None)).parse().unwrap();
        assert_eq!((net.network().to_bits(), net.prefix_len()), (row.base, row.prefix));
    }
    for row in table::V6 {
        let net: ipnet::Ipv6Net = shown(row.special(None)).parse().unwrap();
        assert_eq!((net.network().to_bits(), net.prefix_len()), (row.base, row.prefix));
    }
}

fn shown(class: Class) -> &'static str {
    match class {
        Class::Special(special) => special.range,
        Class::Global => unreachable!(),
    }
}
