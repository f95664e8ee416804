//! Attacks that are written as text (`tests/hostile/wat`), made into plugins.

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::StringEncoding;

use crate::component::encoded;

/// Asks for what the attacks import, and no more.
pub(crate) const CONTRACT: &str = r#"
contract = 1
[plugin]
id = "NAME"
version = "0.1.0"
kind = "connector"
title = "An attack"
summary = "One attack."
publisher = "tests"
[[key]]
name = "signing-secret"
purpose = "Something to sign with."
use = ["sign"]
[[action]]
name = "attack"
title = "Attack"
effect = "read"
scope = "attack:run"
roles = ["owner"]
keys = ["signing-secret"]
params = { type = "object" }
result = { type = "object" }
"#;

/// Where the attacks are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile")
}

/// The text of an attack; `harmless` puts what stands after `;; harmless:` into the place of the constant before it.
pub(crate) fn text(name: &str, harmless: bool) -> String {
    let text = fs::read_to_string(folder().join("wat").join(format!("{name}.wat"))).unwrap();
    if !harmless {
        return text;
    }
    let line = |line: &str| match line.split_once(" ;; harmless: ") {
        Some((global, number)) => {
            let (head, _) = global.rsplit_once("(i32.const ").unwrap();
            format!("{head}(i32.const {number}))")
        }
        None => line.to_owned(),
    };
    let changed = text.lines().map(line).collect::<Vec<_>>().join("\n");
    assert_ne!(changed, text, "{name} has no harmful number");
    changed
}

/// A component of a core module in text, with its contract. A line `;; encoding: utf16` says how its texts are encoded.
pub(crate) fn built(text: &str, contract: &str) -> Vec<u8> {
    let encoding = if text.contains(";; encoding: utf16") { StringEncoding::UTF16 } else { StringEncoding::UTF8 };
    encoded(&wat::parse_str(text).unwrap(), encoding, contract).unwrap()
}

/// The component of an attack.
pub(crate) fn component_of(name: &str, harmless: bool) -> Vec<u8> {
    built(&text(name, harmless), &CONTRACT.replace("NAME", name))
}
