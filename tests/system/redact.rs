//! The `redact` plugin as a tenant uses it: what it answers, what of it is kept, and how long it takes.

use std::fs;

use serde_json::{Value, json};

use crate::admission::files;
use crate::canary;
use crate::opsiq::{World, guest};

fn installed() -> World {
    let world = World::new();
    world.install(&guest("redact"), "redact", &[], &[]);
    world
}

#[test]
fn personal_data_is_masked_and_kept_nowhere() {
    let world = installed();
    let value = json!({
        "card": 4_111_111_111_111_111_u64,
        "kanarienvogel@example.com": "pay DE89 3704 0044 0532 0130 00 or ring +49 30 7654321",
    });
    let masked = world.call("redact", "mask", &json!({ "value": value })).ok()["result"].take();
    let expected = json!({ "card": "[card …1111]", "[email]": "pay [iban …3000] or ring [phone …4321]" });
    assert_eq!(masked, json!({ "total": 4, "value": expected }));
    let found = world.call("redact", "find", &json!({ "value": value }));
    assert_eq!(found.ok()["result"]["total"], 4);
    // Not even where it stands is shown to whoever does not ask for it.
    for data in ["kanarienvogel@example", "4111111111111111", "0044 0532 0130 00", "+49 30 7654321"] {
        assert!(!found.stdout.contains(data), "{found:?}");
        for file in files(world.data()) {
            assert!(!canary::find(&fs::read(&file).unwrap(), data), "{data} lies in {}", file.display());
        }
    }
    let log = world.run(&["--as", "acme/ada", "audit", "list"]);
    assert!(!log.stdout.contains("kanarienvogel"), "{log:?}");
}

/// As much as the contract takes is done within the CPU time of a call, whatever it is made of; more is refused.
#[test]
fn the_most_of_anything_is_done_in_time() {
    let world = installed();
    let hard =
        ["4111 1111 1111 1112 ", "415 ", "1 ", "4444\u{a0}", "DE89 ", "a@", "1:2:3:4:5:6:7:8:9 ", "+49 30 1", "("];
    for piece in hard {
        let text = piece.repeat(((512 << 10) - 100) / piece.len());
        let path = world.file("params.json");
        fs::write(&path, json!({ "text": text }).to_string()).unwrap();
        let args = ["--as", "acme/ada", "action", "call", "redact", "find", "--params-file", path.to_str().unwrap()];
        let done: Value = world.run(&args).ok();
        assert!(done["meter"]["cpu_us"].as_u64().is_some_and(|cpu| cpu < 250_000), "{piece:?}: {}", done["meter"]);
    }
    let text = "a".repeat(512 << 10);
    let path = world.file("params.json");
    fs::write(&path, json!({ "text": text }).to_string()).unwrap();
    let args = ["--as", "acme/ada", "action", "call", "redact", "find", "--params-file", path.to_str().unwrap()];
    assert_eq!(world.run(&args).refused(6)["code"], "params.too-large");
}
