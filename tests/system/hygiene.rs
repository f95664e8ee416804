//! What a process shows while it runs and leaves when it dies, and commands side by side on one data directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::json;

use crate::admission::files;
use crate::canary::{base64, find};
use crate::opsiq::{World, binary, guest};
use crate::orders;
use crate::upstream::{Reply, Upstream};

const CANARY: &str = "kanarienvogel-process-0123456789";
/// A user that is not root and owns nothing.
const NOBODY: u32 = 65534;

/// A call that waits for its server, and the server.
fn waiting_call(world: &World) -> (std::process::Child, Upstream) {
    let server = Upstream::start(|_| Reply::json(200, &orders::order("A-1")).after(Duration::from_secs(20)));
    world.open_loopback(server.port);
    let secret = format!("whsec_{}", base64(CANARY.as_bytes()));
    world.install(&guest("orders"), "shop", &[("base-url", &server.url())], &[("signing-secret", &secret)]);
    let params = json!({ "id": "A-1" }).to_string();
    let args = ["--as", "acme/ada", "action", "call", "shop", "get-order", "--params", &params];
    let child = world.command(&args).current_dir(world.file("")).spawn().unwrap();
    let start = Instant::now();
    while server.seen().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "the call never left");
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, server)
}

#[test]
fn a_process_that_is_killed_with_a_core_leaves_none() {
    for signal in [Signal::ABORT, Signal::SEGV] {
        let world = World::new();
        let (mut child, _server) = waiting_call(&world);
        let proc = std::path::PathBuf::from(format!("/proc/{}", child.id()));
        let limits = fs::read_to_string(proc.join("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
        for shown in ["environ", "cmdline"] {
            // What this user may not read at all shows nothing.
            assert!(!find(&fs::read(proc.join(shown)).unwrap_or_default(), CANARY), "{shown}");
        }
        let status = loop {
            // The engine's handler lets the first fault that is not its own pass, and takes itself away.
            kill_process(Pid::from_child(&child), signal).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
        let left: Vec<_> = files(&world.file("")).into_iter().filter(|file| !file.starts_with(world.data())).collect();
        assert!(left.iter().all(|file| !file.file_name().unwrap().to_string_lossy().contains("core")), "{left:?}");
        for file in files(&world.file("")) {
            assert!(!find(&fs::read(&file).unwrap(), CANARY), "the secret lies in {}", file.display());
        }
    }
}

/// Another process of the same user reads neither the memory nor the environment, although the kernel would let it.
#[test]
fn nobody_but_root_looks_into_a_process() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let opsiq = dir.path().join("opsiq");
    fs::copy(binary("opsiq"), &opsiq).unwrap();
    let as_nobody = |program: &std::path::Path| {
        let mut command = Command::new(program);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let looks = |of: u32| {
        let environ = format!("/proc/{of}/environ");
        let seen = as_nobody("/bin/cat".as_ref()).arg(&environ).output().unwrap();
        seen.status.success() && find(&seen.stdout, CANARY)
    };
    // A command that waits for a secret on its standard input.
    let args = ["--as", "acme/ada", "key", "set", "shop", "signing-secret", "--stdin"];
    let mut child = as_nobody(&opsiq).args(args).env("OPSIQ_ROOT_KEY", CANARY).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it does not wait");
    assert_eq!(fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid(), 0);
    assert!(!looks(child.id()), "the environment can be read");
    drop(child.stdin.take());
    child.wait().unwrap();

    let mut open = as_nobody("/bin/cat".as_ref()).env("OPSIQ_ROOT_KEY", CANARY).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(looks(open.id()), "the same look sees it in a process that is not shut");
    drop(open.stdin.take());
    open.wait().unwrap();
}

/// An answer from outside that holds the secret, as a body or an error, is shown to nobody.
#[test]
fn a_secret_that_comes_back_is_withheld() {
    let world = World::new();
    let server = Upstream::start(|request| {
        let status = if request.header("x-fail").is_some() { 500 } else { 200 };
        Reply::json(status, &json!({ "error": format!("bad signature for {CANARY}"), "hex": CANARY }))
    });
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "bad", &[("base-url", &server.url())], &[("signing-secret", CANARY)]);
    world.install(&guest("orders"), "shop", &[("base-url", &server.url())], &[("signing-secret", CANARY)]);
    let fetch = |headers: serde_json::Value| {
        let url = format!("{}/hook", server.url());
        world.call("bad", "fetch", &json!({ "method": "GET", "url": url, "headers": headers }))
    };
    for ran in [
        fetch(json!({})),
        fetch(json!({ "x-fail": "1" })),
        world.call("shop", "get-order", &json!({ "id": "A-1" })),
        world.run(&["--as", "acme/ada", "audit", "list", "--limit", "100"]),
        world.run(&["doctor"]),
    ] {
        assert!(!find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), CANARY), "{ran:?}");
    }
    assert!(server.seen().len() >= 3, "nothing was asked, so nothing was withheld");
    for file in files(world.data()) {
        assert!(!find(&fs::read(&file).unwrap(), CANARY), "the secret lies in {}", file.display());
    }
}

#[test]
fn commands_side_by_side_take_turns() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
    let start =
        |name: &String| world.start(&["--wait", "120", "--as", "acme/ada", "user", "add", name, "--role", "support"]);
    let children: Vec<_> = names.iter().map(start).collect();
    for child in children {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    }
    assert_eq!(world.run(&["--as", "acme/ada", "user", "list"]).ok().as_array().map(Vec::len), Some(9));

    let (mut child, _server) = waiting_call(&world);
    let begun = Instant::now();
    let error = world.run(&["--wait", "0", "tenant", "list"]).refused(8);
    assert_eq!(error["code"], "data.locked");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
    let begun = Instant::now();
    assert_eq!(world.run(&["--wait", "2", "tenant", "list"]).refused(8)["code"], "data.locked");
    assert!(begun.elapsed() >= Duration::from_secs(2), "it did not wait");
    child.kill().unwrap();
    child.wait().unwrap();
    world.run(&["tenant", "list"]).ok();
}

/// A ceiling for a plugin nobody registered has no effect, which is said with the name that was perhaps meant.
#[test]
fn a_misspelt_ceiling_is_noticed() {
    let world = World::new();
    world.run(&["plugin", "register", guest("hello").to_str().unwrap()]).ok();
    world.configure("[ceiling.plugin.\"opsiq/helo\"]\ndenied = true\n");
    let doctor = world.run(&["doctor"]).ok();
    let found = doctor.as_array().unwrap().iter().find(|one| one["check"] == "ceiling").unwrap();
    assert_eq!(found["status"], "warn");
    assert!(found["fix"].as_str().unwrap().contains("opsiq/hello"), "{found}");
}
