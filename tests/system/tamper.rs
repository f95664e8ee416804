//! Someone with the whole database rearranges it: nothing moved from tenant to tenant, row to row or column to column
//! opens, and the host says so instead of answering.

use crate::opsiq::World;
use crate::orders;
use crate::sql::sql;
use crate::upstream::{Reply, Upstream};

/// Two tenants, each with the same connector and a key, and a pending refund of the first.
fn two_tenants() -> (World, Upstream) {
    let world = World::new();
    let server = Upstream::start(|r| {
        if r.method == "POST" { Reply::json(201, &orders::refund()) } else { Reply::json(200, &orders::order("A-1")) }
    });
    orders::install(&world, &server.url(), server.port);
    world.run(&["tenant", "create", "bolt", "--owner", "bob"]).ok();
    let base = format!("base-url={}", server.url());
    world
        .run(&[
            "--as",
            "bolt/bob",
            "connector",
            "install",
            "opsiq/orders",
            "--name",
            "shop",
            "--yes",
            "--config",
            &base,
        ])
        .ok();
    world.run_with(&["--as", "bolt/bob", "key", "set", "shop", "signing-secret", "--stdin"], orders::SECRET).ok();
    (world, server)
}

fn reads(world: &World, who: &str) -> crate::opsiq::Ran {
    world.run(&["--as", who, "action", "call", "shop", "get-order", "--params", r#"{"id":"A-1"}"#])
}

/// What is done to the database, and what must then fail to open.
const MOVES: &[(&str, &str)] = &[
    (
        "another tenant's key",
        "UPDATE installation_key SET secret = (SELECT secret FROM installation_key WHERE tenant = 'acme') WHERE tenant = 'bolt'",
    ),
    (
        "another tenant's installation",
        "UPDATE installation SET doc = (SELECT doc FROM installation WHERE tenant = 'acme') WHERE tenant = 'bolt'",
    ),
    (
        "another tenant's user",
        "UPDATE app_user SET doc = (SELECT doc FROM app_user WHERE tenant = 'acme') WHERE tenant = 'bolt'",
    ),
    ("columns swapped", "UPDATE installation_key SET secret = doc, doc = secret WHERE tenant = 'bolt'"),
    (
        "another column",
        "UPDATE installation SET doc = (SELECT doc FROM app_user WHERE tenant = 'bolt') WHERE tenant = 'bolt'",
    ),
    (
        "one bit",
        "UPDATE installation_key SET secret = CAST(substr(secret, 1, length(secret) - 1) || x'00' AS BLOB) WHERE tenant = 'bolt'",
    ),
];

#[test]
fn what_was_moved_does_not_open() {
    for (name, statement) in MOVES {
        let (world, server) = two_tenants();
        reads(&world, "bolt/bob").ok();
        let before = server.seen().len();
        sql(&world.data().join("data.db"), &[statement]);
        let ran = reads(&world, "bolt/bob");
        let error = ran.refused(9);
        assert!(error.to_string().contains("tamper"), "{name}: {error}");
        assert_eq!(server.seen().len(), before, "{name}: the plugin ran");
        reads(&world, "acme/ada").ok();
        let doctor = world.run(&["doctor"]);
        assert!(doctor.code != 0 && doctor.stdout.contains("bolt"), "{name}: the doctor sees nothing: {doctor:?}");
    }
}

/// Wrapped tenant keys swapped in the key store open nothing.
#[test]
fn another_tenants_key_encryption_key_opens_nothing() {
    let (world, _server) = two_tenants();
    sql(
        &world.data().join("keys.db"),
        &[
            "UPDATE tenant_key SET wrapped = (SELECT wrapped FROM tenant_key WHERE tenant = 'acme') WHERE tenant = 'bolt'",
        ],
    );
    reads(&world, "bolt/bob").refused(9);
    reads(&world, "acme/ada").ok();
}

/// A log whose rows were changed, removed or reordered no longer verifies, and the first bad entry is named.
#[test]
fn a_rearranged_log_is_noticed() {
    for statement in [
        "DELETE FROM audit_entry WHERE tenant = 'acme' AND seq = 2",
        "UPDATE audit_entry SET sealed = (SELECT sealed FROM audit_entry WHERE tenant = 'acme' AND seq = 1) WHERE tenant = 'acme' AND seq = 2",
        "UPDATE audit_entry SET time_ms = time_ms + 1 WHERE tenant = 'acme' AND seq = 2",
    ] {
        let (world, _server) = two_tenants();
        for _ in 0..3 {
            reads(&world, "acme/ada").ok();
        }
        sql(&world.data().join("data.db"), &[statement]);
        let file = world.file("audit.jsonl");
        let export =
            world.run(&["--as", "acme/ada", "audit", "export", "--format", "jsonl", "--out", file.to_str().unwrap()]);
        if export.code == 0 {
            let key = world.run(&["--as", "acme/ada", "audit", "key"]).ok()["key"].as_str().unwrap().to_owned();
            let verify = world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]);
            let error = verify.refused(9);
            assert!(error.to_string().contains('2'), "{statement}: {error}");
        } else {
            export.refused(9);
        }
    }
}
