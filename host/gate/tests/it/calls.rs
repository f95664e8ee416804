//! Stages 3 to 6 and 8 to 12: what is refused, what runs, what is on record.

use futures::future::join_all;
use opsiq_audit::Kind;
use opsiq_gate::{Actor, Answer, Class, Stage, StepVerdict};

use crate::world::{SECRET, World, acme, call, keyed, request, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_answers_once_its_outcome_is_on_record() {
    let world = World::new().await;
    let done = world.done("sam", call("look", "{ \"note\": \"n\", \"id\": \"7\" }")).await;
    assert_eq!(done.result, r#"{"id":"7","note":"n"}"#);
    assert_eq!(done.shown().to_string(), r#"{"id":"7","note":"[pii]"}"#);
    assert!(!done.replayed && done.meter.wall_us > 0);
    assert_eq!(world.entries(Kind::Intent).await, 0, "a read needs no intent");
    let outcomes = world.fields(Kind::Outcome).await;
    assert_eq!(outcomes.len(), 1);
    for part in [
        "actor=user:sam",
        "role=support",
        "outcome=ok",
        "params={\"id\":\"7\",\"note\":\"[pii]\"}",
        "installation=echo",
    ] {
        assert!(outcomes[0].contains(part), "{part} in {}", outcomes[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_has_an_intent_before_its_outcome() {
    let world = World::new().await;
    world.done("sam", call("change", r#"{"id":"7"}"#)).await;
    assert_eq!((world.entries(Kind::Intent).await, world.entries(Kind::Outcome).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_refused_with_the_nearest_known() {
    let world = World::new().await;
    let refusal = world.refused("olga", call("lok", "{}")).await;
    assert_eq!((&*refusal.code, refusal.class, refusal.stage), ("action.unknown", Class::NotFound, Stage::Resolve));
    assert!(refusal.fix.contains("`look`"), "{}", refusal.fix);
    let mut other = call("look", "{}");
    other.installation = "eco".to_owned();
    let refusal = world.refused("olga", other).await;
    assert_eq!(&*refusal.code, "installation.unknown");
    assert!(refusal.fix.contains("`echo`"), "{}", refusal.fix);
    assert_eq!(world.entries(Kind::Refused).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn params_off_their_schema_run_nothing_and_are_told_by_path() {
    let world = World::new().await;
    for params in [
        "{}",
        r#"{"id":7}"#,
        r#"{"id":"7","more":1}"#,
        r#"{"id":"7","id":"8"}"#,
        r#"{"id":"7","ⅰd":"8"}"#,
        r#"{"id":1e400}"#,
        "",
        "[]",
        "{\"id\":\"7\"} x",
    ] {
        let refusal = world.refused("olga", call("change", params)).await;
        assert_eq!(
            (&*refusal.code, refusal.stage, refusal.exit_code()),
            ("params.invalid", Stage::Params, 6),
            "{params}"
        );
        assert!(!refusal.faults.is_empty());
    }
    assert_eq!(world.entries(Kind::Intent).await, 0);
    assert_eq!(world.entries(Kind::Outcome).await, 0);
    let refused = world.fields(Kind::Refused).await;
    assert_eq!(refused.len(), 9);
    assert!(refused.iter().any(|entry| entry.contains("faults=/id: ")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_or_scope_the_action_does_not_name_is_refused() {
    let world = World::new().await;
    let refusal = world.refused("sam", call("refund", r#"{"id":"7","amount":1}"#)).await;
    assert_eq!((refusal.class, refusal.stage), (Class::Denied, Stage::Authority));
    let program = acme("olga").limited_to(["things:read".to_owned()].into());
    assert!(world.host.invoke(&program, call("look", r#"{"id":"7"}"#)).await.is_ok());
    let refusal = world.host.invoke(&program, call("change", r#"{"id":"7"}"#)).await.unwrap_err();
    assert_eq!((refusal.class, refusal.stage), (Class::Denied, Stage::Authority));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_nothing() {
    let world = World::new().await;
    let stranger = Actor::user(tenant("other"), "olga");
    let refusal = world.host.invoke(&stranger, call("look", r#"{"id":"7"}"#)).await.unwrap_err();
    assert_eq!((&*refusal.code, refusal.class), ("installation.unknown", Class::NotFound));
    let id = world.host.installations().get(&acme("olga"), "echo").await.unwrap().id.to_string();
    let mut by_id = call("look", r#"{"id":"7"}"#);
    by_id.installation = id;
    assert_eq!(world.host.invoke(&stranger, by_id.clone()).await.unwrap_err().class, Class::NotFound);
    assert!(world.host.invoke(&acme("sam"), by_id).await.is_ok());
    for nobody in [Actor::user(tenant("none"), "olga"), Actor::user(tenant("other"), "nobody")] {
        let refusal = world.host.invoke(&nobody, call("look", "{}")).await.unwrap_err();
        assert_eq!((&*refusal.code, refusal.exit_code()), ("caller.unknown", 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn until_its_keys_are_set_an_installation_runs_nothing() {
    let world = World::new().await;
    let view = world.host.installations().install(&acme("adam"), &request("bare")).await.unwrap();
    assert_eq!(view.needs_keys, ["api-key"]);
    let mut bare = call("change", r#"{"id":"7"}"#);
    bare.installation = "bare".to_owned();
    let refusal = world.refused("olga", bare).await;
    assert_eq!(&*refusal.code, "key.missing");
    assert!(refusal.fix.contains("opsiq key set bare api-key"), "{}", refusal.fix);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_is_one_effect() {
    let world = World::new().await;
    let same = || world.invoke("olga", keyed("change", r#"{"id":"7"}"#, "k-1"));
    let answers = join_all((0..100).map(|_| same())).await;
    let (mut ran, mut replayed) = (0, 0);
    for answer in answers {
        match answer {
            Ok(Answer::Done(done)) if done.replayed => replayed += 1,
            Ok(Answer::Done(_)) => ran += 1,
            Ok(Answer::Pending(_)) => panic!("a write waits for nobody"),
            Err(refusal) => assert_eq!(&*refusal.code, "idempotency.in-flight"),
        }
    }
    assert_eq!(ran, 1, "{replayed} replayed");
    assert_eq!(world.entries(Kind::Intent).await, 1);
    let again = world.done("olga", keyed("change", r#"{ "id": "7" }"#, "k-1")).await;
    assert!(again.replayed && again.result == r#"{"id":"7"}"#);
    let other = world.refused("olga", keyed("change", r#"{"id":"8"}"#, "k-1")).await;
    assert_eq!((&*other.code, other.class), ("idempotency.other-params", Class::Invalid));
    assert!(!world.done("sam", keyed("change", r#"{"id":"8"}"#, "k-1")).await.replayed, "another client, another key");
    assert_eq!(world.entries(Kind::Intent).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_run_failed_is_told_stored_and_on_record() {
    let world = World::new().await;
    let refusal = world.refused("olga", keyed("fail", "{}", "k")).await;
    assert_eq!((&*refusal.code, refusal.class, &*refusal.message), ("plugin.conflict", Class::Plugin, "taken"));
    assert!(refusal.invocation.is_some() && !refusal.effect_possible);
    let again = world.refused("olga", keyed("fail", "{}", "k")).await;
    assert_eq!((&again.code, &again.invocation), (&refusal.code, &refusal.invocation));
    let refusal = world.refused("olga", call("break-contract", "{}")).await;
    assert_eq!((&*refusal.code, refusal.stage), ("result.off-contract", Stage::Result));
    let refusal = world.refused("olga", call("spin", "{}")).await;
    assert_eq!((&*refusal.code, refusal.exit_code()), ("cpu_exceeded", 7));
    let outcomes = world.fields(Kind::Outcome).await;
    for code in ["outcome=plugin.conflict", "outcome=replayed", "outcome=result.off-contract", "outcome=cpu_exceeded"] {
        assert!(outcomes.iter().any(|entry| entry.contains(code)), "{code}");
    }
    assert!(world.invoke("olga", call("look", r#"{"id":"7"}"#)).await.is_ok(), "the next call is none the worse");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_holds_a_secret_is_withheld() {
    let world = World::new().await;
    let hex = hex::encode(SECRET);
    for text in [SECRET, hex.as_str()] {
        let params = serde_json::json!({ "id": format!("x{text}y") }).to_string();
        let refusal = world.refused("olga", call("look", &params)).await;
        assert_eq!(&*refusal.code, "result.secret");
        assert!(!refusal.to_string().contains(text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explaining_tells_every_stage_and_runs_nothing() {
    let world = World::new().await;
    let explain = |user: &str, call| {
        let actor = acme(user);
        let host = world.host.clone();
        async move { host.explain(&actor, &call).await.unwrap() }
    };
    assert_eq!(explain("sam", call("look", r#"{"id":"7"}"#)).await.verdict, StepVerdict::Pass);
    assert_eq!(explain("olga", call("refund", r#"{"id":"7","amount":1}"#)).await.verdict, StepVerdict::Wait);
    let refused = explain("sam", call("refund", "{}")).await;
    assert_eq!(refused.verdict, StepVerdict::Refuse);
    assert!(refused.steps.iter().any(|step| step.verdict == StepVerdict::Refuse && !step.change.is_empty()));
    let invalid = explain("olga", call("look", "{}")).await;
    assert_eq!(invalid.steps.last().unwrap().rule, "params.invalid");
    assert_eq!(world.entries(Kind::Outcome).await, 0);
}
