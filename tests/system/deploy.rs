//! `examples/deploy`: what its files say is what the command knows, and what a container starts with starts.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::https::terminate;
use crate::opsiq::binary;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy")
}

fn opsiq(words: &[&str]) -> String {
    let out = Command::new(binary("opsiq")).args(words).env("COLUMNS", "1000").output().unwrap();
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Every file below a folder, with its text.
fn texts(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, into);
        } else {
            into.push((path.clone(), std::fs::read_to_string(path).unwrap()));
        }
    }
}

/// The names of our environment in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("OPSIQ_").map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Whether the command takes a name from its environment.
fn known(name: &str, help: &str, explained: &str) -> bool {
    match name.strip_prefix("OPSIQ_SERVER__") {
        Some(key) => {
            let key = format!("server.{}", key.to_lowercase().replace('_', "-"));
            explained.lines().any(|line| line.split_whitespace().next() == Some(&key))
        }
        None => names(help).any(|known| known == name),
    }
}

#[test]
fn every_name_that_deployments_set_is_one_the_command_takes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    opsiq(&["--data", data.to_str().unwrap(), "init"]);
    let explained = opsiq(&["--data", data.to_str().unwrap(), "config", "explain", "-o", "table"]);
    let help = opsiq(&["init", "--help"]);
    assert!(!known("OPSIQ_SERVER__LISTENS", &help, &explained) && !known("OPSIQ_ROOT_KEY_FIL", &help, &explained));
    let mut files = vec![];
    texts(&deploy(), &mut files);
    let mut found = 0;
    for (path, text) in &files {
        for name in names(text) {
            assert!(known(name, &help, &explained), "{}: nothing is called {name}", path.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found} names in {} files", files.len());
}

#[test]
fn what_a_container_starts_with_makes_a_host_once_and_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let path = format!("{}:{}", binary("opsiq").parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut keys = vec![];
    for round in 0..2 {
        let mut command = Command::new(deploy().join("start"));
        command.env_clear().env("PATH", &path).env("OPSIQ_DATA", &data).env("OPSIQ_SERVER__LISTEN", "127.0.0.1:0");
        command.env("OPSIQ_SERVER__OPERATOR_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("Serving https://")), "round {round}");
        terminate(&server);
        assert!(server.wait().unwrap().success(), "round {round}");
        keys.push(std::fs::read(data.join("root.key")).unwrap());
    }
    assert_eq!(keys[0], keys[1]);
}
