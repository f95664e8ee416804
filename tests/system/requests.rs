//! What the front door takes of a request and what it refuses, from outside.

use std::io::Read as _;
use std::net::TcpStream as Blocking;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::https::{Served, request};
use crate::opsiq::World;

/// A GET of this path, at the name the host has.
pub(crate) fn raw(url: &str, served: &Served) -> Request<Full<Bytes>> {
    request("GET", &format!("https://localhost:{}{url}", served.address.port()), None)
}

fn with_host(mut request: Request<Full<Bytes>>, served: &Served) -> Request<Full<Bytes>> {
    request.headers_mut().insert("host", format!("localhost:{}", served.address.port()).parse().unwrap());
    request
}

/// A request for another host, whatever name led here, is not answered as one for this, by whoever needs no proof either.
#[tokio::test]
async fn who_asks_for_another_host_is_told_so() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let elsewhere = |method: &str, path: &str, body| {
        let mut request = request(method, path, body);
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        request
    };
    let login = json!({ "tenant": "acme", "user": "ada", "password": "a password of some length" });
    for (method, path, body) in [
        ("GET", "/v1/me", None),
        ("POST", "/v1/login", Some(login.clone())),
        ("GET", "/docs", None),
        ("GET", "/healthz", None),
    ] {
        let came = served.http1(elsewhere(method, path, body)).await;
        assert_eq!(came.refused(421), "request.host", "{path}, without its port");
    }
    served.http1(with_host(request("POST", "/v1/login", Some(login)), &served)).await.refused(401);
    served.http2(raw("/v1/me", &served)).await.refused(401);
    drop(served);
    let served = Served::start(&world, &[("OPSIQ_SERVER__PUBLIC_URL", "https://api.example.com")]);
    served.http2(raw("/v1/me", &served)).await.refused(421);
    served.http2(request("GET", "https://api.example.com/v1/me", None)).await.refused(401);
}

/// Who offers no proof is refused before the body is read, however large it says it is; a proof of nobody, after.
#[tokio::test]
async fn a_body_is_read_for_somebody_only() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let client = world.run(&["--as", "acme/ada", "client", "create", "till", "--scope", "a:b"]).ok();
    let served = Served::start(&world, &[("OPSIQ_SERVER__BODY_READ", "60s")]);
    let port = served.address.port();
    let head = |proof: &str| {
        format!(
            "POST /v1/plugins HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/wasm\r\n{proof}\
             content-length: 67108864\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    let first = async |proof: &str| {
        let mut stream = served.tls(&["http/1.1"]).await;
        stream.write_all(head(proof).as_bytes()).await.unwrap();
        let mut line = vec![0; 12];
        tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut line)).await.unwrap().unwrap();
        String::from_utf8(line).unwrap()
    };
    assert_eq!(first("").await, "HTTP/1.1 401");
    assert_eq!(first("authorization: Basic YTpi\r\n").await, "HTTP/1.1 401");
    assert_eq!(first("cookie: __Host-opsiq=t\r\norigin: https://evil.example\r\n").await, "HTTP/1.1 401");
    assert_eq!(first("authorization: Bearer ses.acme.t\r\n").await, "HTTP/1.1 401");
    assert_eq!(first("signature: s\r\n").await, "HTTP/1.1 401");
    // What a client signs is asked for: it is the client's before its body came.
    let url = format!("https://localhost:{port}/v1/plugins");
    let sign = ["signature", "sign", "--url", &url, "-o", "table"];
    let made = &client;
    let mut command = world.command(&sign);
    command.env("OPSIQ_KEY_ID", made["key_id"].as_str().unwrap());
    command.env("OPSIQ_CLIENT_SECRET", made["secret"].as_str().unwrap());
    let fields = String::from_utf8(command.output().unwrap().stdout).unwrap().replace('\n', "\r\n");
    assert_eq!(first(&fields).await, "HTTP/1.1 100");
    let forged = fields.replace("keyid=\"acme/till/1\"", "keyid=\"acme/till/2\"");
    assert_eq!(first(&forged).await, "HTTP/1.1 401");
}

/// What binds a request and is not read where it is sent would be overlooked.
#[tokio::test]
async fn a_header_that_binds_is_read_or_refused() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    for (header, value, method, path) in [
        ("if-match", "\"r1\"", "GET", "/v1/tenants"),
        ("if-match", "\"r1\"", "POST", "/v1/installations/x/actions/y/call"),
        ("idempotency-key", "\"k\"", "GET", "/v1/tenants"),
        ("idempotency-key", "\"k\"", "POST", "/v1/installations/x/actions/y/explain"),
        ("idempotency-key", "\"k\"", "POST", "/v1/login"),
    ] {
        let mut request = request(method, path, (method == "POST").then(|| json!({})));
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(served.socket(None, request).await.refused(400), "request.header", "{header} {path}");
    }
}

/// Bytes over TLS and HTTP/1.1, and all that came back until the end. Whoever is refused need not be heard to the end.
async fn wire(served: &Served, text: &str) -> String {
    let mut stream = served.tls(&["http/1.1"]).await;
    let _ = stream.write_all(text.as_bytes()).await;
    let mut came = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut came)).await.expect("it ends");
    String::from_utf8_lossy(&came).into_owned()
}

#[tokio::test]
async fn over_the_network_nobody_is_believed_and_everybody_may_ask_for_health() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    for path in ["/v1/me", "/v1/tenants", "/v1/installations", "/v1/audit", "/v1/audit/export", "/v1/users"] {
        let came = served.http2(raw(path, &served)).await;
        assert_eq!(came.refused(401), "caller.unauthenticated", "{path}");
        assert!(came.header("www-authenticate").contains("Bearer"));
    }
    // The header of the operator's socket means nothing here.
    let mut claimed = raw("/v1/me", &served);
    claimed.headers_mut().insert("opsiq-as", "acme/ada".parse().unwrap());
    served.http2(claimed).await.refused(401);
    assert_eq!(&served.http2(raw("/healthz", &served)).await.body[..], b"ok");
    assert_eq!(&served.http1(with_host(request("GET", "/readyz", None), &served)).await.body[..], b"ready");
    assert_eq!(served.http2(raw("/v1/seal", &served)).await.is(200), json!({ "sealed": false }));
    let docs = served.http2(raw("/docs", &served)).await;
    assert_eq!(docs.status, 200);
    assert!(!String::from_utf8_lossy(&docs.body).contains("<script"));
    assert!(docs.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    for header in ["strict-transport-security", "x-content-type-options", "cache-control", "x-request-id"] {
        assert!(docs.headers.contains_key(header), "{header}");
    }
    let metrics = served.watch("/metrics");
    assert!(metrics.contains("opsiq_requests_total{route=\"me\",class=\"4xx\"} 2"), "{metrics}");
    assert!(served.watch("/readyz").contains("ready"));
}

#[tokio::test]
async fn what_no_route_answers_is_a_problem_too() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    assert_eq!(served.http2(raw("/v2", &served)).await.refused(404), "request.path");
    let came = served.http1(with_host(request("DELETE", "/v1/tenants", None), &served)).await;
    assert_eq!(came.refused(405), "request.method");
    assert!(came.header("allow").contains("GET") && came.header("allow").contains("POST"), "{came:?}");
    let came = served.http1(with_host(request("OPTIONS", "/v1/tenants", None), &served)).await;
    assert_eq!(came.status, 204);
    assert!(came.header("allow").contains("POST"));
    assert!(!came.headers.contains_key("access-control-allow-origin"));
    let came = served.ask(None, "HEAD", "/v1/tenants", None).await;
    assert_eq!((came.status.as_u16(), came.body.len()), (200, 0));
    let mut picky = request("GET", "/v1/tenants", None);
    picky.headers_mut().insert("accept", "text/html, application/json;q=0".parse().unwrap());
    assert_eq!(served.socket(None, picky).await.refused(406), "request.accept");
    let untyped = Request::post("/v1/tenants").body(Full::new(Bytes::from("{}"))).unwrap();
    assert_eq!(served.socket(None, untyped).await.refused(415), "request.media");
    let mut packed = request("POST", "/v1/tenants", Some(json!({})));
    packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(served.socket(None, packed).await.refused(415), "request.media");
    let large = json!({ "id": "acme", "owner": "x".repeat(70_000) });
    assert_eq!(served.ask(None, "POST", "/v1/tenants", Some(large)).await.refused(413), "request.too-large");
    for (path, rule) in [
        ("/v1/tenants?page=2", "request.query"),
        ("/v1/tenants?limit=1&limit=2", "request.query"),
        ("/v1/tenants?limit=0", "request.query"),
        ("/v1/tenants?cursor=%", "request.query"),
        ("/v1/confirmations?state=string", "request.query"),
        ("/v1/tenants/%FF", "request.path"),
    ] {
        assert_eq!(served.ask(None, "GET", path, None).await.refused(400), rule, "{path}");
    }
    let listed = served.ask(None, "GET", "/v1/confirmations?state=open", None).await;
    assert!(listed.json()["detail"].as_str().unwrap().contains("pending, running, done"), "{listed:?}");
    let broken = |text: &str| {
        let body = Full::new(Bytes::from(text.to_owned()));
        Request::post("/v1/tenants").header("content-type", "application/json").body(body).unwrap()
    };
    assert_eq!(served.socket(None, broken("{")).await.refused(400), "request.body");
    assert_eq!(served.socket(None, broken(r#"{"id":"a","owner":"b","x":1}"#)).await.refused(422), "request.body");
    assert_eq!(served.socket(None, broken(r#"{"id":"a","id":"a","owner":"b"}"#)).await.refused(422), "request.body");
    assert_eq!(served.socket(None, broken(r#"{"id":"A","owner":"b"}"#)).await.refused(422), "tenant.name");
}

#[tokio::test]
async fn framing_that_two_could_read_differently_is_refused_and_the_connection_ends() {
    let world = World::new();
    let served = Served::start(&world, &[("OPSIQ_SERVER__HEADERS", "20"), ("OPSIQ_SERVER__HEADER_BYTES", "4KiB")]);
    let head = "POST /v1/tenants HTTP/1.1\r\nhost: localhost:PORT\r\ncontent-type: application/json\r\n";
    let head = head.replace("PORT", &served.address.port().to_string());
    let host = format!("localhost:{}", served.address.port());
    let smuggled = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
    for (framing, body) in [
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        ("content-length: 1\r\ncontent-length: 2\r\n", "{}"),
        ("content-length: +2\r\n", "{}"),
        ("content-length: 2, 2\r\n", "{}"),
        ("host: elsewhere\r\ncontent-length: 2\r\n", "{}"),
    ] {
        let came = wire(&served, &format!("{head}{framing}\r\n{body}{smuggled}")).await;
        assert!(came.starts_with("HTTP/1.1 400 "), "{framing:?}: {came}");
        assert_eq!(came.matches("HTTP/1.1").count(), 1, "{framing:?}: the connection ends with it: {came}");
    }
    // Nothing is wrong with the same in one form: it is only nobody's.
    let came = wire(&served, &format!("{head}connection: close\r\ncontent-length: 2\r\n\r\n{{}}")).await;
    assert!(came.starts_with("HTTP/1.1 401 "), "{came}");
    let came = wire(&served, "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(came.starts_with("HTTP/1.1 400 "), "no host: {came}");
    let many = (0..25).map(|at| format!("x-{at}: 1\r\n")).collect::<Vec<_>>().concat();
    let came = wire(&served, &format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n{many}\r\n")).await;
    assert!(came.starts_with("HTTP/1.1 431 "), "{came}");
    let long = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let came = wire(&served, &long).await;
    assert!(came.starts_with("HTTP/1.1 431 "), "{came}");
    let mut heavy = raw("/healthz", &served);
    for at in 0..25 {
        heavy
            .headers_mut()
            .insert(hyper::header::HeaderName::try_from(format!("x-{at}")).unwrap(), "1".parse().unwrap());
    }
    assert_eq!(served.http2(heavy).await.refused(431), "request.headers");
}

#[tokio::test]
async fn who_dawdles_is_cut_and_who_comes_too_often_is_closed() {
    let world = World::new();
    let served = Served::start(
        &world,
        &[
            ("OPSIQ_SERVER__HEADER_READ", "500ms"),
            ("OPSIQ_SERVER__BODY_READ", "500ms"),
            ("OPSIQ_SERVER__IDLE", "700ms"),
            ("OPSIQ_SERVER__CONNECTIONS_PER_ADDRESS", "8"),
        ],
    );
    // No handshake, half a header, no request at all over HTTP/2, half a body.
    let began = Instant::now();
    let mut silent = Blocking::connect(served.address).unwrap();
    let mut rest = Vec::new();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = silent.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(5), "a handshake that does not come is not waited for");
    let began = Instant::now();
    wire(&served, "GET /healthz HTTP/1.1\r\nhost: loc").await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let began = Instant::now();
    let mut idle = served.tls(&["h2"]).await;
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let head = format!(
        "POST /v1/login HTTP/1.1\r\nhost: localhost:{}\r\ncontent-type: application/json\r\n\
         content-length: 99\r\n\r\n{{",
        served.address.port()
    );
    assert!(wire(&served, &head).await.starts_with("HTTP/1.1 408 "));
    // More connections than one address may have.
    let taken: Vec<_> = (0..8).map(|_| Blocking::connect(served.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut ninth = Blocking::connect(served.address).unwrap();
    ninth.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(ninth.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    drop(taken);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(served.http2(raw("/healthz", &served)).await.status, 200, "and it recovers");
    let metrics = served.watch("/metrics");
    let closed = metrics.lines().find_map(|line| line.strip_prefix("opsiq_connections_closed_total "));
    assert!(closed.unwrap().parse::<u64>().unwrap() >= 1, "{metrics}");
}

/// Row 47: requests that are reset as soon as they are sent.
#[tokio::test]
async fn a_rapid_reset_ends_its_connection_and_nobody_elses() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let mut stream = served.tls(&["h2"]).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // HEADERS (:method GET, :scheme https, :path /, :authority a) with END_HEADERS and END_STREAM, then RST_STREAM (CANCEL).
    let fields = [0x82, 0x87, 0x84, 0x41, 0x01, b'a'];
    let mut flood = Vec::new();
    for at in 0..5000_u32 {
        let id = (2 * at + 1).to_be_bytes();
        flood.extend([0, 0, 6, 1, 5]);
        flood.extend(id);
        flood.extend(fields);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(id);
        flood.extend([0, 0, 0, 8]);
    }
    let _ = stream.write_all(&flood).await;
    let mut came = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut came)).await;
    assert!(ended.is_ok(), "the connection ends");
    // GOAWAY with ENHANCE_YOUR_CALM.
    assert!(came.windows(4).any(|four| four == [0, 0, 0, 0x0b]), "{came:?}");
    assert_eq!(served.http2(raw("/healthz", &served)).await.status, 200);
}
