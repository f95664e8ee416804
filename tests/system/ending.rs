//! The end of a tenant: cancelled it only reads, erased nothing of it opens again, in no copy, whenever the process dies.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::admission::files;
use crate::opsiq::{Ran, World, guest};

/// The wrapped keys of a tenant, as they lie in the key store.
fn wrapped(world: &World, tenant: &str) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(world.data().join("keys.db"));
        let mut connection = options.connect().await.unwrap();
        let keys = sqlx::query_scalar("SELECT wrapped FROM tenant_key WHERE tenant = $1").bind(tenant);
        let keys: Vec<Vec<u8>> = keys.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        keys
    })
}

/// Whether any file holds a piece of one of these keys.
fn lies_about(dir: &Path, keys: &[Vec<u8>]) -> bool {
    // The ciphertext of a wrapped key, without the clear part before it.
    let pieces: Vec<&[u8]> = keys.iter().map(|key| &key[key.len() - 48..]).collect();
    files(dir).iter().any(|file| {
        let bytes = fs::read(file).unwrap();
        pieces.iter().any(|piece| bytes.windows(piece.len()).any(|window| window == *piece))
    })
}

/// Puts files of an earlier copy back, without what newer logs would say.
fn put_back(world: &World, copy: &Path, database: &str) {
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(world.data().join(format!("{database}{tail}")));
    }
    fs::copy(copy.join(database), world.data().join(database)).unwrap();
}

fn create(world: &World, tenant: &str) {
    world.run(&["tenant", "create", tenant, "--owner", "ada"]).ok();
    let who = format!("{tenant}/ada");
    world.run(&["--as", &who, "connector", "install", "opsiq/hello", "--yes"]).ok();
    hello(world, tenant).ok();
}

fn hello(world: &World, tenant: &str) -> Ran {
    let who = format!("{tenant}/ada");
    world.run(&["--as", &who, "action", "call", "hello", "hello", "--params", &json!({ "name": "Ada" }).to_string()])
}

fn standing(world: &World, tenant: &str) -> Value {
    let tenants = world.run(&["tenant", "list"]).ok();
    let found = tenants.as_array().unwrap().iter().find(|one| one["id"] == tenant);
    found.unwrap_or_else(|| panic!("{tenant} is not listed: {tenants}"))["standing"].clone()
}

fn with_hello() -> World {
    let world = World::new();
    world.run(&["plugin", "register", guest("hello").to_str().unwrap()]).ok();
    world
}

#[test]
fn a_cancelled_tenant_reads_and_exports_and_nothing_else() {
    let world = with_hello();
    create(&world, "acme");
    create(&world, "bolt");
    assert_eq!(world.run(&["--as", "acme/ada", "tenant", "cancel", "acme"]).refused(3)["code"], "act.needs-operator");
    world.run(&["tenant", "cancel", "acmee"]).refused(5);
    let cancelled = world.run(&["tenant", "cancel", "acme"]).ok();
    let window = cancelled["until_ms"].as_i64().unwrap() - cancelled["created_ms"].as_i64().unwrap();
    assert!(window > 29 * 24 * 3600 * 1000, "{cancelled}");
    assert_eq!(standing(&world, "acme"), "cancelled");
    assert_eq!(hello(&world, "acme").refused(3)["code"], "tenant.cancelled");
    hello(&world, "bolt").ok();
    let acme = |args: &[&str]| world.run(&[&["--as", "acme/ada"], args].concat());
    for change in [
        &["user", "add", "eve", "--role", "owner"] as &[&str],
        &["connector", "install", "opsiq/hello", "--name", "more", "--yes"],
        &["connector", "remove", "hello", "--yes"],
        &["tenant", "second-person", "on"],
    ] {
        assert_eq!(acme(change).refused(3)["code"], "tenant.cancelled", "{change:?}");
    }
    acme(&["connector", "show", "hello"]).ok();
    acme(&["user", "list"]).ok();
    let log = acme(&["audit", "list"]).ok().to_string();
    assert!(log.contains("tenant cancel") && log.contains("tenant.cancelled"), "{log}");
    let export = world.file("export.jsonl");
    acme(&["audit", "export", "--out", export.to_str().unwrap()]).ok();
    let key = acme(&["audit", "key"]).ok()["key"].as_str().unwrap().to_owned();
    world.run(&["audit", "verify", export.to_str().unwrap(), "--key", &key]).ok();
    assert_eq!(world.run(&["tenant", "cancel", "acme"]).refused(3)["code"], "tenant.cancelled");
    world.run(&["tenant", "restore", "acme"]).ok();
    hello(&world, "acme").ok();
    assert_eq!(world.run(&["tenant", "restore", "acme"]).refused(3)["code"], "tenant.not-cancelled");
    assert_eq!(world.run(&["doctor"]).code, 0);
}

#[test]
fn an_erased_tenant_opens_never_again_in_no_copy() {
    let world = with_hello();
    create(&world, "acme");
    create(&world, "bolt");
    let copy = world.file("copy");
    fs::create_dir(&copy).unwrap();
    for database in ["data.db", "keys.db"] {
        fs::copy(world.data().join(database), copy.join(database)).unwrap();
    }
    let keys = wrapped(&world, "acme");
    assert!(!keys.is_empty() && lies_about(world.data(), &keys), "the search finds what is there");

    let erase = |args: &[&str]| world.run(&[&["tenant", "erase", "acme"], args].concat());
    assert_eq!(erase(&["--now"]).refused(3)["code"], "tenant.not-confirmed");
    assert_eq!(erase(&["--now", "--confirm", "bolt"]).refused(3)["code"], "tenant.not-confirmed");
    assert_eq!(erase(&["--confirm", "acme"]).refused(3)["code"], "tenant.not-cancelled");
    world.run(&["tenant", "cancel", "acme"]).ok();
    assert_eq!(erase(&["--confirm", "acme"]).refused(3)["code"], "tenant.in-window");
    assert!(lies_about(world.data(), &keys));
    assert_eq!(erase(&["--confirm", "acme", "--now"]).ok()["standing"], "erased");

    assert!(!lies_about(world.data(), &keys), "a destroyed key lies in a file");
    let erased = || {
        assert_eq!(standing(&world, "acme"), "erased");
        assert_eq!(hello(&world, "acme").refused(5)["code"], "tenant.erased");
        hello(&world, "bolt").ok();
        let doctor = world.run(&["doctor"]);
        assert!(doctor.code == 0 && doctor.stdout.contains("erased"), "{doctor:?}");
    };
    erased();
    let out = world.file("too-late.jsonl");
    world.run(&["--as", "acme/ada", "audit", "export", "--out", out.to_str().unwrap()]).refused(5);
    assert_eq!(world.run(&["tenant", "create", "acme", "--owner", "eve"]).refused(3)["code"], "tenant.erased");
    world.run(&["tenant", "restore", "acme"]).refused(5);
    assert_eq!(erase(&["--confirm", "acme", "--now"]).ok()["standing"], "erased", "repeating it is harmless");
    let log = world.run(&["audit", "list"]).ok().to_string();
    assert!(log.contains("tenant erase") && log.contains("begun"), "{log}");

    // Keys that come back from a copy are destroyed again.
    put_back(&world, &copy, "keys.db");
    assert!(lies_about(world.data(), &keys));
    erased();
    assert!(!lies_about(world.data(), &keys), "a key that was put back lives on");

    // Data that comes back from a copy finds no key.
    put_back(&world, &copy, "data.db");
    let ran = hello(&world, "acme");
    assert!(ran.code != 0 && !ran.stdout.contains("Hello"), "{ran:?}");
    assert!(!lies_about(world.data(), &keys));
}

/// The process dies at any moment of an erasure: afterwards the tenant lives or is erased, and repeating ends it.
#[test]
fn killed_while_erasing_it_lives_or_is_erased() {
    let world = with_hello();
    let mut whole = Duration::ZERO;
    for round in 0..10_u32 {
        let tenant = format!("t{round}");
        create(&world, &tenant);
        let keys = wrapped(&world, &tenant);
        let erase = ["tenant", "erase", &tenant, "--confirm", &tenant, "--now"];
        let start = Instant::now();
        let mut child = world.start(&erase);
        if round == 0 {
            assert!(child.wait().unwrap().success());
            whole = start.elapsed();
        } else {
            std::thread::sleep(whole * (round + 2) / 12);
            let _ = child.kill();
            child.wait().unwrap();
        }
        if standing(&world, &tenant) == "active" {
            hello(&world, &tenant).ok();
            world.run(&erase).ok();
        }
        assert_eq!(standing(&world, &tenant), "erased");
        assert!(wrapped(&world, &tenant).is_empty() && !lies_about(world.data(), &keys), "round {round}");
        assert_eq!(hello(&world, &tenant).refused(5)["code"], "tenant.erased");
    }
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
}
