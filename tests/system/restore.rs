//! Restoring through the built command, on a machine that has nothing but a backup and its keys: nothing is lost or done twice,
//! nothing older is taken silently, and nobody comes back who was erased.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backup::{Machine, back_up, greet, safe};
use crate::crash;
use crate::opsiq::{Ran, World, guest};
use crate::orders;
use crate::upstream::{Reply, Upstream};

#[test]
fn restoring_needs_the_keys_and_says_which() {
    let world = World::new();
    let file = back_up(&world, "backup");
    let kept = safe(&world);
    let other = World::new();
    back_up(&other, "others");
    let others = safe(&other);
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
    let machine = Machine::new(&world, "new", &kept);
    let without = Machine { data: machine.data.clone(), root: world.file("no.key") };
    said(&without.restore(&file), "root.file", &[needs_root, "none was found"]);
    let wrong = Machine { data: machine.data.clone(), root: others.root.clone() };
    said(&wrong.restore(&file), "restore.root-key", &[needs_root, &id(&other)]);
    fs::rename(&kept.epochs, world.file("away")).unwrap();
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
    // With an older copy of the same week it opens, and says what that means.
    let later = back_up(&world, "later");
    let machine_of_later = Machine::new(&world, "later-new", &kept);
    let away = world.file("away");
    let named = ["restore", later.to_str().unwrap(), "--reason", "drill", "--epochs", away.to_str().unwrap()];
    assert_eq!(machine_of_later.run(&named).ok()["epochs_are_older"], true);
    // It goes on with the epoch keys it was given.
    assert!(kept.epochs.exists());
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
    let first = orders::look_keyed(|args| world.run(args), "A-1").ok();
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
    assert_eq!((&restored["interrupted"], &restored["epochs_are_older"]), (&1.into(), &false.into()), "{restored}");
    fs::rename(world.data(), world.file("old")).unwrap();

    let again = orders::look_keyed(|args| machine.run(args), "A-1").ok();
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
    // Whoever was signed in or invited may have been put out since.
    let rows = crate::sql::dump(&world.data().join("data.db"));
    assert!(rows["user_session"].is_empty() && rows["invitation"].is_empty() && !rows["app_user"].is_empty());
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
    let stolen = thief.run(&["restore", file, "--reason", "theft", "--epochs", &stale]).ok();
    assert_eq!(stolen["epochs_are_older"], false, "it is of the same day");
    let out = file_of("stolen");
    thief.run(&["--as", "acme/ada", "audit", "export", "--out", &out]).ok();
    assert!(fs::read_to_string(&out).unwrap().contains(ANN), "the test would not notice");
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

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}
