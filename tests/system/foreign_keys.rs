//! A plugin that asks for a key that is not its own, however it spells the name, gets the answer of a name that nobody
//! has, in the same class of time.

use std::time::{Duration, Instant};

use opsiq_gate::{Actor, Call, Host};
use serde_json::json;

use crate::opsiq::{World, guest};
use crate::orders;

/// Names of keys that exist elsewhere, and names that look like one that exists here.
const NAMES: &[&str] = &[
    "shop-secret",
    "shop/signing-secret",
    "../signing-secret",
    "../shop/signing-secret",
    "bolt/signing-secret",
    "tenant:bolt/signing-secret",
    "Signing-Secret",
    "SIGNING-SECRET",
    "signing_secret",
    "signing\u{2011}secret",
    "\u{455}igning-secret",
    "signing-secret\u{200b}",
    "signing-secret ",
    "signing-secret\0",
    "%73igning-secret",
    "",
    "*",
];
/// A name nobody has, as long as most of them.
const NONE: &str = "no-such-keyname";

#[test]
fn every_foreign_name_gets_one_answer() {
    let world = World::new();
    world.install(
        &guest("hostile"),
        "bad",
        &[("base-url", "http://127.0.0.1:9")],
        &[("signing-secret", orders::SECRET)],
    );
    world.install(
        &guest("orders"),
        "shop",
        &[("base-url", "http://127.0.0.1:9")],
        &[("signing-secret", orders::SECRET)],
    );
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    let install = ["--as", "bolt/bob", "connector", "install", "opsiq/hostile", "--name", "bad", "--yes"];
    world.run(&[&install[..], &["--config", "base-url=http://127.0.0.1:9"]].concat()).ok();
    world.run_with(&["--as", "bolt/bob", "key", "set", "bad", "signing-secret", "--stdin"], orders::SECRET).ok();

    assert_eq!(world.call("bad", "open-key", &json!({ "name": "signing-secret" })).ok()["result"]["signed"], true);
    let answer = |name: &str| {
        let mut error = world.call("bad", "open-key", &json!({ "name": name })).refused(3);
        // Its own id, and what it used, is all that tells two calls apart.
        error["refusal"]["invocation"].take();
        error["refusal"]["meter"].take();
        error["detail"].take();
        error
    };
    let none = answer(NONE);
    assert_eq!(none["code"], "key.not-granted", "{none}");
    for name in NAMES {
        assert_eq!(answer(name), none, "{name:?}");
    }

    // The time of many calls in one process, name by name in turn so that the machine's moods hit all alike.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(world.options()).await.unwrap();
        let ada = Actor::user("acme".parse().unwrap(), "ada");
        let names = [&[NONE], NAMES].concat();
        let mut times = vec![Vec::new(); names.len()];
        for round in 0..42 {
            for (name, times) in names.iter().zip(&mut times) {
                let call = Call {
                    installation: "bad".to_owned(),
                    action: "open-key".to_owned(),
                    params: json!({ "name": name }).to_string().into_bytes(),
                    idempotency_key: None,
                };
                let start = Instant::now();
                host.invoke(&ada, call).await.unwrap_err();
                // The first calls load the plugin.
                if round >= 2 {
                    times.push(start.elapsed());
                }
            }
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let medians: Vec<Duration> = times.iter_mut().map(median).collect();
        for (name, time) in names.iter().zip(&medians) {
            assert!(
                *time < medians[0] * 2 && medians[0] < *time * 2,
                "{name:?} took {time:?}, none took {:?}",
                medians[0]
            );
        }
        host.close().await.unwrap();
    });
}
