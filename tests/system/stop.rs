//! The kill switch from outside: what runs ends within a second, whoever selects it and whatever it waits for; what is
//! quarantined does not start, in this process or the next; and what was stopped leaves nothing behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::opsiq::{World, guest};
use crate::orders::{self, SECRET};
use crate::rewritten::with_contract;
use crate::stream::Stream;
use crate::upstream::{Reply, Upstream};

const SOON: Duration = Duration::from_secs(10);

/// The hostile guest with much time, installed as `evil` by `acme`; its upstream answers after `after`.
fn patient(after: Duration) -> (World, Upstream) {
    let world = World::new();
    let server = Upstream::start(move |_| Reply::json(200, &json!({})).after(after));
    world.configure("[ceiling.limits]\ncpu = \"60s\"\nwall = \"60s\"\n");
    world.open_loopback(server.port);
    let bytes = with_contract(&fs::read(guest("hostile")).unwrap(), |contract| {
        contract["limits"] = json!({ "cpu": 60_000, "wall": 60_000 });
    });
    let file: PathBuf = world.file("patient.wasm");
    fs::write(&file, bytes).unwrap();
    world.install(&file, "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    (world, server)
}

/// A server that never answers in the life of a test.
fn silent() -> (World, Upstream) {
    patient(Duration::from_mins(2))
}

/// What `sandbox list` shows of the calls.
fn running(world: &World) -> Vec<Value> {
    world.run(&["sandbox", "list"]).ok()["calls"].as_array().unwrap().clone()
}

/// Waits until the calls that are there are as `wanted`.
#[track_caller]
fn until(world: &World, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let calls = running(world);
        if wanted(&calls) {
            return calls;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "still {calls:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn in_state(calls: &[Value], state: &str) -> usize {
    calls.iter().filter(|call| call["state"] == state).count()
}

/// One call that computes and one that waits for a server, both running.
fn two(world: &World, stream: &mut Stream) -> Vec<Value> {
    stream.call("spins", "evil", "spin", &json!({}));
    stream.call("waits", "evil", "sleep-in-host-call", &json!({}));
    until(world, |calls| in_state(calls, "computing") == 1 && in_state(calls, "http") == 1)
}

/// All answers until `count` came, which must be `code`.
#[track_caller]
fn all_end_in(stream: &mut Stream, count: usize, code: &str) {
    for _ in 0..count {
        let answer = stream.answer(SOON);
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
}

#[test]
fn every_selector_ends_what_it_selects() {
    let (world, _server) = silent();
    world.run(&["tenant", "create", "beta", "--owner", "bob"]).ok();
    let digest = world.run(&["plugin", "list"]).ok()[0]["digest"].as_str().unwrap().to_owned();
    let mut stream = Stream::start(&world, 4);
    let calls = two(&world, &mut stream);
    let installation = format!("installation:acme/{}", calls[0]["installation"].as_str().unwrap());
    let other = format!("digest:sha256:{}", "0".repeat(64));

    // The twin: nobody ends them, and what selects something else does not either.
    assert!(stream.is_silent_for(Duration::from_secs(2)), "they ended by themselves");
    for selector in ["tenant:beta", &other] {
        assert_eq!(world.run(&["sandbox", "stop", selector]).ok()["calls"], 0, "{selector}");
    }
    assert_eq!(world.run(&["sandbox", "stop", "all", "--as", "beta/bob"]).ok()["calls"], 0);
    for wrong in ["publisher:nobody", "plugin:opsiq/hostil", "tenant:gamma", "installation:acme/shop"] {
        world.run(&["sandbox", "stop", wrong]).refused(5);
    }
    assert_eq!(running(&world).len(), 2);

    let selectors = [
        "all",
        "tenant:acme",
        "installation:acme/evil",
        &installation,
        "publisher:opsiq",
        "plugin:opsiq/hostile",
        "plugin:opsiq/hostile@0.1.0",
        &digest,
    ];
    for (at, selector) in selectors.iter().enumerate() {
        if at > 0 {
            two(&world, &mut stream);
        }
        // It answers within a second of giving the order, and says how many had ended by then.
        let stopped = world.run(&["sandbox", "stop", selector]).ok();
        assert_eq!((&stopped["calls"], &stopped["ended"]), (&json!(2), &json!(2)), "{selector}: {stopped}");
        all_end_in(&mut stream, 2, "stopped");
    }
    let calls = two(&world, &mut stream);
    for call in &calls {
        let one = format!("call:{}", call["invocation"].as_str().unwrap());
        let stopped = world.run(&["sandbox", "stop", &one]).ok();
        assert_eq!((&stopped["calls"], &stopped["ended"]), (&json!(1), &json!(1)), "{stopped}");
        all_end_in(&mut stream, 1, "stopped");
    }
    // Calls made later are not touched.
    stream.call("after", "evil", "echo", &json!({ "text": "x" }));
    assert_eq!(stream.answer(SOON)["ok"], true);
    assert_eq!(stream.end().1, Some(0));
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "200"]).ok();
    let entries = log["entries"].as_array().unwrap();
    let stopped = entries.iter().filter(|entry| entry.to_string().contains("\"stopped\"")).count();
    assert_eq!(stopped, 2 * (selectors.len() + 1), "outcomes on record");
    assert!(world.run(&["audit", "list", "--limit", "50"]).ok().to_string().contains("sandbox stop"));
}

/// What waits for a slot is ended with what holds the slots, and afterwards all of them are free.
#[test]
fn what_is_queued_is_ended_too() {
    let (world, _server) = silent();
    let mut stream = Stream::start(&world, 400);
    for id in 0..300 {
        stream.call(id, "evil", "sleep-in-host-call", &json!({}));
    }
    let calls = until(&world, |calls| calls.len() == 300 && in_state(calls, "queued") > 0);
    assert!(in_state(&calls, "http") > 0, "{calls:#?}");
    let stopped = world.run(&["sandbox", "stop", "installation:acme/evil"]).ok();
    assert_eq!((&stopped["calls"], &stopped["ended"]), (&json!(300), &json!(300)), "{stopped}");
    all_end_in(&mut stream, 300, "stopped");
    for id in 0..300 {
        stream.call(id, "evil", "echo", &json!({ "text": "x" }));
    }
    for _ in 0..300 {
        assert_eq!(stream.answer(SOON)["ok"], true);
    }
    stream.end();
}

#[test]
fn a_quarantine_says_why_and_outlives_the_process() {
    let (world, _server) = silent();
    let mut stream = Stream::start(&world, 4);
    two(&world, &mut stream);
    let placed = world.run(&["sandbox", "quarantine", "plugin:opsiq/hostile", "--reason", "it mines coins"]).ok();
    assert_eq!((&placed["new"], &placed["calls"], &placed["ended"]), (&json!(true), &json!(2), &json!(2)), "{placed}");
    all_end_in(&mut stream, 2, "stopped");
    stream.call("again", "evil", "echo", &json!({ "text": "x" }));
    let refused = stream.answer(SOON)["error"].clone();
    assert_eq!(refused["code"], "sandbox.quarantined", "{refused}");
    for part in ["plugin:opsiq/hostile", "it mines coins", "by operator", "since 20"] {
        assert!(refused["title"].as_str().unwrap().contains(part), "{part}: {refused}");
    }
    assert!(refused["fix"].as_str().unwrap().contains("opsiq sandbox release plugin:opsiq/hostile"), "{refused}");
    stream.signal(libc::SIGKILL);
    stream.end();

    // Another process, and the socket that was left behind.
    assert!(world.data().join("control.sock").exists(), "the killed process left its socket");
    let error = world.call("evil", "echo", &json!({ "text": "x" })).refused(3);
    assert_eq!(error["code"], "sandbox.quarantined", "{error}");
    let listed = world.run(&["--as", "acme/ada", "sandbox", "list"]).ok();
    assert_eq!(listed["quarantines"][0]["reason"], "it mines coins", "{listed}");
    let shown = world.run(&["--as", "acme/ada", "connector", "show", "evil"]).ok();
    assert_eq!(shown["state"], "quarantined", "{shown}");
    let params = json!({ "text": "x" }).to_string();
    let explained = world.run(&["--as", "acme/ada", "action", "explain", "evil", "echo", "--params", &params]);
    assert!(explained.code == 3 && explained.stdout.contains("sandbox.quarantined"), "{explained:?}");
    let again = world.run(&["--as", "acme/ada", "connector", "install", "hostile", "--name", "evil-2", "--yes"]);
    assert!(again.stdout.contains("sandbox.quarantined"), "{again:?}");
    // It is the operator's, so not the tenant's to lift.
    world.run(&["--as", "acme/ada", "sandbox", "release", "installation:evil"]).refused(5);
    world.run(&["--as", "acme/ada", "sandbox", "release", "plugin:opsiq/hostile"]).refused(3);
    for log in [vec!["audit", "list"], vec!["--as", "acme/ada", "audit", "list"]] {
        let log = world.run(&log).ok().to_string();
        assert!(log.contains("sandbox quarantine") && log.contains("it mines coins"), "{log}");
    }
    world.run(&["sandbox", "release", "plugin:opsiq/hostile"]).ok();
    assert_eq!(world.call("evil", "echo", &json!({ "text": "x" })).ok()["result"]["text"], "x");
    assert_eq!(world.run(&["sandbox", "list"]).ok()["quarantines"], json!([]));
}

/// What a person approves under a quarantine does not run, nor does what is retried under its idempotency key.
#[test]
fn an_approved_confirmation_does_not_run_under_quarantine() {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(201, &orders::refund()));
    orders::install(&world, &server.url(), server.port);
    let (first, second) = (orders::propose(&world, 500), orders::propose(&world, 500));
    world.run(&["sandbox", "quarantine", "installation:acme/shop", "--reason", "refunds run away"]).ok();
    let error = world.run(&["--as", "acme/ada", "confirm", "approve", &first]).refused(3);
    assert_eq!(error["code"], "sandbox.quarantined", "{error}");
    assert!(server.seen().is_empty(), "the refund was sent");
    world.run(&["sandbox", "release", "installation:acme/shop"]).ok();
    // The twin: one that nobody touched meanwhile runs afterwards.
    world.run(&["--as", "acme/ada", "confirm", "approve", &second]).ok();
    assert_eq!(server.seen().len(), 1);
    // The other is void for ever.
    world.run(&["--as", "acme/ada", "confirm", "approve", &first]).refused(3);
    assert_eq!(server.seen().len(), 1);
}

/// With calls coming as fast as they go, none runs or reaches its server after the quarantine was answered for.
#[test]
fn nothing_starts_after_the_answer() {
    let (world, server) = patient(Duration::from_millis(200));
    let mut stream = Stream::start(&world, 16);
    let params = json!({ "url": server.url() + "/x", "method": "GET" });
    let (mut next, mut done, mut refused) = (0_u64, 0, 0);
    for round in 0..6 {
        for _ in 0..32 {
            stream.call(next, "evil", "fetch", &params);
            next += 1;
        }
        // Each answer is followed by a call, so that there are always some at every stage.
        let mut go_on = |stream: &mut Stream| {
            let answer = stream.answer(SOON);
            match answer["error"]["code"].as_str() {
                None => done += 1,
                Some("sandbox.quarantined") => refused += 1,
                Some(code) => assert_eq!(code, "stopped", "{answer}"),
            }
            stream.call(next, "evil", "fetch", &params);
            next += 1;
        };
        for _ in 0..8 {
            go_on(&mut stream);
        }
        let mut order = world.start(&["sandbox", "quarantine", "publisher:opsiq", "--reason", "drill"]);
        while order.try_wait().unwrap().is_none() {
            go_on(&mut stream);
        }
        // One that slipped through would now wait for its server.
        assert_eq!(running(&world), Vec::<Value>::new(), "round {round}");
        // What was sent before and cut off may reach the server's thread a moment later.
        std::thread::sleep(Duration::from_millis(300));
        let reached = server.seen().len();
        for _ in 0..200 {
            go_on(&mut stream);
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(server.seen().len(), reached, "round {round}: a call started after the answer");
        for _ in 0..32 {
            stream.answer(SOON);
        }
        world.run(&["sandbox", "release", "publisher:opsiq"]).ok();
    }
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
    stream.end();
}

/// Row by row: tasks, permits, slots, descriptors.
#[test]
fn a_thousand_cancelled_calls_leave_nothing_behind() {
    let (world, _server) = silent();
    let mut stream = Stream::start(&world, 100);
    stream.call("warm", "evil", "echo", &json!({ "text": "x" }));
    stream.answer(SOON);
    let open = |stream: &Stream| fs::read_dir(format!("/proc/{}/fd", stream.pid())).unwrap().count();
    let threads = |stream: &Stream| fs::read_dir(format!("/proc/{}/task", stream.pid())).unwrap().count();
    let before = (open(&stream), threads(&stream));
    for batch in 0..10 {
        for id in 0..100 {
            stream.call(batch * 100 + id, "evil", "sleep-in-host-call", &json!({}));
        }
        until(&world, |calls| in_state(calls, "http") == 100);
        for id in 0..100 {
            stream.send(&json!({ "cancel": batch * 100 + id }).to_string());
        }
        all_end_in(&mut stream, 100, "stream.cancelled");
    }
    until(&world, <[Value]>::is_empty);
    let begun = Instant::now();
    // The sockets of the last ones close a moment later, and threads that have nothing to do end after ten seconds.
    let after = || (open(&stream), threads(&stream));
    while after().0 > before.0 + 4 || after().1 > before.1 + 4 {
        let told = || format!("descriptors and threads: {:?}, {before:?} before", after());
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", told());
        std::thread::sleep(Duration::from_millis(50));
    }
    let totals = world.run(&["sandbox", "top"]).ok();
    assert_eq!(totals[0]["cancelled"], 1000, "{totals}");
    for id in 0..300 {
        stream.call(id, "evil", "echo", &json!({ "text": "x" }));
    }
    for _ in 0..300 {
        assert_eq!(stream.answer(SOON)["ok"], true);
    }
    stream.end();
    let file = world.file("audit.jsonl");
    world.run(&["--as", "acme/ada", "audit", "export", "--format", "jsonl", "--out", file.to_str().unwrap()]).ok();
    let text = fs::read_to_string(file).unwrap();
    let cancelled = text.lines().filter(|line| line.contains("interrupted") && line.contains("cancelled")).count();
    assert_eq!(cancelled, 1000, "cancelled calls on record");
}

/// A tenant's people see and stop what is theirs, by name; the operator sees ids.
#[test]
fn tenants_stop_what_is_theirs() {
    let (world, _server) = silent();
    world.run(&["tenant", "create", "beta", "--owner", "bob"]).ok();
    world.run(&["--as", "acme/ada", "user", "add", "sam", "--role", "support"]).ok();
    let mut stream = Stream::start(&world, 4);
    let calls = two(&world, &mut stream);
    assert!(calls.iter().all(|call| call["name"].is_null() && call["by"].is_null()), "{calls:#?}");
    let own = world.run(&["--as", "acme/sam", "sandbox", "list"]).ok();
    assert!(
        own["calls"].as_array().unwrap().iter().all(|call| call["name"] == "evil" && call["by"] == "user:ada"),
        "{own}"
    );
    assert_eq!(world.run(&["--as", "beta/bob", "sandbox", "list"]).ok()["calls"], json!([]));
    let error = world.run(&["--as", "acme/sam", "sandbox", "stop", "all"]).refused(3);
    assert_eq!(error["code"], "role.not-allowed", "{error}");
    for foreign in ["plugin:opsiq/hostile", "publisher:opsiq", "installation:acme/evil", "tenant:acme"] {
        let error = world.run(&["--as", "beta/bob", "sandbox", "quarantine", foreign, "--reason", "x"]).refused(3);
        assert_eq!(error["code"], "sandbox.selector", "{error}");
    }
    let args = ["--as", "acme/ada", "sandbox", "quarantine", "installation:evil", "--reason", "ada has a look"];
    assert_eq!(world.run(&args).ok()["ended"], 2);
    all_end_in(&mut stream, 2, "stopped");
    let listed = world.run(&["sandbox", "list"]).ok();
    assert_eq!(listed["quarantines"][0]["tenant"], "acme", "{listed}");
    assert!(!listed.to_string().contains("ada"), "the reason is the tenant's: {listed}");
    world.run(&["sandbox", "release", "installation:acme/evil"]).refused(5);
    world.run(&["--as", "acme/ada", "sandbox", "release", "installation:evil"]).ok();
    stream.call("after", "evil", "echo", &json!({ "text": "x" }));
    assert_eq!(stream.answer(SOON)["ok"], true);
    stream.end();
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "50"]).ok().to_string();
    assert!(log.contains("sandbox quarantine") && log.contains("sandbox release"), "{log}");
}

#[test]
fn what_calls_used_is_added_up_and_exported() {
    let (world, _server) = silent();
    let mut stream = Stream::start(&world, 4);
    for id in 0..20 {
        stream.call(id, "evil", "echo", &json!({ "text": "x" }));
        assert_eq!(stream.answer(SOON)["ok"], true);
    }
    stream.call("panics", "evil", "panic", &json!({}));
    let failed = stream.answer(SOON);
    assert!(failed["error"]["refusal"]["meter"]["cpu_us"].as_u64().is_some_and(|cpu| cpu > 0), "{failed}");
    stream.call("off", "evil", "echo", &json!({}));
    assert_eq!(stream.answer(SOON)["error"]["code"], "params.invalid");
    for by in ["installation", "plugin", "tenant"] {
        let totals = world.run(&["sandbox", "top", "--by", by]).ok();
        let one = &totals[0];
        assert_eq!((&one["calls"], &one["failed"], &one["refused"]), (&json!(21), &json!(1), &json!(1)), "{totals}");
        assert!(one["cpu_us"].as_u64().unwrap() > 0 && one["p99_us"].as_u64() >= one["p50_us"].as_u64(), "{totals}");
        assert_eq!(one["tenant"].is_null(), by == "plugin", "{totals}");
    }
    let metrics = world.run(&["sandbox", "metrics"]).ok();
    let text = metrics.as_str().unwrap();
    let line = text.lines().find(|line| line.starts_with("opsiq_calls_total{tenant=\"acme\"")).unwrap();
    assert!(line.ends_with(" 21") && line.contains("plugin=\"opsiq/hostile@0.1.0\""), "{line}");
    assert!(text.contains("opsiq_call_duration_seconds_bucket{tenant=\"acme\""), "{text}");
    assert!(!text.contains("evil") && !text.contains("ada"), "names are the tenant's: {text}");
    let error = world.run(&["--as", "acme/ada", "sandbox", "metrics"]).refused(3);
    assert_eq!(error["code"], "act.needs-operator", "{error}");
    stream.end();
}

/// The socket is the owner's alone, says what it does not understand, and is reached however long its path is.
#[test]
fn the_socket_is_private_and_strict() {
    let (world, _server) = silent();
    let stream = Stream::start(&world, 1);
    let socket = world.data().join("control.sock");
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < SOON, "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let say = |line: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(line.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(say("{\"v\":1,\"ask\":{\"list\":{}}}\n").contains("\"ok\":true"));
    for (line, code) in [
        ("{\"v\":1,\"ask\":{\"list\":{\"all\":true}}}\n", "control.request"),
        ("{\"v\":9,\"ask\":{\"list\":{}}}\n", "control.version"),
        ("nonsense\n", "control.request"),
    ] {
        assert!(say(line).contains(code), "{line}");
    }
    // A request without an end is cut, and whoever only connects keeps nobody from being served.
    say(&"x".repeat(1 << 20));
    let idle: Vec<_> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert!(say("{\"v\":1,\"ask\":{\"list\":{}}}\n").contains("\"ok\":true"));
    drop(idle);
    stream.end();
    assert!(!socket.exists(), "it goes with the process");

    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(150));
    let world = World::at(dir, long);
    world.install(&guest("hello"), "hello", &[], &[]);
    let stream = Stream::start(&world, 1);
    let begun = Instant::now();
    while !world.data().join("control.sock").exists() {
        assert!(begun.elapsed() < SOON, "no socket under a long path");
        std::thread::sleep(Duration::from_millis(10));
    }
    world.run(&["--wait", "0", "sandbox", "list"]).ok();
    stream.end();
}
