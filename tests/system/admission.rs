//! What may enter the catalogue: components that import no more than their contract declares, and nothing else.

use std::fs;

use serde_json::json;

use crate::opsiq::{World, guest};
use crate::rewritten::with_contract;

fn inspect(world: &World, name: &str, bytes: &[u8]) -> crate::opsiq::Ran {
    let path = world.file(name);
    fs::write(&path, bytes).unwrap();
    world.run(&["plugin", "inspect", path.to_str().unwrap()])
}

/// Whatever is handed in, `inspect` explains itself: it never panics and never accepts.
#[test]
fn inspect_survives_anything() {
    let world = World::new();
    let real = fs::read(guest("hello")).unwrap();
    let mut inputs: Vec<Vec<u8>> = vec![
        vec![],
        b"\0asm".to_vec(),
        b"\0asm\x01\0\0\0".to_vec(),
        b"\0asm\x0d\0\x01\0".to_vec(),
        b"#!/bin/sh\n".to_vec(),
        vec![0xff; 4096],
        // A component of components, deeper than any real one.
        b"\0asm\x0d\0\x01\0\x04\x08".repeat(2000),
    ];
    inputs.extend((1..20).map(|i| real[..real.len() * i / 20].to_vec()));
    for (i, input) in inputs.iter().enumerate() {
        let ran = inspect(&world, &format!("input-{i}.wasm"), input);
        assert_eq!(ran.code, 6, "input {i}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "input {i}: {ran:?}");
    }
}

/// Components that other toolchains make are explained import by import.
#[test]
fn a_foreign_component_is_explained_by_its_imports() {
    let world = World::new();
    let foreign = wat(r#"(component
        (import "wasi:filesystem/types@0.2.0" (instance))
        (import "wasi:http/outgoing-handler@0.2.0" (instance))
        (import "other:thing/api" (instance)))"#);
    let ran = inspect(&world, "foreign.wasm", &foreign);
    assert_eq!(ran.code, 6, "{ran:?}");
    for import in ["wasi:filesystem/types@0.2.0", "wasi:http/outgoing-handler@0.2.0", "other:thing/api"] {
        assert!(ran.stdout.contains(import), "{import} is not explained: {ran:?}");
    }
}

/// An import that the contract does not declare is refused by its name, though the same code under a contract that
/// declares it registers.
#[test]
fn an_undeclared_import_is_refused_by_name() {
    let world = World::new();
    world.run(&["plugin", "register", guest("hostile").to_str().unwrap()]).ok();
    let real = fs::read(guest("hostile")).unwrap();
    for (section, import) in [("kv", "opsiq:plugin/kv@0.1.0"), ("audit", "opsiq:plugin/audit@0.1.0")] {
        let lowered = world.file(&format!("without-{section}.wasm"));
        fs::write(
            &lowered,
            with_contract(&real, |contract| {
                contract
                    .as_object_mut()
                    .unwrap()
                    .remove(section)
                    .unwrap_or_else(|| panic!("no {section} in the contract"));
            }),
        )
        .unwrap();
        let error = world.run(&["plugin", "register", lowered.to_str().unwrap()]).refused(6);
        assert!(error.to_string().contains(import), "{import} is not named: {error}");
    }
    assert_eq!(world.run(&["plugin", "list"]).ok().as_array().map(Vec::len), Some(1), "a refused plugin was listed");
}

/// One changed byte of a registered plugin's stored component is another plugin, which nobody installed.
#[test]
fn a_swapped_component_is_refused() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let blob = files(&world.data().join("blobs")).into_iter().next().expect("the component is stored");
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    for entry in files(&world.data().join("compiled")) {
        fs::remove_file(entry).unwrap();
    }
    let ran = world.call("hello", "hello", &json!({ "name": "Ada" }));
    ran.refused(9);
    assert!(!ran.stdout.contains("Hello"), "{ran:?}");
}

pub(crate) fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            // A socket that a killed process left behind holds nothing.
            found.push(path);
        }
    }
    found
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}
