//! TLS out: 1.3 and a good certificate, or nothing, and never plain text instead.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opsiq_egress::HttpFailure;
use rcgen::date_time_ymd;
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use support::{Authority, Names, Server, World, failed, get, header, post, rule, say, self_signed, text};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn ask(
    authority: &Authority,
    config: Arc<ServerConfig>,
    tls12: bool,
) -> (Result<String, HttpFailure>, World, Server) {
    let server = Server::new(Some(config), |io, _| say(io, OK.to_vec())).await;
    let port = server.address.port();
    let mut world =
        World::new(vec![rule("all", &["GET"], &format!("https://api.test:{port}/x"))], vec![server.target(false)]);
    world.names = Arc::new(Names::default().with("api.test", &[&["127.0.0.1"]]));
    world.roots = vec![authority.root.clone()];
    if tls12 {
        world.tls12_hosts.insert("api.test".to_owned());
    }
    let session = world.session();
    let result = match session.send(get(&format!("https://api.test:{port}/x"))).await {
        Ok(mut response) => Ok(format!("{} {}", session.records()[0].tls.unwrap(), text(&mut response).await)),
        Err(failure) => Err(failure),
    };
    (result, world, server)
}

#[tokio::test]
async fn a_good_certificate_is_served_and_bad_ones_are_not() {
    let authority = Authority::new();
    let good = authority.server("api.test", &[&TLS13], &["http/1.1"], |_| {});
    assert_eq!(ask(&authority, good, false).await.0.unwrap(), "TLS 1.3 ok");
    let expired = authority.server("api.test", &[&TLS13], &[], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = authority.server("api.test", &[&TLS13], &[], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let misnamed = authority.server("other.test", &[&TLS13], &[], |_| {});
    let stranger = Authority::new().server("api.test", &[&TLS13], &[], |_| {});
    let old = authority.server("api.test", &[&TLS12], &[], |_| {});
    let alpn = authority.server("api.test", &[&TLS13], &["imap"], |_| {});
    for (what, config) in [
        ("expired", expired),
        ("not yet valid", early),
        ("wrong name", misnamed),
        ("unknown issuer", stranger),
        ("self-signed", self_signed("api.test")),
        ("TLS 1.2", old),
        ("no HTTP", alpn),
    ] {
        let (result, _, server) = ask(&authority, config, false).await;
        assert_eq!(result.unwrap_err(), HttpFailure::Unreachable, "{what}");
        assert_eq!(server.accepts(), 1, "{what}: one try, no second one without TLS");
        assert!(server.requests().is_empty(), "{what}: no request was read");
    }
}

#[tokio::test]
async fn only_the_operator_lets_a_host_speak_tls_1_2() {
    let authority = Authority::new();
    let old = authority.server("api.test", &[&TLS12], &[], |_| {});
    assert_eq!(ask(&authority, old, true).await.0.unwrap(), "TLS 1.2 ok");
    let expired = authority.server("api.test", &[&TLS12], &[], |params| params.not_after = date_time_ymd(2020, 1, 1));
    assert_eq!(ask(&authority, expired, true).await.0.unwrap_err(), HttpFailure::Unreachable);
}

#[tokio::test]
async fn a_server_without_tls_gets_no_request() {
    let plain = Server::saying(OK).await;
    let port = plain.address.port();
    for tls_only in [true, false] {
        let mut world = World::new(
            vec![rule("all", &["GET"], &format!("https://127.0.0.1:{port}/x"))],
            vec![plain.target(tls_only)],
        );
        world.grant.limits.connect_ms = 200;
        let session = world.session();
        assert_eq!(failed(session.send(get(&format!("https://127.0.0.1:{port}/x"))).await), HttpFailure::Unreachable);
        assert!(!session.records()[0].request_sent);
    }
    // And where TLS is asked for, plain http is refused before any packet.
    let before = plain.accepts();
    let mut world = World::new(vec![rule("all", &["GET"], &plain.url("/x"))], vec![plain.target(true)]);
    world.grant.limits.connect_ms = 50;
    assert_eq!(failed(world.session().send(get(&plain.url("/x"))).await), HttpFailure::Unreachable);
    assert_eq!(plain.accepts(), before);
    assert!(plain.requests().iter().all(|request| !request.contains("HTTP/1.1")));
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_does() {
    let authority = Authority::new();
    let config = authority.server("api.test", &[&TLS13], &["h2", "http/1.1"], |_| {});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let stream = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await.unwrap();
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let seen = format!("{:?} {} {}", request.version(), request.method(), request.uri());
                let many = request.uri().path() == "/many";
                let body = request.into_body().collect().await?.to_bytes();
                let mut answer = hyper::Response::new(Full::new(body));
                answer.headers_mut().insert("x-seen", seen.parse().unwrap());
                for i in 0..if many { 200 } else { 0 } {
                    answer.headers_mut().append("x-many", i.into());
                }
                Ok::<_, hyper::Error>(answer)
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    let origin = format!("https://api.test:{}", address.port());
    let target = opsiq_contract::PrivateTarget { cidr: address.ip().into(), port: address.port(), tls: true };
    let mut world = World::new(vec![rule("all", &["GET", "POST"], &format!("{origin}/{{any}}"))], vec![target]);
    world.names = Arc::new(Names::default().with("api.test", &[&["127.0.0.1"]]));
    world.roots = vec![authority.root.clone()];
    let session = world.session();
    let mut response = session.send(post(&format!("{origin}/x?q=1"), &vec![b'y'; 50_000])).await.unwrap();
    assert_eq!(header(&response, "x-seen"), Some(format!("HTTP/2.0 POST {origin}/x?q=1").as_str()));
    assert_eq!(text(&mut response).await, "y".repeat(50_000));
    let failure = failed(session.send(get(&format!("{origin}/many"))).await);
    assert!(
        matches!(failure, HttpFailure::Limit { name: "http-headers", sent: true } | HttpFailure::Broken),
        "{failure:?}"
    );
    task.abort();
}
