//! `opsiq serve` from outside: what the front door takes, what it refuses, and how it begins and ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Blocking;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::https::{Served, request, terminate};
use crate::opsiq::{World, built, guest};
use crate::orders;

fn raw(url: &str, served: &Served) -> Request<Full<Bytes>> {
    request("GET", &format!("https://localhost:{}{url}", served.address.port()), None)
}

fn with_host(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    request
}

/// A request for another host, whatever name led here, is not answered as one for this.
#[tokio::test]
async fn who_asks_for_another_host_is_told_so() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let came = served.http1(with_host(request("GET", "/v1/me", None))).await;
    assert_eq!(came.refused(421), "request.host", "without its port");
    served.http2(raw("/v1/me", &served)).await.refused(401);
    drop(served);
    let served = Served::start(&world, &[("OPSIQ_SERVER__PUBLIC_URL", "https://api.example.com")]);
    served.http2(raw("/v1/me", &served)).await.refused(421);
    served.http2(request("GET", "https://api.example.com/v1/me", None)).await.refused(401);
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
    assert_eq!(&served.http1(with_host(request("GET", "/readyz", None))).await.body[..], b"ready");
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
    let came = served.http1(with_host(request("DELETE", "/v1/tenants", None))).await;
    assert_eq!(came.refused(405), "request.method");
    assert!(came.header("allow").contains("GET") && came.header("allow").contains("POST"), "{came:?}");
    let came = served.http1(with_host(request("OPTIONS", "/v1/tenants", None))).await;
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
        ("/v1/tenants/%FF", "request.path"),
    ] {
        assert_eq!(served.ask(None, "GET", path, None).await.refused(400), rule, "{path}");
    }
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
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
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
    let came = wire(&served, &format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n")).await;
    assert!(came.starts_with("HTTP/1.1 431 "), "{came}");
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(100_000));
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
    let head =
        "POST /v1/tenants HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    assert!(wire(&served, head).await.starts_with("HTTP/1.1 408 "));
    // More connections than one address may have.
    let taken: Vec<_> = (0..8).map(|_| Blocking::connect(served.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut ninth = Blocking::connect(served.address).unwrap();
    ninth.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(ninth.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    drop(taken);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(served.http2(raw("/healthz", &served)).await.status, 200, "and it recovers");
    assert!(served.watch("/metrics").contains("opsiq_connections_closed_total 1"));
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

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let world = World::new();
    let other = World::new();
    // Two hosts' own certificates stand in for two of an operator's.
    for world in [&world, &other] {
        drop(Served::start(world, &[]));
    }
    let (chain, key) = (world.file("chain.pem"), world.file("key.pem"));
    let put = |from: &World| {
        std::fs::copy(from.data().join("tls-key.pem"), &key).unwrap();
        std::fs::copy(from.data().join("tls-certificate.pem"), &chain).unwrap();
    };
    put(&world);
    let served = Served::start(
        &world,
        &[("OPSIQ_SERVER__TLS_CERTIFICATE", chain.to_str().unwrap()), ("OPSIQ_SERVER__TLS_KEY", key.to_str().unwrap())],
    );
    let leaf = async || {
        served.tls_with(&["h2"], trusting(&[&world, &other])).await.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = leaf().await;
    std::fs::write(&chain, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(leaf().await, first);
    put(&other);
    let until = Instant::now() + Duration::from_secs(15);
    while leaf().await == first {
        assert!(Instant::now() < until, "the new one is in use");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn trusting(worlds: &[&World]) -> rustls::RootCertStore {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    for world in worlds {
        let file = world.data().join("tls-certificate.pem");
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(file).unwrap()).unwrap();
    }
    roots
}

/// Two outside judges: the command of OpenSSL, and sslyze.
#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let speaks = |version: &str| {
        let out = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &served.address.to_string(), version, "-servername", "localhost"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        out.status.success()
    };
    assert!(speaks("-tls1_3"));
    for older in ["-tls1_2", "-tls1_1", "-tls1"] {
        assert!(!speaks(older), "{older}");
    }
    let modules = built().parent().unwrap().join("fixtures/sslyze");
    if !modules.join("sslyze").is_dir() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", modules.display());
        eprintln!("NOT RUN: sslyze is missing; .ci/fixtures fetches it, with pip");
        return;
    }
    let scans = ["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--early_data"];
    let out = std::process::Command::new("python3")
        .env("PYTHONPATH", modules)
        .args(["-m", "sslyze"])
        .args(scans)
        .arg(format!("localhost:{}", served.address.port()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.matches("the server rejected all cipher suites").count(), 5, "all but 1.3: {said}");
    assert!(said.contains("The server accepted the following 3 cipher suites"), "{said}");
    assert!(
        said.split("Early Data:").nth(1).is_some_and(|rest| rest.trim_start().starts_with("Not Supported")),
        "{said}"
    );
}

#[test]
fn without_its_root_key_it_says_that_it_is_sealed_and_opens_when_the_key_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::new();
    let (key, away) = (world.data().join("root.key"), world.file("root.key"));
    // Once before, for the certificate.
    drop(Served::start(&world, &[]));
    std::fs::rename(&key, &away).unwrap();
    // A sealed server does not say where it serves until it does; so the ports are chosen here.
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, operator) = (port(), port());
    let mut command = world.command(&["serve"]);
    command.env("OPSIQ_SERVER__LISTEN", address.to_string());
    command.env("OPSIQ_SERVER__OPERATOR_LISTEN", operator.to_string());
    let mut child = command.spawn().unwrap();
    let served = Served::found(address, operator, world.data());
    let until = Instant::now() + Duration::from_secs(20);
    while Blocking::connect(address).is_err() {
        assert!(Instant::now() < until, "it listens");
        std::thread::sleep(Duration::from_millis(50));
    }
    runtime.block_on(async {
        while served.http2(raw("/v1/seal", &served)).await.is(200) != json!({ "sealed": true }) {
            assert!(Instant::now() < until, "it is sealed");
        }
        let came = served.http2(raw("/v1/me", &served)).await;
        assert_eq!(came.refused(503), "server.sealed");
        assert!(!came.header("retry-after").is_empty());
        assert_eq!(served.http2(raw("/readyz", &served)).await.status, 503);
        assert_eq!(served.http2(raw("/healthz", &served)).await.status, 200);
        assert!(served.watch("/seal").contains("root."), "the operator is told why");
        std::fs::rename(&away, &key).unwrap();
        while served.http2(raw("/readyz", &served)).await.status != 200 {
            assert!(Instant::now() < until, "it opens");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        served.http2(raw("/v1/me", &served)).await.refused(401);
    });
    drop(served);
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn ending_finishes_what_has_begun_and_takes_no_more() {
    let world = World::new();
    let mut served = Served::start(&world, &[]);
    let mut begun = served.tls(&["http/1.1"]).await;
    let port = served.address.port();
    let head = format!(
        "POST /v1/tenants HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{"
    );
    begun.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    served.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Blocking::connect(served.address).is_err(), "no more are taken");
    assert!(!world.data().join("operator.sock").exists());
    begun.write_all(b"}").await.unwrap();
    let mut came = String::new();
    begun.read_to_string(&mut came).await.unwrap();
    assert!(came.starts_with("HTTP/1.1 401 "), "{came}");
    assert!(served.ended(Duration::from_secs(20)).success());
    world.run(&["tenant", "list"]).ok();
}

#[tokio::test]
async fn a_mistake_in_the_configuration_stops_the_start_with_its_place() {
    let world = World::new();
    let explained = world.run(&["config", "explain"]).ok();
    assert!(explained.as_array().unwrap().iter().any(|one| one["key"] == "server.listen" && one["from"] == "default"));
    world.configure("[server]\nidel = \"5s\"\n");
    let refused = world.run(&["serve"]).refused(6);
    assert_eq!(refused["code"], "config.server");
    assert!(refused.to_string().contains("did you mean `idle`"), "{refused}");
}

#[tokio::test]
async fn commands_that_see_and_stop_go_on_while_a_server_has_the_directory() {
    let world = World::new();
    let _served = Served::start(&world, &[]);
    assert_eq!(world.run(&["sandbox", "list"]).ok()["calls"], json!([]));
    assert_eq!(world.run(&["--wait", "0", "tenant", "list"]).refused(8)["code"], "data.locked");
}

/// Everything a tenant does, over the API.
#[tokio::test]
async fn a_tenant_from_its_making_to_its_log() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let made = served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "acme", "owner": "ada" }))).await;
    assert_eq!(made.is(201)["standing"], "active");
    assert_eq!(made.header("location"), "/v1/tenants/acme");
    served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "beta", "owner": "bob" }))).await.is(201);
    let again = served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "acme", "owner": "ada" }))).await;
    assert_eq!(again.refused(409), "tenant.exists");
    assert_eq!(served.ask(owner, "GET", "/v1/me", None).await.is(200)["tenant"], "acme");
    served.ask(owner, "GET", "/v1/tenants/acme", None).await.is(200);
    let foreign = served.ask(owner, "GET", "/v1/tenants/beta", None).await;
    let absent = served.ask(owner, "GET", "/v1/tenants/none", None).await;
    assert_eq!((foreign.refused(404), absent.refused(404)), ("tenant.unknown".to_owned(), "tenant.unknown".to_owned()));
    assert_eq!(served.ask(owner, "GET", "/v1/tenants", None).await.refused(403), "act.needs-operator");

    let component = std::fs::read(guest("hello")).unwrap();
    let upload = |component: Vec<u8>| {
        Request::post("/v1/plugins")
            .header("content-type", "application/wasm")
            .body(Full::new(component.into()))
            .unwrap()
    };
    assert_eq!(served.socket(owner, upload(component.clone())).await.refused(403), "act.needs-operator");
    assert_eq!(served.socket(None, upload(component.clone())).await.is(201)["plugin"], "opsiq/hello@0.1.0");
    assert_eq!(served.socket(None, upload(component)).await.is(200)["new"], false);
    assert_eq!(served.socket(None, upload(b"\0asm".to_vec())).await.refused(422), "component.inadmissible");
    let shown = served.ask(owner, "GET", "/v1/plugins/opsiq%2Fhello%400.1.0", None).await;
    assert_eq!(shown.is(200)["title"], "Hello");

    let install = json!({ "plugin": "hello" });
    assert_eq!(
        served.ask(owner, "POST", "/v1/installations/plan", Some(install.clone())).await.is(200)["title"],
        "Hello"
    );
    let installed = served.ask(owner, "POST", "/v1/installations", Some(install)).await;
    assert_eq!(installed.is(201)["state"], "enabled");
    let tag = installed.header("etag").to_owned();
    let call = |params: &str, key: Option<&str>| {
        let mut request =
            Request::post("/v1/installations/hello/actions/hello/call").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(Bytes::from(params.to_owned()))).unwrap()
    };
    let done = served.socket(owner, call(r#"{ "name":"Ada" }"#, Some("\"k 1\""))).await;
    assert_eq!(done.refused(400), "idempotency.malformed");
    let done = served.socket(owner, call(r#"{ "name":"Ada" }"#, Some("\"k1\""))).await.is(200);
    assert!(done["result"]["greeting"].as_str().unwrap().contains("Ada"), "{done}");
    let replayed = served.socket(owner, call(r#"{"name":"Ada"}"#, Some("\"k1\""))).await.is(200);
    assert_eq!((&replayed["replayed"], &replayed["invocation"]), (&json!(true), &done["invocation"]));
    assert_eq!(
        served.socket(owner, call(r#"{"name":"Bob"}"#, Some("\"k1\""))).await.refused(422),
        "idempotency.other-params"
    );
    assert_eq!(served.socket(owner, call(r#"{"nam":"Bob"}"#, None)).await.refused(422), "params.invalid");
    assert_eq!(
        served.socket(Some("beta/bob"), call(r#"{"name":"Bob"}"#, None)).await.refused(404),
        "installation.unknown"
    );
    assert_eq!(served.socket(Some("acme/eve"), call(r#"{"name":"Bob"}"#, None)).await.refused(401), "caller.unknown");

    // Two people change one installation.
    let change = |path: &str, tag: &str| {
        let mut request = request("POST", path, None);
        request.headers_mut().insert("if-match", tag.parse().unwrap());
        request
    };
    let paused = served.socket(owner, change("/v1/installations/hello/pause", &tag)).await;
    assert_eq!(paused.is(200)["state"], "paused");
    assert_ne!(paused.header("etag"), tag);
    let stale = served.socket(owner, change("/v1/installations/hello/resume", &tag)).await;
    assert_eq!(stale.refused(412), "request.changed");
    served.socket(owner, change("/v1/installations/hello/resume", paused.header("etag"))).await.is(200);

    // The request is in the log by the id its answer had.
    let page = served.ask(owner, "GET", "/v1/audit?limit=50", None).await.is(200);
    let entries = page["items"].as_array().unwrap();
    let refused = entries.iter().find(|entry| entry["fields"]["rule"] == "request.changed").unwrap();
    assert_eq!(refused["fields"]["request"].as_str(), Some(stale.header("x-request-id")));
    let first = served.ask(owner, "GET", "/v1/audit?limit=2", None).await.is(200);
    let cursor = first["next"].as_str().unwrap();
    let second = served.ask(owner, "GET", &format!("/v1/audit?limit=2&cursor={cursor}"), None).await.is(200);
    assert!(second["items"][0]["seq"].as_u64() < first["items"][1]["seq"].as_u64());
    assert_eq!(served.ask(Some("acme/eve"), "GET", "/v1/audit", None).await.refused(401), "caller.unknown");
    served.ask(owner, "POST", "/v1/users", Some(json!({ "name": "sam", "role": "support" }))).await.is(201);
    assert_eq!(served.ask(Some("acme/sam"), "GET", "/v1/audit/export", None).await.refused(403), "role.not-allowed");
    let key = served.ask(owner, "GET", "/v1/audit/key", None).await.is(200)["key"].as_str().unwrap().to_owned();
    for path in ["/v1/audit/export", "/v1/audit/export?format=csv", "/v1/audit/1/proof"] {
        let export = served.ask(owner, "GET", path, None).await;
        assert_eq!(export.status, 200, "{export:?}");
        let file = world.file("export");
        std::fs::write(&file, &export.body).unwrap();
        world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
    }
}

/// A risky write over the API: it waits, and a person's approval runs it.
#[tokio::test]
async fn a_risky_write_waits_and_lists_have_pages() {
    let world = World::new();
    orders::install(&world, "http://127.0.0.1:9", 9);
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let path = "/v1/installations/shop/actions/refund-order/call";
    let mut ids = Vec::new();
    for amount in [100, 200, 300] {
        let waits = served.ask(owner, "POST", path, Some(orders::params(amount))).await;
        let id = waits.is(202)["confirmation"]["id"].as_str().unwrap().to_owned();
        assert_eq!(waits.header("location"), format!("/v1/confirmations/{}", id.replace('-', "%2D")));
        ids.push(id);
    }
    let page = served.ask(owner, "GET", "/v1/confirmations?state=pending&limit=2", None).await.is(200);
    assert_eq!(page["items"][0]["id"], ids[2]);
    let next = format!("/v1/confirmations?state=pending&limit=2&cursor={}", page["next"].as_str().unwrap());
    let page = served.ask(owner, "GET", &next, None).await.is(200);
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(ids[0]), &json!(null)));
    let deny = format!("/v1/confirmations/{}/deny", ids[0]);
    assert_eq!(served.ask(owner, "POST", &deny, None).await.is(200)["state"], "denied");
    assert_eq!(served.ask(owner, "POST", &deny, None).await.refused(409), "confirmation.decided");
    // Nobody listens where it goes: it runs, and fails.
    let approve = format!("/v1/confirmations/{}/approve", ids[1]);
    assert_eq!(served.ask(owner, "POST", &approve, None).await.status, 502);
    let keys = served.ask(owner, "GET", "/v1/installations/shop/keys", None).await;
    assert!(!String::from_utf8_lossy(&keys.body).contains(orders::SECRET));
    let rotate = json!({ "secret": "another-secret-of-some-length-0001" });
    let rotated =
        served.ask(owner, "POST", "/v1/installations/shop/keys/signing-secret/rotate", Some(rotate)).await.is(200);
    assert_eq!(rotated["versions"][0]["state"], "current");
    let retire = "/v1/installations/shop/keys/signing-secret/versions/1";
    assert_eq!(served.ask(owner, "DELETE", retire, None).await.is(200)["versions"][1]["state"], "retired");
}

#[test]
fn the_socket_takes_a_connection_at_a_time_and_lives_in_a_closed_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let _served = Served::start(&world, &[]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.data().join("operator.sock")), 0o600);
    assert_eq!(mode(world.data()), 0o700);
    let mut stream = std::os::unix::net::UnixStream::connect(world.data().join("operator.sock")).unwrap();
    stream.write_all(b"GET /v1/me HTTP/1.1\r\nhost: x\r\nopsiq-as: acme\r\nconnection: close\r\n\r\n").unwrap();
    let mut came = String::new();
    stream.read_to_string(&mut came).unwrap();
    assert!(came.starts_with("HTTP/1.1 400 "), "{came}");
}
