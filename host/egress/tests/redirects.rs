//! Redirects: answers, unless the rule says how many to follow; each followed one is decided anew.
#![allow(clippy::unwrap_used)]

mod support;

use opsiq_egress::{GuestRequest, HttpFailure, Verdict};
use support::{Server, World, failed, get, header, post, rule, say, text};

async fn redirecting(status: u16, location: &str) -> Server {
    Server::saying(format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 5\r\n\r\nmoved")).await
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_redirect_is_an_answer_unless_the_rule_follows() {
    let end = Server::saying(HELLO).await;
    let start = redirecting(302, &end.url("/end")).await;
    for redirects in [0, 1] {
        let mut world = World::new(
            vec![rule("start", &["GET"], &start.url("/start")), rule("end", &["GET"], &end.url("/end"))],
            vec![start.target(false), end.target(false)],
        );
        world.grant.rules[0].redirects = redirects;
        let session = world.session();
        let mut response = session.send(get(&start.url("/start"))).await.unwrap();
        let expected = if redirects == 0 { (302, "moved") } else { (200, "hello") };
        assert_eq!((response.status, text(&mut response).await.as_str()), expected);
        assert_eq!(end.accepts(), usize::from(redirects));
        let records = session.records();
        assert_eq!(records.len(), 1 + usize::from(redirects));
        assert_eq!(records[0].status, Some(302));
    }
}

#[tokio::test]
async fn a_redirect_no_rule_covers_is_the_answer_and_on_record() {
    let end = Server::saying(HELLO).await;
    let start = redirecting(302, &end.url("/elsewhere")).await;
    let mut world = World::new(
        vec![rule("start", &["GET"], &start.url("/start")), rule("end", &["GET"], &end.url("/end"))],
        vec![start.target(false), end.target(false)],
    );
    world.grant.rules[0].redirects = 5;
    let session = world.session();
    let response = session.send(get(&start.url("/start"))).await.unwrap();
    assert_eq!((response.status, header(&response, "location")), (302, Some(end.url("/elsewhere").as_str())));
    assert_eq!(end.accepts(), 0);
    assert!(matches!(&session.records()[1].verdict, Verdict::Denied { denial } if denial.code == "http.no-rule"));
}

/// Even where a rule covers the metadata address: it is refused for what it is, and the guest learns that its first
/// request was sent.
#[tokio::test]
async fn a_redirect_to_metadata_opens_no_connection() {
    let metadata = "http://169.254.169.254/latest/meta-data/iam";
    let start = redirecting(307, metadata).await;
    let mut world = World::new(
        vec![rule("start", &["GET"], &start.url("/start")), rule("metadata", &["GET"], metadata)],
        vec![start.target(false)],
    );
    world.grant.rules[0].redirects = 1;
    let session = world.session();
    assert_eq!(failed(session.send(get(&start.url("/start"))).await), HttpFailure::Broken);
    let hop = &session.records()[1];
    assert!(
        matches!(&hop.verdict, Verdict::Failed { detail, .. } if detail.contains("Metadata 169.254.169.254/32")),
        "{hop:?}"
    );
    assert!(hop.address.is_none() && !hop.request_sent);
}

#[tokio::test]
async fn hops_are_counted_and_count_as_requests() {
    let round = Server::new(None, |io, nth| {
        say(io, format!("HTTP/1.1 302 Found\r\nlocation: /{nth}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    })
    .await;
    let mut world = World::to(&round);
    world.grant.rules[0].redirects = 3;
    let session = world.session();
    assert_eq!(session.send(get(&round.url("/start"))).await.unwrap().status, 302);
    assert_eq!((round.accepts(), session.usage().requests), (4, 4));
    world.grant.limits.requests = 2;
    world.grant.rules[0].redirects = 9;
    let session = world.session();
    assert_eq!(session.send(get(&round.url("/start"))).await.unwrap().status, 302);
    assert_eq!((round.accepts(), session.usage().requests), (6, 2));
}

#[tokio::test]
async fn credentials_of_a_plugin_stay_with_their_origin() {
    let end = Server::saying(HELLO).await;
    let start = redirecting(307, &end.url("/end")).await;
    let mut world = World::new(
        vec![rule("start", &["POST"], &start.url("/start")), rule("end", &["POST"], &end.url("/end"))],
        vec![start.target(false), end.target(false)],
    );
    world.grant.rules[0].redirects = 1;
    let headers = [("authorization", "mine"), ("cookie", "c=1"), ("x-api-key", "k"), ("content-type", "text/plain")];
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = GuestRequest { headers, ..post(&start.url("/start"), b"body") };
    assert_eq!(world.session().send(request).await.unwrap().status, 200);
    assert!(start.requests()[0].contains("\r\nauthorization: mine\r\n"));
    let seen = end.requests().remove(0);
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(!seen.contains(name), "{seen}");
    }
    assert!(seen.contains("\r\ncontent-type: text/plain\r\n") && seen.ends_with("\r\n\r\nbody"), "{seen}");
}
