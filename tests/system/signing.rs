//! Signed requests from outside: the examples, made with libraries of others, against `opsiq serve`, which verifies each
//! request and signs each reply.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::https::Served;
use crate::opsiq::{World, binary, built, guest};

const BODY: &str = r#"{"name":"Grüße"}"#;
const PATH: &str = "/v1/installations/hello/actions/hello/call";

/// A client, where to send, and which certificate to trust for it.
struct Till {
    url: String,
    ca: PathBuf,
    key_id: String,
    secret: String,
}

impl Till {
    /// The tenant, the plugin, and the client that may call it.
    fn made(world: &World) -> Value {
        world.install(&guest("hello"), "hello", &[], &[]);
        world.run(&["--as", "acme/ada", "client", "create", "till", "--scope", "greetings:read"]).ok()
    }

    fn of(made: &Value, url: String, world: &World) -> Self {
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { url, ca: world.data().join("tls-certificate.pem"), key_id: text("key_id"), secret: text("secret") }
    }

    /// The certificate of another host of the same name.
    fn other_ca(&self) -> PathBuf {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = self.ca.with_file_name("other.pem");
        std::fs::write(&path, made.cert.pem()).unwrap();
        path
    }

    fn run(&self, command: &mut Command) -> Output {
        for trusts in ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "OPSIQ_CA"] {
            command.env(trusts, &self.ca);
        }
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
        let (url, ca, key_id) = (self.url.clone(), self.ca.clone(), self.key_id.clone());
        let stranger = Self { secret: format!("{}x", self.secret), url, ca, key_id };
        let out = stranger.run(&mut command());
        assert!(!out.status.success(), "{name} took a refusal for an answer");
        let untrusting = Self { secret: self.secret.clone(), ca: self.other_ca(), ..stranger };
        let out = untrusting.run(&mut command());
        assert!(!out.status.success(), "{name} spoke to a host it does not trust");
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

fn with_served(test: impl FnOnce(&Till)) {
    let world = World::new();
    let made = Till::made(&world);
    let served = Served::start(&world, &[]);
    let url = format!("https://localhost:{}{PATH}", served.address.port());
    test(&Till::of(&made, url, &world));
}

#[test]
fn the_example_for_curl() {
    with_served(|till| {
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
    with_served(|till| {
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
    with_served(|till| {
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
    with_served(|till| till.example("rust", || Command::new(&example)));
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
    // The address that is signed must not change with the port of the next server.
    let url = format!("https://host.example{PATH}");
    let start = || {
        let named = [("OPSIQ_SERVER__PUBLIC_URL", "https://host.example"), ("OPSIQ_SERVER__TLS_NAMES", "host.example")];
        Served::start(&world, &named)
    };
    let served = start();
    let till = Till::of(&made, url.clone(), &world);
    let (body, sent) = (world.file("body"), world.file("headers"));
    std::fs::write(&body, BODY).unwrap();
    let sign = ["signature", "sign", "--url", &url, "--body", body.to_str().unwrap(), "--idempotency-key", "once"];
    let out = till.run(world.command(&sign).args(["-o", "table", "-H", "content-type: application/json"]));
    std::fs::write(&sent, out.stdout).unwrap();
    let curl = |served: &Served| {
        let there = format!("host.example:443:127.0.0.1:{}", served.address.port());
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--request", "POST", "--connect-to", &there])
            .args(["--header", &format!("@{}", sent.display()), "--data-binary", &format!("@{}", body.display())])
            .args(["--write-out", "\n%{http_code}", &url]);
        let out = till.run(&mut command);
        String::from_utf8(out.stdout).unwrap() + &String::from_utf8_lossy(&out.stderr)
    };
    let first = curl(&served);
    assert!(first.ends_with("\n200") && first.contains("Grüße"), "{first}");
    assert!(curl(&served).ends_with("\n401"));
    drop(served);
    let again = curl(&start());
    assert!(again.ends_with("\n401") && again.contains("signature.replayed"), "{again}");
}
