//! Backups through the built command: made while a host serves, of one moment, and of no use without two keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::canary::{base64, find};
use crate::clock::Clock;
use crate::https::Served;
use crate::opsiq::{Ran, World, guest};
use crate::orders;
use crate::upstream::{Reply, Upstream};

/// The keys of a world as an operator keeps them elsewhere.
pub(crate) struct Safe {
    pub(crate) root: PathBuf,
    pub(crate) epochs: PathBuf,
}

pub(crate) fn safe(world: &World) -> Safe {
    let kept = Safe { root: world.file("safe.key"), epochs: world.file("safe.key.epochs") };
    fs::copy(world.data().join("root.key"), &kept.root).unwrap();
    fs::copy(world.data().join("root.key.epochs"), &kept.epochs).unwrap();
    kept
}

/// A machine without anything but the backup and the keys.
pub(crate) struct Machine {
    pub(crate) data: PathBuf,
    pub(crate) root: PathBuf,
}

impl Machine {
    pub(crate) fn new(world: &World, name: &str, safe: &Safe) -> Self {
        Self { data: world.file(name), root: safe.root.clone() }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let args = [&["--root-key-file", self.root.to_str().unwrap()], args].concat();
        Ran::of(&args, World::command_on(&self.data, &args).output().unwrap())
    }

    pub(crate) fn restore(&self, backup: &Path) -> Ran {
        self.run(&["restore", backup.to_str().unwrap(), "--reason", "the disk failed"])
    }
}

pub(crate) fn back_up(world: &World, name: &str) -> PathBuf {
    let file = world.file(name);
    let made = world.run(&["backup", file.to_str().unwrap()]).ok();
    assert_eq!((&made["state"], &made["file"]), (&"done".into(), &file.to_str().unwrap().into()), "{made}");
    file
}

pub(crate) fn greet(world: &World) -> Ran {
    world.call("hello", "hello", &json!({ "name": "Ada" }))
}

/// Copies of a file with one byte changed, and cut off.
fn spoilt(file: &Path) -> Vec<Vec<u8>> {
    let whole = fs::read(file).unwrap();
    let mut copies: Vec<Vec<u8>> =
        (0..whole.len()).step_by(whole.len() / 40).map(|end| whole[..end].to_vec()).collect();
    copies.push(whole[..whole.len() - 1].to_vec());
    copies.push([&whole[..], b"x"].concat());
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        copies.push(changed);
    }
    copies
}

#[test]
fn a_backup_is_checked_without_a_key_and_opened_with_two() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    greet(&world).ok();
    let file = back_up(&world, "backup");
    let safe = safe(&world);
    assert_eq!(world.run(&["backup", file.to_str().unwrap()]).refused(3)["code"], "backup.exists");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Another machine, with nothing: whole, and whose.
    let nowhere = world.file("nowhere");
    let elsewhere = |file: &Path, more: &[&str]| {
        let args = [&["backup", "--verify", file.to_str().unwrap()], more].concat();
        Ran::of(&args, World::command_on(&nowhere, &args).output().unwrap())
    };
    let found = elsewhere(&file, &[]).ok();
    assert!(found["holds"].is_null() && found["sealed"].as_str().unwrap().contains("none was found"), "{found}");
    let key = found["header"]["key"].as_str().unwrap().to_owned();
    assert_eq!(elsewhere(&file, &["--key", &key]).ok()["key_given"], true);
    let other = World::new();
    let others = back_up(&other, "others");
    assert_eq!(elsewhere(&others, &["--key", &key]).refused(9)["code"], "backup.damaged");
    // With the keys: all of it opens.
    let root = ["--root-key-file", safe.root.to_str().unwrap()];
    let opened = elsewhere(&file, &root).ok();
    assert!(opened["holds"]["rows"].as_u64().unwrap() > 10 && opened["tenant_keys"] == 1, "{opened}");
    assert_eq!(opened["holds"]["blobs"], 1);

    // Not one byte may be another, none missing and none more.
    let copy = world.file("copy");
    for (at, bytes) in spoilt(&file).into_iter().enumerate() {
        fs::write(&copy, bytes).unwrap();
        let ran = elsewhere(&copy, &root);
        assert_eq!(ran.refused(9)["code"], "backup.damaged", "copy {at}: {ran:?}");
    }
}

/// Once the key of its epoch is destroyed nothing opens a backup, the root key notwithstanding.
#[test]
fn a_backup_ends_with_the_key_of_its_epoch() {
    let Some(clock) = Clock::new() else { return };
    let world = World::new();
    let file = back_up(&world, "backup");
    let later = |args: &[&str], days: u32| {
        let mut command = world.command(args);
        clock.forward(&mut command, days);
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let verify = ["backup", "--verify", file.to_str().unwrap()];
    assert!(world.run(&verify).ok()["holds"].is_object());
    // A day before, another epoch has begun beside it; the day after, it is gone.
    assert_eq!(later(&["backup", world.file("second").to_str().unwrap()], 28).0, Some(0));
    assert!(world.run(&verify).ok()["holds"].is_object());
    let held = later(&["doctor"], 28).1;
    assert!(held.contains("epoch keys"), "{held}");
    assert_eq!(later(&["tenant", "list"], 30).0, Some(0));
    let found = world.run(&verify).ok();
    assert!(found["holds"].is_null() && found["sealed"].as_str().unwrap().contains("epoch key"), "{found}");
    assert!(world.run(&["backup", "--verify", world.file("second").to_str().unwrap()]).ok()["holds"].is_object());
}

/// A clock that jumps by a year does not take every backup with it; one that stays there for a day is believed.
#[test]
fn a_clock_that_jumps_destroys_no_key() {
    let Some(clock) = Clock::new() else { return };
    let world = World::new();
    let file = back_up(&world, "backup");
    let on = |days: u32, args: &[&str]| {
        let mut command = world.command(args);
        clock.forward(&mut command, days);
        Ran::of(args, command.output().unwrap()).ok()
    };
    let opens = || world.run(&["backup", "--verify", file.to_str().unwrap()]).ok()["holds"].is_object();
    // As `opsiq serve` does every hour.
    let look = |days: u32| drop(on(days, &["audit", "retention", "run"]));
    look(0);
    look(2);
    on(400, &["tenant", "list"]);
    look(400);
    on(400, &["tenant", "list"]);
    assert!(opens());
    look(402);
    on(402, &["tenant", "list"]);
    assert!(!opens());
}

/// A backup made under load while a host serves holds one moment, and its maker's tenants wait for nobody.
#[test]
fn a_backup_is_of_one_moment_while_calls_go_on() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    for _ in 0..20 {
        greet(&world).ok();
    }
    let served = Served::start(&world, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (calls, files) = runtime.block_on(async {
        let calling = async {
            let mut done = 0_u32;
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until {
                let params = json!({ "name": "Ada" });
                let call =
                    served.ask(Some("acme/ada"), "POST", "/v1/installations/hello/actions/hello/call", Some(params));
                call.await.is(200);
                done += 1;
            }
            done
        };
        let backing = tokio::task::spawn_blocking({
            let commands: Vec<_> = (0..3)
                .map(|at| {
                    (
                        world.file(&format!("backup-{at}")),
                        world.command(&["backup", world.file(&format!("backup-{at}")).to_str().unwrap()]),
                    )
                })
                .collect();
            move || {
                let mut files = Vec::new();
                for (file, mut command) in commands {
                    let out = command.output().unwrap();
                    assert!(out.status.success(), "{out:?}");
                    files.push(file);
                }
                files
            }
        });
        let (calls, files) = tokio::join!(calling, backing);
        (calls, files.unwrap())
    });
    drop(served);
    assert!(calls > 20, "{calls} calls");
    let safe = safe(&world);
    for (at, file) in files.iter().enumerate() {
        let machine = Machine::new(&world, &format!("new-{at}"), &safe);
        machine.restore(file).ok();
        let doctor = machine.run(&["doctor"]);
        assert_eq!(doctor.code, 0, "{doctor:?}");
        machine.run(&["keys", "verify"]).ok();
    }
}

/// Killed at any moment, neither leaves anything that could be taken for what it was to be.
#[test]
fn killed_at_any_moment_there_is_a_backup_or_none_and_a_directory_or_none() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    for _ in 0..5 {
        greet(&world).ok();
    }
    let (whole, file) = timed(|| back_up(&world, "whole"));
    let safe = safe(&world);
    for round in 0..12 {
        let name = world.file(&format!("killed-{round}"));
        let mut child = world.start(&["backup", name.to_str().unwrap()]);
        std::thread::sleep(whole * round / 10);
        let _ = child.kill();
        child.wait().unwrap();
        if name.exists() {
            assert!(world.run(&["backup", "--verify", name.to_str().unwrap()]).ok()["holds"].is_object());
        }
    }
    world.run(&["backup", world.file("after").to_str().unwrap()]).ok();
    assert_eq!(world.run(&["doctor"]).code, 0);

    let machine = Machine::new(&world, "first", &safe);
    let (whole, _) = timed(|| machine.restore(&file).ok());
    let mut finished = 0;
    for round in 0..12 {
        let machine = Machine::new(&world, &format!("new-{round}"), &safe);
        let root = machine.root.to_str().unwrap();
        let args = ["--root-key-file", root, "restore", file.to_str().unwrap(), "--reason", "drill"];
        let mut child = World::command_on(&machine.data, &args).spawn().unwrap();
        std::thread::sleep(whole * round / 11);
        let _ = child.kill();
        child.wait().unwrap();
        if machine.data.exists() {
            // All of it is there, and it says what it is before it serves.
            let list = ["--as", "acme/ada", "connector", "list"];
            if machine.run(&list).code != 0 {
                machine.run(&["accept-restore", "--reason", "the restore was killed"]).ok();
            }
            machine.run(&list).ok();
            finished += 1;
        } else {
            machine.restore(&file).ok();
        }
        assert_eq!(machine.run(&["doctor"]).code, 0);
    }
    assert!(finished < 12, "the kills missed");
}

#[test]
fn no_secret_and_nothing_of_a_tenant_lies_in_a_backup() {
    const SECRET: &str = "kanarienvogel-secret-0123456789";
    const PARAM: &str = "kanarienvogel-param-77";
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(200, &orders::order("A-1")));
    world.open_loopback(server.port);
    let secret = format!("whsec_{}", base64(SECRET.as_bytes()));
    world.install(
        &guest("orders"),
        "kanarienvogel-shop",
        &[("base-url", &server.url())],
        &[("signing-secret", &secret)],
    );
    world.call("kanarienvogel-shop", "get-order", &json!({ "id": PARAM })).ok();
    let bytes = fs::read(back_up(&world, "backup")).unwrap();
    let epochs = fs::read(world.data().join("root.key.epochs")).unwrap();
    for canary in [SECRET, &secret, PARAM, "kanarienvogel-shop", "installation_key"] {
        assert!(!find(&bytes, canary), "{canary} lies in the backup");
        assert!(!find(&epochs, canary), "{canary} lies in the file of epoch keys");
    }
    let root = fs::read_to_string(world.data().join("root.key")).unwrap();
    let digits = root.trim().split('-').nth(3).unwrap();
    assert!(!find(&bytes, digits));
}

/// The root key rotates: newer backups need the new one, an older one the older one and the file of today.
#[test]
fn a_rotation_of_the_root_key_keeps_backups() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let before = back_up(&world, "before");
    let old = world.file("old.key");
    fs::copy(world.data().join("root.key"), &old).unwrap();
    world.run(&["keys", "rotate", "--root"]).ok();
    let after = back_up(&world, "after");
    assert!(world.run(&["backup", "--verify", after.to_str().unwrap()]).ok()["holds"].is_object());
    let found = world.run(&["backup", "--verify", before.to_str().unwrap()]).ok();
    assert!(found["sealed"].as_str().unwrap().contains("needs root key"), "{found}");
    let (new, ring) = (world.data().join("root.key"), world.data().join("root.key.epochs"));
    let args = [
        "--root-key-file",
        old.to_str().unwrap(),
        "--next-root-key-file",
        new.to_str().unwrap(),
        "backup",
        "--verify",
        before.to_str().unwrap(),
        "--epochs",
        ring.to_str().unwrap(),
    ];
    assert!(world.run(&args).ok()["holds"].is_object());
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = run();
    (start.elapsed(), done)
}
