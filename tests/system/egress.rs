//! Where a plugin may not go, it does not get: no connection is opened, whatever the address is dressed up as.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::upstream::{Reply, Upstream};

/// A listener that only counts who connects.
pub(crate) struct Canary {
    pub(crate) port: u16,
    hits: Arc<AtomicUsize>,
}

impl Canary {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let (port, hits) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = hits.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, hits }
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

const FORBIDDEN: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "100.64.0.1",
];

/// The plugin's base URL is the tenant's to choose and grant, so only the address rules stand in the way.
#[test]
fn no_form_of_a_forbidden_address_opens_a_connection() {
    let canary = Canary::start();
    let world = World::new();
    // Every failure to connect is answered when this time is over, however early it is known.
    world.configure("[ceiling.limits]\nhttp-connect = \"100ms\"\n");
    for (i, host) in FORBIDDEN.iter().enumerate() {
        for scheme in ["http", "https"] {
            let base = format!("{scheme}://{host}:{}", canary.port);
            let name = format!("evil-{i}-{scheme}");
            world.install(&guest("hostile"), &name, &[("base-url", &base)], &[("signing-secret", SECRET)]);
            let ran = world.call(&name, "fetch", &json!({ "url": format!("{base}/x"), "method": "GET" }));
            ran.refused(7);
            assert_eq!(canary.hits(), 0, "{base} opened a connection");
        }
    }
    // The twin: the same request, once the operator has listed exactly this address and port.
    world.open_loopback(canary.port);
    let base = format!("http://127.0.0.1:{}", canary.port);
    world.install(&guest("hostile"), "listed", &[("base-url", &base)], &[("signing-secret", SECRET)]);
    world.call("listed", "fetch", &json!({ "url": format!("{base}/x"), "method": "GET" }));
    assert_eq!(canary.hits(), 1, "the canary counts nothing");
}

/// A redirect is an answer like another: nobody goes where it points.
#[test]
fn a_redirect_to_a_forbidden_address_is_not_followed() {
    let canary = Canary::start();
    let to = format!("http://127.0.0.1:{}/latest/meta-data", canary.port);
    let server = Upstream::start(move |_| Reply::json(302, &json!({})).header("location", &to));
    let world = World::new();
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    let ran = world.call("evil", "fetch", &json!({ "url": format!("{}/x", server.url()), "method": "GET" }));
    assert_eq!(ran.ok()["result"]["status"], 302);
    assert_eq!((server.seen().len(), canary.hits()), (1, 0));
}

/// A URL that no rule covers is refused with the rule that came nearest and the line that would allow it.
#[test]
fn a_request_outside_the_rules_is_refused_by_rule() {
    let server = Upstream::start(|_| Reply::json(200, &json!({})));
    let world = World::new();
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    for (method, url) in [
        ("GET", format!("http://localhost:{}/x", server.port)),
        ("GET", "https://example.com/".to_owned()),
        ("DELETE", format!("{}/x", server.url())),
    ] {
        let ran = world.call("evil", "fetch", &json!({ "url": url, "method": method }));
        assert!(ran.stdout.contains("http."), "{method} {url} names no rule: {ran:?}");
    }
    assert_eq!(server.seen().len(), 0);
}

/// An action that only reads has no rule to write by, whatever its code does.
#[test]
fn a_read_cannot_write() {
    let server = Upstream::start(|_| Reply::json(200, &json!({})));
    let world = World::new();
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    let error = world.call("evil", "write-as-read", &json!({})).refused(3);
    assert_eq!(error["code"], "contract.rule-not-listed", "{error}");
    assert_eq!(server.seen().len(), 0);
    // The twin: the same request by an action that may write.
    let url = format!("{}/write", server.url());
    world.call("evil", "fetch", &json!({ "url": url, "method": "POST", "body": "written" })).ok();
    assert_eq!(server.seen().len(), 1);
}

/// What says where a request goes, where it ends and who sent it is the host's to say.
#[test]
fn a_plugin_frames_no_request() {
    let server = Upstream::start(|_| Reply::json(200, &json!({})));
    let world = World::new();
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    let fetch = |name: &str, value: &str| {
        let url = format!("{}/x", server.url());
        world.call("evil", "fetch", &json!({ "url": url, "method": "POST", "body": "x", "headers": { name: value } }))
    };
    for (name, value) in [
        ("Host", "other.example"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "0"),
        ("Connection", "keep-alive"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("x-a", "1\r\nHost: other.example"),
        ("x-a\r\nhost", "other.example"),
    ] {
        let ran = fetch(name, value);
        assert!([3, 7].contains(&ran.code), "{name}: {ran:?}");
        assert_eq!(server.seen().len(), 0, "{name}: it was sent");
    }
    fetch("x-a", "1").ok();
    assert_eq!(server.seen()[0].header("x-a"), Some("1"), "the twin: an ordinary header arrives");
}
