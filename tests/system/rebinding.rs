//! A name means what it means at the moment of each request, and all it means is checked: by a name server that changes its
//! mind, mixes good with bad, and hides the bad behind aliases.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opsiq_contract::Contract;
use opsiq_gate::{Actor, Answer, Call, Host};
use opsiq_vault::Secret;
use serde_json::{Value, json};

use crate::dns::NameServer;
use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::rewritten::with_contract;
use crate::stream::Stream;
use crate::upstream::{Lasting, Request, raw};

/// Where the operator lets plugins go, at the port of the server there.
const GOOD: &str = "127.0.0.2";
/// An address of this machine that nobody listed, with a server at the same port.
const BAD: &str = "127.0.0.3";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A world in which plugins reach one server by names of a name server, and another listens beside it.
struct Place {
    world: World,
    names: NameServer,
    good: Lasting,
    /// Counts who connects.
    bad: TcpListener,
}

impl Place {
    fn new(answer: impl Fn(usize, usize, &Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let good = Lasting::start(ip(GOOD), answer);
        let bad = TcpListener::bind((ip(BAD), good.port)).unwrap();
        bad.set_nonblocking(true).unwrap();
        let (world, names) = (World::new(), NameServer::start());
        names.serves(&world);
        // Failures to connect are answered when this time is over.
        world.configure(&format!(
            "[ceiling.limits]\nhttp-connect = \"300ms\"\n[[ceiling.private-target]]\ncidr = \"{GOOD}/32\"\nport = {}\ntls = false\n",
            good.port
        ));
        Self { world, names, good, bad }
    }

    fn base(&self, name: &str) -> String {
        format!("http://{name}:{}", self.good.port)
    }

    /// The hostile guest, installed to ask this host.
    fn install(&self, installation: &str, name: &str) {
        self.world.install(
            &guest("hostile"),
            installation,
            &[("base-url", &self.base(name))],
            &[("signing-secret", SECRET)],
        );
    }

    /// Whether anybody came where nobody may go.
    fn is_bad_untouched(&self) -> bool {
        self.bad.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn ok(_: usize, _: usize, _: &Request) -> Vec<u8> {
    raw(200, &[], "{}")
}

fn get(url: &str) -> Value {
    json!({ "url": url, "method": "GET" })
}

fn unreachable(answer: &Value) -> bool {
    answer["ok"] == false && answer["error"].to_string().contains("could not be reached")
}

#[test]
fn a_name_that_moves_where_nobody_may_go_takes_no_request_along() {
    let place = Place::new(ok);
    place.names.says("re.test", 0, &[GOOD]);
    place.install("evil", "re.test");
    let mut stream = Stream::start(&place.world, 4);
    let url = format!("{}/x", place.base("re.test"));
    let mut ask = |url: &str| {
        stream.call(0, "evil", "fetch", &get(url));
        stream.answer(Duration::from_secs(10))
    };
    // The twin: while it stays, the second request goes where the first went, over the same connection.
    for _ in 0..2 {
        assert_eq!(ask(&url)["data"]["result"]["status"], 200);
    }
    assert_eq!((place.good.seen().len(), place.good.made()), (2, 1));
    place.names.says("re.test", 0, &[BAD]);
    let before = place.names.asked("re.test");
    let moved = ask(&url);
    assert!(unreachable(&moved), "{moved}");
    assert!(place.names.asked("re.test") > before, "it was asked anew");
    assert_eq!(place.good.seen().len(), 2, "the connection to where it was is not used");
    assert!(place.is_bad_untouched());
    // And back: it is followed again.
    place.names.says("re.test", 0, &[GOOD]);
    assert_eq!(ask(&url)["data"]["result"]["status"], 200);
    assert_eq!(stream.end().1, Some(0));
    let log = place.world.run(&["--as", "acme/ada", "audit", "list"]).ok().to_string();
    assert!(log.contains(BAD), "what it moved to is on record");
}

/// However long an answer says it holds, it is forgotten within seconds.
#[test]
fn an_answer_that_says_it_holds_for_a_day_is_asked_for_again_soon() {
    let place = Place::new(ok);
    place.names.says("day.test", 86_400, &[GOOD]);
    place.install("evil", "day.test");
    let mut stream = Stream::start(&place.world, 4);
    let url = format!("{}/x", place.base("day.test"));
    let mut ask = || {
        stream.call(0, "evil", "fetch", &get(&url));
        stream.answer(Duration::from_secs(10))
    };
    assert_eq!(ask()["data"]["result"]["status"], 200);
    let asked = place.names.asked("day.test");
    assert_eq!(ask()["data"]["result"]["status"], 200);
    assert_eq!(place.names.asked("day.test"), asked, "the twin: within a moment it is remembered");
    place.names.says("day.test", 86_400, &[BAD]);
    let until = Instant::now() + Duration::from_secs(8);
    while !unreachable(&ask()) {
        assert!(Instant::now() < until, "the old answer is still used");
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(place.is_bad_untouched());
}

/// What a name means, and whether that opens a connection.
const MIXES: &[(&[&str], bool)] = &[
    (&[GOOD], true),
    (&["127.0.0.2", "127.0.0.3"], false),
    (&["127.0.0.3", "127.0.0.2"], false),
    (&["127.0.0.2", "::1"], false),
    (&["127.0.0.2", "::ffff:127.0.0.2"], false),
    (&["127.0.0.2", "fd00:ec2::254"], false),
    (&["127.0.0.2", "169.254.169.254"], false),
    (&["::1"], false),
    (&["::ffff:127.0.0.3"], false),
    (&["64:ff9b::7f00:3"], false),
    (&[BAD], false),
    // The chain is followed, and what stands at its end counts.
    (&["one.chain.test"], true),
    (&["one.chain-inside.test"], false),
    (&["none.test"], false),
];

#[test]
fn one_bad_address_behind_a_name_refuses_all() {
    let place = Place::new(ok);
    for (nth, (what, opens)) in MIXES.iter().enumerate() {
        let name = format!("mixed-{nth}.test");
        place.names.says(&name, 0, what);
        place.names.says("one.chain.test", 0, &["two.chain.test"]);
        place.names.says("two.chain.test", 0, &[GOOD]);
        place.names.says("one.chain-inside.test", 0, &["two.chain-inside.test"]);
        place.names.says("two.chain-inside.test", 0, &["metadata.inside.test"]);
        place.names.says("metadata.inside.test", 0, &[BAD]);
        if nth == 0 {
            place.install("mixed", &name);
        }
        let installation = format!("mixed-{nth}");
        let base = format!("base-url={}", place.base(&name));
        let install = ["--as", "acme/ada", "connector", "install", "opsiq/hostile", "--name", &installation, "--yes"];
        place.world.run(&[&install[..], &["--config", &base]].concat()).ok();
        place
            .world
            .run_with(&["--as", "acme/ada", "key", "set", &installation, "signing-secret", "--stdin"], SECRET)
            .ok();
        let before = place.good.seen().len();
        let ran = place.world.call(&installation, "fetch", &get(&format!("{}/x", place.base(&name))));
        assert_eq!(ran.code == 0, *opens, "{what:?}: {ran:?}");
        assert_eq!(place.good.seen().len() - before, usize::from(*opens), "{what:?}");
        assert!(place.is_bad_untouched(), "{what:?}");
    }
}

/// The plugin of these tests with a rule that follows redirects over three hosts, and a key that goes with the first.
fn follower(place: &Place) -> PathBuf {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/contract.toml")).unwrap();
    let (key, inject) = ("use = [\"sign\"]", "inject = { header = \"x-api-key\", value = \"{signing-secret}\" }");
    let (get, rules) = ("name = \"get\"", "http = [\"get\", \"put\"]");
    assert!([key, get, rules].iter().all(|part| text.contains(part)));
    let mut text = text
        .replace(key, "use = [\"sign\", \"inject\"]")
        .replacen(get, &format!("{get}\nredirects = 3\n{inject}"), 1)
        .replace(rules, "http = [\"get\", \"put\", \"two\", \"inside\"]");
    for host in ["two", "inside"] {
        let url = format!("http://{host}.test:{}/{{rest*}}", place.good.port);
        text.push_str("\n[[http]]\nname = \"");
        text.extend([host, "\"\nmethods = [\"GET\"]\nurl = \"", &url, "\"\n", inject, "\n"]);
    }
    let contract = Contract::parse_toml(&text).unwrap().canonical_json();
    let bytes = with_contract(&fs::read(guest("hostile")).unwrap(), |old| {
        *old = serde_json::from_slice(&contract).unwrap();
    });
    let file = place.world.file("follower.wasm");
    fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn a_chain_of_redirects_ends_before_a_private_name_and_carries_no_credential() {
    let place = Place::new(|_, _, request| {
        let port = request.header("host").unwrap().rsplit(':').next().unwrap().to_owned();
        let location = |host: &str, path: &str| format!("location: http://{host}:{port}{path}");
        match request.target.as_str() {
            "/to-inside" => raw(302, &[&location("two.test", "/on")], ""),
            "/on" => raw(302, &[&location("inside.test", "/latest")], ""),
            "/to-two" => raw(302, &[&location("two.test", "/end")], ""),
            _ => raw(200, &[], "{}"),
        }
    });
    for name in ["one.test", "two.test"] {
        place.names.says(name, 0, &[GOOD]);
    }
    place.names.says("inside.test", 0, &[BAD]);
    let component = follower(&place);
    place.world.install(&component, "evil", &[("base-url", &place.base("one.test"))], &[("signing-secret", SECRET)]);
    let fetch = |path: &str| place.world.call("evil", "fetch", &get(&format!("{}{path}", place.base("one.test"))));
    // The twin: a chain that ends at a name outside is followed.
    assert_eq!(fetch("/to-two").ok()["result"]["status"], 200);
    let ran = fetch("/to-inside");
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(place.is_bad_untouched());
    let targets: Vec<_> = place.good.seen().into_iter().map(|(_, request)| request).collect();
    let shown: Vec<_> = targets.iter().map(|request| (request.target.as_str(), request.header("x-api-key"))).collect();
    let secret = Some("opsiq-test-secret-0123456789");
    let expected = [("/to-two", secret), ("/end", None), ("/to-inside", secret), ("/on", None)];
    assert_eq!(shown, expected);
}

/// One process, two tenants, two installations each, two hosts at one address: no connection carries requests of two of them,
/// and each carries all of its own.
#[test]
fn no_connection_is_shared_that_must_not_be() {
    let place = Place::new(ok);
    for name in ["one.test", "two.test"] {
        place.names.says(name, 0, &[GOOD]);
    }
    let world = &place.world;
    let installations = [("shop-one", "one.test"), ("till-one", "one.test"), ("shop-two", "two.test")];
    for (installation, name) in installations {
        place.install(installation, name);
    }
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    for (installation, name) in installations {
        let base = format!("base-url={}", place.base(name));
        let install = ["--as", "bolt/bob", "connector", "install", "opsiq/hostile", "--name", installation, "--yes"];
        world.run(&[&install[..], &["--config", &base]].concat()).ok();
        world.run_with(&["--as", "bolt/bob", "key", "set", installation, "signing-secret", "--stdin"], SECRET).ok();
    }
    let mut stream = Stream::for_all(world);
    for _ in 0..3 {
        for who in ["acme/ada", "bolt/bob"] {
            for (installation, name) in installations {
                let path = format!("/{}/{installation}", who.replace('/', "-"));
                let answer = stream.ask(who, installation, "fetch", &get(&format!("{}{path}", place.base(name))));
                assert_eq!(answer["data"]["result"]["status"], 200, "{answer}");
            }
        }
    }
    let seen = place.good.seen();
    assert_eq!((seen.len(), place.good.made()), (18, 6), "one connection for each, used three times");
    for connection in 0..6 {
        let of: Vec<_> = seen.iter().filter(|(on, _)| *on == connection).map(|(_, request)| request).collect();
        let first = (&of[0].target, of[0].header("host"));
        assert_eq!(of.len(), 3);
        assert!(of.iter().all(|request| (&request.target, request.header("host")) == first), "{of:?}");
    }
    assert_eq!(stream.end().1, Some(0));
    assert!(place.good.has_open(0, Duration::from_secs(2)), "the end of the process closes all");
}

/// What is stopped, quarantined or given up leaves no connection behind, though the process lives on.
#[test]
fn no_connection_outlives_the_permission_it_was_made_by() {
    let place = Place::new(ok);
    place.names.says("one.test", 0, &[GOOD]);
    place.install("evil", "one.test");
    let mut stream = Stream::for_all(&place.world);
    let url = format!("{}/x", place.base("one.test"));
    let ask = |stream: &mut Stream| stream.ask("acme/ada", "evil", "fetch", &get(&url));
    assert_eq!(ask(&mut stream)["data"]["result"]["status"], 200);
    // The twin: by itself it stays.
    std::thread::sleep(Duration::from_millis(500));
    assert!(place.good.has_open(1, Duration::ZERO));
    place.world.run(&["sandbox", "stop", "installation:acme/evil"]).ok();
    assert!(place.good.has_open(0, Duration::from_secs(1)), "stopped");
    assert_eq!(ask(&mut stream)["data"]["result"]["status"], 200);
    assert!(place.good.has_open(1, Duration::ZERO));
    place.world.run(&["sandbox", "quarantine", "tenant:acme", "--reason", "looks odd"]).ok();
    assert!(place.good.has_open(0, Duration::from_secs(1)), "quarantined");
    assert_eq!(ask(&mut stream)["error"]["code"], "sandbox.quarantined");
    assert_eq!((place.good.seen().len(), place.good.made()), (2, 2));
}

/// Nor does one outlive a change of what decides: a new version of a key, a pause, the end of the tenant.
#[test]
fn no_connection_outlives_a_change_of_what_decides() {
    let place = Place::new(ok);
    place.names.says("one.test", 0, &[GOOD]);
    place.install("evil", "one.test");
    let params = get(&format!("{}/x", place.base("one.test"))).to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(place.world.options()).await.unwrap();
        let (ada, operator) = (Actor::user("acme".parse().unwrap(), "ada"), Actor::operator());
        let has_open = |count, why: &str| assert!(place.good.has_open(count, Duration::from_secs(1)), "{why}");
        let ask = async || {
            let (installation, action) = ("evil".to_owned(), "fetch".to_owned());
            let call = Call { installation, action, params: params.clone().into_bytes(), idempotency_key: None };
            let answer = host.invoke(&ada, call).await;
            assert!(matches!(answer, Ok(Answer::Done(_))), "{:?}", answer.err());
            has_open(1, "kept");
        };
        ask().await;
        ask().await;
        assert_eq!(place.good.made(), 1, "the twin: while nothing changes, it is used again");
        let secret = Secret::from(b"another secret of some length".to_vec());
        host.keys().rotate(&ada, "evil", "signing-secret", secret).await.unwrap();
        has_open(0, "its key was rotated");
        ask().await;
        host.installations().pause(&ada, "evil").await.unwrap();
        has_open(0, "it was paused");
        host.installations().resume(&ada, "evil").await.unwrap();
        ask().await;
        host.tenants().cancel(&operator, &"acme".parse().unwrap()).await.unwrap();
        has_open(0, "its tenant was cancelled");
        host.close().await.unwrap();
    });
}
