//! The end of a tenant while it is at work.

use std::time::Duration;

use opsiq_audit::{Filter, Kind};
use opsiq_gate::{Actor, Class, EraseTenant, FindingStatus, Host, Standing};

use crate::world::{World, acme, call, options, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_what_runs_and_voids_what_waits() {
    let world = World::new().await;
    let operator = Actor::operator();
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
    let waiting = world.pending("adam", call("refund", r#"{"amount":5,"id":"7"}"#)).await;
    let host = world.host.clone();
    let spin = tokio::spawn(async move { host.invoke(&acme("olga"), call("spin", "{}")).await });
    while world.entries(Kind::Intent).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let view = world.host.tenants().cancel(&operator, &tenant("acme")).await.unwrap();
    assert_eq!(view.standing, Standing::Cancelled);
    let ended = spin.await.unwrap().unwrap_err();
    assert!(["stopped", "cpu_exceeded"].contains(&&*ended.code), "{ended}");
    assert_eq!(&*world.refused("olga", call("look", r#"{"id":"7"}"#)).await.code, "tenant.cancelled");
    let refusal = world.host.confirmations().approve(&acme("olga"), &waiting).await.unwrap_err();
    assert_eq!(&*refusal.code, "tenant.cancelled");

    // It outlives a restart.
    let World { dir, host } = world;
    host.close().await.unwrap();
    let world = World { host: Host::open(options(&dir)).await.unwrap(), dir };
    assert_eq!(&*world.refused("olga", call("look", r#"{"id":"7"}"#)).await.code, "tenant.cancelled");
    world.host.tenants().restore(&operator, &tenant("acme")).await.unwrap();
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_waits_for_what_it_stops_and_leaves_the_tree() {
    let world = World::new().await;
    let operator = Actor::operator();
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
    let host = world.host.clone();
    let spin = tokio::spawn(async move { host.invoke(&acme("olga"), call("spin", "{}")).await });
    while world.entries(Kind::Intent).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let erase = EraseTenant { id: tenant("acme"), confirm: "acme".to_owned(), now: true };
    let by_owner = world.host.tenants().erase(&acme("olga"), &erase).await.unwrap_err();
    assert_eq!(by_owner.class, Class::Denied);
    let view = world.host.tenants().erase(&operator, &erase).await.unwrap();
    assert_eq!((view.standing, view.title.as_str()), (Standing::Erased, ""));
    assert!(spin.await.unwrap().is_err());
    assert_eq!(&*world.refused("olga", call("look", r#"{"id":"7"}"#)).await.code, "tenant.erased");
    assert_eq!(&*world.host.users().list(&acme("olga")).await.unwrap_err().code, "tenant.erased");
    let doctor = world.host.doctor().await;
    let erased: Vec<_> = doctor.iter().filter(|finding| finding.check == "erased tenant").collect();
    assert!(erased.len() == 1 && erased[0].status == FindingStatus::Ok, "{erased:?}");
    assert!(doctor.iter().all(|finding| finding.status != FindingStatus::Fail), "{doctor:?}");

    let World { dir, host } = world;
    host.close().await.unwrap();
    let host = Host::open(options(&dir)).await.unwrap();
    let listed = host.tenants().list(&operator).await.unwrap();
    let standing: Vec<_> = listed.iter().map(|one| (one.id.as_str(), one.standing)).collect();
    assert_eq!(standing, [("acme", Standing::Erased), ("other", Standing::Active)]);
    let acts = Filter { kind: Some(Kind::Admin), ..Filter::default() };
    let acts = host.audit().list(&operator, &acts).await.unwrap().entries;
    let told = |entry: &opsiq_audit::View| entry.fields.iter().any(|(_, value)| value.to_string() == "tenant erase");
    assert_eq!(acts.iter().filter(|entry| told(entry)).count(), 2, "begun and done");
}
