//! The server from outside: the built binary over a socket, signed by the scheme's own library.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use standardwebhooks::Webhook;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(secrets: &str, log: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opsiq-example-orders"));
        command.args(["--listen", "127.0.0.1:0"]).env("ORDERS_SECRET", secrets);
        if let Some(log) = log {
            command.arg("--log").arg(log);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, address }
    }

    /// A raw exchange: status and body.
    fn send(&self, method: &str, target: &str, headers: &[(&str, String)], body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn signed(&self, method: &str, target: &str, extra: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut headers = signature(SECRET, now(), body);
        headers.extend(extra.iter().map(|&(name, value)| (name, value.to_owned())));
        self.send(method, target, &headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn signature(secret: &str, at: i64, body: &str) -> Vec<(&'static str, String)> {
    let signature = Webhook::new(secret).unwrap().sign("msg_1", at, body.as_bytes()).unwrap();
    vec![("webhook-id", "msg_1".to_owned()), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)]
}

#[test]
fn only_who_can_sign_is_answered() {
    let server = Server::start(&format!("{OTHER} {SECRET}"), None);
    let body = json!({ "amount": 100, "currency": "EUR", "reason": "broken" }).to_string();
    let target = "/orders/ord-1001/refunds";
    let good = signature(SECRET, now(), &body);
    let mut twisted = good.clone();
    twisted[0].1 = "msg_2".to_owned();
    let attacks = [
        ("unsigned", vec![], body.clone()),
        ("another secret", signature("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", now(), &body), body.clone()),
        ("too old", signature(SECRET, now() - 301, &body), body.clone()),
        ("too new", signature(SECRET, now() + 330, &body), body.clone()),
        ("another id", twisted, body.clone()),
        ("another body", good.clone(), body.replace("100", "900")),
    ];
    for (attack, headers, body) in attacks {
        assert_eq!(server.send("POST", target, &headers, &body).0, 401, "{attack}");
    }
    assert_eq!(server.send("GET", "/nowhere", &[], "").0, 401);
    assert_eq!(server.signed("GET", "/orders/ord-1001", &[], "").1["refunded"], 0);
    assert_eq!(server.send("POST", target, &good, &body).0, 201);
    assert_eq!(server.send("POST", target, &signature(OTHER, now(), &body), &body).0, 201);
}

#[test]
fn orders_are_shown_and_listed() {
    let server = Server::start(SECRET, None);
    let (status, order) = server.signed("GET", "/orders/ord-1001", &[], "");
    assert_eq!(status, 200);
    let expected = json!({
        "id": "ord-1001", "status": "paid", "customer": { "name": "Ada Moss", "email": "ada@example.com" },
        "currency": "EUR", "total": 3499, "refunded": 0, "created": "2026-11-02T09:14:05Z",
        "items": [{ "sku": "MUG-BLUE", "quantity": 2, "price": 1250 }, { "sku": "TEA-EARL", "quantity": 1, "price": 999 }],
    });
    assert_eq!(order, expected);
    assert_eq!(server.signed("GET", "/orders/ord-9999", &[], "").0, 404);
    let (_, page) = server.signed("GET", "/orders?status=shipped&limit=1", &[], "");
    assert_eq!((&page["orders"][0]["id"], &page["next"]), (&json!("ord-1002"), &json!("ord-1002")));
    let (_, rest) = server.signed("GET", "/orders?status=shipped&cursor=ord-1002", &[], "");
    assert_eq!((&rest["orders"][0]["id"], &rest["next"]), (&json!("ord-1005"), &Value::Null));
    for target in ["/orders?status=lost", "/orders?limit=-1", "/orders?color=red"] {
        assert_eq!(server.signed("GET", target, &[], "").0, 400, "{target}");
    }
}

#[test]
fn a_refund_happens_once_per_key_and_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("effects.jsonl");
    let server = Server::start(SECRET, Some(&log));
    let target = "/orders/ord-1002/refunds";
    let body = json!({ "amount": 8000, "currency": "EUR", "reason": "late" }).to_string();
    let key = [("idempotency-key", "k-1")];
    let (status, first) = server.signed("POST", target, &key, &body);
    assert_eq!(status, 201);
    assert_eq!(
        (&first["order"], &first["amount"], &first["currency"]),
        (&json!("ord-1002"), &json!(8000), &json!("EUR"))
    );
    assert_eq!(server.signed("POST", target, &key, &body), (201, first.clone()));
    assert_eq!(server.signed("POST", target, &key, &body.replace("8000", "1")).0, 422);
    assert_eq!(server.signed("POST", target, &[], &body).0, 409);
    assert_eq!(server.signed("POST", target, &[], &body.replace("8000", "80.5")).0, 400);
    assert_eq!(server.signed("POST", target, &[], &body.replace("8000", "-1")).0, 400);
    let logged = std::fs::read_to_string(&log).unwrap();
    let [line] = logged.lines().collect::<Vec<_>>()[..] else { panic!("{logged}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["effect"], &line["id"], &line["idempotency_key"]),
        (&json!("refund"), &first["id"], &json!("k-1"))
    );
}

#[test]
fn a_signal_ends_it_and_a_bad_secret_never_starts_it() {
    let mut server = Server::start(SECRET, None);
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
    for secret in ["", "whsec_", "whsec_!!!!", "secret", "whsec_c2hvcnQ="] {
        let ended = Command::new(env!("CARGO_BIN_EXE_opsiq-example-orders"))
            .args(["--listen", "127.0.0.1:0"])
            .env("ORDERS_SECRET", secret)
            .output()
            .unwrap();
        assert!(!ended.status.success(), "{secret}");
        assert!(secret.len() < 8 || !String::from_utf8_lossy(&ended.stderr).contains(secret));
    }
}
