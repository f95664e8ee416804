//! Another version of an installed connector, through the built command: what asks for more waits while the old version
//! runs, and only the difference that was shown is accepted.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use opsiq_contract::Contract;
use serde_json::{Value, json};

use crate::opsiq::{Ran, World, guest};
use crate::orders;
use crate::rewritten::with_contract;
use crate::upstream::{Reply, Upstream};

const CONTRACT: &str = include_str!("../../plugins/orders/contract.toml");
/// Asks for a query that nobody granted, and lets more people refund.
const MORE: &[(&str, &str)] = &[
    ("url = \"{config.base-url}/orders/{id}\"", "url = \"{config.base-url}/orders/{id}\"\nquery = [\"expand\"]"),
    (
        "scope = \"refunds:create\"\nroles = [\"owner\", \"admin\"]",
        "scope = \"refunds:create\"\nroles = [\"owner\", \"admin\", \"support\"]",
    ),
];

/// The real component of `orders` under a contract changed so, as `version`.
fn variant(world: &World, version: &str, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = CONTRACT.replacen("version = \"0.1.0\"", &format!("version = \"{version}\""), 1);
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let contract = Contract::parse_toml(&text).unwrap();
    let component = with_contract(&fs::read(guest("orders")).unwrap(), |embedded| {
        *embedded = serde_json::from_slice(&contract.canonical_json()).unwrap();
    });
    let path = world.file(&format!("orders-{version}.wasm"));
    fs::write(&path, component).unwrap();
    path
}

fn register(world: &World, version: &str, changes: &[(&str, &str)]) -> String {
    let path = variant(world, version, changes);
    let registered = world.run(&["plugin", "register", path.to_str().unwrap()]).ok();
    registered["digest"].as_str().unwrap().to_owned()
}

fn acme(world: &World, args: &[&str]) -> Ran {
    world.run(&[&["--as", "acme/ada"], args].concat())
}

fn upgrade(world: &World, args: &[&str]) -> Ran {
    acme(world, &[&["connector", "upgrade", "shop"], args].concat())
}

/// The hash of the difference of an upgrade that must wait.
#[track_caller]
fn held(ran: &Ran) -> String {
    assert_eq!(ran.code, 4, "{ran:?}");
    let data = ran.json()["data"].take();
    assert_eq!(data["status"], "held", "{data}");
    data["plan"]["difference"].as_str().unwrap().to_owned()
}

fn shop() -> (World, Upstream) {
    let world = World::new();
    let server = Upstream::start(|request| {
        if request.method == "POST" {
            Reply::json(201, &orders::refund())
        } else {
            Reply::json(200, &orders::order("A-1"))
        }
    });
    orders::install(&world, &server.url(), server.port);
    (world, server)
}

/// `shop` runs in this version.
#[track_caller]
fn runs(world: &World, version: &str) -> Value {
    world.call("shop", "get-order", &json!({ "id": "A-1" })).ok();
    let shown = acme(world, &["connector", "show", "shop"]).ok();
    assert_eq!(shown["plugin"], format!("opsiq/orders@{version}"), "{shown}");
    shown
}

#[test]
fn the_old_version_runs_until_an_owner_accepts_what_was_shown() {
    let (world, server) = shop();
    assert_eq!(upgrade(&world, &[]).ok()["status"], "current");
    register(&world, "0.2.0", &[("maximum = 100000000", "maximum = 100000000, title = \"Amount\"")]);
    assert_eq!(upgrade(&world, &[]).ok()["status"], "switched");
    let before = runs(&world, "0.2.0");

    let digest = register(&world, "0.3.0", MORE);
    let waiting = orders::propose(&world, 500);
    let ran = upgrade(&world, &[]);
    let difference = held(&ran);
    let told = ran.json()["data"]["plan"]["groups"].to_string();
    assert!(told.contains("its query gains expand") && told.contains("its roles gains support"), "{told}");
    assert_eq!(ran.json()["data"]["plan"]["digest"], *digest);
    let after = runs(&world, "0.2.0");
    for same in ["digest", "revision", "allowed", "withheld", "config", "actions", "plan"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after["held"]["plugin"], "opsiq/orders@0.3.0");
    assert_eq!(after["held_plan"]["difference"], *difference);
    // What waited for a person still may run: nothing that runs was touched.
    acme(&world, &["confirm", "approve", &waiting]).ok();
    let posted = |server: &Upstream| server.seen().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posted(&server), 1);

    let waiting = orders::propose(&world, 500);
    world.run(&["--as", "acme/ada", "user", "add", "sam", "--role", "support"]).ok();
    world.run(&["--as", "acme/sam", "connector", "upgrade", "shop", "--accept", &difference]).refused(3);
    upgrade(&world, &["--accept", &difference]).ok();
    runs(&world, "0.3.0");
    let error = acme(&world, &["confirm", "approve", &waiting]).refused(3);
    assert_eq!(error["code"], "confirmation.changed", "{error}");
    assert_eq!(posted(&server), 1, "what was asked of the old version ran on the new one");
    assert_eq!(upgrade(&world, &["--accept", &difference]).refused(3)["code"], "upgrade.none-held");

    let log = acme(&world, &["audit", "list", "--limit", "200"]).ok().to_string();
    for (act, outcome) in [("connector upgrade", "held"), ("connector upgrade accept", "ok")] {
        assert!(log.contains(act) && log.contains(outcome), "{act}: {log}");
    }
    assert!(log.contains(&difference), "the entry names what was accepted");
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
}

#[test]
fn what_changed_since_it_was_shown_is_shown_anew() {
    let (world, server) = shop();
    let digest = register(&world, "0.2.0", MORE);
    let first = held(&upgrade(&world, &[]));
    acme(&world, &["connector", "grant", "shop", "--remove", "action:list-orders"]).ok();
    let ran = upgrade(&world, &["--accept", &first]);
    assert_eq!(ran.refused(3)["code"], "upgrade.not-as-shown");
    let second = ran.json()["data"]["plan"]["difference"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    upgrade(&world, &["--accept", &first]).refused(3);
    runs(&world, "0.1.0");
    upgrade(&world, &["--accept", &second, "--without", "action:refund-order"]).ok();
    let shown = runs(&world, "0.2.0");
    assert_eq!(shown["withheld"], json!(["action:list-orders", "action:refund-order"]));
    world.call("shop", "list-orders", &json!({})).refused(3);

    // By the version's own digest: what was shown last, if it still stands.
    let back = held(&upgrade(&world, &["--to", "opsiq/orders@0.1.0"]));
    let first_digest = acme(&world, &["connector", "show", "shop"]).ok()["held"]["digest"].as_str().unwrap().to_owned();
    assert_ne!(first_digest, digest);
    world.configure("[ceiling.plugin.\"opsiq/orders\"]\nhttp = [\"order\"]\n");
    assert_eq!(upgrade(&world, &["--accept", &first_digest]).refused(3)["code"], "upgrade.not-as-shown");
    assert_ne!(held(&upgrade(&world, &[])), back);
    upgrade(&world, &["--accept", &first_digest]).ok();
    runs(&world, "0.1.0");
    assert!(!server.seen().is_empty());
}

#[test]
fn a_stranger_or_a_broken_version_replaces_nothing() {
    let (world, _server) = shop();
    let digest = register(&world, "0.2.0", MORE);
    register(&world, "9.0.0", &[("publisher = \"opsiq\"", "publisher = \"evil\"")]);
    assert_eq!(upgrade(&world, &["--to", "evil/orders@9.0.0"]).refused(3)["code"], "upgrade.other-plugin");
    upgrade(&world, &["--to", "opsiq/orders@0.9.0"]).refused(5);
    upgrade(&world, &["--to", &format!("sha256:{}", "0".repeat(64))]).refused(5);
    upgrade(&world, &["--accept", &digest]).refused(3);
    let difference = held(&upgrade(&world, &[]));
    let rejected = upgrade(&world, &["--reject"]).ok();
    assert_eq!(rejected["held"], Value::Null);
    runs(&world, "0.1.0");

    held(&upgrade(&world, &[]));
    let blob = world.data().join("blobs").join(digest.trim_start_matches("sha256:"));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    upgrade(&world, &["--accept", &difference]).refused(9);
    world.call("shop", "get-order", &json!({ "id": "A-1" })).ok();
}

/// The process dies at any moment of an acceptance: afterwards it is the one version or the other, and it runs.
#[test]
fn killed_while_switching_it_is_the_old_version_or_the_new_one() {
    let (world, _server) = shop();
    let mut current = "0.1.0".to_owned();
    let mut whole = Duration::ZERO;
    for round in 0..8_u32 {
        let next = format!("0.{}.0", round + 2);
        let event = format!("event = \"refund.created\"\n[[audit]]\nevent = \"round.r{round}\"");
        register(&world, &next, &[("event = \"refund.created\"", &event)]);
        let difference = held(&upgrade(&world, &[]));
        let start = std::time::Instant::now();
        let mut child = world.start(&["--as", "acme/ada", "connector", "upgrade", "shop", "--accept", &difference]);
        if round == 0 {
            assert!(child.wait().unwrap().success());
            whole = start.elapsed();
        } else {
            std::thread::sleep(whole * round / 7);
            let _ = child.kill();
            child.wait().unwrap();
        }
        let shown = acme(&world, &["connector", "show", "shop"]).ok();
        if shown["held"].is_null() {
            assert_eq!(shown["plugin"], format!("opsiq/orders@{next}"));
        } else {
            assert_eq!(shown["plugin"], format!("opsiq/orders@{current}"));
            runs(&world, &current);
            upgrade(&world, &["--accept", &difference]).ok();
        }
        runs(&world, &next);
        current = next;
    }
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
}
