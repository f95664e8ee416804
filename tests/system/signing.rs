//! Signed requests from outside: the examples, made with libraries of others, against a server that verifies each request
//! with the host's own front door and signs each reply.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use opsiq_gate::{Answer, Call, Host, KeyRule, Origin, Refusal, ReplySigner, idempotency_key, status_of};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::opsiq::{World, binary, built, guest};
use crate::upstream::{Reply, Request, Upstream};

const PEER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const BODY: &str = r#"{"name":"Grüße"}"#;

/// The front door over HTTP, as small as it can be: `POST /v1/actions/INSTALLATION/ACTION`.
struct Served {
    upstream: Upstream,
    runtime: Arc<Runtime>,
    /// Until it is closed: the server's thread goes on.
    host: Arc<Mutex<Option<Host>>>,
}

impl Served {
    fn start(world: &World) -> Self {
        let runtime = Arc::new(Runtime::new().unwrap());
        let host = Arc::new(Mutex::new(Some(runtime.block_on(Host::open(world.options())).unwrap())));
        let (on, door) = (runtime.clone(), host.clone());
        let upstream = Upstream::start(move |request| {
            let host = door.lock().unwrap().clone().unwrap();
            on.block_on(answer(&host, request))
        });
        Self { upstream, runtime, host }
    }

    fn url(&self) -> String {
        format!("{}/v1/actions/hello/hello?from=till", self.upstream.url())
    }

    fn close(self) {
        let host = self.host.lock().unwrap().take().unwrap();
        self.runtime.block_on(host.close()).unwrap();
    }
}

async fn answer(host: &Host, request: &Request) -> Reply {
    let mut parts = http::Request::builder().method(request.method.as_str()).uri(&request.target);
    for (name, value) in &request.headers {
        parts = parts.header(name, value);
    }
    let parts = parts.body(()).unwrap().into_parts().0;
    let origin = Origin::of(&format!("http://{}/", request.header("host").unwrap()).parse().unwrap()).unwrap();
    let (actor, signer) = match host.door().signed(&origin, &parts, &request.body, PEER.into()).await {
        Ok(signed) => signed,
        Err(refusal) => return refused(&refusal),
    };
    let done = match idempotency_key(&parts.headers, KeyRule::Required) {
        Ok(idempotency_key) => {
            let mut path = parts.uri.path().split('/').skip(3).map(str::to_owned);
            let (installation, action) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
            let params = request.body.clone();
            host.invoke(&actor, Call { installation, action, params, idempotency_key }).await
        }
        Err(refusal) => Err(refusal),
    };
    let (status, body) = match done {
        Ok(Answer::Done(done)) => (200, json!({ "replayed": done.replayed, "result": done.shown() })),
        Ok(Answer::Pending(view)) => (202, json!({ "confirmation": view.id })),
        Err(refusal) => (status_of(&refusal), json!({ "code": refusal.code })),
    };
    signed(&signer, status, &body).await
}

async fn signed(signer: &ReplySigner, status: u16, body: &Value) -> Reply {
    match signer.sign(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes()).await {
        Ok(fields) => fields.iter().fold(Reply::json(status, body), |reply, (name, value)| {
            reply.header(name.as_str(), value.to_str().unwrap())
        }),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Reply {
    Reply::json(status_of(refusal), &json!({ "code": refusal.code, "message": refusal.message }))
}

/// A client and where to send.
struct Till {
    url: String,
    key_id: String,
    secret: String,
}

impl Till {
    /// The tenant, the plugin, and the client that may call it.
    fn made(world: &World) -> Value {
        world.install(&guest("hello"), "hello", &[], &[]);
        world.run(&["--as", "acme/ada", "client", "create", "till", "--scope", "greetings:read"]).ok()
    }

    fn of(made: &Value, served: &Served) -> Self {
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { url: served.url(), key_id: text("key_id"), secret: text("secret") }
    }

    fn run(&self, command: &mut Command) -> Output {
        command
            .env("OPSIQ_URL", &self.url)
            .env("OPSIQ_BODY", BODY)
            .env("OPSIQ_KEY_ID", &self.key_id)
            .env("OPSIQ_CLIENT_SECRET", &self.secret)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// An example that must reach the action and verify the reply; then one with another secret, which must not.
    fn example(&self, name: &str, command: impl Fn() -> Command) {
        let out = self.run(&mut command());
        let stdout = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{name}: {stdout}{}", String::from_utf8_lossy(&out.stderr));
        assert!(stdout.contains("Grüße") && stdout.contains("\"replayed\":false"), "{name}: {stdout}");
        let stranger = Self { secret: format!("{}x", self.secret), url: self.url.clone(), key_id: self.key_id.clone() };
        let out = stranger.run(&mut command());
        assert!(!out.status.success(), "{name} took a refusal for an answer");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/signing")
}

/// A library that `.ci/fixtures` fetched; where it has not, that is said aloud, and with CI set it fails.
fn fixture(name: &str, holds: &str) -> Option<PathBuf> {
    let dir = built().parent().unwrap().join("fixtures").join(name);
    if dir.join(holds).exists() {
        return Some(dir);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", dir.display());
    eprintln!("NOT RUN: {} is missing; .ci/fixtures fetches it", dir.display());
    None
}

fn with_served(test: impl FnOnce(&Till, &Served)) {
    let world = World::new();
    let made = Till::made(&world);
    let served = Served::start(&world);
    test(&Till::of(&made, &served), &served);
    served.close();
}

#[test]
fn the_example_for_curl() {
    with_served(|till, _| {
        till.example("curl", || {
            let mut command = Command::new(examples().join("curl"));
            command.env("OPSIQ", binary("opsiq"));
            command
        });
    });
}

#[test]
fn the_example_in_python() {
    let Some(modules) = fixture("signing-python", "http_message_signatures") else { return };
    with_served(|till, _| {
        till.example("python", || {
            let mut command = Command::new("python3");
            command.arg(examples().join("python/client.py")).env("PYTHONPATH", &modules);
            command
        });
    });
}

#[test]
fn the_example_in_javascript() {
    let Some(modules) = fixture("signing-javascript", "http-message-signatures") else { return };
    with_served(|till, _| {
        till.example("javascript", || {
            let mut command = Command::new("node");
            command.arg(examples().join("javascript/client.js")).env("NODE_PATH", &modules);
            command
        });
    });
}

#[test]
fn the_example_in_rust() {
    let example = built().parent().unwrap().join("signing-example/release/opsiq-signing-example");
    if !example.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}: run make guests", example.display());
        eprintln!("NOT RUN: {} is missing; `make guests` builds it", example.display());
        return;
    }
    with_served(|till, _| till.example("rust", || Command::new(&example)));
}

/// What `opsiq signature` prints can be sent by anybody once, and verified by whoever has the secret.
#[test]
fn signatures_are_made_and_verified_offline() {
    let world = World::new();
    let file = |name: &str, text: &str| {
        let path = world.file(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (body, other) = (file("body", BODY), file("other", "{}"));
    let secret = file("secret", "a secret that is long enough\n");
    let url = "https://API.example.com/v1/x?a=b";
    let (body, secret) = (body.as_str(), secret.as_str());
    let sign = ["signature", "sign", "--key-id", "acme/till/1", "--url", url, "--body", body, "--secret-file", secret];
    let mut command = world.command(&sign);
    command.args(["--idempotency-key", "k", "-H", "Content-Type: application/json", "-o", "table"]);
    let out = command.output().unwrap();
    let printed = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{printed}{}", String::from_utf8_lossy(&out.stderr));
    for field in [
        "content-digest: sha-256=:",
        "signature-input: opsiq=(\"@method\"",
        "signature: opsiq=:",
        "idempotency-key: \"k\"",
    ] {
        assert!(printed.lines().any(|line| line.starts_with(field)), "{field} in {printed}");
    }
    let headers = file("headers", &printed);
    let verify = |url: &str, body: &str, secret: &str| {
        let args =
            ["signature", "verify", "--headers", &headers, "--url", url, "--body", body, "--secret-file", secret];
        world.run(&args)
    };
    assert_eq!(verify(url, body, secret).ok()["key_id"], "acme/till/1");
    assert_eq!(verify("https://api.example.com/v1/y", body, secret).refused(3)["code"], "signature.invalid");
    assert_eq!(verify(url, &other, secret).refused(3)["code"], "signature.digest");
    assert_eq!(verify(url, body, &file("another", "another secret")).refused(3)["code"], "signature.invalid");
    assert_eq!(verify("not an address", body, secret).refused(2)["code"], "cli.usage");
    // Without a secret nothing is asked on a terminal, and there is no argument to give it by.
    world.run(&["signature", "sign", "--key-id", "acme/till/1", "--url", url]).refused(2);
    world.run(&["signature", "sign", "--key-id", "acme/till/1", "--url", url, "--secret", "x"]).refused(2);
}

/// A request that was answered is not answered again by the next process either.
#[test]
fn a_request_is_taken_once_across_restarts() {
    let world = World::new();
    let made = Till::made(&world);
    let served = Served::start(&world);
    let till = Till::of(&made, &served);
    let body = world.file("body");
    std::fs::write(&body, BODY).unwrap();
    let headers = |url: &str| {
        let sign = ["signature", "sign", "--url", url, "--body", body.to_str().unwrap(), "--idempotency-key", "once"];
        let out = till.run(world.command(&sign).args(["-o", "table"]));
        let path = world.file("headers");
        std::fs::write(&path, out.stdout).unwrap();
        path
    };
    // The address that is signed must not change with the port of the next server.
    let url = "http://host.example/v1/actions/hello/hello";
    let sent = headers(url);
    let curl = |served: &Served| {
        let port = served.upstream.port;
        let out = Command::new("curl")
            .args(["--silent", "--request", "POST", "--connect-to", &format!("host.example:80:127.0.0.1:{port}")])
            .args(["--header", &format!("@{}", sent.display()), "--data-binary", &format!("@{}", body.display())])
            .args(["--write-out", "\n%{http_code}", url])
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let first = curl(&served);
    assert!(first.ends_with("\n200") && first.contains("Grüße"), "{first}");
    assert!(curl(&served).ends_with("\n401"));
    served.close();
    let served = Served::start(&world);
    let again = curl(&served);
    assert!(again.ends_with("\n401") && again.contains("signature.replayed"), "{again}");
    served.close();
}
