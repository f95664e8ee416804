//! Stage 7: what waits for a person, who may decide, and what makes it void.

use std::time::Duration;

use futures::future::{join, join_all};
use opsiq_audit::Kind;
use opsiq_contract::{Permission, Role};
use opsiq_gate::{Actor, Answer, Class, ConfirmationState};

use crate::world::{World, acme, call, keyed, tenant};

const REFUND: &str = r#"{"amount":5,"id":"7","note":"private"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_shows_exactly_what_will_run_and_runs_once() {
    let world = World::new().await;
    let id = world.pending("adam", call("refund", REFUND)).await;
    assert_eq!(world.entries(Kind::Intent).await, 0);
    let confirmations = world.host.confirmations();
    let view = confirmations.show(&acme("olga"), &id).await.unwrap();
    assert_eq!((view.state, view.preview.as_str()), (ConfirmationState::Pending, "Refund 5 of 7"));
    assert_eq!((view.requester.as_str(), view.role), ("user:adam", Role::Admin));
    let shown: Vec<_> = view.arguments.iter().map(|a| (a.path.as_str(), a.value.as_str())).collect();
    assert_eq!(shown, [("/amount", "5"), ("/id", "7"), ("/note", "[pii]")]);
    let Answer::Done(done) = confirmations.approve(&acme("olga"), &id).await.unwrap() else { panic!("it waits again") };
    assert_eq!(done.result, REFUND);
    assert_eq!(done.invocation.as_str(), id, "one id from the call to its outcome");
    let view = confirmations.show(&acme("adam"), &id).await.unwrap();
    assert_eq!(
        (view.state, view.decided_by.as_deref(), view.outcome.as_deref()),
        (ConfirmationState::Done, Some("user:olga"), Some("ok"))
    );
    for again in
        [confirmations.approve(&acme("olga"), &id).await.err(), confirmations.deny(&acme("olga"), &id).await.err()]
    {
        assert_eq!(&*again.unwrap().code, "confirmation.decided");
    }
    assert_eq!(world.entries(Kind::Intent).await, 1);
    assert!(world.fields(Kind::Intent).await[0].contains("approved_by=user:olga"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_decisions_exactly_one_happens() {
    let world = World::new().await;
    for _ in 0..5 {
        let id = world.pending("adam", call("refund", REFUND)).await;
        let confirmations = world.host.confirmations();
        let olga = acme("olga");
        let approve = join_all((0..8).map(|_| confirmations.approve(&olga, &id)));
        let deny = join_all((0..8).map(|_| confirmations.deny(&olga, &id)));
        let (approved, denied) = join(approve, deny).await;
        let approved = approved.iter().filter(|answer| answer.is_ok()).count();
        let denied = denied.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(approved + denied, 1);
        let state = confirmations.show(&olga, &id).await.unwrap().state;
        assert_eq!(state, if approved == 1 { ConfirmationState::Done } else { ConfirmationState::Denied });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_person_of_a_fitting_role_and_tenant_approves() {
    let world = World::new().await;
    let id = world.pending("adam", call("refund", REFUND)).await;
    let confirmations = world.host.confirmations();
    let refused = async |actor: &Actor| confirmations.approve(actor, &id).await.unwrap_err();
    assert_eq!(refused(&acme("sam")).await.class, Class::NotFound, "support sees its own alone");
    assert_eq!(refused(&Actor::user(tenant("other"), "olga")).await.class, Class::NotFound);
    assert_eq!(refused(&Actor::operator()).await.class, Class::Denied);
    let program = acme("olga").limited_to(["things:refund".to_owned()].into());
    assert_eq!(&*refused(&program).await.code, "confirmation.not-approver");
    world.host.tenants().require_second_person(&acme("olga"), true).await.unwrap();
    assert_eq!(&*refused(&acme("adam")).await.code, "confirmation.not-approver");
    assert!(confirmations.approve(&acme("olga"), &id).await.is_ok());
    world.host.tenants().require_second_person(&acme("olga"), false).await.unwrap();
    let own = world.pending("adam", call("refund", REFUND)).await;
    assert!(confirmations.approve(&acme("adam"), &own).await.is_ok(), "a person may approve what they asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_was_bound_to_changed_so_it_is_void() {
    let world = World::new().await;
    let confirmations = world.host.confirmations();
    let olga = acme("olga");
    let installations = world.host.installations();
    let asked = async || world.pending("adam", call("refund", REFUND)).await;
    let void = async |id: String, code: &str| {
        let refusal = confirmations.approve(&olga, &id).await.unwrap_err();
        assert_eq!(&*refusal.code, code);
        assert_eq!(confirmations.show(&olga, &id).await.unwrap().state, ConfirmationState::Void);
    };
    let id = asked().await;
    installations.change_grant(&olga, "echo", &[], &[Permission::Kv]).await.unwrap();
    void(id, "confirmation.changed").await;

    let id = asked().await;
    installations.pause(&olga, "echo").await.unwrap();
    void(id, "installation.paused").await;
    installations.resume(&olga, "echo").await.unwrap();

    let id = asked().await;
    world.host.users().set_role(&olga, "adam", Role::Owner).await.unwrap();
    void(id, "confirmation.changed").await;

    let id = asked().await;
    world.host.users().disable(&olga, "adam").await.unwrap();
    // It is void at once, so that nothing brings it back.
    void(id, "confirmation.decided").await;
    assert_eq!(&*world.refused("adam", call("look", r#"{"id":"7"}"#)).await.code, "caller.disabled");
    assert_eq!(world.entries(Kind::Intent).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_expires() {
    let world = World::with("[confirmation]\nexpires-after = \"1s\"\n").await;
    let id = world.pending("adam", keyed("refund", REFUND, "k")).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let confirmations = world.host.confirmations();
    let refusal = confirmations.approve(&acme("olga"), &id).await.unwrap_err();
    assert_eq!(&*refusal.code, "confirmation.decided");
    let views = confirmations.list(&acme("olga")).await.unwrap();
    assert_eq!((views.len(), views[0].state), (1, ConfirmationState::Expired));
    assert_eq!(&*world.refused("adam", keyed("refund", REFUND, "k")).await.code, "confirmation.expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_holds_through_the_wait() {
    let world = World::new().await;
    let id = world.pending("adam", keyed("refund", REFUND, "k")).await;
    assert_eq!(world.pending("adam", keyed("refund", REFUND, "k")).await, id, "the same call waits once");
    let other = world.refused("adam", keyed("refund", r#"{"amount":6,"id":"7"}"#, "k")).await;
    assert_eq!(&*other.code, "idempotency.other-params");
    let confirmations = world.host.confirmations();
    assert_eq!(confirmations.list(&acme("olga")).await.unwrap().len(), 1);
    confirmations.approve(&acme("olga"), &id).await.unwrap();
    let done = world.done("adam", keyed("refund", REFUND, "k")).await;
    assert!(done.replayed && done.result == REFUND);
    assert_eq!(world.entries(Kind::Intent).await, 1);

    let id = world.pending("adam", keyed("refund", REFUND, "d")).await;
    confirmations.deny(&acme("adam"), &id).await.unwrap();
    assert_eq!(&*world.refused("adam", keyed("refund", REFUND, "d")).await.code, "confirmation.denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_raises_a_write_to_wait() {
    let world = World::new().await;
    let raise = [Permission::Confirm("change".to_owned())];
    world.host.installations().change_grant(&acme("olga"), "echo", &raise, &[]).await.unwrap();
    let id = world.pending("sam", call("change", r#"{"id":"7"}"#)).await;
    assert_eq!(world.host.confirmations().list(&acme("sam")).await.unwrap().len(), 1);
    assert!(world.host.confirmations().approve(&acme("sam"), &id).await.is_err());
    assert!(world.host.confirmations().approve(&acme("adam"), &id).await.is_ok());
}
