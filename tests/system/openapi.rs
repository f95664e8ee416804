//! The `OpenAPI` document against the running server: by our own reading of it, and by an outside judge, `schemathesis`, which
//! makes requests of its own from it and holds every answer against it.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::https::{Served, request};
use crate::opsiq::{World, built, guest};

/// What the judge looks at.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance";

/// Lets a client that speaks only TCP reach the operator's socket.
fn relay(socket: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = socket.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else { return };
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            let (mut from, mut to) = (server, client);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    port
}

#[tokio::test]
async fn every_operation_is_there_and_every_reference_leads_somewhere() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let document = served.ask(None, "GET", "/v1/openapi.json", None).await.is(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let concrete: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "1" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let came = served.socket(Some("nobody/none"), request(&method.to_ascii_uppercase(), &concrete, None)).await;
            let status = came.status.as_u16().to_string();
            assert!(operation["responses"].get(&status).is_some(), "{method} {path}: {status} is not in it");
            if came.header("content-type") == "application/problem+json" {
                assert_ne!(came.json()["rule"], "request.path", "{method} {path} is served");
                assert_ne!(came.json()["rule"], "request.method", "{method} {path} is served");
            }
        }
    }
    assert!(operations > 40, "{operations}");
}

#[tokio::test]
async fn an_outside_judge_finds_no_fault_of_the_host_and_no_answer_that_is_not_in_the_document() {
    let modules = built().parent().unwrap().join("fixtures/schemathesis");
    if !modules.join("schemathesis").is_dir() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", modules.display());
        eprintln!("NOT RUN: schemathesis is missing; .ci/fixtures fetches it, with pip");
        return;
    }
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let served = Served::start(&world, &[]);
    let port = relay(&world.data().join("operator.sock"));
    for who in [Some("acme/ada"), None] {
        // It keeps what it found where it runs.
        let kept = tempfile::tempdir().unwrap();
        let mut command = Command::new("python3");
        command.current_dir(kept.path());
        command.env("PYTHONPATH", &modules).args(["-m", "schemathesis.cli", "run"]);
        command.arg(format!("http://127.0.0.1:{port}/v1/openapi.json"));
        if let Some(who) = who {
            command.args(["-H", &format!("opsiq-as: {who}")]);
        }
        command.args(["--checks", CHECKS]);
        command.args(["--max-examples", "3", "--phases", "coverage,fuzzing", "--seed", "1", "--no-color"]);
        // It makes no components; the tests of the server send some.
        for upload in ["plugins.register", "plugins.inspect"] {
            command.args(["--exclude-operation-id", upload]);
        }
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "as {who:?}:\n{said}\n{}", String::from_utf8_lossy(&out.stderr));
        assert!(!said.contains("No operations"), "{said}");
    }
    let log: Value = served.ask(None, "GET", "/v1/audit?limit=1", None).await.is(200);
    assert!(log["items"][0]["seq"].as_u64().unwrap() > 10);
}
