//! The host's credential goes to exactly the rule it belongs to, and never comes back.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opsiq_egress::{GuestRequest, HttpFailure, Verdict};
use support::{Server, World, bearer, failed, get, header, rule, say, text};

const TOKEN: &str = "sk_live_51H/4f+9Q=z";

fn world(server: &Server) -> World {
    let mut with = rule("with", &["GET"], &server.url("/with"));
    with.inject = Some(bearer("api-key"));
    let without = rule("without", &["GET", "POST"], &server.url("/without/{id}"));
    let mut world = World::new(vec![with, without], vec![server.target(false)]);
    world.keys.insert("api-key", TOKEN);
    world
}

#[tokio::test]
async fn the_credential_goes_with_its_rule_alone() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let session = world(&server).session();
    for (path, injected) in [("/without/1", 0), ("/with", 1), ("/without/2", 0), ("/with?q=1", 1)] {
        session.send(get(&server.url(path))).await.unwrap();
        let seen = server.requests().pop().unwrap();
        assert_eq!(seen.matches(&format!("\r\nauthorization: Bearer {TOKEN}\r\n")).count(), injected, "{seen}");
        assert_eq!(seen.matches(TOKEN).count(), injected, "{seen}");
    }
    // Another method, path, port or query name is another rule or none.
    for (method, path) in
        [("POST", "/with"), ("GET", "/with/"), ("GET", "/with/more"), ("GET", "/with?other=1"), ("GET", "/WITH")]
    {
        let request = GuestRequest { method: method.to_owned(), ..get(&server.url(path)) };
        assert!(matches!(failed(session.send(request).await), HttpFailure::Denied(_)), "{method} {path}");
    }
    assert_eq!(server.accepts(), 4);
    assert!(!format!("{:?}", session.records()).contains("sk_live"));
}

#[tokio::test]
async fn a_plugin_cannot_set_the_injected_header_itself() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let session = world(&server).session();
    let mine = vec![("Authorization".to_owned(), "Bearer mine".to_owned())];
    let result = session.send(GuestRequest { headers: mine.clone(), ..get(&server.url("/with")) }).await;
    assert!(matches!(failed(result), HttpFailure::Denied(denial) if denial.code == "http.header-injected"));
    assert!(session.send(GuestRequest { headers: mine, ..get(&server.url("/without/1")) }).await.is_ok());
    assert_eq!(server.accepts(), 1);
}

#[tokio::test]
async fn a_key_that_is_missing_or_no_header_is_a_denial() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    for (value, code) in [(None, "http.key-missing"), (Some("two\r\nlines"), "http.key-unusable")] {
        let mut world = world(&server);
        world.keys.clear();
        world.keys.extend(value.map(|value| ("api-key", value)));
        let session = world.session();
        let failure = failed(session.send(get(&server.url("/with"))).await);
        assert!(matches!(&failure, HttpFailure::Denied(denial) if denial.code == code), "{failure:?}");
        assert!(!format!("{failure:?}{:?}", session.records()).contains("two"));
    }
    assert!(server.requests().iter().all(String::is_empty));
}

/// An upstream that echoes what it got, in every usual form, in headers and body, in pieces cut anywhere.
#[tokio::test]
async fn an_echoed_credential_is_taken_out() {
    for coding in ["", "gzip"] {
        for piece in [1, 3, 17, 4096] {
            let server = Server::new(None, move |mut io, _| async move {
                let forms = [
                    TOKEN.to_owned(),
                    STANDARD.encode(TOKEN),
                    STANDARD.encode(format!("Bearer {TOKEN}")),
                    hex::encode(TOKEN),
                    percent_encoding::percent_encode(TOKEN.as_bytes(), percent_encoding::NON_ALPHANUMERIC).to_string(),
                    TOKEN.replace('/', "\\/"),
                ];
                let plain = format!("before {} after", forms.join(" | "));
                let mut body = plain.clone().into_bytes();
                if coding == "gzip" {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    encoder.write_all(plain.as_bytes()).unwrap();
                    body = encoder.finish().unwrap();
                }
                let coding = if coding.is_empty() { String::new() } else { format!("content-encoding: {coding}\r\n") };
                let mut answer = format!(
                    "HTTP/1.1 200 OK\r\nx-echo: Bearer {TOKEN}\r\nset-cookie: t={}\r\n{coding}transfer-encoding: chunked\r\n\r\n",
                    forms[1]
                )
                .into_bytes();
                for chunk in body.chunks(piece) {
                    answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    answer.extend(chunk);
                    answer.extend(b"\r\n");
                }
                answer.extend(b"0\r\n\r\n");
                tokio::io::AsyncWriteExt::flush(&mut io).await.unwrap();
                say(io, answer).await;
            })
            .await;
            let session = world(&server).session();
            // Also when a later request, without the credential, brings it back.
            for path in ["/with", "/without/1"] {
                let mut response = session.send(get(&server.url(path))).await.unwrap();
                assert_eq!(header(&response, "x-echo"), Some("Bearer [sealed]"));
                let cookie = header(&response, "set-cookie").unwrap().to_owned();
                let body = text(&mut response).await;
                assert!(body.starts_with("before [sealed] | ") && body.ends_with(" after"), "{body}");
                for trace in [TOKEN, "sk_live", "51H", &STANDARD.encode(TOKEN)[..12], &hex::encode(TOKEN)[..12]] {
                    assert!(!body.contains(trace) && !cookie.contains(trace), "{trace} in {body} {cookie}");
                }
            }
        }
    }
}

/// The twin: without an injection nothing is looked for, and the same text passes.
#[tokio::test]
async fn what_was_not_injected_passes() {
    let server = Server::saying(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKEN}", TOKEN.len())).await;
    let session = world(&server).session();
    assert_eq!(text(&mut session.send(get(&server.url("/without/1"))).await.unwrap()).await, TOKEN);
}

/// A redirect carries no credential, not even back to the rule that has it, and its URL is scrubbed on record.
#[tokio::test]
async fn a_redirect_carries_no_credential() {
    let server = Server::new(None, |io, nth| {
        let answer = if nth == 0 {
            format!("HTTP/1.1 302 Found\r\nlocation: /without/{TOKEN}\r\ncontent-length: 0\r\n\r\n")
                .replace("51H/4f", "51H-4f")
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()
        };
        say(io, answer.into_bytes())
    })
    .await;
    let mut world = world(&server);
    world.keys.insert("api-key", "sk_live_51H-4f+9Q=z");
    world.grant.rules[0].redirects = 1;
    let session = world.session();
    assert_eq!(text(&mut session.send(get(&server.url("/with"))).await.unwrap()).await, "ok");
    assert!(server.requests()[0].contains("authorization: Bearer sk_live"));
    assert!(!server.requests()[1].contains("authorization"));
    let records = session.records();
    assert_eq!(records[1].url, server.url("/without/[sealed]"));
    assert_eq!(records[1].verdict, Verdict::Answered);
}
