//! Backups through the built command: made while a host serves, of no use without two keys, and restored on a machine that
//! has nothing else, where nothing is lost, done twice or brought back that was erased.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::canary::{base64, find};
use crate::crash;
use crate::https::Served;
use crate::opsiq::{Ran, World, guest};
use crate::orders;
use crate::upstream::{Reply, Upstream};

/// The keys of a world as an operator keeps them elsewhere.
struct Safe {
    root: PathBuf,
    epochs: PathBuf,
}

fn safe(world: &World) -> Safe {
    let kept = Safe { root: world.file("safe.key"), epochs: world.file("safe.key.epochs") };
    fs::copy(world.data().join("root.key"), &kept.root).unwrap();
    fs::copy(world.data().join("root.key.epochs"), &kept.epochs).unwrap();
    kept
}

/// A machine without anything but the backup and the keys.
struct Machine {
    data: PathBuf,
    root: PathBuf,
}

impl Machine {
    fn new(world: &World, name: &str, safe: &Safe) -> Self {
        Self { data: world.file(name), root: safe.root.clone() }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let args = [&["--root-key-file", self.root.to_str().unwrap()], args].concat();
        Ran::of(&args, World::command_on(&self.data, &args).output().unwrap())
    }

    fn restore(&self, backup: &Path) -> Ran {
        self.run(&["restore", backup.to_str().unwrap(), "--reason", "the disk failed"])
    }
}

fn back_up(world: &World, name: &str) -> PathBuf {
    let file = world.file(name);
    let made = world.run(&["backup", file.to_str().unwrap()]).ok();
    assert_eq!((&made["state"], &made["file"]), (&"done".into(), &file.to_str().unwrap().into()), "{made}");
    file
}

fn greet(world: &World) -> Ran {
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

#[test]
fn restoring_needs_the_keys_and_says_which() {
    let world = World::new();
    let file = back_up(&world, "backup");
    let safe = safe(&world);
    let other = World::new();
    back_up(&other, "others");
    let others = self::safe(&other);
    let said = |ran: &Ran, code: &str, words: &[&str]| {
        let error = ran.refused(if code == "root.file" { 5 } else { 3 });
        assert_eq!(error["code"], code, "{error}");
        for word in words {
            assert!(error["title"].as_str().unwrap().contains(word), "{error}");
        }
    };
    let header = world.run(&["backup", "--verify", file.to_str().unwrap()]).ok()["header"].clone();
    let (needs_root, needs_epoch) = (header["root"].as_str().unwrap(), header["epoch"].as_str().unwrap());
    let id = |world: &World| world.run(&["keys", "status"]).ok()["expected_root"].as_str().unwrap().to_owned();
    let machine = Machine::new(&world, "new", &safe);
    let without = Machine { data: machine.data.clone(), root: world.file("no.key") };
    said(&without.restore(&file), "root.file", &[needs_root, "none was found"]);
    let wrong = Machine { data: machine.data.clone(), root: others.root.clone() };
    said(&wrong.restore(&file), "restore.root-key", &[needs_root, &id(&other)]);
    fs::rename(&safe.epochs, world.file("away")).unwrap();
    said(&machine.restore(&file), "restore.epoch-key", &[needs_epoch, "there is no file"]);
    assert!(!machine.data.exists() && !world.file("new.restoring").exists());
    let away = world.file("away");
    let named = ["restore", file.to_str().unwrap(), "--reason", "drill", "--epochs", away.to_str().unwrap()];

    // Nothing is written over.
    fs::create_dir(&machine.data).unwrap();
    fs::write(machine.data.join("mine"), "x").unwrap();
    assert_eq!(machine.run(&named).refused(3)["code"], "restore.not-empty");
    assert_eq!(fs::read_dir(&machine.data).unwrap().count(), 1);
    fs::remove_file(machine.data.join("mine")).unwrap();
    world.run(&["restore", file.to_str().unwrap()]).refused(2);
    machine.run(&named).ok();
    // It goes on with the epoch keys it was given.
    assert!(safe.epochs.exists());
    assert_eq!(machine.run(&["doctor"]).code, 0);
}

/// Row 51: pending confirmations, idempotency keys and calls that had begun go along; nothing runs twice.
#[test]
fn on_a_new_machine_nothing_is_lost_and_nothing_done_twice() {
    let world = World::new();
    let server = Upstream::start(|request| {
        let slow = String::from_utf8_lossy(&request.body).contains("777");
        let reply = if request.method == "POST" {
            Reply::json(201, &orders::refund())
        } else {
            Reply::json(200, &orders::order("A-1"))
        };
        if slow { reply.after(Duration::from_secs(20)) } else { reply }
    });
    orders::install(&world, &server.url(), server.port);
    let keyed = |run: &dyn Fn(&[&str]) -> Ran| {
        let params = json!({ "id": "A-1" }).to_string();
        run(&[
            "--as",
            "acme/ada",
            "action",
            "call",
            "shop",
            "get-order",
            "--params",
            &params,
            "--idempotency-key",
            "k-1",
        ])
    };
    let first = keyed(&|args| world.run(args)).ok();
    let waiting = orders::propose(&world, 500);
    let denied = orders::propose(&world, 600);
    world.run(&["--as", "acme/ada", "confirm", "deny", &denied]).ok();
    let running = orders::propose(&world, 777);
    let mut child = world.start(&["--as", "acme/ada", "confirm", "approve", &running]);
    wait_until("the refund left", || server.seen().len() == 2);
    // The process that runs it makes the backup, while it waits for the answer.
    let file = back_up(&world, "backup");
    child.kill().unwrap();
    child.wait().unwrap();
    let safe = safe(&world);
    let machine = Machine::new(&world, "new", &safe);
    let restored = machine.restore(&file).ok();
    assert_eq!(restored["interrupted"], 1, "{restored}");
    fs::rename(world.data(), world.file("old")).unwrap();

    let again = keyed(&|args| machine.run(args)).ok();
    assert_eq!(first["result"], again["result"]);
    assert_eq!(server.seen().len(), 2, "an answered call ran again");
    machine.run(&["--as", "acme/ada", "confirm", "approve", &waiting]).ok();
    assert_eq!(server.seen().len(), 3);
    for done in [&waiting, &denied, &running] {
        let ran = machine.run(&["--as", "acme/ada", "confirm", "approve", done]);
        assert_ne!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(server.seen().len(), 3, "something ran twice");
    let doctor = machine.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    assert!(doctor.stdout.contains("refund-order"), "{doctor:?}");
}

/// Row 56: a backup that is older than what was last signed is taken by an act on record alone; and as what it is.
#[test]
fn an_older_state_is_restored_on_record() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let file = back_up(&world, "backup");
    for _ in 0..3 {
        greet(&world).ok();
    }
    let safe = safe(&world);
    // The machine lost its disk, and kept the file of checkpoints.
    fs::remove_dir_all(world.data()).unwrap();
    let machine = Machine { data: world.data().to_owned(), root: safe.root.clone() };
    let restored = machine.restore(&file).ok();
    let accepted = restored["accepted"].to_string();
    assert!(accepted.contains("tenant/acme: older than the checkpoint"), "{accepted}");
    machine.run(&["--as", "acme/ada", "connector", "list"]).ok();
    assert_eq!(machine.run(&["doctor"]).code, 0);
    for log in [machine.run(&["audit", "list"]), machine.run(&["--as", "acme/ada", "audit", "list"])] {
        assert!(log.stdout.contains("the disk failed"), "{log:?}");
    }
    // A directory that is put back beside the act is noticed as before.
    let copy = world.file("copy");
    for entry in fs::read_dir(world.data()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::create_dir_all(&copy).unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    machine.run(&["--as", "acme/ada", "connector", "pause", "hello"]).ok();
    for entry in fs::read_dir(&copy).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), world.data().join(entry.file_name())).unwrap();
    }
    machine.run(&["--as", "acme/ada", "connector", "list"]).refused(9);
}

/// Row 76: who was erased after the backup was made stays erased; a tenant too.
#[test]
fn what_was_erased_since_stays_erased() {
    const ANN: &str = "ann-kanarienvogel-4711";
    const BOB: &str = "bob-zaunkoenig-0815";
    let world = World::new();
    let config = [("base-url", "http://127.0.0.1:9")];
    world.install(&guest("hostile"), "crm", &config, &[("signing-secret", "0123456789ab")]);
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    for whom in [ANN, BOB] {
        world.call("crm", "about-read", &json!({ "customer": whom, "text": format!("said by {whom}") })).ok();
    }
    let file = back_up(&world, "backup");
    let older = safe(&world);
    let before = fs::read(&older.epochs).unwrap();
    world.run(&["--as", "acme/ada", "subject", "erase", ANN, "--yes"]).ok();
    world.run(&["tenant", "erase", "bolt", "--confirm", "bolt", "--now"]).ok();
    let safe = safe(&world);
    assert_ne!(fs::read(&safe.epochs).unwrap(), before, "the file of epoch keys knows");

    let machine = Machine::new(&world, "new", &safe);
    let restored = machine.restore(&file).ok();
    assert_eq!(restored["erased_again"], 2, "{restored}");
    let file_of = |name: &str| world.file(name).to_str().unwrap().to_owned();
    let out = file_of("export");
    machine.run(&["--as", "acme/ada", "audit", "export", "--out", &out]).ok();
    let exported = fs::read_to_string(&out).unwrap();
    assert!(!exported.contains(ANN) && exported.contains(BOB), "{exported}");
    let shown = machine.run(&["--as", "acme/ada", "subject", "show", ANN]).ok();
    assert!(shown["key"].is_null() && shown["erased"].as_array().unwrap().len() == 1, "{shown}");
    assert_eq!(machine.run(&["--as", "bolt/bob", "connector", "list"]).refused(5)["code"], "tenant.erased");
    assert_eq!(machine.run(&["doctor"]).code, 0);
    machine.run(&["keys", "verify"]).ok();

    // The twin: somebody who kept the file of epoch keys of before, against the rule, and the root key reads her.
    fs::write(world.file("stale"), before).unwrap();
    fs::set_permissions(world.file("stale"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let thief = Machine::new(&world, "thief", &safe);
    let (file, stale) = (file.to_str().unwrap(), file_of("stale"));
    thief.run(&["restore", file, "--reason", "theft", "--epochs", &stale]).ok();
    let out = file_of("stolen");
    thief.run(&["--as", "acme/ada", "audit", "export", "--out", &out]).ok();
    assert!(fs::read_to_string(&out).unwrap().contains(ANN), "the test would not notice");
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

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = run();
    (start.elapsed(), done)
}

/// Shows commands another day: Debian's `libfaketime`. Where it is missing that is said; where it is promised, the test fails.
pub(crate) struct Clock(PathBuf);

impl Clock {
    pub(crate) fn new() -> Option<Self> {
        let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|arch| format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1"));
        let found = folders.iter().map(PathBuf::from).find(|path| path.exists());
        if found.is_none() {
            let promised = ["CI", "OPSIQ_REQUIRE_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!promised, "libfaketime is promised and missing: apt-get install faketime");
            eprintln!("NOT TESTED: there is no libfaketime");
        }
        found.map(Self)
    }

    /// Lets a command believe it is so many days later.
    pub(crate) fn forward(&self, command: &mut std::process::Command, days: u32) {
        self.at(command, &format!("+{days}d"));
    }

    /// Lets a command believe what libfaketime calls so, such as `@2025-01-01 10:00:00`.
    pub(crate) fn at(&self, command: &mut std::process::Command, when: &str) {
        // Timers go on as they are.
        command.env("LD_PRELOAD", &self.0).env("FAKETIME", when).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}

#[test]
fn entries_of_a_restored_log_verify() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    greet(&world).ok();
    let before = crash::entries(&world).len();
    let file = back_up(&world, "backup");
    let safe = safe(&world);
    fs::remove_dir_all(world.data()).unwrap();
    fs::remove_file(world.data().with_added_extension("checkpoints")).unwrap();
    let machine = Machine { data: world.data().to_owned(), root: safe.root.clone() };
    machine.restore(&file).ok();
    fs::copy(&safe.root, world.data().join("root.key")).unwrap();
    let after: Vec<Value> = crash::entries(&world);
    assert!(after.len() >= before, "{} of {before}", after.len());
}
