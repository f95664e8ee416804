//! Plugins without this project's SDKs and without `opsiq plugin build`: from the WIT package, the language's own generator
//! and `opsiq plugin wrap` to an answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::opsiq::{Ran, World, built};
use crate::upstream::{Reply, Upstream};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn wrap(world: &World, file: &Path, contract: &Path) -> Ran {
    let out = world.file("wrapped.wasm");
    let [file, contract, out] = [file, contract, &out].map(|path| path.to_str().unwrap().to_owned());
    world.run(&["plugin", "wrap", &file, "--contract", &contract, "--out", &out])
}

/// Rust: cargo makes a core module with the bindings of `wit-bindgen`; wrapping makes it a component with a contract.
#[test]
fn rust_with_wit_bindgen_alone() {
    let world = World::new();
    let target = built().parent().unwrap().to_owned();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "opsiq-example-bare-rust"]);
    cargo.args(["--target", "wasm32-unknown-unknown"]).env("CARGO_TARGET_DIR", &target).current_dir(root("."));
    let ran = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    if said.contains("may not be installed") && std::env::var_os("CI").is_none() {
        eprintln!("NOT RUN: rustup target add wasm32-unknown-unknown");
        return;
    }
    assert!(ran.status.success(), "{said}");
    let module = target.join("wasm32-unknown-unknown/release/opsiq_example_bare_rust.wasm");
    wrap(&world, &module, &root("examples/bare-rust/contract.toml")).ok();
    world.install(&world.file("wrapped.wasm"), "words", &[], &[]);
    let counted = world.call("words", "count-words", &json!({ "text": "one two  three" })).ok();
    assert_eq!(counted["result"], json!({ "words": 3 }));
    assert_eq!(world.call("words", "count-words", &json!({ "text": "\0" })).refused(7)["code"], "plugin.invalid");
    let log = world.run(&["--as", "acme/ada", "audit", "list"]).ok().to_string();
    assert!(log.contains("3 words"), "the plugin's line is not in the log: {log}");

    // A plugin is not given another contract, nor written over by what is made of it.
    let again = world.file("again.wasm");
    std::fs::copy(world.file("wrapped.wasm"), &again).unwrap();
    let error = wrap(&world, &world.file("wrapped.wasm"), &root("examples/bare-js/contract.toml")).refused(6);
    assert!(error.to_string().contains("written over"), "{error}");
    let error = wrap(&world, &again, &root("examples/bare-js/contract.toml")).refused(6);
    assert!(error.to_string().contains("contract.present"), "{error}");
}

/// JavaScript: the generator of componentize-qjs, over the world that the contract calls for.
#[test]
fn javascript_with_its_own_generator() {
    let world = World::new();
    // Its programs are those of the kit: fetched by building anything in JavaScript.
    let cache = world.file("cache");
    let (hello, out) = (root("examples/hello-js"), world.file("hello.wasm"));
    let args = ["plugin", "build", hello.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let fetched = world.command(&args).env("OPSIQ_CACHE", &cache).output().unwrap();
    if fetched.status.code() == Some(8) {
        assert!(std::env::var_os("CI").is_none(), "{fetched:?}");
        eprintln!("NOT RUN: npm is out of reach");
        return;
    }
    let kit = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let contract = root("examples/bare-js/contract.toml");
    let (wit, component) = (world.file("wit"), world.file("component.wasm"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let files = world.run(&["plugin", "wit", &path(&wit), "--contract", &path(&contract)]).ok();
    assert_eq!(files["files"].as_array().map(Vec::len), Some(4), "{files}");
    let ran = Command::new("node")
        .arg(kit.join("node_modules/componentize-qjs/bin/componentize-qjs"))
        .args(["--wit", &path(&wit), "--world", "plugin", "--js", &path(&root("examples/bare-js/plugin.js"))])
        .args(["--stub-wasi", "--sync", "--output", &path(&component)])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // As it comes, it says what is missing; wrapped, it is a plugin.
    let seen = world.run(&["plugin", "inspect", &path(&component)]).refused(6);
    assert!(seen.to_string().contains("opsiq plugin wrap"), "{seen}");
    wrap(&world, &component, &contract).ok();

    let server = Upstream::start(|request| match request.target.as_str() {
        "/notes/one" => Reply::json(200, &json!({ "text": "Grüße" })),
        "/notes/two" => Reply::json(500, &json!({})),
        _ => Reply::json(404, &json!({})),
    });
    world.open_loopback(server.port);
    world.install(&world.file("wrapped.wasm"), "notes", &[("base-url", &server.url())], &[]);
    let get = |id: &str| world.call("notes", "get-note", &json!({ "id": id }));
    assert_eq!(get("one").ok()["result"], json!({ "text": "Grüße" }));
    assert_eq!(get("two").refused(7)["code"], "plugin.upstream");
    assert_eq!(get("three").refused(7)["code"], "plugin.not-found");

    // Over a world wider than its contract a component imports what the contract does not declare.
    let ran = Command::new("node")
        .arg(kit.join("node_modules/componentize-qjs/bin/componentize-qjs"))
        .args(["--wit", &path(&root("wit/0.1.0")), "--world", "connector", "--stub-wasi", "--sync"])
        .args(["--js", &path(&root("examples/bare-js/plugin.js")), "--output", &path(&component)])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let error = wrap(&world, &component, &contract).refused(6).to_string();
    assert!(error.contains("opsiq:plugin/keys@0.1.0") && error.contains("import.undeclared"), "{error}");
}
