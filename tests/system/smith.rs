//! Components that nobody wrote, run in a host process of their own.

use std::process::Command;

use crate::opsiq::binary;

fn smith(args: &[&str]) -> std::process::Output {
    Command::new(binary("smith")).args(args).output().unwrap()
}

/// A short run. `cargo run --release -p opsiq-tests --bin smith -- --count 10000 --seed N` takes longer.
#[test]
fn generated_components_end_typed() {
    let ran = smith(&["--count", "250", "--seed", "1"]);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert!(out.contains("the host lived") && out.contains("trap:"), "{out}");
}

#[test]
fn a_process_that_does_not_live_is_noticed() {
    let ran = smith(&["--die"]);
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && err.contains("component 0") && err.contains("died"), "{err}");
}
