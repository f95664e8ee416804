//! Compatibility mode: components that others' tools made for `wasi:http` and `wasi:cli`, from their own build to an answer,
//! and what they do not get.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::egress::Canary;
use crate::foreign_twin;
use crate::opsiq::{Ran, World, built};
use crate::upstream::{Reply, Upstream};

const TOKEN: &str = "kanarienvogel-foreign-0123456789";

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(name)
}

/// A component as its own build leaves it. `None` where the machine has no such target, which is said aloud; with CI set it
/// fails.
fn made(name: &str) -> Option<PathBuf> {
    let into = built().parent().unwrap().join("foreign");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--target", "wasm32-wasip2", "--manifest-path"]);
    let ran = cargo.arg(source("Cargo.toml")).env("CARGO_TARGET_DIR", &into).env_remove("RUSTFLAGS").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        assert!(said.contains("may not be installed") && std::env::var_os("CI").is_none(), "{said}");
        eprintln!("NOT RUN: rustup target add wasm32-wasip2");
        return None;
    }
    Some(into.join("wasm32-wasip2/release").join(format!("{name}.wasm")))
}

fn wrap(world: &World, component: &Path, contract: &Path) -> Ran {
    let out = world.file("wrapped.wasm");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    world.run(&["plugin", "wrap", &path(component), "--contract", &path(contract), "--out", &path(&out)])
}

/// A component with its contract, in a world that allows it.
fn wrapped(name: &str) -> Option<(World, PathBuf)> {
    let world = World::new();
    wrap(&world, &made(name)?, &source(&format!("{name}.toml"))).ok();
    world.configure(&format!("[ceiling.plugin.\"elsewhere/{name}\"]\nwasi = true\n"));
    let out = world.file("wrapped.wasm");
    Some((world, out))
}

/// The web service, installed, and a server it may ask for `/things/…`.
fn service() -> Option<(World, Upstream)> {
    let (world, component) = wrapped("service")?;
    let server = Upstream::start(|request| {
        let token = request.header("authorization").unwrap_or_default().to_owned();
        Reply::json(200, &json!({ "target": request.target, "token": token }))
    });
    world.open_loopback(server.port);
    world.install(&component, "service", &[("base-url", &server.url())], &[("token", TOKEN)]);
    Some((world, server))
}

fn fetched(world: &World, params: &Value) -> Value {
    world.call("service", "fetch", params).ok()["result"].take()
}

/// Off means refused, by the name of the setting; on again, it runs; off later means no new start.
#[test]
fn the_operator_decides() {
    let Some(component) = made("service") else { return };
    let world = World::new();
    let wrapped = world.file("wrapped.wasm");
    let data = wrap(&world, &component, &source("service.toml")).ok();
    assert_eq!(data["plugin"], "elsewhere/service@0.1.0");
    let seen = world.run(&["plugin", "inspect", wrapped.to_str().unwrap()]).ok();
    assert_eq!((&seen["world"], &seen["acceptable"]), (&json!("wasi:http/proxy@0.2"), &json!(true)));

    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let register = || world.run(&["plugin", "register", wrapped.to_str().unwrap()]);
    let error = register().refused(3);
    assert_eq!(error["code"], "ceiling.wasi-off");
    assert!(
        error["fix"].as_str().unwrap().contains("wasi = true under [ceiling.plugin.\"elsewhere/service\"]"),
        "{error}"
    );
    assert_eq!(world.run(&["plugin", "list"]).ok(), json!([]));

    let config = world.data().join("opsiq.toml");
    let off = std::fs::read_to_string(&config).unwrap();
    world.configure("[ceiling.plugin.\"elsewhere/service\"]\nwasi = true\n");
    register().ok();
    let install = ["--as", "acme/ada", "connector", "install", "service", "--config", "base-url=https://example.com"];
    let review = world.run(&install);
    review.refused(3);
    assert!(
        review.stdout.contains("compatibility mode") && review.stdout.contains("wasi:http/proxy@0.2"),
        "{review:?}"
    );
    world.run(&[&install[..], &["--yes"]].concat()).ok();
    world.run_with(&["--as", "acme/ada", "key", "set", "service", "token", "--stdin"], TOKEN).ok();
    world.call("service", "facts", &json!({})).ok();

    std::fs::write(&config, off).unwrap();
    let error = world.call("service", "facts", &json!({})).refused(3);
    assert_eq!(error["code"], "ceiling.wasi-off");
}

/// Parameters go where the contract says, and statuses come back as failures one can act on.
#[test]
fn an_action_is_a_request() {
    let Some((world, _server)) = service() else { return };
    let params = json!({ "id": "a/b ?", "limit": 5, "exact": true, "note": { "text": "Grüße" } });
    let said = world.call("service", "echo", &params).ok()["result"].take();
    let (path, query) = (said["path"].as_str().unwrap(), said["query"].as_str().unwrap());
    assert_eq!((path, query), ("a%2Fb%20%3F", "limit=5&exact=true"));
    assert_eq!(said["said"], json!({ "note": { "text": "Grüße" } }));
    let headers = said["headers"].as_array().unwrap();
    assert!(headers.contains(&json!("idempotency-key")) && headers.contains(&json!("content-type")), "{said}");
    world.call("service", "echo", &json!({ "id": "x", "other": 1 })).refused(6);
    for (status, code) in [
        (400, "plugin.invalid"),
        (404, "plugin.not-found"),
        (409, "plugin.conflict"),
        (429, "plugin.rate-limited"),
        (503, "plugin.upstream"),
        (500, "plugin.internal"),
        (302, "plugin.internal"),
    ] {
        let ran = world.call("service", "answer", &json!({ "status": status })).refused(7);
        assert_eq!(ran["code"], code, "{ran}");
    }
    assert_eq!(
        world.call("service", "answer", &json!({ "status": 201 })).ok()["result"]["detail"],
        "told to answer 201"
    );
}

/// The way out is the host's: rules, injection, and what comes back without the secret.
#[test]
fn only_granted_requests_leave() {
    let Some((world, server)) = service() else { return };
    let base = server.url();
    let answer = fetched(&world, &json!({ "url": format!("{base}/things/7") }));
    assert_eq!(answer["status"], 200, "{answer}");
    let text = answer["text"].as_str().unwrap();
    assert!(text.contains("/things/7") && !text.contains(TOKEN), "{answer}");
    assert_eq!(server.seen()[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let posted = fetched(&world, &json!({ "url": format!("{base}/things"), "body": "hello" }));
    assert_eq!((posted["status"].as_u64(), server.seen()[1].body.as_slice()), (Some(200), b"hello".as_slice()));
    assert_eq!(server.seen().len(), 2);

    let port = server.port;
    let canary = Canary::start();
    for (url, more, says) in [
        (format!("{base}/other"), json!({}), "HttpRequestDenied"),
        (format!("http://localhost:{port}/things/7"), json!({}), "HttpRequestDenied"),
        ("https://example.com/things/7".to_owned(), json!({}), "HttpRequestDenied"),
        (format!("http://127.0.0.1:{}/things/7", canary.port), json!({}), "HttpRequestDenied"),
        (format!("{base}/things/7"), json!({ "headers": { "authorization": "Bearer mine" } }), "HttpRequestDenied"),
        (format!("{base}/things/7"), json!({ "headers": { "x-forwarded-host": "a" } }), "HttpRequestDenied"),
        (format!("{base}/things"), json!({ "body": "x".repeat(5000) }), "HttpRequestBodySize"),
        (format!("{base}/things/7"), json!({ "headers": { "host": "a.example" } }), "Forbidden"),
    ] {
        let mut params = more;
        params["url"] = json!(url);
        let answer = fetched(&world, &params);
        assert!(answer.to_string().contains(says), "{params}: {answer}");
    }
    assert_eq!((server.seen().len(), canary.hits()), (2, 0), "something left");
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "200"]).ok().to_string();
    assert!(log.contains("http.no-rule") && log.contains("http.header-injected"), "{log}");
}

/// A private address that a rule covers and the operator did not list: no packet, and one answer.
#[test]
fn a_private_address_is_not_reached() {
    let Some((world, component)) = wrapped("service") else { return };
    let canary = Canary::start();
    // Every failure to connect is answered when this time is over, however early it is known.
    world.configure("[ceiling.limits]\nhttp-connect = \"100ms\"\n");
    for (index, host) in ["127.0.0.1", "localhost", "[::1]", "2130706433", "169.254.169.254"].into_iter().enumerate() {
        let (name, base) = (format!("service-{index}"), format!("http://{host}:{}", canary.port));
        world.install(&component, &name, &[("base-url", &base)], &[("token", TOKEN)]);
        let answer = world.call(&name, "fetch", &json!({ "url": format!("{base}/things/1") })).ok();
        assert!(
            answer["result"]["error"].as_str().is_some_and(|error| error.contains("Unavailable")),
            "{host}: {answer}"
        );
    }
    assert_eq!(canary.hits(), 0);
}

/// The twin: on the engine's own WASI the same bytes get out, read the environment, and write a file.
#[test]
fn elsewhere_the_same_component_gets_out() {
    let Some(component) = made("service") else { return };
    let server = Upstream::start(|_| Reply::json(200, &json!({ "reached": true })));
    let world = World::new();
    let folder = world.file("folder");
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
    let body = json!({ "url": format!("{}/latest/meta-data", server.url()) }).to_string();
    let answer = foreign_twin::ask(&component, "/fetch", &body, &folder);
    assert!(answer.contains("reached"), "{answer}");
    assert_eq!(server.seen().len(), 1);
    let facts: Value = serde_json::from_str(&foreign_twin::ask(&component, "/facts", "", &folder)).unwrap();
    assert_eq!((&facts["variables"], &facts["written"]), (&json!(["SECRET"]), &json!(true)), "{facts}");
    assert!(folder.join("tmp/left").exists());
}

/// No environment, no files, no arguments; time and randomness of the host.
#[test]
fn there_is_nothing_of_the_machine() {
    let Some((world, _server)) = service() else { return };
    let facts = || world.call("service", "facts", &json!({})).ok()["result"].take();
    let (first, second) = (facts(), facts());
    for facts in [&first, &second] {
        for empty in ["variables", "arguments", "opened"] {
            assert_eq!(facts[empty], json!([]), "{facts}");
        }
        assert_eq!(facts["written"], false, "{facts}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        assert!(u128::from(facts["now"].as_u64().unwrap()).abs_diff(now) < 60_000, "{facts}");
    }
    assert_ne!(first["random"], second["random"]);
}

/// Each limit of an ordinary plugin holds, and the next call finds nothing of the one before.
#[test]
fn every_limit_holds() {
    let Some((world, _server)) = service() else { return };
    for (how, code, seconds) in [
        ("spin", "cpu_exceeded", 3),
        ("sleep", "wall_exceeded", 6),
        ("calls", "hostcall_count", 3),
        ("log", "hostcall_", 3),
        ("memory", "memory_exceeded", 3),
        ("random", "random_exceeded", 3),
        ("resources", "resources_exceeded", 3),
        ("large", "result_too_large", 3),
        ("unfinished", "plugin.internal", 3),
        ("exit", "plugin.internal", 3),
        ("panic", "trap", 3),
    ] {
        let start = Instant::now();
        let ran = world.call("service", "attack", &json!({ "how": how }));
        let error = ran.refused(7);
        assert!(error["code"].as_str().unwrap().starts_with(code), "{how}: {ran:?}");
        assert!(start.elapsed() < Duration::from_secs(seconds), "{how} took {:?}", start.elapsed());
        assert!(
            !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
            "{how}: escape sequences came through"
        );
        world.call("service", "facts", &json!({})).ok();
    }
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "200"]).ok().to_string();
    assert!(log.contains("log truncated"), "the flood is not in the log");
    assert!(log.len() < 1 << 20, "the flood left {} bytes", log.len());
}

/// Parameters on standard input, words on the command line, the result on standard output.
#[test]
fn an_action_is_a_run_of_a_program() {
    let Some((world, component)) = wrapped("program") else { return };
    world.install(&component, "program", &[("unit", "kg")], &[]);
    let call = |action: &str, params: Value| world.call("program", action, &params);
    let params = json!({ "how": "sum; rm -rf /", "values": [1, 2] });
    let said = call("convert", params.clone()).ok()["result"].take();
    assert_eq!(said, json!({ "arguments": ["sum; rm -rf /", "--to=kg"], "said": params, "variables": 0 }));
    let said = call("plain", json!({ "a": 1 })).ok()["result"].take();
    assert_eq!(said, json!({ "arguments": [], "said": { "a": 1 }, "variables": 0 }));
    for (how, code) in [
        ("fail", "plugin.internal"),
        ("nothing", "result.off-contract"),
        ("text", "result.off-contract"),
        ("large", "result_too_large"),
    ] {
        let error = call("convert", json!({ "how": how })).refused(7);
        assert_eq!(error["code"], code, "{how}: {error}");
    }
    let log = world.run(&["--as", "acme/ada", "audit", "list"]).ok().to_string();
    assert!(log.contains("asked for fail"), "standard error is not in the log: {log}");
}

/// What no contract gives is refused by name before anything of it runs.
#[test]
fn sockets_and_the_undeclared_are_refused_by_name() {
    let Some(dial) = made("dial") else { return };
    let world = World::new();
    let error = wrap(&world, &dial, &source("program.toml")).refused(6);
    assert!(error["detail"].as_str().unwrap().contains("wasi:sockets/tcp"), "{error}");

    let service = made("service").unwrap();
    let contract = std::fs::read_to_string(source("service.toml")).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(contract.contains(from), "{from}");
        let path = world.file("contract.toml");
        std::fs::write(&path, contract.replace(from, to)).unwrap();
        wrap(&world, &service, &path).refused(6).to_string()
    };
    assert!(changed("\nworld = \"wasi:http/proxy@0.2\"", "").contains("belongs to world"));
    assert!(changed("wasi:http/proxy@0.2", "wasi:cli/command@0.2").contains("is not called by a request"));
    assert!(changed("request = { method = \"GET\", path = \"/facts\" }\n", "").contains("does not say which request"));
    // Made for another world, and without a rule for its requests.
    let error = wrap(&world, &service, &source("program.toml")).refused(6).to_string();
    assert!(error.contains("made for wasi:http/proxy@0.2") && error.contains("outgoing-handler"), "{error}");
    // And as it comes, a component says how it could be wrapped.
    let seen = world.run(&["plugin", "inspect", service.to_str().unwrap()]).refused(6).to_string();
    assert!(seen.contains("world = \\\"wasi:http/proxy@0.2\\\""), "{seen}");
}
