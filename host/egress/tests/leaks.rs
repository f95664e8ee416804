//! A request that holds the value of a key, put there by the plugin, does not leave, unless its rule carries that key.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use opsiq_egress::{GuestRequest, HttpFailure, Verdict};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use support::{Server, World, bearer, failed, get, post, rule, say, text};

const OWN: &str = "own-key value+0123";
const THEIRS: &str = "their-key value 4567";

/// Rules `plain`, without a key, and `carries`, which injects `own`.
fn world(server: &Server) -> World {
    let mut carries = rule("carries", &["GET", "POST"], &server.url("/carries/{rest*}"));
    carries.inject = Some(bearer("own"));
    let mut plain = rule("plain", &["GET", "POST"], &server.url("/plain/{rest*}"));
    plain.redirects = 1;
    let mut world = World::new(vec![plain, carries], vec![server.target(false)]);
    world.keys.insert("own", OWN);
    world.guarded.extend([("own", OWN), ("other/theirs", THEIRS)]);
    world
}

fn forms(secret: &str) -> Vec<String> {
    vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        percent_encode(secret.as_bytes(), NON_ALPHANUMERIC).to_string(),
        STANDARD_NO_PAD.encode(secret),
        STANDARD_NO_PAD.encode(format!("x{secret}")),
        URL_SAFE_NO_PAD.encode(format!("xy{secret}z")),
    ]
}

/// `text` in each part of a request to `path`.
fn requests(server: &Server, path: &str, text: &str) -> Vec<GuestRequest> {
    let encoded = percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
    let url = server.url(path);
    let with_header = |name: &str, value: &str| GuestRequest {
        headers: vec![("x-first".to_owned(), "1".to_owned()), (name.to_owned(), value.to_owned())],
        ..get(&url)
    };
    let mut all = vec![
        get(&format!("{url}/{encoded}/more")),
        get(&format!("{url}?q=a{encoded}")),
        with_header("x-told", &format!("told {text}.")),
        post(&url, format!("{{\"told\":\"{text}\"}}").as_bytes()),
        post(&url, &[vec![b'.'; 60_000], text.as_bytes().to_vec()].concat()),
    ];
    // Names are sent in lower case, which leaves of base64 nothing that could be decoded.
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        all.push(with_header(&format!("x-{text}"), "1"));
    }
    all
}

#[tokio::test]
async fn no_part_of_a_request_carries_a_key_elsewhere() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    for (path, secret, named) in
        [("/plain/x", OWN, "key `own`"), ("/plain/x", THEIRS, "another key"), ("/carries/x", THEIRS, "another key")]
    {
        for form in forms(secret) {
            for request in requests(&server, path, &form) {
                let world = world(&server);
                let (session, leaks) = world.watched();
                let told = format!("{request:?}");
                let failure = failed(session.send(request).await);
                let HttpFailure::Denied(denial) = &failure else { panic!("{failure:?}: {told}") };
                let rule = path.split('/').nth(1).unwrap();
                assert_eq!(denial.code, "http.secret");
                assert!(denial.message.contains(named) && denial.message.contains(&format!("`{rule}`")), "{denial}");
                assert!(!denial.message.contains("theirs"), "another installation's key is named: {denial}");
                let found = leaks.leaks();
                assert_eq!((found.len(), found[0].rule), (1, "http.secret"));
                assert!(found[0].place.contains(rule), "{found:?}");
                let record = session.records().remove(0);
                assert!(matches!(record.verdict, Verdict::Denied { .. }) && !record.request_sent);
                assert!(!format!("{record:?}{found:?}").contains(&form), "{record:?}");
            }
        }
    }
    assert_eq!(server.accepts(), 0);
}

/// The twin: the same requests, when those values are no keys; and a rule's own key in requests by that rule.
#[tokio::test]
async fn what_is_no_key_or_the_rules_own_arrives() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut unguarded = world(&server);
    unguarded.guarded.clear();
    let mut sent = 0;
    for (world, path) in [(unguarded, "/plain/x"), (world(&server), "/carries/x")] {
        for form in forms(OWN) {
            for request in requests(&server, path, &form) {
                world.session().send(request).await.unwrap();
                sent += 1;
            }
        }
    }
    assert_eq!(server.accepts(), sent);
    assert!(server.requests().iter().any(|seen| seen.contains(&hex::encode(OWN))));
}

/// Where a server sends the request on to is decided like any other request.
#[tokio::test]
async fn a_redirect_does_not_carry_a_key_elsewhere() {
    let server = Server::new(None, |io, _| {
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: /plain/{}\r\ncontent-length: 0\r\n\r\n", hex::encode(OWN));
        say(io, answer.into_bytes())
    })
    .await;
    let mut world = world(&server);
    world.grant.rules[1].redirects = 1;
    let session = world.session();
    let mut response = session.send(get(&server.url("/carries/x"))).await.unwrap();
    assert_eq!((response.status, text(&mut response).await.as_str()), (302, ""));
    assert_eq!(server.accepts(), 1);
    let records = session.records();
    assert!(matches!(&records[1].verdict, Verdict::Denied { denial } if denial.code == "http.secret"), "{records:?}");

    world.guarded.clear();
    world.session().send(get(&server.url("/carries/x"))).await.unwrap();
    assert_eq!(server.accepts(), 3, "the twin: followed when it is no key");
}
