//! The keys above all content, through the built command: rotated, killed at every part of a rotation, refused when they
//! are wrong, and gone when they are destroyed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use opsiq_contract::TenantId;
use opsiq_gate::{Actor, Answer, Call, Host};
use serde_json::{Value, json};

use crate::admission::files;
use crate::opsiq::{Ran, World, guest};
use crate::sql::sql;

/// The text of a root key's file.
fn root_text(world: &World) -> String {
    fs::read_to_string(world.data().join("root.key")).unwrap().trim().to_owned()
}

/// What `keys status` says, which needs no root key.
fn status(world: &World) -> Value {
    world.run(&["keys", "status"]).ok()
}

fn expected(world: &World) -> String {
    status(world)["expected_root"].as_str().unwrap().to_owned()
}

/// Every tenant's generations.
fn generations(world: &World) -> Vec<(String, Vec<u64>)> {
    let status = status(world);
    let of = |tenant: &Value| {
        let keys = tenant["keys"].as_array().unwrap().iter().map(|key| key["generation"].as_u64().unwrap());
        (tenant["tenant"].as_str().unwrap().to_owned(), keys.collect())
    };
    status["tenants"].as_array().unwrap().iter().map(of).collect()
}

/// `acme` with `hello` installed and `calls` calls on record.
fn with_calls(calls: usize) -> World {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(world.options()).await.unwrap();
        let ada = Actor::user("acme".parse::<TenantId>().unwrap(), "ada");
        for batch in 0..calls.div_ceil(64) {
            let call = |at: usize| Call {
                installation: "hello".to_owned(),
                action: "hello".to_owned(),
                params: format!("{{\"name\":\"caller {batch} {at}\"}}").into_bytes(),
                idempotency_key: Some(format!("{batch}-{at}")),
            };
            let all = (0..64).map(|at| host.invoke(&ada, call(at)));
            for answer in futures::future::join_all(all).await {
                assert!(matches!(answer.unwrap(), Answer::Done(_)));
            }
        }
        host.close().await.unwrap();
    });
    world
}

/// Everything opens, under the newest key of its tenant; and how much there is.
#[track_caller]
fn all_open(world: &World) -> (u64, u64) {
    let found = world.run(&["keys", "verify"]).ok();
    let sum = |name: &str| found["columns"].as_array().unwrap().iter().map(|c| c[name].as_u64().unwrap()).sum();
    (sum("values"), sum("older"))
}

fn in_no_file(world: &World, what: &str, bytes: &[u8]) {
    for file in files(world.data()) {
        let held = fs::read(&file).unwrap();
        assert!(!held.windows(bytes.len()).any(|window| window == bytes), "{what} lies in {}", file.display());
    }
}

fn hello(world: &World) -> Ran {
    world.call("hello", "hello", &json!({ "name": "Ada" }))
}

#[test]
fn a_wrong_or_missing_root_key_stays_sealed_and_names_the_keys() {
    let world = with_calls(64);
    let (id, file) = (expected(&world), world.data().join("root.key"));
    let other = world.file("other.key");
    let found = world.run(&["keys", "generate", other.to_str().unwrap()]).ok()["root"].as_str().unwrap().to_owned();
    assert_ne!(id, found);
    let content = || -> BTreeMap<_, _> {
        // The lock holds the number of the process that looked last.
        let all = files(world.data()).into_iter().filter(|path| !path.ends_with("lock"));
        all.map(|path| (path.clone(), (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())))
            .collect()
    };
    let right = fs::read(&file).unwrap();
    fs::copy(&other, &file).unwrap();
    let before = content();
    for args in [
        &["--as", "acme/ada", "action", "call", "hello", "hello", "--params", r#"{"name":"Ada"}"#][..],
        &["tenant", "list"],
        &["--as", "acme/ada", "audit", "list"],
        &["keys", "rotate", "--tenant", "acme"],
        &["keys", "rotate", "--root"],
        &["keys", "verify"],
    ] {
        let error = world.run(args).refused(3);
        let said = error.to_string();
        assert!(error["code"] == "root.wrong" && said.contains(&id) && said.contains(&found), "{said}");
    }
    let sealed = status(&world);
    assert!(sealed["sealed"] == true && sealed["why"].as_str().unwrap().contains(&found), "{sealed}");
    assert_eq!(generations(&world), [("acme".to_owned(), vec![1])]);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code == 8 && doctor.stdout.contains(&id) && doctor.stdout.contains(&found), "{doctor:?}");
    assert!(!doctor.stdout.contains("caller"), "{doctor:?}");
    world.run(&["version"]).ok();
    assert_eq!(before, content(), "something was written while sealed");

    fs::remove_file(&file).unwrap();
    let error = hello(&world).refused(5);
    assert!(error["code"] == "root.file" && error.to_string().contains(&id), "{error}");
    assert_eq!(world.run(&["doctor"]).code, 8);
    assert!(status(&world)["sealed"] == true);
    fs::write(&file, right).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(status(&world)["sealed"] == false);
    hello(&world).ok();
}

/// Starts `keys rotate` again and again and kills it at every part of its time, every second time soon after the file `begun`
/// is there, then lets one end.
fn killed(world: &World, which: &[&str], rounds: u32, begun: Option<&Path>, mut after: impl FnMut(&World)) -> u32 {
    let args = [&["keys", "rotate"], which].concat();
    let start = Instant::now();
    world.run(&args).ok();
    let whole = start.elapsed();
    let mut cut = 0;
    for round in 0..rounds {
        let mut child = world.start(&args);
        match begun.filter(|_| round % 2 == 1) {
            None => std::thread::sleep(whole * round / rounds * 5 / 4),
            Some(begun) => {
                while !begun.exists() && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_micros(100));
                }
                std::thread::sleep(whole / 40 * (round % 8) / 8);
            }
        }
        let _ = child.kill();
        cut += u32::from(!child.wait().unwrap().success());
        after(world);
    }
    world.run(&args).ok();
    cut
}

#[test]
fn a_tenants_rotation_killed_at_any_moment_loses_nothing_and_goes_on() {
    let world = with_calls(2048);
    let (values, _) = all_open(&world);
    let (mut unfinished, mut halfway) = (0, 0);
    let cut = killed(&world, &["--tenant", "acme"], 24, None, |world| {
        let acme = generations(world).remove(0).1;
        assert!((1..=2).contains(&acme.len()), "{acme:?}");
        unfinished += usize::from(acme.len() == 2);
        let (now, older) = all_open(world);
        assert!(now >= values, "{now} of {values} values are left");
        halfway += usize::from(acme.len() == 2 && older > 0 && older < now / 2);
    });
    assert!(cut > 4 && unfinished > 2, "the kills missed: {cut} cut off, {unfinished} in between, {halfway} halfway");
    assert_eq!(generations(&world)[0].1.len(), 1);
    assert_eq!(all_open(&world).1, 0);
    hello(&world).ok();
    let file = world.file("audit.jsonl");
    world.run(&["--as", "acme/ada", "audit", "export", "--out", file.to_str().unwrap()]).ok();
    let key = world.run(&["--as", "acme/ada", "audit", "key"]).ok()["key"].as_str().unwrap().to_owned();
    world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code == 0 && doctor.stdout.contains("none unfinished"), "{doctor:?}");
}

#[test]
fn a_root_rotation_killed_at_any_moment_loses_nothing_and_ends_at_the_next_start() {
    let world = with_calls(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(world.options()).await.unwrap();
        for at in 0..150 {
            let id: TenantId = format!("tenant-{at}").parse().unwrap();
            let new = opsiq_gate::NewTenant { id, title: "One of many".to_owned(), owner: "ada".to_owned() };
            host.tenants().create(&Actor::operator(), new).await.unwrap();
        }
        host.close().await.unwrap();
    });
    let key = world.run(&["--as", "acme/ada", "audit", "key"]).ok();
    let (values, _) = all_open(&world);
    let mut seen = vec![(expected(&world), root_text(&world))];
    let (mut unfinished, mut waiting) = (0, 0);
    let next = world.data().join("root.key.next");
    let cut = killed(&world, &["--root"], 30, Some(&next), |world| {
        let status = status(world);
        assert_eq!(status["sealed"], false, "{status}");
        unfinished += usize::from(!status["rotating_to"].is_null());
        waiting += usize::from(next.exists());
        let opened = all_open(world).0;
        assert!(opened >= values, "{opened} of {values} values are left");
        assert!(!next.exists(), "the next start ends it");
        seen.push((expected(world), root_text(world)));
    });
    assert!(cut > 4 && waiting > 0, "the kills missed: {cut} cut off, {unfinished} unfinished, {waiting} waiting");
    assert_eq!(world.run(&["--as", "acme/ada", "audit", "key"]).ok(), key, "what signs the logs stays the same");
    hello(&world).ok();
    seen.dedup();
    let now = root_text(&world);
    assert!(seen.len() > 3);
    for (id, text) in seen.iter().filter(|(_, text)| *text != now) {
        in_no_file(&world, &format!("the text of root key {id}"), text.as_bytes());
    }
}

#[test]
fn destroyed_keys_leave_no_trace() {
    let world = with_calls(64);
    let root = root_text(&world);
    let ids = |world: &World| -> Vec<Vec<u8>> {
        let status = status(world);
        let keys = status["tenants"][0]["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap());
        let roots = status["expected_root"].as_str();
        keys.chain(roots).map(bytes_of_hex).collect()
    };
    let before = ids(&world);
    for id in &before {
        assert!(files(world.data()).iter().any(|f| holds(f, id)), "the search finds what is there");
    }
    let wrapped = fs::read(world.data().join("keys.db")).unwrap();
    world.run(&["keys", "rotate", "--all-tenants"]).ok();
    world.run(&["keys", "rotate", "--root"]).ok();
    for id in &before {
        in_no_file(&world, "the id of a destroyed key", id);
    }
    in_no_file(&world, "the old root key", root.as_bytes());
    // Every wrapped secret of the old key file: 48 bytes after each header that names the old tenant key.
    let key = &before[0];
    let mut rows = 0;
    for at in 0..wrapped.len() - 120 {
        if wrapped[at..].starts_with(key) {
            rows += 1;
            in_no_file(&world, "a key as it was wrapped", &wrapped[at + 8..at + 112]);
        }
    }
    assert!(rows > 0);
    hello(&world).ok();
}

fn holds(file: &Path, bytes: &[u8]) -> bool {
    fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes)
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A root key in the environment: the operator gives both while it rotates, and the new one alone after that.
#[test]
fn a_root_key_in_the_environment_rotates_with_the_next_one_beside_it() {
    let world = with_calls(64);
    let old = root_text(&world);
    fs::remove_file(world.data().join("root.key")).unwrap();
    let file = world.file("next.key");
    world.run(&["keys", "generate", file.to_str().unwrap()]).ok();
    let new = fs::read_to_string(&file).unwrap().trim().to_owned();
    let run = |args: &[&str], keys: &[(&str, &str)]| {
        let mut command = world.command(args);
        command.envs(keys.iter().copied());
        let out = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            args: args.join(" "),
            code: out.status.code().unwrap(),
            stdout: text(out.stdout),
            stderr: text(out.stderr),
        }
    };
    let (first, both) = ([("OPSIQ_ROOT_KEY", &*old)], [("OPSIQ_ROOT_KEY", &*old), ("OPSIQ_ROOT_KEY_NEXT", &*new)]);
    let rotate = ["keys", "rotate", "--root"];
    assert_eq!(run(&rotate, &first).refused(6)["code"], "root.next-missing");
    let done = run(&rotate, &both).ok();
    assert!(done["root"]["file"].is_null() && done["root"]["from"] != done["root"]["to"], "{done}");
    assert_eq!(run(&["tenant", "list"], &first).refused(3)["code"], "root.wrong");
    run(&["keys", "verify"], &both).ok();
    let found = run(&["keys", "verify"], &[("OPSIQ_ROOT_KEY", &*new)]).ok();
    assert_eq!(found["root"], done["root"]["to"]);
    for ran in [run(&["doctor"], &both), run(&["keys", "status"], &first), run(&rotate, &both)] {
        for text in [&old, &new] {
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&text[13..40]), "{ran:?}");
        }
    }
}

/// A value somebody changed: its key is not destroyed, and it is named.
#[test]
fn what_does_not_open_keeps_the_old_key_and_is_named() {
    let world = with_calls(64);
    sql(
        &world.data().join("data.db"),
        &["UPDATE audit_entry SET sealed = CAST(substr(sealed, 1, 40) || x'0000' || substr(sealed, 43) AS BLOB) \
           WHERE tenant = 'acme' AND seq = 9"],
    );
    let named = |error: &Value| error.to_string().contains("audit_entry.sealed 9");
    assert!(named(&world.run(&["keys", "verify"]).refused(9)));
    let error = world.run(&["keys", "rotate", "--tenant", "acme"]).refused(9);
    assert!(error["code"] == "keys.stuck" && named(&error), "{error}");
    assert_eq!(generations(&world)[0].1, [1, 2], "both keys are there");
    let verified = world.run(&["keys", "verify"]);
    assert_eq!(verified.refused(9)["code"], "keys.faulty");
    let data = verified.json()["data"].take();
    assert_eq!((data["faulty"].as_u64(), data["faults"][0]["row"].as_str()), (Some(1), Some("9")), "{data}");
    hello(&world).ok();
    // Keys of another tenant in the place of one's own.
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    let swap = "UPDATE tenant_key SET wrapped = (SELECT wrapped FROM tenant_key WHERE tenant = 'acme' AND generation = 1) \
                WHERE tenant = 'bolt'";
    sql(&world.data().join("keys.db"), &[swap]);
    let error = world.run(&["keys", "verify"]).refused(9);
    assert!(error["detail"].as_str().unwrap().contains("bolt: tenant_key.wrapped generation 1"), "{error}");
    let error = world.run(&["keys", "rotate", "--root"]).refused(9);
    assert!(error["code"] == "keys.stuck" && error.to_string().contains("bolt"), "{error}");
    hello(&world).ok();
}
