//! A host that panics in the middle of a plugin's import, ten thousand times, seen from outside: only that call fails, and
//! nothing of it is left behind.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

use crate::neighbour::{Live, Seen, Site, code};

const TIMES: usize = 10_000;
const CALLERS: usize = 16;

/// Changes the stored value behind the host's back, so that it does not open; `back` is what it was.
async fn change(site: &Site, back: Option<Vec<u8>>) -> Vec<u8> {
    let path = site.world.data().join("data.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let was: Vec<u8> = sqlx::query_scalar("SELECT value FROM kv").fetch_one(&mut connection).await.unwrap();
    let mut value = back.unwrap_or_else(|| was.clone());
    if value == was {
        let last = value.len() - 1;
        value[last] ^= 1;
    }
    let changed = sqlx::query("UPDATE kv SET value = $1").bind(value).execute(&mut connection).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    connection.close().await.unwrap();
    was
}

fn read(live: &Live, id: &str) -> String {
    code(&live.call(id, "acme/ada", "evil", "kv", &json!({ "op": "get", "key": "k" })).0)
}

#[tokio::test]
async fn ten_thousand_panics_of_the_host_fail_those_calls_alone() {
    let site = Site::new(&[]);
    // Whoever leaks a place would soon have none: none may wait.
    site.world.configure("[fairness.tenant.acme.installation.evil]\nqueue = 0\nconcurrency = 16\n");
    let set = json!({ "op": "set", "key": "k", "value": "kept" });
    site.world.call("evil", "kv", &set).ok();
    let live = site.rig();
    assert_eq!(read(&live, "before"), "ok", "the twin: storage that serves");
    let was = change(&site, None).await;
    assert_eq!(read(&live, "first"), "host_panic");
    let (before, open) = (live.memory().0, live.open());
    let seen = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let live = &live;
                scope.spawn(move || {
                    for n in 0..TIMES / CALLERS {
                        assert_eq!(read(live, &format!("{caller}-{n}")), "host_panic");
                    }
                })
            })
            .collect();
        let mut seen = Seen::default();
        seen.calls(&live, || attackers.iter().any(|attacker| !attacker.is_finished()));
        seen
    });
    assert_eq!((seen.errors.len(), seen.count() > 100), (0, true), "{:?} of {}", seen.errors, seen.count());
    eprintln!("the neighbour's {} calls: p99 {:?}", seen.count(), seen.quantile(990));

    // No place, no descriptor, no thread and no memory is missing, and no lock is poisoned: the same call is answered by
    // the same process once storage serves, as often at once as the tenant may call.
    change(&site, Some(was)).await;
    let all: Vec<_> = (0..CALLERS)
        .map(|n| live.begin(&format!("after-{n}"), "acme/ada", "evil", "kv", &json!({ "op": "get", "key": "k" })))
        .collect();
    for asked in all {
        assert_eq!(code(&asked.answer().0), "ok");
    }
    std::thread::sleep(Duration::from_millis(200));
    let (after, still) = (live.memory().0, live.open());
    assert!(still.0 <= open.0 + 4 && still.1 <= open.1 + 4, "descriptors and threads: {open:?}, then {still:?}");
    assert!(after < before + (64 << 20), "{} MiB more", (after - before) >> 20);
    live.end();

    site.world.run(&["doctor"]).ok();
    let entries = crate::crash::entries(&site.world);
    let panics = entries.iter().filter(|entry| entry.to_string().contains("\"host_panic\"")).count();
    assert_eq!(panics, TIMES + 1, "each is on record");
}
