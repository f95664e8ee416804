//! `opsiq serve` from outside: how it begins and ends, what it speaks, and who reaches it without the network.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Blocking;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::https::{Served, terminate};
use crate::opsiq::{World, built};
use crate::requests::raw;

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
        "POST /v1/login HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n\
         content-length: 2\r\n\r\n{{"
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
    assert!(came.starts_with("HTTP/1.1 422 "), "{came}");
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
