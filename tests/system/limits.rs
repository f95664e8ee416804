//! Each way to exhaust a host ends within its limit, by its own name, leaves a trace, and leaves the rest working.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::upstream::{Reply, Upstream};

/// The hostile guest, installed as `evil`; its upstream never answers in time.
fn hostile() -> (World, Upstream) {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(200, &json!({})).after(Duration::from_mins(1)));
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    (world, server)
}

/// Every attack in one world, one after the other: what one leaves behind would show in the next.
#[test]
fn every_attack_ends_in_its_own_typed_error() {
    let (world, _server) = hostile();
    // Action, the code it must end with, and seconds of wall time it may take: a process start and the limit itself.
    let attacks = [
        ("spin", "cpu_exceeded", 3),
        ("memory-bomb", "memory_exceeded", 3),
        ("recursion", "stack_exceeded", 3),
        ("giant-result", "result_too_large", 3),
        ("host-call-flood", "hostcall_count", 3),
        ("random-flood", "random_exceeded", 3),
        ("many-resources", "resources_exceeded", 3),
        ("sleep-in-host-call", "wall_exceeded", 8),
        ("panic", "trap", 3),
        ("invalid-json", "result.off-contract", 3),
        ("off-contract", "result.off-contract", 3),
        ("deep-json", "result.off-contract", 3),
    ];
    for (action, code, seconds) in attacks {
        let start = Instant::now();
        let ran = world.call("evil", action, &json!({}));
        let error = ran.refused(7);
        assert!(error["code"].as_str().unwrap().starts_with(code), "{action}: {ran:?}");
        assert!(start.elapsed() < Duration::from_secs(seconds), "{action} took {:?}", start.elapsed());
        let healthy = world.call("evil", "echo", &json!({ "text": action })).ok();
        assert_eq!(healthy["result"]["text"], action, "{healthy}");
    }
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "200"]).ok().to_string();
    for (action, code, _) in attacks {
        assert!(log.contains(action), "{action} is not in the audit log");
        assert!(log.contains(code), "{code} is not in the audit log");
    }
}

/// A million lines become a hundred and one record that says so, with nothing a terminal would act on.
#[test]
fn a_log_flood_is_cut_and_inert() {
    let (world, _server) = hostile();
    let ran = world.call("evil", "log-flood", &json!({}));
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "escape sequences came through");
    let size: u64 = crate::admission::files(world.data()).iter().map(|f| f.metadata().map_or(0, |m| m.len())).sum();
    assert!(size < 32 << 20, "the flood left {size} bytes on disk");
}

/// Nothing of one call is there in the next.
#[test]
fn no_state_survives_a_call() {
    let (world, _server) = hostile();
    for _ in 0..3 {
        let state = world.call("evil", "state", &json!({})).ok();
        assert_eq!(state["result"]["count"], 1, "{state}");
    }
}
