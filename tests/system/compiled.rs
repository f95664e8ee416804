//! Compiled code on disk is run again after a restart, and only if this host made it, for this component and this engine.
//! Anything else that lies there is ignored, said, and made anew.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::admission::files;
use crate::opsiq::{World, binary, guest};

/// `hello`, installed.
fn world() -> World {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    world
}

/// Its compiled code.
fn code(world: &World) -> PathBuf {
    let mut found = files(&world.data().join("compiled"));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "code"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// One call by a person at no terminal: what it says beside its answer.
fn said(world: &World) -> String {
    let call = ["--as", "acme/ada", "action", "call", "hello", "hello", "--param", "name=Ada"];
    let mut command = Command::new(binary("opsiq"));
    let ran = command.arg("--data").arg(world.data()).args(call).env_remove("OPSIQ_OUTPUT").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("Hello, Ada"), "{}", String::from_utf8_lossy(&ran.stdout));
    String::from_utf8(ran.stderr).unwrap()
}

fn doctor(world: &World) -> Option<Value> {
    let findings = world.run(&["doctor"]).ok();
    findings.as_array().unwrap().iter().find(|finding| finding["check"] == "compiled code").cloned()
}

fn written(path: &PathBuf) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn compiled_code_outlives_the_process() {
    let world = world();
    let file = code(&world);
    let (before, bytes) = (written(&file), fs::read(&file).unwrap());
    for _ in 0..3 {
        assert!(!said(&world).contains("compiled code"));
    }
    assert_eq!((written(&file), fs::read(&file).unwrap() == bytes), (before, true), "it was made anew");
    assert!(doctor(&world).is_none());
    // The twin: without the file it is made.
    fs::remove_file(&file).unwrap();
    assert!(!said(&world).contains("compiled code"), "nothing was ignored");
    assert!(code(&world).exists());
}

#[test]
fn what_this_host_did_not_make_is_ignored_said_and_made_anew() {
    let world = world();
    let file = code(&world);
    let good = fs::read(&file).unwrap();
    let another = self::world();
    let theirs = fs::read(code(&another)).unwrap();
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    let middle = good.len() / 2;
    for (what, bad, why) in [
        ("a flipped bit of code", flipped(middle), "MAC"),
        ("a flipped bit of the head", flipped(9), "MAC"),
        ("a flipped bit of the MAC", flipped(good.len() - 1), "MAC"),
        ("the code of another host", theirs, "MAC"),
        ("half of it", good[..middle].to_vec(), "MAC"),
        ("a piece of it", good[..50].to_vec(), "too short"),
        ("nothing", Vec::new(), "too short"),
    ] {
        fs::write(&file, &bad).unwrap();
        let found = doctor(&world).unwrap_or_else(|| panic!("doctor does not see {what}"));
        assert!(found["status"] == "warn" && found["detail"].as_str().unwrap().contains(why), "{what}: {found}");
        let told = said(&world);
        assert!(told.contains("compiled code was ignored") && told.contains(why), "{what}: {told}");
        assert_ne!(fs::read(&file).unwrap(), bad, "{what} is still there");
        assert!(doctor(&world).is_none() && !said(&world).contains("ignored"), "{what}: what was made is not taken");
    }
    fs::write(&file, &good).unwrap();
    assert!(!said(&world).contains("ignored"), "the twin: the good file again");
}

/// Code is bound to the settings of its engine: what was compiled without counting fuel does not run where fuel is counted.
#[test]
fn code_of_other_settings_is_not_run() {
    let world = world();
    let file = code(&world);
    fs::copy(&file, file.with_extension("fuel")).unwrap();
    world.configure("[ceiling.limits]\nfuel = 1000000000\n");
    let told = said(&world);
    assert!(told.contains("ignored") && told.contains("another engine"), "{told}");
    assert!(!said(&world).contains("ignored"), "what was made is not taken");
    assert_eq!(world.call("hello", "hello", &json!({ "name": "Ada" })).ok()["result"]["greeting"], "Hello, Ada!");
}

/// The code of one plugin under the name of another is not taken for it, though this host made both.
#[test]
fn code_of_another_plugin_is_not_run() {
    let world = world();
    let hello = code(&world);
    world.run(&["plugin", "register", guest("redact").to_str().unwrap()]).ok();
    let redact = files(&world.data().join("compiled")).into_iter().find(|path| *path != hello).unwrap();
    fs::copy(redact, &hello).unwrap();
    let told = said(&world);
    assert!(told.contains("ignored") && told.contains("another engine or component"), "{told}");
}
