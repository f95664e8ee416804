//! Another version for an installation: what takes over at once, what waits, who accepts it, and what makes that void.

use std::time::Duration;

use opsiq_audit::Kind;
use opsiq_contract::{Digest, Permission};
use opsiq_gate::{AcceptUpgrade, Actor, Class, ConfirmationState, Declared, Host, Refusal, Upgrade, UpgradePlan};
use opsiq_vault::Secret;

use crate::world::{World, acme, call, data, options, plugin};

const CONTRACT: &str = include_str!("contract.toml");
const REFUND: &str = r#"{"amount":5,"id":"7"}"#;
/// What version 0.2.0 asks for more.
const MORE: &str = "\n[[audit]]\nevent = \"thing.seen\"\n";
/// And a key that comes with it.
const KEY: &str = "\n[[key]]\nname = \"second-key\"\npurpose = \"Signs more.\"\nuse = [\"sign\"]\n";

/// The contract at `version`, with `more` at its end.
fn version(version: &str, more: &str) -> String {
    CONTRACT.replace("version = \"0.1.0\"", &format!("version = \"{version}\"")) + more
}

async fn register(world: &World, contract: &str) -> Digest {
    world.host.catalogue().register(&Actor::operator(), plugin(contract)).await.unwrap().digest
}

async fn upgrade(world: &World, to: Option<&str>) -> Result<Upgrade, Refusal> {
    world.host.installations().upgrade(&acme("adam"), "echo", to).await
}

async fn held(world: &World, to: Option<&str>) -> UpgradePlan {
    match upgrade(world, to).await.unwrap() {
        Upgrade::Held { plan, .. } => *plan,
        other => panic!("it is not held: {other:?}"),
    }
}

fn all_of(digest: Digest) -> AcceptUpgrade {
    AcceptUpgrade { digest, without: Vec::new(), confirm: Vec::new(), config: None }
}

async fn refused_acceptance(world: &World, accept: &AcceptUpgrade) -> Refusal {
    world.host.installations().accept_upgrade(&acme("olga"), "echo", accept).await.unwrap_err()
}

/// `version` runs, at this revision.
async fn runs(world: &World, version: &str, revision: u64) {
    let view = world.host.installations().get(&acme("sam"), "echo").await.unwrap();
    assert_eq!((view.plugin.version.to_string().as_str(), view.revision), (version, revision));
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
    let last = world.fields(Kind::Outcome).await.remove(0);
    assert!(last.contains(&format!("plugin=opsiq/echo@{version}")), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_no_more_keeps_the_grant_and_takes_over_at_once() {
    let world = World::new().await;
    let withheld = [Permission::Action("fail".to_owned())];
    world.host.installations().change_grant(&acme("olga"), "echo", &[], &withheld).await.unwrap();
    let waiting = world.pending("adam", call("refund", REFUND)).await;
    register(&world, &version("0.2.0", "").replace("\n[kv]\nmax = \"64KiB\"\n", "")).await;
    let Upgrade::Switched { plan, installation } = upgrade(&world, None).await.unwrap() else { panic!("it waits") };
    assert!(!plan.asks_more && plan.groups.iter().any(|group| group.title == "Asks for less"), "{plan:?}");
    assert_eq!(plan.withheld, ["action:fail"]);
    assert_eq!(installation.withheld, ["action:fail"]);
    runs(&world, "0.2.0", 3).await;
    assert_eq!(&*world.refused("olga", call("fail", "{}")).await.code, "grant.action-missing");
    let refusal = world.host.confirmations().approve(&acme("olga"), &waiting).await.unwrap_err();
    assert_eq!(&*refusal.code, "confirmation.changed", "what was asked of the old version never runs on the new one");
    assert!(matches!(upgrade(&world, None).await.unwrap(), Upgrade::Current { .. }));
    let switched = world.fields(Kind::Admin).await.remove(0);
    for part in ["action=connector upgrade", "outcome=ok", "opsiq/echo@0.2.0", "withheld [action:fail]", "user:adam"] {
        assert!(switched.contains(part), "{part} in {switched}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_more_waits_and_nothing_that_runs_is_touched() {
    let world = World::new().await;
    let digest = register(&world, &version("0.2.0", MORE)).await;
    let waiting = world.pending("adam", call("refund", REFUND)).await;
    let before = world.host.installations().get(&acme("olga"), "echo").await.unwrap();
    let plan = held(&world, None).await;
    assert_eq!((plan.digest, plan.groups[0].title.as_str()), (digest, "Asks for more"));
    assert_eq!(plan.groups[0].changes[0].item, "audit:thing.seen");
    assert_eq!(held(&world, None).await.difference, plan.difference, "looking again changes nothing");
    let after = world.host.installations().get(&acme("olga"), "echo").await.unwrap();
    assert_eq!(after.held.as_ref().map(|held| held.difference), Some(plan.difference));
    let same = |view: &opsiq_gate::InstallationView| serde_json::json!([view.digest, view.revision, view.allowed]);
    assert_eq!(same(&before), same(&after));
    runs(&world, "0.1.0", 1).await;
    world.host.confirmations().approve(&acme("olga"), &waiting).await.unwrap();

    // It outlives a restart, and other changes keep it.
    let World { dir, host } = world;
    host.close().await.unwrap();
    let world = World { host: Host::open(options(&dir)).await.unwrap(), dir };
    runs(&world, "0.1.0", 1).await;
    let sam = world.host.installations().accept_upgrade(&acme("sam"), "echo", &all_of(plan.difference)).await;
    assert_eq!((sam.unwrap_err().class, world.entries(Kind::Refused).await), (Class::Denied, 1));
    let program = acme("olga").limited_to(["things:read".to_owned()].into());
    let by_program = world.host.installations().accept_upgrade(&program, "echo", &all_of(plan.difference)).await;
    assert_eq!(&*by_program.unwrap_err().code, "act.needs-person");

    let waiting = world.pending("adam", call("refund", REFUND)).await;
    let accept = all_of(plan.difference);
    let view = world.host.installations().accept_upgrade(&acme("olga"), "echo", &accept).await.unwrap();
    assert!(view.held.is_none() && view.allowed.contains(&"audit:thing.seen".to_owned()), "{view:?}");
    runs(&world, "0.2.0", 2).await;
    let refusal = world.host.confirmations().approve(&acme("olga"), &waiting).await.unwrap_err();
    assert_eq!(&*refusal.code, "confirmation.changed");
    let state = world.host.confirmations().show(&acme("olga"), &waiting).await.unwrap().state;
    assert_eq!(state, ConfirmationState::Void);
    assert_eq!(&*refused_acceptance(&world, &accept).await.code, "upgrade.none-held");
    let acts = world.fields(Kind::Admin).await;
    assert!(acts[0].contains("action=connector upgrade accept") && acts[0].contains(&plan.difference.to_string()));
    assert!(acts[1].contains("outcome=held") && acts[1].contains("audit:thing.seen"), "{}", acts[1]);
    assert!(!acts[2].contains("connector upgrade"), "looking twice is one entry: {}", acts[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_difference_as_it_stands_is_accepted() {
    let world = World::new().await;
    let digest = register(&world, &version("0.2.0", MORE)).await;
    let first = held(&world, None).await.difference;
    let other = refused_acceptance(&world, &all_of(Digest::of(b"another"))).await;
    assert_eq!((&*other.code, other.exit_code()), ("upgrade.not-as-shown", 3));
    let kv = [Permission::Kv];
    world.host.installations().change_grant(&acme("olga"), "echo", &[], &kv).await.unwrap();
    for stale in [all_of(first), all_of(first)] {
        assert_eq!(&*refused_acceptance(&world, &stale).await.code, "upgrade.not-as-shown");
    }
    let shown = world.host.installations().held_upgrade(&acme("sam"), "echo").await.unwrap().unwrap();
    assert_ne!(shown.difference, first);
    assert_eq!(shown.withheld, ["kv"]);

    // The ceiling takes part as well.
    let World { dir, host } = world;
    host.close().await.unwrap();
    std::fs::write(data(&dir).join("opsiq.toml"), "[ceiling.plugin.\"opsiq/echo\"]\nactions = [\"look\"]\n").unwrap();
    let world = World { host: Host::open(options(&dir)).await.unwrap(), dir };
    for token in [shown.difference, digest] {
        if token == shown.difference {
            assert_eq!(&*refused_acceptance(&world, &all_of(token)).await.code, "upgrade.not-as-shown");
        } else {
            // By the version's digest: what was shown anew by the refusal before.
            let view = world.host.installations().accept_upgrade(&acme("olga"), "echo", &all_of(token)).await.unwrap();
            assert_eq!(
                (view.withheld.as_slice(), view.plugin.version.to_string()),
                (&["kv".to_owned()][..], "0.2.0".to_owned())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn less_of_it_can_be_accepted_or_none() {
    let world = World::new().await;
    register(&world, &version("0.2.0", MORE)).await;
    let plan = held(&world, None).await;
    let view = world.host.installations().reject_upgrade(&acme("olga"), "echo").await.unwrap();
    assert!(view.held.is_none());
    assert_eq!(&*refused_acceptance(&world, &all_of(plan.difference)).await.code, "upgrade.none-held");
    runs(&world, "0.1.0", 1).await;

    let plan = held(&world, None).await;
    let mut accept = all_of(plan.difference);
    accept.without = vec![Permission::Audit("thing.sen".to_owned())];
    assert_eq!(&*refused_acceptance(&world, &accept).await.code, "grant.not-asked");
    accept.without = vec![Permission::Audit("thing.seen".to_owned())];
    accept.confirm = vec!["change".to_owned()];
    let view = world.host.installations().accept_upgrade(&acme("olga"), "echo", &accept).await.unwrap();
    assert_eq!((view.withheld, view.confirm), (vec!["audit:thing.seen".to_owned()], vec!["change".to_owned()]));
    runs(&world, "0.2.0", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_set_before_the_version_that_needs_it_runs() {
    let world = World::new().await;
    let opens = version("0.2.0", KEY).replace("keys = [\"api-key\"]", "keys = [\"api-key\", \"second-key\"]");
    register(&world, &opens).await;
    let plan = held(&world, None).await;
    assert_eq!(plan.needs_keys, ["second-key"]);
    let refusal = refused_acceptance(&world, &all_of(plan.difference)).await;
    assert_eq!(&*refusal.code, "upgrade.needs-keys");
    assert!(refusal.fix.contains("opsiq key set echo second-key"), "{}", refusal.fix);
    runs(&world, "0.1.0", 1).await;
    let (keys, olga) = (world.host.keys(), acme("olga"));
    let value = || Secret::from(b"the value of the second key".to_vec());
    let view = keys.set(&olga, "echo", "second-key", value()).await.unwrap();
    assert_eq!((view.declared, view.granted, view.versions.len()), (Declared::Held, false, 1));
    runs(&world, "0.1.0", 1).await;
    world.host.installations().accept_upgrade(&olga, "echo", &all_of(plan.difference)).await.unwrap();
    runs(&world, "0.2.0", 2).await;

    // Going back is held as well, and leaves a key that can only be retired.
    let back = held(&world, Some("opsiq/echo@0.1.0")).await;
    assert!(back.groups.iter().flat_map(|group| &group.changes).any(|change| change.text.contains("goes back")));
    world.host.installations().accept_upgrade(&olga, "echo", &all_of(back.difference)).await.unwrap();
    runs(&world, "0.1.0", 3).await;
    assert_eq!(&*keys.rotate(&olga, "echo", "second-key", value()).await.unwrap_err().code, "key.unknown");
    let listed = keys.list(&olga, "echo").await.unwrap();
    assert_eq!(listed.iter().map(|key| key.declared).collect::<Vec<_>>(), [Declared::Installed, Declared::Nowhere]);
    keys.retire(&olga, "echo", "second-key", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_config_is_given_with_the_acceptance() {
    let world = World::new().await;
    let config =
        "\n[config]\ntype = \"object\"\nrequired = [\"region\"]\nproperties.region = { enum = [\"eu\", \"us\"] }\n";
    register(&world, &version("0.2.0", config)).await;
    let plan = held(&world, None).await;
    assert!(plan.config_schema.is_some() && !plan.config_faults.is_empty());
    let mut accept = all_of(plan.difference);
    let refusal = refused_acceptance(&world, &accept).await;
    assert_eq!(&*refusal.code, "config.invalid");
    assert!(refusal.fix.contains("--config region="), "{}", refusal.fix);
    accept.config = Some(serde_json::json!({ "region": "mars" }));
    assert_eq!(&*refused_acceptance(&world, &accept).await.code, "config.invalid");
    accept.config = Some(serde_json::json!({ "region": "eu" }));
    let view = world.host.installations().accept_upgrade(&acme("olga"), "echo", &accept).await.unwrap();
    assert_eq!(view.config, serde_json::json!({ "region": "eu" }));
    runs(&world, "0.2.0", 2).await;
    // A version without config takes over with none.
    register(&world, &version("0.3.0", "")).await;
    let Upgrade::Switched { installation, .. } = upgrade(&world, None).await.unwrap() else { panic!("it waits") };
    assert_eq!(installation.config, serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upgrade_is_refused_or_left() {
    let world = World::new().await;
    register(&world, &version("9.0.0", "").replace("publisher = \"opsiq\"", "publisher = \"evil\"")).await;
    register(&world, &version("1.0.0-rc.1", "")).await;
    assert!(
        matches!(upgrade(&world, None).await.unwrap(), Upgrade::Current { .. }),
        "no pre-release, no other publisher"
    );
    for to in ["opsiq/echo", "echo", "opsiq/echo@0.1.0"] {
        assert!(matches!(upgrade(&world, Some(to)).await.unwrap(), Upgrade::Current { .. }), "{to}");
    }
    for (to, code) in [
        ("evil/echo@9.0.0", "upgrade.other-plugin"),
        ("evil/echo", "upgrade.other-plugin"),
        ("opsiq/echo@0.9.0", "plugin.unknown"),
        ("sha256:0000000000000000000000000000000000000000000000000000000000000000", "plugin.unknown"),
        ("ecco", "plugin.unknown"),
    ] {
        assert_eq!(&*upgrade(&world, Some(to)).await.unwrap_err().code, code, "{to}");
    }
    assert_eq!(world.entries(Kind::Refused).await, 5);
    let support = world.host.installations().upgrade(&acme("sam"), "echo", None).await.unwrap_err();
    assert_eq!(&*support.code, "role.not-allowed");
    runs(&world, "0.1.0", 1).await;
    let Upgrade::Switched { .. } = upgrade(&world, Some("opsiq/echo@1.0.0-rc.1")).await.unwrap() else {
        panic!("held")
    };
    runs(&world, "1.0.0-rc.1", 2).await;
    // A paused installation stays paused.
    world.host.installations().pause(&acme("olga"), "echo").await.unwrap();
    register(&world, &version("1.0.0", "")).await;
    let Upgrade::Switched { installation, .. } = upgrade(&world, Some("echo")).await.unwrap() else { panic!("held") };
    assert_eq!(installation.state, "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_load_replaces_nothing() {
    let world = World::new().await;
    let digest = register(&world, &version("0.2.0", MORE)).await;
    let plan = held(&world, None).await;
    let World { dir, host } = world;
    host.close().await.unwrap();
    let component = data(&dir).join("blobs").join(digest.hex());
    let mut bytes = std::fs::read(&component).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&component, bytes).unwrap();
    let world = World { host: Host::open(options(&dir)).await.unwrap(), dir };
    assert_eq!(refused_acceptance(&world, &all_of(plan.difference)).await.class, Class::Tampered);
    assert_eq!(upgrade(&world, None).await.unwrap_err().class, Class::Tampered);
    runs(&world, "0.1.0", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_progress_ends_on_the_version_it_began_on() {
    let world = World::new().await;
    register(&world, &version("0.2.0", "")).await;
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
    let host = world.host.clone();
    let spin = tokio::spawn(async move { host.invoke(&acme("olga"), call("spin", "{}")).await });
    while world.entries(Kind::Intent).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(matches!(upgrade(&world, None).await.unwrap(), Upgrade::Switched { .. }));
    let view = world.host.installations().get(&acme("olga"), "echo").await.unwrap();
    assert_eq!(view.plugin.version.to_string(), "0.2.0");
    assert_eq!(&*spin.await.unwrap().unwrap_err().code, "cpu_exceeded");
    let end = world.fields(Kind::Outcome).await.into_iter().find(|entry| entry.contains("action=spin")).unwrap();
    assert!(end.contains("plugin=opsiq/echo@0.1.0"), "{end}");
    runs(&world, "0.2.0", 2).await;
}
