//! Destinations that are not the open internet get no packet, and do once the operator lists them.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use opsiq_contract::PrivateTarget;
use opsiq_egress::{Egress, EgressConfig, HttpFailure, Session, Verdict};
use support::{Keys, Names, Server, World, failed, get, rule, text};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Every written form of an address of this machine, at a port where somebody listens.
#[tokio::test]
async fn forms_of_loopback_open_no_connection_and_do_when_listed() {
    let v4 = Server::saying(HELLO).await;
    let port = v4.address.port();
    let forms: Vec<String> = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "127.0.0.1.",
        "127。0。0。1",
        "①②⑦.0.0.1",
    ]
    .iter()
    .map(|host| format!("http://{host}:{port}/x"))
    .collect();
    let rules = vec![rule("all", &["GET"], &format!("http://127.0.0.1:{port}/x"))];
    for (listed, expected) in [(Vec::new(), 0), (vec![v4.target(false)], forms.len())] {
        let opens = expected > 0;
        let mut world = World::new(rules.clone(), listed);
        world.grant.limits.requests = 100;
        world.grant.limits.connect_ms = 100;
        let session = world.session();
        for url in &forms {
            match session.send(get(url)).await {
                Ok(mut response) => assert!(opens && text(&mut response).await == "hello", "{url}"),
                Err(failure) => assert!(!opens && failure == HttpFailure::Unreachable, "{url}: {failure:?}"),
            }
        }
        assert_eq!(v4.accepts(), expected);
        if !opens {
            for record in session.records() {
                let Verdict::Failed { code, detail } = record.verdict else { panic!("{record:?}") };
                assert_eq!(code, "http.unreachable");
                assert!(detail.contains("Loopback 127.0.0.0/8 (RFC 1122"), "{detail}");
                assert!(!record.request_sent && record.address.is_none() && record.sent_bytes == 0);
            }
        }
    }
}

#[tokio::test]
async fn ipv6_forms_open_no_connection() {
    let v4 = Server::saying(HELLO).await;
    let port = v4.address.port();
    // Only where this machine has IPv6 at all.
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let bind = format!("[::1]:{port}");
    let v6 = if has_v6 { Some(Server::on(&bind, None, |io, _| support::say(io, HELLO.into())).await) } else { None };
    for host in [
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "0.0.0.0",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "255.255.255.255",
    ] {
        let url = format!("http://{host}:{port}/x");
        let canonical: url::Url = url.parse().unwrap();
        let mut world = World::new(vec![rule("all", &["GET"], canonical.as_str())], Vec::new());
        world.grant.limits.connect_ms = 50;
        let session = world.session();
        assert_eq!(failed(session.send(get(&url)).await), HttpFailure::Unreachable, "{url}");
        let record = &session.records()[0];
        assert!(matches!(&record.verdict, Verdict::Failed { detail, .. } if detail.contains("refused")), "{record:?}");
    }
    assert_eq!(v4.accepts() + v6.map_or(0, |server| server.accepts()), 0);
}

/// The system's own resolver: the hosts file and RFC 6761 know these names.
#[tokio::test]
async fn localhost_opens_no_connection_and_does_when_listed() {
    let server = Server::saying(HELLO).await;
    let port = server.address.port();
    for host in ["localhost", "localhost.", "LocalHost"] {
        let url = format!("http://{host}:{port}/x");
        let rules = vec![rule("all", &["GET"], &format!("http://localhost:{port}/x"))];
        for listed in [false, true] {
            let targets = ["127.0.0.0/8", "::1/128"]
                .iter()
                .filter(|_| listed)
                .map(|cidr| PrivateTarget { cidr: cidr.parse().unwrap(), port, tls: false })
                .collect();
            let mut world = World::new(rules.clone(), targets);
            world.grant.limits.connect_ms = 200;
            let egress = Arc::new(Egress::new(EgressConfig::system().unwrap()).unwrap());
            let session = Session::new(world.grant.clone(), egress, Arc::new(Keys(world.keys.clone())), world.leaks());
            let before = server.accepts();
            // A trailing dot is another host to the rules.
            let dotted = host.ends_with('.');
            match session.send(get(&url)).await {
                Ok(mut response) => assert!(listed && !dotted && text(&mut response).await == "hello"),
                Err(HttpFailure::Denied(denial)) => assert!(dotted && denial.code == "http.no-rule", "{host}"),
                Err(failure) => assert!(!listed && !dotted && failure == HttpFailure::Unreachable, "{host}"),
            }
            assert_eq!(server.accepts() - before, usize::from(listed && !dotted), "{host}");
        }
    }
}

#[tokio::test]
async fn one_bad_answer_of_a_name_refuses_all() {
    let server = Server::saying(HELLO).await;
    let port = server.address.port();
    let mixes: [&[&str]; 5] = [
        &["127.0.0.1", "10.0.0.1"],
        &["127.0.0.1", "::1"],
        &["::ffff:127.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "169.254.169.254"],
        &["127.0.0.1", "64:ff9b::7f00:1"],
    ];
    for mix in mixes {
        let mut world =
            World::new(vec![rule("all", &["GET"], &format!("http://mixed.test:{port}/x"))], vec![server.target(false)]);
        world.grant.limits.connect_ms = 50;
        world.names = Arc::new(Names::default().with("mixed.test", &[mix]));
        let result = world.session().send(get(&format!("http://mixed.test:{port}/x"))).await;
        assert_eq!(failed(result), HttpFailure::Unreachable, "{mix:?}");
    }
    assert_eq!(server.accepts(), 0);
}

/// A name that answers well when checked and badly afterwards: it is asked once, and only the checked address is dialled.
#[tokio::test]
async fn a_rebinding_name_is_resolved_once() {
    let good = Server::saying(HELLO).await;
    let port = good.address.port();
    let bad = Server::on(&format!("127.0.0.2:{port}"), None, |io, _| support::say(io, HELLO.into())).await;
    let mut world =
        World::new(vec![rule("all", &["GET"], &format!("http://re.test:{port}/x"))], vec![good.target(false)]);
    world.names = Arc::new(Names::default().with("re.test", &[&["127.0.0.1"], &["127.0.0.2"]]));
    let session = world.session();
    let mut response = session.send(get(&format!("http://re.test:{port}/x"))).await.unwrap();
    assert_eq!(text(&mut response).await, "hello");
    assert_eq!(world.names.asked.load(Ordering::SeqCst), 1);
    assert_eq!(session.records()[0].address, Some(good.address));
    // The next request asks anew, and the new answer is refused.
    assert_eq!(failed(session.send(get(&format!("http://re.test:{port}/x"))).await), HttpFailure::Unreachable);
    assert_eq!((good.accepts(), bad.accepts()), (1, 0));
    // The host is the URL's, whatever address was dialled.
    assert!(good.requests()[0].contains(&format!("\r\nhost: re.test:{port}\r\n")), "{}", good.requests()[0]);
}

#[tokio::test]
async fn what_no_rule_covers_is_denied_without_a_lookup_or_a_connection() {
    let server = Server::saying(HELLO).await;
    let world = World::new(vec![rule("one", &["GET"], &server.url("/one/{id}"))], vec![server.target(false)]);
    let session = world.session();
    for (request, code) in [
        (get(&server.url("/two/1")), "http.no-rule"),
        (get(&server.url("/one/1?secret=2")), "http.query"),
        (support::post(&server.url("/one/1"), b""), "http.method"),
        (get("http://elsewhere.test/one/1"), "http.no-rule"),
        (get(&server.url("/one/a%2f..%2fb")), ""),
    ] {
        let url = request.url.clone();
        match failed(session.send(request).await) {
            HttpFailure::Denied(denial) => assert_eq!(denial.code, code, "{url}"),
            HttpFailure::Invalid(_) => assert_eq!(code, "", "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    assert!(session.send(get(&server.url("/one/1?q=2"))).await.is_ok());
    assert_eq!((server.accepts(), world.names.asked.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(session.usage().requests, 1);
    assert_eq!(session.records()[1].url, server.url("/one/1?secret=[redacted]"));
}
