//! Passkeys against an outside judge: Chromium with an authenticator of its own, driven over the real port.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::https::Served;
use crate::opsiq::{World, built};

/// The browser, and what drives it. Where they are missing that is said; where they are promised, the test fails.
fn judge() -> Option<(PathBuf, PathBuf)> {
    let modules = built().parent().unwrap().join("fixtures/chromium/node_modules");
    let browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    match browser {
        Some(browser) if modules.join("playwright-core").is_dir() => Some((modules, browser)),
        _ => {
            let promised = ["CI", "OPSIQ_REQUIRE_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(
                !promised,
                "Chromium and {} are promised: run .ci/setup and .ci/fixtures",
                modules.join("playwright-core").display()
            );
            eprintln!("NOT TESTED: Chromium or playwright-core is missing; .ci/setup and .ci/fixtures fetch them");
            None
        }
    }
}

#[test]
fn a_browser_makes_and_shows_passkeys_and_what_is_wrong_with_one_is_refused() {
    let Some((modules, browser)) = judge() else { return };
    let world = World::new();
    let ada = world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    world.run(&["tenant", "create", "beta", "--owner", "bea"]).ok();
    let bob = world.run(&["--as", "acme/ada", "user", "invite", "bob", "--role", "support"]).ok();
    let served = Served::start(&world, &[]);
    let settings = json!({
        "origin": format!("https://localhost:{}", served.address.port()),
        "certificate": world.data().join("tls-certificate.pem"),
        "invitations": { "ada": ada["invitation"]["token"], "bob": bob["token"] },
        "other": "beta",
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("system/chromium/passkeys.mjs");
    let mut command = Command::new("node");
    let out = command.arg(script).arg(modules).arg(browser).arg(settings.to_string()).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{told}");
    // Each step is said, so that a script that ends early is no success.
    assert_eq!(said.matches("ok: ").count(), 13, "{said}");
}
