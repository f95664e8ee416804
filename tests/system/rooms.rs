//! The house's one structural rule: a room may depend only on rooms below it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Rooms from the top down. Rooms in one row do not know each other.
const ORDER: &[&[&str]] = &[
    &["cli"],
    &["server"],
    &["brain", "webhooks", "incident", "testkit"],
    &["gate"],
    &["sandbox", "identity", "shield"],
    &["egress"],
    &["audit", "signing"],
    &["store"],
    &["vault"],
    &["contract"],
];

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON")
}

/// Every `host/` package with the `host/` packages it depends on, dev-dependencies too, names without `opsiq-`.
fn rooms(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let is_room = |p: &&Value| p["manifest_path"].as_str().unwrap_or("").contains("/host/");
    let short = |name: &str| name.trim_start_matches("opsiq-").to_owned();
    let packages: Vec<&Value> = metadata["packages"].as_array().expect("packages").iter().filter(is_room).collect();
    let names: Vec<String> = packages.iter().map(|p| short(p["name"].as_str().expect("a name"))).collect();
    packages
        .iter()
        .map(|p| {
            let deps = p["dependencies"].as_array().expect("dependencies");
            let deps = deps.iter().filter_map(|d| d["name"].as_str()).map(short).filter(|d| names.contains(d));
            (short(p["name"].as_str().expect("a name")), deps.collect())
        })
        .collect()
}

/// The first dependency that does not point downward.
fn violation(rooms: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let row = |name: &str| ORDER.iter().position(|row| row.contains(&name));
    for (room, deps) in rooms {
        let Some(from) = row(room) else { return Some(format!("host/{room} is no room of the house")) };
        for dep in deps {
            if row(dep).is_none_or(|to| to <= from) {
                return Some(format!("host/{room} depends on host/{dep}, which does not lie below it"));
            }
        }
    }
    None
}

#[test]
fn rooms_depend_downward_only() {
    let rooms = rooms(&metadata());
    assert!(rooms.contains_key("contract") && rooms.contains_key("cli"), "found {:?}", rooms.keys());
    assert_eq!(violation(&rooms), None);
}

/// The rule can fail: each of these houses breaks it.
#[test]
fn an_upward_or_sideways_dependency_is_named() {
    for (room, dep) in [("vault", "store"), ("webhooks", "brain"), ("contract", "contract"), ("cellar", "vault")] {
        let house = BTreeMap::from([(room.to_owned(), vec![dep.to_owned()])]);
        assert!(violation(&house).is_some(), "{room} -> {dep} must be refused");
    }
}
