//! A plugin that an outside system tells a secret of the tenant gets rid of it nowhere, however it is encoded.

use std::fs;

use opsiq_gate::{Actor, Answer, Call, Host, HostOptions, Refusal};
use serde_json::json;

use crate::admission::files;
use crate::canary::{base64, find};
use crate::opsiq::{World, guest};
use crate::upstream::{Reply, Upstream};

/// The value of the plugin's own key, of a key of another installation, and of none.
const OWN: &str = "kanarienvogel own\"+0123456789";
const THEIRS: &str = "kanarienvogel theirs\"+0123456789";
const NONE: &str = "kanarienvogel none\"+0123456789";

/// Where the plugin tries to put it, and the code of what then ends the call; none where the call goes on without it.
const PLACES: &[(&str, Option<&str>)] = &[
    ("result", Some("result.secret")),
    ("failure", Some("plugin.conflict")),
    ("log", None),
    ("event", None),
    ("kv-value", Some("kv.secret")),
    ("kv-name", Some("kv.secret")),
    ("path", Some("http.secret")),
    ("query", Some("http.secret")),
    ("header", Some("http.secret")),
    ("body", Some("http.secret")),
];

fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let joined = |spell: &dyn Fn(u8) -> String| secret.bytes().map(spell).collect::<Vec<_>>().concat();
    let json = json!(secret).to_string();
    vec![
        ("plain", secret.to_owned()),
        ("hex", joined(&|byte| format!("{byte:02x}"))),
        ("hex-upper", joined(&|byte| format!("{byte:02X}"))),
        ("url", joined(&|byte| format!("%{byte:02X}"))),
        ("url-lower", joined(&|byte| format!("%{byte:02x}"))),
        ("json", json[1..json.len() - 1].to_owned()),
        ("json-unicode", joined(&|byte| format!("\\u{byte:04x}"))),
        ("base64-0", base64(secret.as_bytes())),
        ("base64-1", base64(format!("u{secret}").as_bytes())),
        ("base64-2", base64(format!("u:{secret}").as_bytes())),
        ("base64-url", base64(secret.as_bytes()).replace('+', "-").replace('/', "_")),
        ("base64-in-url", base64(secret.as_bytes()).replace('+', "%2B").replace('/', "%2F")),
    ]
}

/// A world whose upstream tells any of the three in any form, at `/told/WHOSE/FORM`.
fn world() -> (World, Upstream) {
    let server = Upstream::start(|request| {
        let mut path = request.target.split('/').skip(2);
        let secret = match path.next() {
            Some("own") => OWN,
            Some("theirs") => THEIRS,
            _ => NONE,
        };
        let form = path.next().unwrap_or_default();
        let mut reply = Reply::json(200, &json!({}));
        reply.body =
            forms(secret).into_iter().find(|(name, _)| *name == form).map_or_else(String::new, |(_, text)| text);
        reply
    });
    let world = World::new();
    world.open_loopback(server.port);
    for (name, secret) in [("bad", OWN), ("shop", THEIRS)] {
        world.install(&guest("hostile"), name, &[("base-url", &server.url())], &[("signing-secret", secret)]);
    }
    (world, server)
}

async fn pass_on(host: &Host, what: &str, to: &str) -> Result<String, Refusal> {
    let call = Call {
        installation: "bad".to_owned(),
        action: "pass-on".to_owned(),
        params: json!({ "what": what, "to": to }).to_string().into_bytes(),
        idempotency_key: None,
    };
    match host.invoke(&Actor::user("acme".parse().unwrap(), "ada"), call).await? {
        Answer::Done(done) => Ok(done.result),
        Answer::Pending(_) => panic!("it waits"),
    }
}

/// What left: requests that were not the question itself.
fn left(server: &Upstream) -> Vec<String> {
    let seen = server.seen().into_iter().filter(|request| !request.target.starts_with("/told/"));
    seen.map(|request| format!("{} {:?} {}", request.target, request.headers, String::from_utf8_lossy(&request.body)))
        .collect()
}

#[test]
fn a_secret_leaves_by_no_way_in_no_form() {
    let (world, server) = world();
    let mut tried = 0;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(HostOptions::new(world.data())).await.unwrap();
        for (whose, secret) in [("own", OWN), ("theirs", THEIRS)] {
            for (form, text) in forms(secret) {
                // In a path no rule covers a backslash, however it is written.
                for (to, code) in PLACES.iter().filter(|(to, _)| *to != "path" || !text.contains('\\')) {
                    tried += 1;
                    let ended = pass_on(&host, &format!("{whose}/{form}"), to).await;
                    let shown = format!("{ended:?}");
                    assert!(!find(shown.as_bytes(), secret), "{whose} {form} {to}: {shown}");
                    assert!(!shown.contains("shop"), "another installation is named: {shown}");
                    match (ended, code) {
                        (Ok(_), None) => {}
                        (Err(refusal), Some(code)) => assert_eq!(refusal.code, *code, "{whose} {form} {to}: {refusal}"),
                        (ended, _) => panic!("{whose} {form} {to}: {ended:?}"),
                    }
                }
            }
        }
        host.close().await.unwrap();
    });
    assert_eq!(left(&server), Vec::<String>::new());

    // The owner sees which keys and where, the operator that it happened; neither sees the value.
    let owner = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "2000"]);
    let operator = world.run(&["audit", "list", "--limit", "2000"]);
    let doctor = world.run(&["doctor"]);
    for ran in [&owner, &operator, &doctor] {
        for secret in [OWN, THEIRS] {
            assert!(!find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), secret), "{ran:?}");
        }
    }
    let leaks = |ran: &crate::opsiq::Ran| {
        let entries = ran.ok()["entries"].as_array().unwrap().clone();
        entries.into_iter().filter(|entry| entry["kind"] == "leak").collect::<Vec<_>>()
    };
    let found = leaks(&owner);
    assert_eq!(found.len(), tried, "each finding is an entry");
    let all = json!(found).to_string();
    for part in
        ["bad/signing-secret", "shop/signing-secret", "body of a request by rule put", "result.secret", "log.secret"]
    {
        assert!(all.contains(part), "{part} in {all}");
    }
    let told = leaks(&operator);
    assert_eq!(told.len(), found.len(), "the operator is told of each call");
    assert!(!json!(told).to_string().contains("signing-secret"));
    let doctor = doctor.ok();
    let check = doctor.as_array().unwrap().iter().find(|one| one["check"] == "leaks").unwrap();
    assert_eq!(check["status"], "warn", "{check}");

    for file in files(world.data()) {
        let bytes = fs::read(&file).unwrap();
        for secret in [OWN, THEIRS] {
            assert!(!find(&bytes, secret), "it lies in {}", file.display());
        }
    }
}

/// The twin: the same plugin on the same ways, with a value that is no key, which arrives on each of them.
#[test]
fn what_is_no_secret_arrives_on_every_way() {
    let (world, server) = world();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(HostOptions::new(world.data())).await.unwrap();
        for (to, _) in PLACES {
            let ended = pass_on(&host, "none/plain", to).await;
            let arrives = matches!((*to, &ended), ("result", Ok(text)) if text.contains("kanarienvogel none"))
                || matches!((*to, &ended), ("failure", Err(refusal)) if refusal.message.contains(NONE))
                || (!["result", "failure"].contains(to) && ended.is_ok());
            assert!(arrives, "{to}: {ended:?}");
        }
        host.close().await.unwrap();
    });
    let left = left(&server);
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().any(|request| request.contains(NONE)), "{left:?}");
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "100"]).stdout;
    assert!(log.matches("kanarienvogel none").count() >= 2, "log and event: {log}");
    let stored = world.call("bad", "kv", &json!({ "op": "get", "key": NONE }));
    assert_eq!(stored.ok()["result"]["value"], "told");
}

/// A key that is set, rotated or retired is looked for, or not, from the next call on; a new process knows what the last
/// one did.
#[test]
fn the_guard_follows_the_keys() {
    let (world, _server) = world();
    let passes = |value: &str| world.call("bad", "echo", &json!({ "text": format!("it is {value}") })).code == 0;
    let next = "kanarienvogel next\"+0123456789";
    assert!(passes(next) && !passes(OWN) && !passes(THEIRS));
    let key = |args: &[&str], value: &str| {
        world.run_with(&[&["--as", "acme/ada", "key"], args].concat(), value).ok();
    };
    key(&["rotate", "shop", "signing-secret", "--stdin"], next);
    assert!(!passes(next) && !passes(THEIRS), "both versions are live");
    key(&["retire", "shop", "signing-secret", "1"], "");
    assert!(!passes(next) && passes(THEIRS), "the retired one is gone");
    world.run(&["--as", "acme/ada", "connector", "remove", "shop", "--yes"]).ok();
    assert!(passes(next) && !passes(OWN), "its keys went with the installation");
}
