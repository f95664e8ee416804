//! The command from outside: exit codes, streams and the envelope, which scripts rely on.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// `opsiq` with these words, an empty environment but for PATH, and nothing to read.
fn opsiq(dir: &Path, words: &[&str]) -> Output {
    command(dir, words).stdin(Stdio::null()).output().unwrap()
}

fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opsiq"));
    command.args(words).current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A data directory with the tenant `acme` and its owner `olga`.
fn host() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["init"] as &[&str], &["tenant", "create", "acme", "--owner", "olga"]] {
        let ended = opsiq(dir.path(), words);
        assert_eq!(code(&ended), 0, "{}", text(&ended.stderr));
    }
    dir
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_in_either_form() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["connector", "instal", "x"] as &[&str], &["key", "list"], &["key", "list", "orders"]] {
        let ended = opsiq(dir.path(), words);
        assert_eq!(code(&ended), 2, "{words:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{words:?}");
        let json = json(&opsiq(dir.path(), &[words, &["-o", "json"]].concat()));
        assert_eq!((&json["ok"], &json["error"]["code"]), (&false.into(), &"cli.usage".into()), "{words:?}");
        assert!(json["error"]["title"].is_string() && json["error"]["fix"].is_string());
    }
}

#[test]
fn versions_and_completions_are_data() {
    let dir = tempfile::tempdir().unwrap();
    let version = json(&opsiq(dir.path(), &["version", "-o", "json"]));
    assert_eq!((&version["ok"], &version["data"]["wit"]), (&true.into(), &"opsiq:plugin@0.1.0".into()));
    for shell in ["bash", "zsh", "fish"] {
        let ended = opsiq(dir.path(), &["completions", shell]);
        assert!(code(&ended) == 0 && text(&ended.stdout).contains("connector"), "{shell}");
    }
}

#[test]
fn whoever_stops_reading_ends_the_command_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        command(dir.path(), &["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((code(&ended), text(&ended.stderr).as_str()), (141, ""));
}

#[test]
fn inspecting_anything_ends_with_a_verdict_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let module = b"\0asm\x01\0\0\0".to_vec();
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let cut = component[..6].to_vec();
    for (at, bytes) in [Vec::new(), b"hello".to_vec(), module, component, cut, vec![0xff; 4096]].iter().enumerate() {
        std::fs::write(dir.path().join("any.wasm"), bytes).unwrap();
        let ended = opsiq(dir.path(), &["plugin", "inspect", "any.wasm"]);
        assert_eq!(code(&ended), 6, "case {at}: {}", text(&ended.stderr));
        let json = json(&opsiq(dir.path(), &["plugin", "inspect", "any.wasm", "-o", "json"]));
        assert_eq!(json["ok"], false, "case {at}");
        assert!(json["data"].is_object(), "case {at}");
    }
    assert_eq!(code(&opsiq(dir.path(), &["plugin", "inspect", "none.wasm"])), 5);
}

#[test]
fn an_export_is_verified_without_a_host() {
    let dir = host();
    let run = |words: &[&str]| opsiq(dir.path(), words);
    assert_eq!(code(&run(&["user", "add", "ada", "--role", "admin", "--as", "acme/olga"])), 0);
    let key = text(&run(&["audit", "key", "--as", "acme/olga"]).stdout).trim().to_owned();
    for form in ["jsonl", "csv"] {
        let ended = run(&["audit", "export", "--format", form, "--as", "acme/olga"]);
        assert_eq!(code(&ended), 0, "{}", text(&ended.stderr));
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("log"), &ended.stdout).unwrap();
        let verify = |words: &[&str]| opsiq(elsewhere.path(), &[&["audit", "verify", "log", "--key"], words].concat());
        let good = verify(&[&key]);
        assert_eq!(code(&good), 0, "{}", text(&good.stderr));
        assert_eq!(code(&verify(&["nonsense"])), 6);

        let changed = text(&ended.stdout).replacen("ada", "eve", 1);
        assert_ne!(changed.as_bytes(), ended.stdout);
        std::fs::write(elsewhere.path().join("log"), changed).unwrap();
        let bad = verify(&[&key]);
        assert_eq!(code(&bad), 9);
        assert!(text(&bad.stderr).contains("entry "), "{}", text(&bad.stderr));
        assert!(json(&verify(&[&key, "-o", "json"]))["data"]["first_bad"]["seq"].is_u64());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing but the export is there");
    }
}

#[test]
fn a_wrong_root_key_says_which_was_expected_and_which_was_given() {
    let (one, other) = (host(), host());
    let copy = one.path().join("other.key");
    std::fs::copy(other.path().join("opsiq-data/root.key"), &copy).unwrap();
    let ended = opsiq(one.path(), &["tenant", "list", "--root-key-file", "other.key"]);
    assert_ne!(code(&ended), 0);
    let said = text(&ended.stderr);
    assert!(said.contains("expected") || said.contains("expects"), "{said}");
    let key = std::fs::read_to_string(&copy).unwrap();
    assert!(!said.contains(key.trim()), "the key itself is shown");
}

#[test]
fn a_secret_is_never_an_argument() {
    let dir = host();
    let ended = opsiq(dir.path(), &["key", "set", "orders", "signing", "s3cret", "--as", "acme/olga"]);
    assert_eq!(code(&ended), 2);
    let ended = opsiq(dir.path(), &["key", "set", "orders", "signing", "--as", "acme/olga"]);
    assert_eq!(code(&ended), 2, "without a terminal nobody can be asked");
    let mut child = command(dir.path(), &["key", "set", "orders", "signing", "--stdin", "--as", "acme/olga"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"s3cret-canary\n").unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(&ended), 5, "there is no such installation");
    assert!(!text(&ended.stderr).contains("s3cret-canary"));
}

#[test]
fn a_mistake_in_the_ceiling_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("c.toml"),
        "[ceiling]\n\n[[ceiling.private-target]]\ncidr = \"10.0.0.1/8\"\nport = 1\n",
    )
    .unwrap();
    let ended = opsiq(dir.path(), &["ceiling", "check", "c.toml"]);
    assert_eq!(code(&ended), 6);
    assert!(text(&ended.stderr).contains("4:"), "{}", text(&ended.stderr));
    std::fs::write(dir.path().join("c.toml"), "[cieling]\n").unwrap();
    assert_eq!(code(&opsiq(dir.path(), &["ceiling", "check", "c.toml"])), 6);
}
