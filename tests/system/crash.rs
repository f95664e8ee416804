//! `kill -9`: no acknowledged entry is lost, every effect has an intent, and what was cut off is said to be.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::opsiq::World;
use crate::orders;
use crate::upstream::{Reply, Upstream};

/// Approves the one pending confirmation in a process of its own.
fn approve(world: &World, id: &str) -> std::process::Child {
    world.start(&["--as", "acme/ada", "confirm", "approve", id])
}

/// Entries of the audit log, oldest first, as an owner exports them.
pub(crate) fn entries(world: &World) -> Vec<Value> {
    let file = world.file("audit.jsonl");
    let _ = std::fs::remove_file(&file);
    world.run(&["--as", "acme/ada", "audit", "export", "--format", "jsonl", "--out", file.to_str().unwrap()]).ok();
    let key = world.run(&["--as", "acme/ada", "audit", "key"]).ok();
    let key = key["key"].as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
    world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|mut line| line.get_mut("entry").map(Value::take)).collect()
}

fn of_kind<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

/// The process dies while the order server thinks: the effect happened, its intent is there, and everybody who asks is
/// told that the outcome is unknown. Nothing runs it again.
#[test]
fn a_call_cut_off_after_its_effect_is_reported_interrupted() {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(201, &orders::refund()).after(Duration::from_secs(20)));
    orders::install(&world, &server.url(), server.port);
    let id = orders::propose(&world, 500);
    let mut child = approve(&world, &id);
    let start = Instant::now();
    while server.seen().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "the refund never left");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let doctor = world.run(&["doctor"]);
    assert!(doctor.stdout.contains("interrupted"), "{doctor:?}");
    let entries = entries(&world);
    let (intents, interrupted) = (of_kind(&entries, "intent"), of_kind(&entries, "interrupted"));
    assert_eq!((intents.len(), interrupted.len()), (1, 1), "{entries:#?}");
    assert_eq!(intents[0]["invocation"], interrupted[0]["invocation"]);
    let again = world.run(&["--as", "acme/ada", "confirm", "approve", &id]);
    assert_ne!(again.code, 0, "{again:?}");
    assert_eq!(server.seen().len(), 1, "the refund was sent twice");
}

/// The process dies at any moment: what it acknowledged is in the log with its outcome, what the server saw has an
/// intent, and the log verifies.
#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(201, &orders::refund()));
    orders::install(&world, &server.url(), server.port);
    // One that lives shows how long a whole approval takes here; the others die at every part of that time.
    let id = orders::propose(&world, 500);
    let start = Instant::now();
    assert!(approve(&world, &id).wait().unwrap().success());
    let whole = start.elapsed();
    let mut acknowledged = 1;
    for round in 0..24 {
        let id = orders::propose(&world, 500);
        let mut child = approve(&world, &id);
        std::thread::sleep(whole * round / 16);
        let _ = child.kill();
        if child.wait().unwrap().success() {
            acknowledged += 1;
        }
    }
    let entries = entries(&world);
    let intents = of_kind(&entries, "intent").len();
    let outcomes = of_kind(&entries, "outcome").len();
    let interrupted = of_kind(&entries, "interrupted").len();
    let effects = server.seen().len();
    assert!(effects <= intents, "{effects} effects, {intents} intents");
    assert!(outcomes >= acknowledged, "{acknowledged} acknowledged, {outcomes} outcomes");
    assert_eq!(intents, outcomes + interrupted, "an intent is without an end");
    let mut keys: Vec<_> =
        server.seen().iter().filter_map(|r| r.header("idempotency-key").map(str::to_owned)).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), effects, "an approved refund was sent twice");
    assert!(acknowledged > 1 && acknowledged < 25, "the kills missed: {acknowledged} of 25 ended well");
    let gaps = entries
        .iter()
        .zip(entries.iter().skip(1))
        .filter(|(a, b)| a["seq"].as_u64().unwrap() + 1 != b["seq"].as_u64().unwrap());
    assert_eq!(gaps.count(), 0, "the sequence has gaps");
}

/// The same idempotency key gives the same answer and no second effect; another body under it is refused.
#[test]
fn an_idempotency_key_runs_once() {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(200, &orders::order("A-1")));
    orders::install(&world, &server.url(), server.port);
    let call = |id: &str| orders::look_keyed(|args| world.run(args), id);
    let first = call("A-1").ok();
    let second = call("A-1").ok();
    assert_eq!(first["result"], second["result"]);
    assert_eq!(server.seen().len(), 1);
    call("A-2").refused(6);
    assert_eq!(server.seen().len(), 1);
}
