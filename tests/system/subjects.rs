//! Data subjects: what calls keep about somebody is under that one's own key, and goes with it, in every copy, while the
//! log keeps order, proof, and who did what.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::admission::files;
use crate::opsiq::{Ran, World, guest};

const ANN: &str = "ann-kanarienvogel-4711";
const BOB: &str = "bob-zaunkoenig-0815";

fn world() -> World {
    let world = World::new();
    world.install(
        &guest("hostile"),
        "crm",
        &[("base-url", "http://127.0.0.1:9")],
        &[("signing-secret", "0123456789ab")],
    );
    world
}

fn acme(world: &World, args: &[&str]) -> Ran {
    world.run(&[&["--as", "acme/ada"], args].concat())
}

fn about(world: &World, action: &str, whom: &str) -> Ran {
    world.call("crm", action, &json!({ "customer": whom, "text": format!("said by {whom}") }))
}

fn keyed(world: &World, action: &str, whom: &str) -> Ran {
    let params = json!({ "customer": whom, "text": format!("said by {whom}") }).to_string();
    acme(world, &["action", "call", "crm", action, "--params", &params, "--idempotency-key", &format!("key-of-{whom}")])
}

fn erase(world: &World, whom: &str) -> Ran {
    acme(world, &["subject", "erase", whom, "--yes"])
}

fn log(world: &World) -> Vec<Value> {
    acme(world, &["audit", "list", "--limit", "1000"]).ok()["entries"].as_array().unwrap().clone()
}

/// The export, after it verified.
fn export(world: &World) -> String {
    let file = world.file("export.jsonl");
    let _ = fs::remove_file(&file);
    acme(world, &["audit", "export", "--out", file.to_str().unwrap()]).ok();
    let key = acme(world, &["audit", "key"]).ok()["key"].as_str().unwrap().to_owned();
    world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
    fs::read_to_string(&file).unwrap()
}

fn sql(path: &Path, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// The keys of subjects as they lie in the key store.
fn stored_keys(world: &World) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(world.data().join("keys.db"));
        let mut connection = options.connect().await.unwrap();
        let keys = sqlx::query_scalar("SELECT wrapped FROM subject_key WHERE wrapped IS NOT NULL ORDER BY created_ms");
        let keys: Vec<Vec<u8>> = keys.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        keys
    })
}

/// Of a stored key, what a rotation leaves: the key itself under its data key.
fn lasting(key: &[u8]) -> &[u8] {
    &key[key.len() - 48..]
}

/// Of a stored key, what a rotation replaces: its data key under that of the tenant.
fn wrapping(key: &[u8]) -> &[u8] {
    &key[34..82]
}

fn lies_about(dir: &Path, piece: &[u8]) -> bool {
    files(dir).iter().any(|file| fs::read(file).unwrap().windows(piece.len()).any(|window| window == piece))
}

fn put_back(world: &World, copy: &Path, database: &str) {
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(world.data().join(format!("{database}{tail}")));
    }
    fs::copy(copy.join(database), world.data().join(database)).unwrap();
}

/// Everything that calls can keep about somebody: a read, a write with an event, a failure, one that ran after an approval
/// and one that still waits.
fn talk_about(world: &World, whom: &str) -> String {
    about(world, "about-read", whom).ok();
    keyed(world, "about-write", whom).ok();
    let failing = json!({ "customer": whom, "text": format!("said by {whom}"), "fail": true });
    world.call("crm", "about-write", &failing).refused(7);
    acme(world, &["confirm", "approve", &asked(world, whom)]).ok();
    asked(world, whom)
}

/// Asks for a risky write, which waits; its confirmation.
fn asked(world: &World, whom: &str) -> String {
    let ran = about(world, "about-risky", whom);
    assert_eq!(ran.code, 4, "{ran:?}");
    ran.json()["data"]["confirmation"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_kept_about_somebody_goes_with_them_and_nothing_else_does() {
    let world = world();
    let (ann_waits, bob_waits) = (talk_about(&world, ANN), talk_about(&world, BOB));
    let shown = acme(&world, &["subject", "show", ANN]).ok();
    assert!(shown["key"].is_string() && shown["erased"].as_array().unwrap().is_empty(), "{shown}");
    let keys = stored_keys(&world);
    assert_eq!(keys.len(), 2);
    let before = log(&world);
    assert!(export(&world).contains(ANN), "the search finds what is there");
    let copy = world.file("copy");
    fs::create_dir(&copy).unwrap();
    for database in ["data.db", "keys.db"] {
        fs::copy(world.data().join(database), copy.join(database)).unwrap();
    }

    assert_eq!(acme(&world, &["subject", "erase", ANN]).refused(3)["code"], "subject.not-confirmed");
    assert_eq!(erase(&world, "nobody").refused(5)["code"], "subject.unknown");
    acme(&world, &["user", "add", "sue", "--role", "support"]).ok();
    let sue = world.run(&["--as", "acme/sue", "subject", "erase", ANN, "--yes"]);
    assert_eq!(sue.refused(3)["code"], "role.not-allowed");
    let erased =
        world.run_with(&["--as", "acme/ada", "subject", "erase", "--stdin", "--yes"], &format!("{ANN}\n")).ok();
    assert!(erased["key"].is_null() && erased["erased"].as_array().unwrap().len() == 1, "{erased}");
    assert_eq!(erased["subject"], shown["subject"]);
    assert_eq!(erase(&world, ANN).ok(), erased, "erasing again answers what is erased");

    assert!(!lies_about(world.data(), lasting(&keys[0])), "the destroyed key still lies about");
    assert!(lies_about(world.data(), lasting(&keys[1])));
    let after = log(&world);
    for entry in &before {
        let now = after.iter().find(|now| now["seq"] == entry["seq"]).unwrap();
        let (old, new) = (entry["fields"].as_object().unwrap(), now["fields"].as_object().unwrap());
        assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
        let ann = entry.to_string().contains(ANN);
        for (name, value) in old {
            let gone = new[name] == "[erased]";
            assert!(gone || new[name] == *value, "{name} of {now}");
            assert!(!gone || ann || !value.to_string().contains(BOB), "{name} of {entry} is not about {ANN}");
            assert!(!gone || !["actor", "role", "action", "installation", "outcome"].contains(&name.as_str()), "{now}");
        }
    }
    let all = Value::Array(after).to_string();
    assert!(!all.contains(ANN) && all.contains(BOB) && all.contains("subject erase"), "{all}");
    let text = export(&world);
    assert!(!text.contains(ANN) && text.contains(BOB));

    // What waited can never run, and what was answered is not answered again.
    let card = acme(&world, &["confirm", "show", &ann_waits]).ok();
    assert_eq!((&card["state"], &card["preview"], &card["hash"]), (&json!("void"), &json!("[erased]"), &Value::Null));
    acme(&world, &["confirm", "approve", &ann_waits]).refused(3);
    acme(&world, &["confirm", "approve", &bob_waits]).ok();
    assert_eq!(keyed(&world, "about-write", ANN).refused(5)["code"], "subject.erased");
    assert_eq!(keyed(&world, "about-write", BOB).ok()["replayed"], true);

    // What comes after is under another key, and older keys put back are destroyed again.
    about(&world, "about-read", ANN).ok();
    put_back(&world, &copy, "keys.db");
    assert!(lies_about(world.data(), lasting(&keys[0])), "the copy brought it back");
    let list = acme(&world, &["audit", "list", "--limit", "1000"]);
    assert_eq!(list.refused(9)["code"], "subject.key-missing", "the newest key of the subject is lost with the copy");
    assert!(!lies_about(world.data(), lasting(&keys[0])));
}

#[test]
fn an_older_database_put_back_does_not_bring_an_erased_subject_back() {
    let world = world();
    talk_about(&world, ANN);
    let copy = world.file("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(world.data().join("data.db"), copy.join("data.db")).unwrap();
    erase(&world, ANN).ok();
    put_back(&world, &copy, "data.db");
    acme(&world, &["audit", "list"]).refused(9);
    world.run(&["accept-restore", "--reason", "the disk failed"]).ok();
    let entries = Value::Array(log(&world)).to_string();
    assert!(!entries.contains(ANN) && entries.contains("[erased]"), "{entries}");
    assert!(!export(&world).contains(ANN));
    assert_eq!(world.run(&["keys", "verify"]).code, 0);
}

#[test]
fn a_result_about_somebody_else_is_theirs() {
    let world = world();
    let params = json!({ "customer": ANN, "text": "hello", "answer-about": BOB });
    world.call("crm", "about-write", &params).ok();
    let nobody = json!({ "text": "about nobody", "answer-about": BOB });
    world.call("crm", "about-read", &nobody).ok();
    erase(&world, BOB).ok();
    let outcomes: Vec<_> = log(&world).into_iter().filter(|entry| entry["kind"] == "outcome").collect();
    assert_eq!(
        (&outcomes[0]["fields"]["response"], &outcomes[1]["fields"]["response"]),
        (&json!("[erased]"), &json!("[erased]"))
    );
    // Only its result says whom the whole call is about.
    assert_eq!(
        (&outcomes[0]["fields"]["detail"], &outcomes[0]["fields"]["params"]),
        (&json!("[erased]"), &json!("[erased]"))
    );
    assert!(outcomes[1]["fields"]["detail"].to_string().contains("hello"), "{}", outcomes[1]);
    erase(&world, ANN).ok();
    let entries = Value::Array(log(&world)).to_string();
    assert!(!entries.contains("hello"), "{entries}");
}

#[test]
fn rotations_take_subjects_along_and_verifying_tells_erased_from_lost() {
    let world = world();
    talk_about(&world, ANN);
    talk_about(&world, BOB);
    let old = stored_keys(&world);
    let moved = world.run(&["keys", "rotate", "--tenant", "acme"]).ok();
    let table = |found: &Value| {
        let columns = found["tenants"][0]["moved"].as_array().unwrap();
        columns.iter().find(|column| column["table"] == "subject_key").unwrap()["values"].clone()
    };
    assert_eq!(table(&moved), 2);
    assert!(old.iter().all(|key| lies_about(world.data(), lasting(key)) && !lies_about(world.data(), wrapping(key))));
    assert!(export(&world).contains(ANN));
    world.run(&["keys", "rotate", "--root"]).ok();
    erase(&world, BOB).ok();
    world.run(&["keys", "rotate", "--tenant", "acme"]).ok();
    let text = export(&world);
    assert!(text.contains(ANN) && !text.contains(BOB));
    let verified = world.run(&["keys", "verify"]).ok();
    assert!(verified["erased"].as_u64().unwrap() > 5 && verified["faulty"] == 0, "{verified}");

    // A key that somebody took away is no erasure.
    sql(&world.data().join("keys.db"), "DELETE FROM subject_key WHERE wrapped IS NOT NULL");
    let lost = world.run(&["keys", "verify"]);
    assert_eq!(lost.refused(9)["code"], "keys.faulty");
    assert!(lost.stdout.contains("nobody erased it"), "{lost:?}");
    assert_eq!(acme(&world, &["audit", "list"]).refused(9)["code"], "subject.key-missing");
}

#[test]
fn an_erasure_killed_at_any_moment_ends() {
    for at in 0..12_u64 {
        let world = world();
        about(&world, "about-write", ANN).ok();
        let mut child = world.start(&["--as", "acme/ada", "subject", "erase", ANN, "--yes"]);
        std::thread::sleep(Duration::from_millis(4 * at));
        let _ = child.kill();
        child.wait().unwrap();
        let shown = acme(&world, &["subject", "show", ANN]).ok();
        let erased = shown["erased"].as_array().unwrap().len();
        assert_eq!(erased == 1, shown["key"].is_null(), "{shown}");
        let entries = Value::Array(log(&world)).to_string();
        assert_eq!(entries.contains(&format!("said by {ANN}")), erased == 0, "{entries}");
        assert_eq!(entries.matches("is destroyed, so nothing kept").count(), erased, "{entries}");
        erase(&world, ANN).ok();
        assert!(!export(&world).contains(ANN));
        assert_eq!(world.run(&["keys", "verify"]).code, 0);
    }
}
