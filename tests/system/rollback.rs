//! Someone puts older data back: a row, a row with its mark, a row with mark and head, a database, the whole directory. All of
//! it authentic, all of it noticed, by name, before anything of it is served.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::opsiq::{World, guest};
use crate::sql::{sql, table};

/// A tenant with an installed plugin.
fn shop() -> World {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    world
}

fn greets(world: &World) -> crate::opsiq::Ran {
    world.call("hello", "hello", &json!({ "name": "Ada" }))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

fn findings(world: &World) -> String {
    let ran = world.run(&["doctor"]);
    assert_ne!(ran.code, 0, "the doctor sees nothing: {ran:?}");
    let data: Value = ran.json()["data"].take();
    let failed = data.as_array().unwrap().iter().filter(|finding| finding["status"] == "fail");
    failed.map(|finding| format!("{} {}", finding["check"], finding["detail"])).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_older_row_is_named_and_its_tenant_not_served() {
    let world = shop();
    let data = world.data().join("data.db");
    table(&data, "old", "SELECT * FROM installation");
    world.run(&["--as", "acme/ada", "connector", "pause", "hello"]).ok();
    greets(&world).refused(3);
    // the paused installation runs again, if nobody notices
    let put_back = "UPDATE installation SET (state, revision, doc) = \
                    (SELECT state, revision, doc FROM old WHERE old.id = installation.id)";
    sql(&data, &[put_back]);
    let error = greets(&world).refused(9).to_string();
    assert!(error.contains("installation ") && error.contains("older row"), "{error}");
    let told = findings(&world);
    assert!(told.contains("tenant/acme") && told.contains("installation "), "{told}");
    // another tenant goes on
    world.run(&["--as", "bolt/bob", "connector", "list"]).ok();

    // marks and heads put back with it change nothing but the words
    let world = shop();
    let data = world.data().join("data.db");
    for (name, of) in [("old", "installation"), ("old_mark", "row_mark"), ("old_head", "row_head")] {
        let select: &'static str = format!("SELECT * FROM {of}").leak();
        table(&data, name, select);
    }
    world.run(&["--as", "acme/ada", "connector", "pause", "hello"]).ok();
    sql(&data, &[put_back, "DELETE FROM row_mark", "INSERT INTO row_mark SELECT * FROM old_mark"]);
    let error = greets(&world).refused(9).to_string();
    assert!(error.contains("installation"), "{error}");
    sql(&data, &["DELETE FROM row_head", "INSERT INTO row_head SELECT * FROM old_head"]);
    let error = greets(&world).refused(9).to_string();
    assert!(error.contains("checkpoint"), "{error}");
}

/// A retired key's row, a disabled user, a removed installation, a decided confirmation: whatever is put back or removed.
#[test]
fn rows_of_every_kind_are_watched() {
    for (change, thief) in [
        (
            "user",
            "UPDATE app_user SET (state, version, doc) = (SELECT state, version, doc FROM old_app_user WHERE old_app_user.id = app_user.id)",
        ),
        ("remove", "INSERT INTO installation SELECT * FROM old_installation"),
        (
            "second-person",
            "UPDATE tenant SET (version, doc) = (SELECT version, doc FROM old_tenant WHERE old_tenant.tenant = tenant.tenant)",
        ),
        ("user", "DELETE FROM app_user WHERE state = 'disabled'"),
        ("nothing", "UPDATE app_user SET created_ms = created_ms + 1"),
    ] {
        let world = shop();
        world.run(&["--as", "acme/ada", "user", "add", "eve", "--role", "admin"]).ok();
        let data = world.data().join("data.db");
        for of in ["app_user", "installation", "tenant"] {
            table(&data, format!("old_{of}").leak(), format!("SELECT * FROM {of}").leak());
        }
        match change {
            "user" => drop(world.run(&["--as", "acme/ada", "user", "disable", "eve"]).ok()),
            "remove" => drop(world.run(&["--as", "acme/ada", "connector", "remove", "hello", "--yes"]).ok()),
            "second-person" => drop(world.run(&["--as", "acme/ada", "tenant", "second-person", "on"]).ok()),
            _ => {}
        }
        world.run(&["--as", "acme/ada", "connector", "list"]).ok();
        sql(&data, &[thief]);
        world.run(&["--as", "acme/ada", "connector", "list"]).refused(9);
        let told = findings(&world);
        assert!(told.contains("tenant/acme"), "{thief}: {told}");
    }
}

#[test]
fn an_older_database_is_noticed_at_start() {
    for whole in [false, true] {
        let world = shop();
        greets(&world).ok();
        let backup = world.file("backup");
        copy(world.data(), &backup);
        greets(&world).ok();
        if whole {
            fs::remove_dir_all(world.data()).unwrap();
            copy(&backup, world.data());
        } else {
            for file in fs::read_dir(&backup).unwrap() {
                let name = file.unwrap().file_name();
                if name.to_str().unwrap().starts_with("data.db") {
                    fs::copy(backup.join(&name), world.data().join(&name)).unwrap();
                }
            }
        }
        let error = greets(&world).refused(9).to_string();
        assert!(error.contains("older than the checkpoint"), "{error}");
        let told = findings(&world);
        assert!(told.contains("tenant/acme") && told.contains("older than the checkpoint"), "{told}");

        // on purpose, with a reason, it is served again, and the reason stays on record
        world.run(&["accept-restore"]).refused(2);
        let accepted = world.run(&["accept-restore", "--reason", "the disk failed, backup of Monday"]).ok();
        assert!(!accepted["accepted"].as_array().unwrap().is_empty(), "{accepted}");
        greets(&world).ok();
        assert_eq!(world.run(&["doctor"]).code, 0);
        let log = world.run(&["--as", "acme/ada", "audit", "list"]).ok().to_string();
        assert!(log.contains("backup of Monday"), "{log}");
    }
}

#[test]
fn without_the_checkpoint_file_nothing_is_served() {
    let world = shop();
    let file = world.file("data.checkpoints");
    let away = world.file("away");
    fs::rename(&file, &away).unwrap();
    let error = greets(&world).refused(9).to_string();
    assert!(error.contains("data.checkpoints") && error.contains("missing"), "{error}");
    assert!(findings(&world).contains("missing"));
    fs::rename(&away, &file).unwrap();
    greets(&world).ok();

    // in another place, as the configuration says
    let elsewhere = world.file("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    world.configure(&format!("[audit]\ncheckpoints = \"{}\"\n", elsewhere.display()));
    greets(&world).ok();
    assert!(!file.exists());
    let notes = fs::read_to_string(&elsewhere).unwrap();
    assert!(notes.contains("tenant/acme") && notes.contains("\\nrows "), "{notes}");
}

/// A crash between the commit and the checkpoint leaves the database ahead of the file, which is as it should be.
#[test]
fn a_database_newer_than_its_checkpoint_is_served() {
    let world = shop();
    greets(&world).ok();
    let file = world.file("data.checkpoints");
    let before = fs::read(&file).unwrap();
    world.run(&["--as", "acme/ada", "connector", "pause", "hello"]).ok();
    fs::write(&file, before).unwrap();
    world.run(&["--as", "acme/ada", "connector", "resume", "hello"]).ok();
    greets(&world).ok();
}

#[test]
fn a_new_host_does_not_take_over_the_checkpoints_of_one_that_was_removed() {
    let world = shop();
    let checkpoints = world.data().with_added_extension("checkpoints");
    assert!(checkpoints.is_file());
    fs::remove_dir_all(world.data()).unwrap();
    let error = world.run(&["init"]).refused(3).to_string();
    assert!(error.contains("checkpoints.file") && error.contains(checkpoints.to_str().unwrap()), "{error}");
    fs::remove_file(checkpoints).unwrap();
    world.run(&["init"]).ok();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
}
