//! The commands at a running server: the same verbs give the same as in a data directory, and what is not done there is
//! refused, never done here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::https::Served;
use crate::opsiq::{Ran, World, guest};
use crate::orders;

/// One step: words, what is on standard input, and how it ends.
type Step = (&'static [&'static str], &'static str, i32);

const ADA: &str = "acme/ada";

/// What differs from one host to another, or from one run to the next.
const OWN: &[&str] = &[
    "asked_ms",
    "checkpoint",
    "created_ms",
    "decided_ms",
    "erased_ms",
    "expires_ms",
    "fingerprint",
    "hash",
    "id",
    "invocation",
    "key",
    "key_id",
    "meter",
    "registered_ms",
    "request",
    "requested_ms",
    "seen_ms",
    "secret",
    "selector",
    "seq",
    "since_ms",
    "subject",
    "time_ms",
    "token",
    "until_ms",
];

/// A text without the ids in it: 36 hex digits and dashes.
fn without_ids(text: &str) -> String {
    let id = |part: &str| part.len() == 36 && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    text.split_inclusive(|end: char| !(end.is_ascii_hexdigit() || end == '-'))
        .map(|part| {
            let end = part.len() - usize::from(part.ends_with(|end: char| !(end.is_ascii_hexdigit() || end == '-')));
            if id(&part[..end]) { "its own" } else { part }
        })
        .collect()
}

/// The same without it.
fn alike(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if OWN.contains(&name.as_str()) && !value.is_null() {
                    *value = json!("its own");
                } else {
                    alike(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(alike),
        Value::String(text) => *text = without_ids(text),
        _ => {}
    }
}

/// What is done, in order.
const STORY: &[Step] = &[
    (&["tenant", "create", "acme", "--owner", "ada"], "", 0),
    (&["tenant", "create", "acme", "--owner", "ada"], "", 3),
    (&["tenant", "create", "beta", "--owner", "bob", "--title", "Beta"], "", 0),
    (&["tenant", "list"], "", 0),
    (&["tenant", "invite", "nowhere"], "", 5),
    (&["plugin", "list"], "", 0),
    (&["--as", ADA, "connector", "install", "nothing", "--yes"], "", 5),
    (&["--as", ADA, "connector", "install", "hello", "--yes"], "", 0),
    (&["--as", ADA, "connector", "install", "hello", "--yes"], "", 3),
    (&["--as", ADA, "connector", "install", "orders", "--name", "shop", "--yes"], "", 6),
    (
        &[
            "--as",
            ADA,
            "connector",
            "install",
            "orders",
            "--name",
            "shop",
            "--yes",
            "--config",
            "base-url=http://127.0.0.1:9",
        ],
        "",
        0,
    ),
    (&["--as", ADA, "key", "set", "shop", "signing-secret", "--stdin"], orders::SECRET, 0),
    (&["--as", ADA, "key", "set", "shop", "signing-secret", "--stdin"], orders::SECRET, 3),
    (
        &["--as", ADA, "key", "rotate", "shop", "signing-secret", "--stdin", "--verbatim"],
        "whsec_of_some_length_or_other",
        0,
    ),
    (&["--as", ADA, "key", "list", "shop"], "", 0),
    (&["--as", ADA, "key", "retire", "shop", "signing-secret", "1"], "", 0),
    (&["--as", ADA, "connector", "list"], "", 0),
    (&["--as", ADA, "connector", "show", "shop"], "", 0),
    (&["--as", ADA, "connector", "show", "shp"], "", 5),
    (&["--as", ADA, "connector", "grant", "shop", "--remove", "action:list-orders"], "", 0),
    (&["--as", ADA, "connector", "config", "shop", "--config", "base-url=http://127.0.0.1:10"], "", 0),
    (&["--as", ADA, "connector", "upgrade", "shop"], "", 0),
    (&["--as", ADA, "action", "list"], "", 0),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "name=Ada", "--idempotency-key", "k"], "", 0),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "name=Ada", "--idempotency-key", "k"], "", 0),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "name=Bob", "--idempotency-key", "k"], "", 6),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "nam=Ada"], "", 6),
    (&["--as", ADA, "action", "call", "hello", "helo", "--param", "name=Ada"], "", 5),
    (&["--as", ADA, "action", "explain", "shop", "list-orders"], "", 3),
    (&["--as", "acme/eve", "action", "call", "hello", "hello", "--param", "name=Ada"], "", 5),
    (&["--as", ADA, "confirm", "list"], "", 0),
    (&["--as", ADA, "confirm", "show", "none"], "", 5),
    (&["--as", ADA, "connector", "pause", "hello"], "", 0),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "name=Ada"], "", 3),
    (&["--as", ADA, "connector", "resume", "hello"], "", 0),
    (&["--as", ADA, "user", "add", "sam", "--role", "support"], "", 0),
    (&["--as", ADA, "user", "invite", "eve", "--role", "admin"], "", 0),
    (&["--as", ADA, "user", "invite", "nobody"], "", 5),
    (&["--as", ADA, "user", "role", "sam", "admin"], "", 0),
    (&["--as", ADA, "user", "disable", "sam"], "", 0),
    (&["--as", ADA, "user", "enable", "sam"], "", 0),
    (&["--as", ADA, "user", "reset-2fa", "sam"], "", 0),
    (&["--as", ADA, "user", "sessions", "sam"], "", 0),
    (&["--as", ADA, "user", "revoke", "sam"], "", 0),
    (&["--as", ADA, "user", "list"], "", 0),
    (&["--as", "acme/eve", "user", "add", "mallory", "--role", "owner"], "", 3),
    (
        &[
            "--as",
            ADA,
            "role",
            "create",
            "clerk",
            "--base",
            "admin",
            "--scope",
            "orders:read",
            "--act",
            "connector list",
        ],
        "",
        0,
    ),
    (&["--as", ADA, "role", "create", "clerk", "--base", "admin", "--scope", "orders:read"], "", 3),
    (&["--as", ADA, "role", "create", "clerk", "--base", "admin", "--scope", "orders:read", "--replace"], "", 0),
    (&["--as", ADA, "role", "list"], "", 0),
    (&["--as", ADA, "role", "show", "clerk"], "", 0),
    (&["--as", ADA, "role", "remove", "clerk"], "", 0),
    (&["--as", ADA, "client", "create", "till", "--scope", "orders:read"], "", 0),
    (&["--as", ADA, "client", "rotate", "till", "--overlap", "1h"], "", 0),
    (&["--as", ADA, "client", "rotate", "till"], "", 3),
    (&["--as", ADA, "client", "retire", "till"], "", 0),
    (&["--as", ADA, "client", "allow", "till", "--scope", "refunds:create", "--role", "admin"], "", 0),
    (&["--as", ADA, "client", "list"], "", 0),
    (&["--as", ADA, "client", "revoke", "till"], "", 0),
    (&["--as", ADA, "tenant", "second-person", "on"], "", 0),
    (&["--as", ADA, "subject", "show", "customer-17"], "", 0),
    (&["firewall", "block", "203.0.113.0/24", "2001:db8:bad::/48", "--note", "scans"], "", 0),
    (&["firewall", "list"], "", 0),
    (&["firewall", "check", "::ffff:203.0.113.9"], "", 0),
    (&["firewall", "remove", "203.0.113.0/24"], "", 0),
    (&["firewall", "scores"], "", 0),
    (&["--as", ADA, "firewall", "allow", "0.0.0.0/0"], "", 0),
    (&["--as", ADA, "firewall", "list"], "", 0),
    (&["--as", ADA, "firewall", "block", "no network"], "", 6),
    (&["--as", ADA, "user", "signals"], "", 0),
    (&["sandbox", "list"], "", 0),
    (&["--as", ADA, "sandbox", "quarantine", "installation:hello", "--reason", "it greets"], "", 0),
    (&["--as", ADA, "action", "call", "hello", "hello", "--param", "name=Ada"], "", 3),
    (&["--as", ADA, "sandbox", "release", "installation:hello"], "", 0),
    (&["--as", ADA, "connector", "remove", "hello", "--yes"], "", 0),
    (&["--as", "acme/eve", "audit", "list"], "", 3),
    (&["--as", ADA, "audit", "key"], "", 0),
    (&["--as", ADA, "audit", "checkpoint"], "", 0),
    (&["--as", ADA, "audit", "list", "--limit", "500"], "", 0),
    (&["--as", ADA, "audit", "list", "--limit", "3", "--kind", "refused"], "", 0),
    (&["tenant", "cancel", "beta"], "", 0),
    (&["tenant", "restore", "beta"], "", 0),
    (&["tenant", "erase", "beta", "--confirm", "bet"], "", 3),
    (&["tenant", "erase", "beta", "--confirm", "beta", "--now"], "", 0),
    (&["audit", "list"], "", 0),
];

fn run(world: &World, at: Option<&str>, words: &[&str], input: &str) -> Ran {
    let mut command = world.command(words);
    if let Some(addr) = at {
        command.env("OPSIQ_ADDR", addr);
    }
    Ran::of_command(words, command, input)
}

/// What a command said, without what is its host's own.
fn said(ran: &Ran) -> Value {
    let mut said = ran.json();
    alike(&mut said);
    // What the front door adds to the log: the request's id. What each way has of its own: where it is done.
    if let Some(error) = said.get_mut("error").and_then(Value::as_object_mut) {
        error.remove("refusal");
        // It names the minute.
        if error["code"] == "sandbox.quarantined" {
            error.remove("title");
        }
    }
    if let Some(entries) = said.pointer_mut("/data/entries").and_then(Value::as_array_mut) {
        // Without a host a component is inspected as well, and nobody records that.
        entries.retain(|entry| entry["fields"]["action"] != "plugin inspect");
        for entry in entries {
            if let Some(fields) = entry["fields"].as_object_mut() {
                fields
                    .retain(|name, _| ["action", "actor", "kind", "outcome", "rule", "role"].contains(&name.as_str()));
            }
        }
    }
    said
}

/// The same story in a data directory and at a server.
#[test]
fn a_story_is_the_same_either_way() {
    let (here, there) = (World::new(), World::new());
    for world in [&here, &there] {
        world.open_loopback(9);
        world.open_loopback(10);
    }
    let _served = Served::start(&there, &[]);
    let addr = format!("unix:{}", there.data().join("operator.sock").display());
    for name in ["hello", "orders"] {
        let file = guest(name);
        for verb in ["inspect", "register", "register"] {
            let words = ["plugin", verb, file.to_str().unwrap()];
            assert_eq!(said(&run(&here, None, &words, "")), said(&run(&there, Some(&addr), &words, "")), "{words:?}");
        }
    }
    for &(words, input, code) in STORY {
        let local = run(&here, None, words, input);
        assert_eq!(local.code, code, "{local:?}");
        let remote = run(&there, Some(&addr), words, input);
        assert_eq!(remote.code, code, "{remote:?}");
        assert_eq!(said(&local), said(&remote), "{words:?}");
    }
    // What waits for a person, by the id each has.
    for (world, at) in [(&here, None), (&there, Some(addr.as_str()))] {
        let call = ["--as", ADA, "action", "call", "shop", "refund-order", "--params"];
        let params = orders::params(500).to_string();
        let waits = run(world, at, &[&call[..], &[&params]].concat(), "");
        assert_eq!(waits.code, 4, "{waits:?}");
        let id = waits.json()["data"]["confirmation"]["id"].as_str().unwrap().to_owned();
        let denied = run(world, at, &["--as", ADA, "confirm", "deny", &id], "").ok();
        assert_eq!(denied["state"], "denied");
        assert_eq!(
            run(world, at, &["--as", ADA, "confirm", "approve", &id], "").refused(3)["code"],
            "confirmation.decided"
        );
        assert_eq!(run(world, at, &["--as", ADA, "confirm", "list", "--all"], "").ok().as_array().unwrap().len(), 1);
        // An export streams, and verifies.
        let out = world.file("export.jsonl");
        run(world, at, &["--as", ADA, "audit", "export", "--out", out.to_str().unwrap()], "").ok();
        let key = run(world, at, &["--as", ADA, "audit", "key"], "").ok()["key"].as_str().unwrap().to_owned();
        world.run(&["audit", "verify", out.to_str().unwrap(), "--key", &key]).ok();
    }
}

#[test]
fn what_needs_the_data_directory_is_refused_while_a_server_is_named() {
    let world = World::new();
    let addr = "unix:/nowhere/operator.sock";
    for words in [
        &["init"][..],
        &["serve"],
        &["dev"],
        &["doctor"],
        &["keys", "status"],
        &["keys", "verify"],
        &["keys", "rotate", "--root"],
        &["ceiling", "show"],
        &["config", "explain"],
        &["accept-restore", "--reason", "x"],
        &["sandbox", "metrics"],
    ] {
        let refused = run(&world, Some(addr), words, "").refused(3);
        assert_eq!(refused["code"], "addr.local-only", "{words:?}");
    }
    let refused = run(&world, Some(addr), &["--as", ADA, "action", "stream"], "").refused(3);
    assert_eq!(refused["code"], "addr.local-only");
    assert_eq!(run(&world, Some(addr), &["tenant", "list"], "").refused(8)["code"], "addr.unreachable");
    assert_eq!(run(&world, Some("http://localhost"), &["tenant", "list"], "").refused(2)["code"], "cli.usage");
}

/// The command at a server over the network, trusting its certificate.
pub(crate) fn over(world: &World, served: &Served, home: &Path, words: &[&str]) -> Command {
    let mut command = world.command(words);
    command
        .env("OPSIQ_ADDR", format!("https://localhost:{}", served.address.port()))
        .env("OPSIQ_CA", world.data().join("tls-certificate.pem"))
        .env("XDG_STATE_HOME", home)
        // Nobody is asked on the way.
        .env("https_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    command
}

#[test]
fn a_program_signs_with_its_key_and_is_answered_signed() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let made = world.run(&["--as", ADA, "client", "create", "till", "--scope", "greetings:read"]);
    let key = world.file("key");
    std::fs::write(&key, &made.stdout).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let served = Served::start(&world, &[]);
    let home = world.file("state");
    let call = ["action", "call", "hello", "hello", "--param", "name=Ada"];
    let mut command = over(&world, &served, &home, &call);
    command.env("OPSIQ_KEY_FILE", &key);
    assert!(Ran::of_command(&call, command, "").ok()["result"]["greeting"].as_str().unwrap().contains("Ada"));
    // On standard input, as two lines.
    let data = &made.json()["data"];
    let lines = format!("{}\n{}\n", data["key_id"].as_str().unwrap(), data["secret"].as_str().unwrap());
    let mut command = over(&world, &served, &home, &call);
    command.env("OPSIQ_KEY_FILE", "-");
    Ran::of_command(&call, command, &lines).ok();
    // A program is no person, and neither is nobody.
    let list = ["client", "list"];
    let mut command = over(&world, &served, &home, &list);
    command.env("OPSIQ_KEY_FILE", &key);
    assert_eq!(Ran::of_command(&list, command, "").refused(3)["code"], "act.needs-person");
    let command = over(&world, &served, &home, &call);
    assert_eq!(Ran::of_command(&call, command, "").refused(3)["code"], "addr.no-proof");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let mut command = over(&world, &served, &home, &call);
    command.env("OPSIQ_KEY_FILE", &key);
    assert_eq!(Ran::of_command(&call, command, "").refused(3)["code"], "key.exposed");
    // A host that is not trusted is not spoken to.
    let mut command = over(&world, &served, &home, &call);
    command.env_remove("OPSIQ_CA").env("OPSIQ_KEY_FILE", "-");
    assert_eq!(Ran::of_command(&call, command, &lines).refused(8)["code"], "addr.unreachable");
}

/// A host that has the name and not the secret: what it answers is believed in nothing.
#[test]
fn an_answer_that_the_host_did_not_sign_is_none() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = world.file("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut stream);
        let _ = stream.read(&mut [0; 4096]);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.flush();
    });
    let list = ["action", "list"];
    let mut command = world.command(&list);
    command
        .env("OPSIQ_ADDR", format!("https://localhost:{port}"))
        .env("OPSIQ_CA", &ca)
        .env("OPSIQ_KEY_ID", "acme/till/1")
        .env("OPSIQ_CLIENT_SECRET", "a secret of some length or other");
    assert_eq!(Ran::of_command(&list, command, "").refused(9)["code"], "reply.signature");
}

const TOTP: &str = "
import base64, hashlib, hmac, struct, sys, time
seed = base64.b32decode(sys.argv[1] + '=' * (-len(sys.argv[1]) % 8))
mac = hmac.new(seed, struct.pack('>Q', int(time.time()) // 30 + int(sys.argv[2])), hashlib.sha1).digest()
at = mac[-1] & 15
print('%06d' % ((struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 1000000))
";

/// What an authenticator shows, so many steps from now.
pub(crate) fn totp(seed: &str, step: &str) -> String {
    let out = Command::new("python3").args(["-c", TOTP, seed, step]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let world = World::new();
    let invitation = world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok()["invitation"]["token"].clone();
    let served = Served::start(&world, &[]);
    let home = world.file("state");
    let password = "a password of some length";
    let accept = json!({ "invitation": invitation, "password": password });
    let enrolment = served.ask(None, "POST", "/v1/invitations/accept", Some(accept)).await.is(200);
    let seed = enrolment["seed"].as_str().unwrap();
    let enrol = json!({ "pending": enrolment["pending"], "code": totp(seed, "0") });
    served.ask(None, "POST", "/v1/invitations/enrol", Some(enrol)).await.is(200);

    let list = ["user", "list"];
    let login = ["--as", ADA, "login", "--stdin"];
    let at = |words: &[&str], input: &str| Ran::of_command(words, over(&world, &served, &home, words), input);
    assert_eq!(at(&list, "").refused(3)["code"], "addr.no-proof");
    assert_eq!(at(&login, "another password\n000000\n").refused(3)["code"], "login.failed");
    let signed_in = at(&login, &format!("{password}\n{}\n", totp(seed, "1")));
    assert_eq!(signed_in.ok()["session"]["user"], "ada");
    // The session is in one file, which nobody else reads, and its token is shown nowhere.
    let dir = home.join("opsiq/sessions");
    let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir)), (0o600, 0o700));
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(!signed_in.stdout.contains(kept["token"].as_str().unwrap()));
    assert_eq!(at(&list, "").ok()[0]["name"], "ada");
    assert_eq!(at(&["--as", ADA, "user", "list"], "").ok()[0]["name"], "ada");
    assert_eq!(at(&["--as", "acme/bob", "user", "list"], "").refused(3)["code"], "addr.no-proof");
    at(&["--as", ADA, "tenant", "second-person", "on"], "").ok();
    // A session that others could read is not used.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(at(&list, "").refused(3)["code"], "session.exposed");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    at(&["logout"], "").ok();
    assert_eq!(at(&list, "").refused(3)["code"], "addr.no-proof");
    std::fs::write(&file, kept.to_string()).unwrap();
    assert_eq!(at(&list, "").refused(3)["code"], "session.ended", "the server has ended it as well");
}
