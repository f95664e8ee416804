//! Plugins in JavaScript and Python, from their sources to an answer: built by `opsiq plugin build` with the toolchains
//! it fetches, installed and called like any other.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::opsiq::World;
use crate::upstream::{Reply, Upstream};

/// A folder of the repository.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Builds a plugin into the world's own folder. `None` where the machine has neither npm nor pip within reach, which is said
/// aloud; with CI set it fails.
pub(crate) fn build(world: &World, path: &str) -> Option<PathBuf> {
    let out = world.file("plugin.wasm");
    let ran = world.run(&["plugin", "build", source(path).to_str().unwrap(), "--out", out.to_str().unwrap()]);
    if ran.code == 8 && ran.json()["error"]["code"] == "build.toolchain" {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to build {path}: {ran:?}");
        eprintln!("NOT RUN: {path} needs node with npm, python3 with pip, and their registries: {ran:?}");
        return None;
    }
    ran.ok();
    Some(out)
}

/// What the component imports is this host's and nothing else, and its contract is inside.
fn imports(world: &World, component: &Path) -> Vec<String> {
    let data = world.run(&["plugin", "inspect", component.to_str().unwrap()]).ok();
    assert_eq!(data["acceptable"], true, "{data}");
    let imports = data["inspection"]["imports"].as_array().unwrap();
    imports.iter().map(|import| import["name"].as_str().unwrap().to_owned()).collect()
}

/// What the operator has to allow for the largest interpreter, and for compiling it beside other tests.
pub(crate) const INTERPRETERS: &str = "[ceiling]\ncomponent = \"24MiB\"\ncompile = \"5min\"\n";

/// Until the operator allows it, what is too large is refused, and the refusal says what to write.
#[test]
fn the_largest_interpreter_waits_for_the_operator() {
    let world = World::new();
    let Some(component) = build(&world, "examples/hello-python") else { return };
    let refused = world.run(&["plugin", "register", component.to_str().unwrap()]).refused(3);
    assert_eq!(refused["code"], "plugin.too-large");
    assert!(refused["fix"].as_str().unwrap().contains("`component` under [ceiling]"), "{refused}");
    world.configure("[ceiling]\ncomponent = \"24MiB\"\ncompile = \"100ms\"\n");
    let refused = world.run(&["plugin", "register", component.to_str().unwrap()]).refused(3);
    assert!(refused["title"].as_str().unwrap().contains("longer than 100 ms"), "{refused}");
}

/// What every language must be able to say; `more`: what only this one can get wrong.
fn says_everything(path: &str, more: &[(&str, &str)]) {
    let world = World::new();
    world.configure(INTERPRETERS);
    let Some(component) = build(&world, path) else { return };
    let imports = imports(&world, &component);
    assert!(imports.iter().all(|name| name.starts_with("opsiq:plugin/")), "{imports:?}");
    assert!(imports.contains(&"opsiq:plugin/kv@0.1.0".to_owned()), "{imports:?}");

    let server = Upstream::start(|request| match request.target.as_str() {
        "/notes/a%20b?q=a%20b" => Reply::json(200, &json!({ "id": 7, "text": "Grüße 🙂" })),
        "/notes/full?q=a%20b" => Reply::json(429, &json!({})).header("retry-after", "30"),
        _ => Reply::json(404, &json!({ "message": "there is no such note" })),
    });
    world.open_loopback(server.port);
    let base = server.url();
    world.install(&component, "tongue", &[("base-url", &base)], &[("secret", "0123456789abcdef0123456789abcdef")]);

    // Time and randomness are the host's, and nothing of one call is in the next.
    let facts = || world.call("tongue", "tell-facts", &json!({})).ok()["result"].take();
    let (first, second) = (facts(), facts());
    let now = now_ms();
    for facts in [&first, &second] {
        assert!(facts["now"].as_u64().is_some_and(|told| told.abs_diff(now) < 60_000), "{facts} at {now}");
        assert!(facts["made"].as_str().is_some_and(|made| made.starts_with("20")), "{facts}");
        assert!(facts["environment"].as_object().is_none_or(serde_json::Map::is_empty), "{facts}");
    }
    assert!(first["now"].as_u64() < second["now"].as_u64());
    for (one, other) in first["random"].as_array().unwrap().iter().zip(second["random"].as_array().unwrap()) {
        assert_ne!(one, other, "the same twice");
    }

    // Wrong parameters do not reach the plugin, and what it throws is a failure with a meaning.
    world.call("tongue", "fail", &json!({ "hwo": "invalid" })).refused(6);
    let mut ways = vec![
        ("invalid", "plugin.invalid"),
        ("missing", "plugin.not-found"),
        ("wait", "plugin.rate-limited"),
        ("defect", "plugin.internal"),
        ("nothing", "plugin.internal"),
        ("undeclared", "http.no-rule"),
    ];
    ways.extend(more);
    for (how, code) in ways {
        let error = world.call("tongue", "fail", &json!({ "how": how }));
        assert!(matches!(error.code, 3 | 7), "{how}: {error:?}");
        assert_eq!(error.json()["error"]["code"], code, "{how}: {error:?}");
    }

    // A signed request, storage and the audit log.
    let note = json!({ "id": "a b", "text": "Grüße 🙂" });
    let sent = world.call("tongue", "send-note", &note).ok()["result"].take();
    let expected = json!({ "said": { "id": 7, "text": "Grüße 🙂" }, "verified": true, "count": 1, "keys": ["count"] });
    assert_eq!(sent, expected);
    assert_eq!(world.call("tongue", "send-note", &note).ok()["result"]["count"], 2);
    let request = server.seen().remove(0);
    assert_eq!(
        (request.method.as_str(), String::from_utf8(request.body.clone()).unwrap().as_str()),
        ("POST", "Grüße 🙂")
    );
    assert_eq!(request.header("x-mac").map(str::len), Some(44), "the Base64 of 32 bytes");
    assert!(request.header("x-once").is_some_and(|once| !once.is_empty()), "{request:?}");
    let log = world.run(&["--as", "acme/ada", "audit", "list"]);
    assert!(log.stdout.contains("note.sent"), "{log:?}");
    for (id, code) in [("full", "plugin.rate-limited"), ("gone", "plugin.not-found")] {
        let error = world.call("tongue", "send-note", &json!({ "id": id, "text": "x" })).refused(7);
        assert_eq!(error["code"], code, "{error}");
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn javascript_says_everything() {
    let ways = [("text", "plugin.internal"), ("never", "plugin.internal"), ("deep", "stack_exceeded")];
    says_everything("tests/languages/js", &ways);
}

/// The same plugin in the engine with the web's APIs, which `package.json` asks for.
#[test]
fn starlingmonkey_says_everything() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["contract.toml", "index.js"] {
        std::fs::copy(source("tests/languages/js").join(file), dir.path().join(file)).unwrap();
    }
    let package = json!({ "type": "module", "opsiq": { "engine": "starlingmonkey" } });
    std::fs::write(dir.path().join("package.json"), package.to_string()).unwrap();
    let ways = [("text", "plugin.internal"), ("never", "plugin.internal"), ("deep", "plugin.internal")];
    says_everything(dir.path().to_str().unwrap(), &ways);
}

/// And what only that engine has.
#[test]
fn starlingmonkey_has_the_apis_of_the_web() {
    let world = World::new();
    world.configure(INTERPRETERS);
    let dir = world.file("plugin");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(source("examples/hello-js/contract.toml"), dir.join("contract.toml")).unwrap();
    let package = json!({ "type": "module", "opsiq": { "engine": "starlingmonkey" } });
    std::fs::write(dir.join("package.json"), package.to_string()).unwrap();
    let code = "export default { hello(ctx, { name }) {
        const url = new URL('../b?c=d', 'https://example.com/a/x');
        const copy = structuredClone({ name, at: [url.href] });
        const said = new TextDecoder().decode(new TextEncoder().encode(copy.name));
        return { greeting: `${said} ${copy.at} ${url.searchParams.get('c')} ${typeof WritableStream}` };
    } };";
    std::fs::write(dir.join("index.js"), code).unwrap();
    let Some(component) = build(&world, dir.to_str().unwrap()) else { return };
    world.install(&component, "hello", &[], &[]);
    let greeted = world.call("hello", "hello", &json!({ "name": "Ada 🙂" })).ok();
    assert_eq!(greeted["result"]["greeting"], "Ada 🙂 https://example.com/b?c=d d function");
}

#[test]
fn python_says_everything() {
    let ways = ["deep", "exit", "quit", "file", "folder", "sleep", "import"].map(|how| (how, "plugin.internal"));
    says_everything("tests/languages/python", &ways);
}

/// Packages of a plugin in Python: pinned by hash, pure, and nothing else.
#[test]
fn python_packages_are_pinned_and_pure() {
    const PURE: &str =
        "inflection==0.5.1 --hash=sha256:f38b2b640938a4f35ade69ac3d053042959b62a0f1076a5bbaa1b9526605a8a2\n";
    let world = World::new();
    world.configure(INTERPRETERS);
    let dir = world.file("plugin");
    std::fs::create_dir(&dir).unwrap();
    for file in ["contract.toml", "pyproject.toml"] {
        std::fs::copy(source("examples/hello-python").join(file), dir.join(file)).unwrap();
    }
    let code = "import inflection\n\n\nclass Plugin:\n    def hello(self, ctx, params):\n        \
                return {'greeting': inflection.pluralize(params['name'])}\n";
    std::fs::write(dir.join("plugin.py"), code).unwrap();
    std::fs::write(dir.join("requirements.txt"), PURE).unwrap();
    let Some(component) = build(&world, dir.to_str().unwrap()) else { return };
    world.install(&component, "hello", &[], &[]);
    assert_eq!(world.call("hello", "hello", &json!({ "name": "Ox" })).ok()["result"]["greeting"], "Oxen");

    for (text, says) in [
        ("inflection==0.5.1\n", "line 1: without a hash"),
        ("\n--index-url https://example.com/\n", "line 2: an option"),
        (&PURE.replace("f38b", "0000"), "DO NOT MATCH THE HASHES"),
        (&PURE.replace("inflection==0.5.1", "markupsafe==3.0.2"), "No matching distribution"),
    ] {
        std::fs::write(dir.join("requirements.txt"), text).unwrap();
        let error = world.run(&["plugin", "build", dir.to_str().unwrap()]).refused(6);
        assert_eq!(error["code"], "build.project", "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

/// The plugin a person begins with, as the README has it.
#[test]
fn a_first_plugin_in_javascript() {
    let world = World::new();
    let Some(component) = build(&world, "examples/hello-js") else { return };
    assert!(!imports(&world, &component).iter().any(|name| name.contains("/kv@") || name.contains("/keys@")));
    world.install(&component, "hello", &[], &[]);
    let greeted = world.call("hello", "hello", &json!({ "name": "Ada" })).ok();
    assert_eq!(greeted["result"], json!({ "greeting": "Hello, Ada!" }));
    world.call("hello", "hello", &json!({ "nmae": "Ada" })).refused(6);
}

/// What is wrong with the code is told while it is built, in its author's words.
#[test]
fn what_is_missing_is_told_by_the_build() {
    let world = World::new();
    let dir = world.file("new");
    world.run(&["plugin", "new", "shop", "--lang", "js", dir.to_str().unwrap()]).ok();
    let build = |args: &[&str]| world.run(&[&["plugin", "build", dir.to_str().unwrap()], args].concat());
    let made = build(&[]);
    if made.code == 8 {
        assert!(std::env::var_os("CI").is_none(), "{made:?}");
        eprintln!("NOT RUN: npm is out of reach: {made:?}");
        return;
    }
    assert!(made.ok()["bytes"].as_u64().is_some_and(|bytes| bytes < 3 << 20), "{made:?}");
    for (code, said) in [
        ("export default {};", "hello(ctx, params)"),
        ("import './none.js'; export default {};", "none.js"),
        ("export default { hello( };", "index.js:1"),
        ("import fs from 'node:fs'; export default { hello: () => fs };", "node:fs"),
    ] {
        std::fs::write(dir.join("index.js"), code).unwrap();
        let error = build(&["--offline"]).refused(6);
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{said}: {error}");
    }
}

/// Without the network, and with nothing fetched, a build says what is missing and fetches nothing.
#[test]
fn offline_fetches_nothing() {
    let world = World::new();
    let cache = world.file("cache");
    for path in ["tests/languages/js", "tests/languages/python"] {
        let path = source(path);
        let mut command = world.command(&["plugin", "build", path.to_str().unwrap(), "--offline"]);
        let out = command.env("OPSIQ_CACHE", &cache).output().unwrap();
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((out.status.code(), &answer["error"]["code"]), (Some(8), &json!("build.toolchain")), "{answer}");
        assert!(!cache.exists());
    }
}

/// The SDK's own tests, over the same lowering that plugins are built with.
#[test]
fn the_sdk_for_javascript_keeps_its_word() {
    let world = World::new();
    let cache = world.file("cache");
    let out = world.file("plugin.wasm");
    let path = source("examples/hello-js");
    let args = ["plugin", "build", path.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let built = world.command(&args).env("OPSIQ_CACHE", &cache).output().unwrap();
    if built.status.code() == Some(8) {
        assert!(std::env::var_os("CI").is_none(), "{built:?}");
        eprintln!("NOT RUN: npm is out of reach");
        return;
    }
    let kit = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let ran = Command::new("node").arg(source("sdk/js/test/run.mjs")).arg(kit).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// Tests of what is written in Python: the SDK's, and the published examples of the signatures that `s3` makes.
#[test]
fn the_sdk_and_the_signatures_in_python_keep_their_word() {
    for path in ["sdk/python", "plugins/s3"] {
        let mut python = Command::new("python3");
        let ran = python.args(["-m", "unittest", "discover", "-s", "tests"]).current_dir(source(path)).output();
        let Ok(ran) = ran else {
            assert!(std::env::var_os("CI").is_none(), "CI must have python3");
            eprintln!("NOT RUN: there is no python3");
            return;
        };
        assert!(ran.status.success(), "{path}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}
