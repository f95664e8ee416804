//! A tenant's programs: what they may do, their secrets, and how both end.

use std::collections::BTreeSet;
use std::time::Duration;

use opsiq_audit::Kind;
use opsiq_contract::Role;
use opsiq_gate::{Actor, Answer, Class, Host, NewClientKey, OVERLAP, Refusal, Stage};

use crate::world::{World, acme, call, options, tenant};

pub(crate) fn scopes(scopes: &[&str]) -> BTreeSet<String> {
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

pub(crate) async fn create(world: &World, name: &str, held: &[&str]) -> NewClientKey {
    world.host.clients().create(&acme("olga"), name, Role::Support, &scopes(held)).await.unwrap()
}

fn till() -> Actor {
    Actor::client(tenant("acme"), "till")
}

fn code<T>(done: Result<T, Refusal>) -> String {
    done.err().map(|refusal| refusal.code.into_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_does_what_its_scopes_and_role_allow() {
    let world = World::new().await;
    create(&world, "till", &["things:read", "things:refund"]).await;
    let host = &world.host;
    let look = || call("look", r#"{"id":"7"}"#);
    assert!(matches!(host.invoke(&till(), look()).await.unwrap(), Answer::Done(_)));
    assert!(world.fields(Kind::Outcome).await.iter().any(|entry| entry.contains("actor=client:till")));
    assert_eq!(code(host.invoke(&till(), call("change", r#"{"id":"7"}"#)).await), "scope.missing");
    // It holds the scope, and its role is not one that the action is for.
    assert_eq!(code(host.invoke(&till(), call("refund", r#"{"id":"7","amount":1}"#)).await), "role.not-allowed");
    // What is changed holds from the next act on.
    let clients = host.clients();
    clients.allow(&acme("olga"), "till", Some(Role::Admin), Some(&scopes(&["things:refund"]))).await.unwrap();
    assert_eq!(code(host.invoke(&till(), look()).await), "scope.missing");
    assert!(matches!(
        host.invoke(&till(), call("refund", r#"{"id":"7","amount":1}"#)).await.unwrap(),
        Answer::Pending(_)
    ));
    // Limiting it further adds nothing.
    let limited = till().limited_to(scopes(&["things:read", "things:write"]));
    assert_eq!(code(host.invoke(&limited, look()).await), "scope.missing");
}

/// Whatever its role and scopes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_does_nothing_that_is_for_a_person() {
    let world = World::new().await;
    let host = &world.host;
    host.clients().create(&acme("olga"), "till", Role::Owner, &scopes(&["things:refund"])).await.unwrap();
    let Answer::Pending(view) = host.invoke(&till(), call("refund", r#"{"id":"7","amount":1}"#)).await.unwrap() else {
        panic!("it ran");
    };
    let other = world.pending("olga", call("refund", r#"{"id":"8","amount":1}"#)).await;
    let refused = [
        code(host.confirmations().approve(&till(), &view.id).await),
        code(host.confirmations().deny(&till(), &view.id).await),
        code(host.users().list(&till()).await),
        code(host.users().add(&till(), "eve", Role::Owner).await),
        code(host.clients().create(&till(), "other", Role::Owner, &scopes(&[])).await),
        code(host.clients().rotate(&till(), "till", OVERLAP).await),
        code(host.keys().list(&till(), "echo").await),
        code(host.audit().list(&till(), &opsiq_audit::Filter::default()).await),
        code(host.tenants().cancel(&till(), &tenant("acme")).await),
    ];
    assert_eq!(refused[0], "confirmation.not-approver");
    assert_eq!(refused[8], "act.needs-operator");
    assert!(refused[1..8].iter().all(|code| code == "act.needs-person"), "{refused:?}");
    // It sees what it asked for and nothing else.
    let seen: Vec<_> = host.confirmations().list(&till()).await.unwrap().into_iter().map(|view| view.id).collect();
    assert_eq!(seen, std::slice::from_ref(&view.id));
    assert_eq!(code(host.confirmations().show(&till(), &other).await), "confirmation.unknown");
    // A person approves what it asked for.
    assert!(matches!(host.confirmations().approve(&acme("olga"), &view.id).await.unwrap(), Answer::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_client_asked_for_never_runs() {
    let world = World::new().await;
    let host = &world.host;
    host.clients().create(&acme("olga"), "till", Role::Admin, &scopes(&["things:refund"])).await.unwrap();
    let mut waiting = Vec::new();
    for id in ["7", "8"] {
        let call = call("refund", &format!(r#"{{"id":"{id}","amount":1}}"#));
        match host.invoke(&till(), call).await.unwrap() {
            Answer::Pending(view) => waiting.push(view.id),
            Answer::Done(_) => panic!("it ran"),
        }
    }
    // A scope that is taken away ends what hangs on it,
    host.clients().allow(&acme("olga"), "till", None, Some(&scopes(&["things:read"]))).await.unwrap();
    assert_eq!(code(host.confirmations().approve(&acme("olga"), &waiting[0]).await), "scope.missing");
    host.clients().allow(&acme("olga"), "till", None, Some(&scopes(&["things:refund"]))).await.unwrap();
    // and so does its end.
    let revoked = host.clients().revoke(&acme("olga"), "till").await.unwrap();
    assert!(revoked.revoked && revoked.keys.is_empty());
    assert_eq!(code(host.confirmations().approve(&acme("olga"), &waiting[1]).await), "confirmation.requester-gone");
    let refusal = host.invoke(&till(), call("look", r#"{"id":"7"}"#)).await.unwrap_err();
    assert_eq!((&*refusal.code, refusal.stage), ("caller.disabled", Stage::Authenticate));
    assert_eq!(code(host.clients().revoke(&acme("olga"), "till").await), "client.revoked");
    assert_eq!(code(host.clients().rotate(&acme("olga"), "till", OVERLAP).await), "client.revoked");
    // Its name is not given again: entries of the log speak of it.
    assert_eq!(code(host.clients().create(&acme("olga"), "till", Role::Support, &scopes(&[])).await), "client.exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_alone_make_and_end_clients() {
    let world = World::new().await;
    let host = &world.host;
    for user in ["adam", "sam"] {
        let refusal = host.clients().create(&acme(user), "till", Role::Support, &scopes(&[])).await.unwrap_err();
        assert_eq!((&*refusal.code, refusal.class), ("role.not-allowed", Class::Denied));
    }
    create(&world, "till", &[]).await;
    for user in ["adam", "sam"] {
        assert_eq!(code(host.clients().rotate(&acme(user), "till", OVERLAP).await), "role.not-allowed");
        assert_eq!(code(host.clients().revoke(&acme(user), "till").await), "role.not-allowed");
    }
    assert_eq!(host.clients().list(&acme("adam")).await.unwrap().len(), 1);
    assert_eq!(code(host.clients().list(&acme("sam")).await), "role.not-allowed");
    let other = Actor::user(tenant("other"), "olga");
    assert!(host.clients().list(&other).await.unwrap().is_empty());
    assert_eq!(code(host.clients().revoke(&other, "till").await), "client.unknown");
    for (name, held) in [("Till", "a:b"), ("", "a:b"), ("a/b", "a:b"), ("ok", "a"), ("ok", "*:*")] {
        let refusal = host.clients().create(&acme("olga"), name, Role::Support, &scopes(&[held])).await.unwrap_err();
        assert_eq!(refusal.class, Class::Invalid, "{name} {held}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rotation_at_a_time() {
    let world = World::new().await;
    let (host, olga) = (&world.host, acme("olga"));
    let first = create(&world, "till", &[]).await;
    assert_eq!(first.key_id, "acme/till/1");
    let second = host.clients().rotate(&olga, "till", OVERLAP).await.unwrap();
    assert_eq!(second.key_id, "acme/till/2");
    assert_ne!(first.secret.expose(), second.secret.expose());
    assert_eq!(second.client.keys.iter().map(|key| key.until_ms.is_some()).collect::<Vec<_>>(), [false, true]);
    let refusal = host.clients().rotate(&olga, "till", OVERLAP).await.unwrap_err();
    assert_eq!((&*refusal.code, refusal.class), ("client.rotating", Class::Conflict));
    assert_eq!(code(host.clients().rotate(&olga, "till", Duration::ZERO).await), "client.rotating");
    // The window ends when the older one is ended,
    assert_eq!(host.clients().retire(&olga, "till").await.unwrap().keys.len(), 1);
    assert_eq!(code(host.clients().retire(&olga, "till").await), "client.not-rotating");
    // is not there at all without overlap,
    let third = host.clients().rotate(&olga, "till", Duration::ZERO).await.unwrap();
    assert_eq!((third.key_id.as_str(), third.client.keys.len()), ("acme/till/3", 1));
    // and is over when its time is up.
    host.clients().rotate(&olga, "till", Duration::from_millis(30)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let fifth = host.clients().rotate(&olga, "till", OVERLAP).await.unwrap();
    assert_eq!((fifth.key_id.as_str(), fifth.client.keys.len()), ("acme/till/5", 2));
    assert_eq!(code(host.clients().rotate(&olga, "till", Duration::from_hours(31 * 24)).await), "client.overlap");
}

/// Nothing but the answer to whoever made it holds a secret, and what is read again is what was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_told_once_and_stands_nowhere() {
    let world = World::new().await;
    let new = create(&world, "till", &["things:read"]).await;
    let secret = String::from_utf8(new.secret.expose().to_vec()).unwrap();
    assert!(secret.starts_with("opsiq_cs_") && secret.len() == 9 + 64);
    let views = serde_json::to_string(&world.host.clients().list(&acme("olga")).await.unwrap()).unwrap();
    assert!(!views.contains(&secret[9..]) && !format!("{new:?}").contains(&secret[9..]));
    assert!(!world.fields(Kind::Admin).await.join("\n").contains(&secret[9..]));
    world.host.clone().close().await.unwrap();
    let World { dir, host } = world;
    drop(host);
    for file in ["data.db", "keys.db"] {
        let bytes = std::fs::read(crate::world::data(&dir).join(file)).unwrap();
        assert!(!bytes.windows(64).any(|window| window == &secret.as_bytes()[9..]), "{file}");
    }
    let host = Host::open(options(&dir)).await.unwrap();
    let again = host.clients().list(&acme("olga")).await.unwrap();
    assert_eq!(again[0].keys[0].fingerprint, new.client.keys[0].fingerprint);
    // A rotation of the tenant's key moves the secret with everything else.
    host.master_keys().rotate_tenant(&Actor::operator(), &tenant("acme"), &|_| ()).await.unwrap();
    assert_eq!(host.clients().list(&acme("olga")).await.unwrap().len(), 1);
}

/// Whoever was told its secret can ask in its name: they are no second person for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_no_second_person_for_who_holds_its_secret() {
    let world = World::new().await;
    let host = &world.host;
    host.users().add(&acme("olga"), "otto", Role::Owner).await.unwrap();
    host.clients().create(&acme("olga"), "till", Role::Admin, &scopes(&["things:refund"])).await.unwrap();
    host.tenants().require_second_person(&acme("olga"), true).await.unwrap();
    let ask = async || match host.invoke(&till(), call("refund", r#"{"id":"7","amount":1}"#)).await.unwrap() {
        Answer::Pending(view) => view.id,
        Answer::Done(_) => panic!("it ran"),
    };
    let approve = async |who: &str, id: &str| code(host.confirmations().approve(&acme(who), id).await);
    let first = ask().await;
    assert_eq!(approve("olga", &first).await, "confirmation.not-approver");
    assert_eq!(approve("otto", &first).await, "");
    // Who rotates it is told the next one.
    host.clients().rotate(&acme("otto"), "till", OVERLAP).await.unwrap();
    let second = ask().await;
    for told in ["olga", "otto"] {
        assert_eq!(approve(told, &second).await, "confirmation.not-approver", "{told}");
    }
    assert_eq!(approve("adam", &second).await, "");
    host.tenants().require_second_person(&acme("olga"), false).await.unwrap();
    let third = ask().await;
    assert_eq!(approve("olga", &third).await, "");
}
