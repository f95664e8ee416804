//! The process ends in the middle of a call.

use std::time::Duration;

use opsiq_audit::Kind;
use opsiq_gate::{ConfirmationState, FindingStatus, Host};

use crate::world::{World, acme, call, keyed, options};

/// Begins calls on a runtime of their own and ends it under them, as a killed process would.
fn killed_during(begin: impl AsyncFnOnce(World) -> World + Send + 'static) -> tempfile::TempDir {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let World { dir, host } = runtime.block_on(async move { begin(World::new().await).await });
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(80)).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(host);
    dir
}

#[test]
fn a_call_in_progress_is_reported_and_never_run_again() {
    let dir = killed_during(async |world| {
        let host = world.host.clone();
        tokio::spawn(async move { host.invoke(&acme("olga"), keyed("spin", "{}", "k")).await });
        world
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(options(&dir)).await.unwrap();
        assert_eq!(host.recovered().len(), 1);
        let lost = &host.recovered()[0];
        assert_eq!(
            (lost.actor.as_str(), lost.installation.as_str(), lost.action.as_str()),
            ("user:olga", "echo", "spin")
        );
        let world = World { dir, host };
        assert_eq!(world.entries(Kind::Interrupted).await, 1);
        let refusal = world.refused("olga", keyed("spin", "{}", "k")).await;
        assert_eq!(&*refusal.code, "idempotency.unknown");
        assert!(refusal.effect_possible);
        assert_eq!(world.entries(Kind::Intent).await, 1);
        let findings = world.host.doctor().await;
        assert!(findings.iter().any(|f| f.check == "interrupted calls" && f.status == FindingStatus::Warn));
        world.host.close().await.unwrap();
        let host = Host::open(options(&world.dir)).await.unwrap();
        assert!(host.recovered().is_empty(), "each is told once");
    });
}

#[test]
fn an_approved_call_in_progress_ends_its_confirmation_as_interrupted() {
    let dir = killed_during(async |world| {
        let raise = [opsiq_contract::Permission::Confirm("spin".to_owned())];
        world.host.installations().change_grant(&acme("olga"), "echo", &raise, &[]).await.unwrap();
        let id = world.pending("olga", call("spin", "{}")).await;
        let host = world.host.clone();
        tokio::spawn(async move { host.confirmations().approve(&acme("olga"), &id).await });
        world
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::open(options(&dir)).await.unwrap();
        assert_eq!(host.recovered().len(), 1);
        let views = host.confirmations().list(&acme("olga")).await.unwrap();
        assert_eq!(views[0].state, ConfirmationState::Interrupted);
        assert_eq!(
            &*host.confirmations().approve(&acme("olga"), &views[0].id).await.unwrap_err().code,
            "confirmation.decided"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_does_not_stop_a_write() {
    let world = World::new().await;
    world.done("olga", call("look", r#"{"id":"7"}"#)).await;
    let gone = tokio::time::timeout(Duration::from_millis(60), world.invoke("olga", call("spin", "{}"))).await;
    assert!(gone.is_err());
    world.host.clone().close().await.unwrap();
    let dir = world.dir;
    drop(world.host);
    let host = Host::open(options(&dir)).await.unwrap();
    assert!(host.recovered().is_empty(), "it went on to its outcome");
    let world = World { dir, host };
    assert!(world.fields(Kind::Outcome).await.iter().any(|entry| entry.contains("outcome=cpu_exceeded")));
}
