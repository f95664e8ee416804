//! What a server may do to us, and how far it gets.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opsiq_egress::{Budget, GuestRequest, HttpFailure, Verdict};
use support::{Server, World, all, failed, get, header, post, say, text};
use tokio::io::AsyncWriteExt as _;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body.to_vec()].concat()
}

#[tokio::test]
async fn a_request_arrives_as_asked_with_the_hosts_framing() {
    let server = Server::saying(
        "HTTP/1.1 201 Created\r\nX-Two: b\r\nx-one: a\r\nX-Two: c\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    )
    .await;
    let session = World::to(&server).session();
    let mut request = post(&server.url("/a/b%20c?q=1&q=2"), b"{\"n\":1}");
    request.headers =
        vec![("X-Custom".to_owned(), "v; w".to_owned()), ("content-type".to_owned(), "application/json".to_owned())];
    let mut response = session.send(request).await.unwrap();
    assert_eq!(response.status, 201);
    let headers: Vec<(&str, &str)> = response.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("x-two", "b"), ("x-two", "c"), ("x-one", "a"), ("content-length", "2")]);
    assert_eq!(response.body.read(1).await.unwrap(), b"o");
    assert_eq!(response.body.read(9).await.unwrap(), b"k");
    assert_eq!(response.body.read(9).await.unwrap(), b"");
    let seen = server.requests().remove(0);
    assert!(seen.starts_with("POST /a/b%20c?q=1&q=2 HTTP/1.1\r\n"), "{seen}");
    for line in [
        &format!("host: {}", server.address),
        "content-length: 7",
        "connection: close",
        "accept-encoding: gzip",
        "x-custom: v; w",
    ] {
        assert_eq!(seen.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\n{\"n\":1}"), "{seen}");
    let record = session.records().remove(0);
    assert_eq!((record.status, record.verdict, record.rule.as_deref()), (Some(201), Verdict::Answered, Some("all")));
    assert_eq!(record.sent_bytes, seen.len() as u64);
    assert!(record.request_sent && record.received_bytes > 50);
}

#[tokio::test]
async fn nothing_a_plugin_writes_becomes_a_second_header_or_request() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let session = World::to(&server).session();
    for (name, value) in [
        ("x", "1\r\nhost: evil"),
        ("x\r\nhost", "evil"),
        ("x", "1\n"),
        ("host", "evil"),
        ("transfer-encoding", "chunked"),
        ("content-length", "0"),
        ("connection", "x"),
        ("proxy-authorization", "x"),
        ("x-forwarded-for", "::1"),
    ] {
        let request = GuestRequest { headers: vec![(name.to_owned(), value.to_owned())], ..get(&server.url("/x")) };
        assert!(
            matches!(failed(session.send(request).await), HttpFailure::Denied(_) | HttpFailure::Invalid(_)),
            "{name:?}"
        );
    }
    for url in ["/x HTTP/1.1\r\nhost: evil\r\n\r\n", "/x\r\n", "/x\ty", "/x\0"] {
        assert!(matches!(failed(session.send(get(&server.url(url))).await), HttpFailure::Invalid(_)), "{url:?}");
    }
    assert_eq!(server.accepts(), 0);
    assert!(session.send(get(&server.url("/x"))).await.is_ok());
}

#[tokio::test]
async fn gzip_is_decoded_and_said_so() {
    let plain = "a long line of text\n".repeat(10_000);
    let server = Server::saying(coded("gzip", &gzip(plain.as_bytes()))).await;
    let mut response = World::to(&server).session().send(get(&server.url("/x"))).await.unwrap();
    assert_eq!((header(&response, "content-encoding"), header(&response, "content-length")), (None, None));
    assert_eq!(text(&mut response).await, plain);
}

#[tokio::test]
async fn a_gzip_bomb_ends_at_the_rules_size() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 80 << 10);
    let server = Server::saying(coded("gzip", &bomb)).await;
    let session = World::to(&server).session();
    let mut response = session.send(get(&server.url("/x"))).await.unwrap();
    let failure = all(&mut response.body).await.unwrap_err();
    assert_eq!(failure, HttpFailure::Limit { name: "response-max", sent: true });
    assert_eq!(response.body.read(1).await.unwrap_err(), failure, "and stays failed");
    assert!(matches!(session.records().remove(0).verdict, Verdict::Failed { code: "http.limit", .. }));
}

#[tokio::test]
async fn codings_not_asked_for_and_broken_ones_are_broken() {
    for coding in ["br", "deflate", "gzip, gzip", "zstd"] {
        let server = Server::saying(coded(coding, b"abc")).await;
        assert_eq!(
            failed(World::to(&server).session().send(get(&server.url("/x"))).await),
            HttpFailure::Broken,
            "{coding}"
        );
    }
    let whole = gzip(b"some text that is long enough to cut");
    let server = Server::saying(coded("gzip", &whole[..whole.len() - 4])).await;
    let mut response = World::to(&server).session().send(get(&server.url("/x"))).await.unwrap();
    assert_eq!(all(&mut response.body).await.unwrap_err(), HttpFailure::Broken);
}

#[tokio::test]
async fn an_endless_body_ends_at_the_size() {
    let server = Server::new(None, |mut io, _| async move {
        let _ = io.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = [b"1000\r\n".to_vec(), vec![b'x'; 4096], b"\r\n".to_vec()].concat();
        while io.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let mut world = World::to(&server);
    let session = world.session();
    let mut response = session.send(get(&server.url("/x"))).await.unwrap();
    assert_eq!(all(&mut response.body).await.unwrap_err(), HttpFailure::Limit { name: "response-max", sent: true });
    world.grant.limits.response_bytes = 1_000;
    let mut response = world.session().send(get(&server.url("/x"))).await.unwrap();
    assert_eq!(all(&mut response.body).await.unwrap_err(), HttpFailure::Limit { name: "http-response", sent: true });
}

/// The same body, slow and quick.
#[tokio::test]
async fn a_body_that_drips_ends_at_the_rate() {
    for (pause, whole) in
        [(Duration::from_millis(60), false), (Duration::from_millis(90), false), (Duration::ZERO, true)]
    {
        let server = Server::new(None, move |mut io, _| async move {
            let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n").await;
            for _ in 0..60 {
                if io.write_all(b"x").await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        })
        .await;
        let mut response = World::to(&server).session().send(get(&server.url("/x"))).await.unwrap();
        match all(&mut response.body).await {
            Ok(body) => assert!(whole && body.len() == 60),
            Err(failure) => assert!(!whole && failure == HttpFailure::Limit { name: "http-min-rate", sent: true }),
        }
    }
}

#[tokio::test]
async fn a_head_that_drips_ends_at_the_rate_and_one_that_thinks_does_not() {
    let drip = Server::new(None, |mut io, _| async move {
        for byte in b"HTTP/1.1 200 OK\r\nx-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle() {
            if io.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    })
    .await;
    let session = World::to(&drip).session();
    assert_eq!(
        failed(session.send(get(&drip.url("/x"))).await),
        HttpFailure::Limit { name: "http-min-rate", sent: true }
    );
    let think = Server::new(None, |io, _| async move {
        tokio::time::sleep(Duration::from_millis(900)).await;
        say(io, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()).await;
    })
    .await;
    assert_eq!(text(&mut World::to(&think).session().send(get(&think.url("/x"))).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn silence_times_out_and_says_that_the_request_was_sent() {
    let server = Server::new(None, |io, _| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(io);
    })
    .await;
    let session = World::to(&server).session();
    let request = GuestRequest { timeout_ms: Some(400), ..post(&server.url("/x"), b"effect") };
    assert_eq!(failed(session.send(request).await), HttpFailure::TimedOut { sent: true });
    let record = session.records().remove(0);
    assert!(record.request_sent && (350..2_000).contains(&record.duration_ms), "{record:?}");
}

#[tokio::test]
async fn a_body_that_stops_times_out() {
    let server = Server::new(None, |mut io, _| async move {
        let body = [b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n".to_vec(), vec![b'x'; 5_000]].concat();
        let _ = io.write_all(&body).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    let mut world = World::to(&server);
    world.grant.limits.total_ms = 400;
    world.grant.limits.min_rate_after_ms = 5_000;
    let mut response = world.session().send(get(&server.url("/x"))).await.unwrap();
    assert_eq!(all(&mut response.body).await.unwrap_err(), HttpFailure::TimedOut { sent: true });
}

#[tokio::test]
async fn heads_of_too_many_or_too_long_headers_are_refused() {
    let head = |count: usize, value: usize| {
        let value = "v".repeat(value);
        let lines = (0..count).map(|i| format!("x-{i}: {value}\r\n")).collect::<Vec<_>>().concat();
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n")
    };
    for (count, value, name) in [
        (65, 1, Some("http-headers")),
        (100_000, 1, Some("http-headers")),
        (10, 2_000, Some("http-header-bytes")),
        (1, 1 << 20, Some("http-header-bytes")),
        (63, 100, None),
    ] {
        let server = Server::saying(head(count, value)).await;
        match (World::to(&server).session().send(get(&server.url("/x"))).await, name) {
            (Ok(response), None) => assert_eq!(response.headers.len(), count + 1),
            (result, Some(name)) => {
                assert_eq!(failed(result), HttpFailure::Limit { name, sent: true }, "{count} of {value}");
            }
            (Err(failure), None) => panic!("{count} of {value}: {failure:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_http_or_ends_early_is_broken() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\n",
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let server = Server::saying(answer).await;
        assert_eq!(
            failed(World::to(&server).session().send(get(&server.url("/x"))).await),
            HttpFailure::Broken,
            "{answer:?}"
        );
    }
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let server = Server::saying(answer).await;
        let mut response = World::to(&server).session().send(get(&server.url("/x"))).await.unwrap();
        assert_eq!(all(&mut response.body).await.unwrap_err(), HttpFailure::Broken, "{answer:?}");
    }
}

#[tokio::test]
async fn an_invocation_has_so_many_requests_and_bytes() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut world = World::to(&server);
    world.grant.limits.requests = 3;
    world.grant.limits.egress_bytes = 100;
    world.grant.rules[0].request_max = 60;
    let session = world.session();
    let sent = |bytes: usize| session.send(post(&server.url("/x"), &vec![b'x'; bytes]));
    assert_eq!(failed(sent(61).await), HttpFailure::Limit { name: "request-max", sent: false });
    assert!(sent(60).await.is_ok());
    assert_eq!(failed(sent(41).await), HttpFailure::Limit { name: "http-sent", sent: false });
    assert!(sent(40).await.is_ok());
    assert!(sent(0).await.is_ok());
    assert_eq!(failed(sent(0).await), HttpFailure::Limit { name: "http-requests", sent: false });
    assert_eq!((server.accepts(), session.usage().requests, session.records().len()), (3, 3, 6));
}

#[tokio::test]
async fn head_and_empty_answers_have_no_body() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\ncontent-encoding: br\r\n\r\n").await;
    let request = GuestRequest { method: "HEAD".to_owned(), ..get(&server.url("/x")) };
    let mut response = World::to(&server).session().send(request).await.unwrap();
    assert_eq!(header(&response, "content-length"), Some("999999999"));
    assert_eq!(text(&mut response).await, "");
}

/// What may have left is on record even when the invocation is killed in the middle.
#[tokio::test]
async fn a_dropped_request_is_on_record_and_its_connection_closes() {
    let (gone, closed) = tokio::sync::oneshot::channel();
    let gone = std::sync::Mutex::new(Some(gone));
    let server = Server::new(None, move |mut io, _| {
        let gone = gone.lock().unwrap().take();
        async move {
            let mut buffer = [0; 16];
            let _ = tokio::io::AsyncReadExt::read(&mut io, &mut buffer).await;
            if let Some(gone) = gone {
                let _ = gone.send(());
            }
        }
    })
    .await;
    let session = World::to(&server).session();
    let send = session.send(post(&server.url("/x"), b"effect"));
    assert!(tokio::time::timeout(Duration::from_millis(300), send).await.is_err());
    tokio::time::timeout(Duration::from_secs(2), closed).await.unwrap().unwrap();
    let record = session.records().remove(0);
    assert!(record.request_sent && record.verdict == Verdict::Unfinished, "{record:?}");
}

/// So many bytes for all sessions together.
struct Bytes(u64, AtomicU64);

impl Budget for Bytes {
    fn left(&self) -> Result<(), &'static str> {
        if self.1.load(Ordering::SeqCst) < self.0 { Ok(()) } else { Err("bytes-of-all") }
    }

    fn used(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_budget_is_charged_with_every_byte_and_refuses_the_next_request() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n".to_owned() + &"x".repeat(200)).await;
    let budget = Arc::new(Bytes(400, AtomicU64::new(0)));
    let session = World::to(&server).session().charged_to(budget.clone());
    for _ in 0..2 {
        let mut response = session.send(get(&server.url("/x"))).await.unwrap();
        assert_eq!(response.body.read(200).await.unwrap().len(), 200, "what began goes on to its end");
    }
    let refused = failed(session.send(get(&server.url("/x"))).await);
    assert_eq!(refused, HttpFailure::Limit { name: "bytes-of-all", sent: false });
    let usage = session.usage();
    drop(session);
    assert_eq!(budget.1.load(Ordering::SeqCst), usage.sent_bytes + usage.received_bytes, "once each");
    let other = World::to(&server).session().charged_to(budget.clone());
    let refused = failed(other.send(get(&server.url("/x"))).await);
    assert_eq!(refused, HttpFailure::Limit { name: "bytes-of-all", sent: false });
    assert_eq!(server.accepts(), 2);
}
