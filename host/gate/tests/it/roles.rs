//! Custom roles, and every role at every action of every tenant against a judge of its own.

use std::collections::BTreeSet;

use opsiq_audit::Kind;
use opsiq_contract::{CustomRole, Role};
use opsiq_gate::{Actor, Answer, Call, Class, StepVerdict};

use crate::people::{code, knock};
use crate::world::{World, acme, call, tenant};

fn set(entries: &[&str]) -> BTreeSet<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

fn role(name: &str, base: Role, actions: &[&str], scopes: &[&str]) -> CustomRole {
    let (name, actions, scopes) = (name.to_owned(), set(actions), set(scopes));
    CustomRole { name, base, actions, scopes, acts: BTreeSet::new(), confirm_writes: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_is_its_base_and_less() {
    let world = World::new().await;
    let (roles, users, olga) = (world.host.roles(), world.host.users(), acme("olga"));
    let looks = CustomRole {
        acts: set(&["connector list"]),
        ..role("looks", Role::Admin, &["opsiq/echo/look"], &["things:write"])
    };
    roles.create(&olga, looks.clone(), false).await.unwrap();
    users.add(&olga, "nora", Role::Support).await.unwrap();
    let view = users.assign(&olga, "nora", "looks").await.unwrap();
    assert_eq!((view.role, view.custom.as_deref()), (Role::Admin, Some("looks")));
    let nora = acme("nora");
    for (action, params) in [("look", r#"{"id":"7"}"#), ("change", r#"{"id":"7"}"#)] {
        assert!(world.host.invoke(&nora, call(action, params)).await.is_ok(), "{action}");
    }
    let refund = call("refund", r#"{"amount":5,"id":"7"}"#);
    let refusal = world.host.invoke(&nora, refund.clone()).await.unwrap_err();
    assert_eq!((&*refusal.code, refusal.class), ("role.narrowed", Class::Denied));
    assert!(refusal.fix.contains("opsiq/echo/refund"), "{}", refusal.fix);
    let told = world.host.explain(&nora, &refund).await.unwrap();
    let step = told.steps.iter().find(|step| step.rule == "role.narrowed").unwrap();
    assert_eq!(
        (told.verdict, step.verdict, step.stage.as_str()),
        (StepVerdict::Refuse, StepVerdict::Refuse, "authority")
    );
    let told = world.host.explain(&nora, &call("look", r#"{"id":"7"}"#)).await.unwrap();
    assert!(told.steps.iter().any(|step| step.rule == "role.custom"), "{told:?}");
    // What it does not name of administration is not the base's either.
    assert!(world.host.installations().list(&nora).await.is_ok());
    assert_eq!(&*world.host.installations().pause(&nora, "echo").await.unwrap_err().code, "role.narrowed");
    assert_eq!(&*users.list(&nora).await.unwrap_err().code, "role.narrowed");
    let waits = world.pending("adam", refund.clone()).await;
    let confirmations = world.host.confirmations();
    assert_eq!(confirmations.approve(&nora, &waits).await.unwrap_err().class, Class::NotFound);
    assert!(confirmations.list(&nora).await.unwrap().is_empty());
    // Another at the next call; and what waits goes with it.
    roles.create(&olga, CustomRole { scopes: set(&["things:refund"]), ..looks.clone() }, true).await.unwrap();
    let waits = world.pending("nora", refund.clone()).await;
    assert_eq!(&*world.refused("nora", call("change", r#"{"id":"7"}"#)).await.code, "role.narrowed");
    roles.create(&olga, looks, true).await.unwrap();
    assert_eq!(&*confirmations.approve(&olga, &waits).await.unwrap_err().code, "role.narrowed");
    let logged = world.fields(Kind::Outcome).await.join("\n");
    assert!(logged.contains("role=looks (admin)") || logged.contains("role=admin"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_make_every_write_wait() {
    let world = World::new().await;
    let (roles, users, olga) = (world.host.roles(), world.host.users(), acme("olga"));
    let careful = CustomRole { confirm_writes: true, ..role("careful", Role::Support, &["opsiq/echo/*"], &[]) };
    roles.create(&olga, careful, false).await.unwrap();
    users.assign(&olga, "sam", "careful").await.unwrap();
    assert!(matches!(world.invoke("sam", call("look", r#"{"id":"7"}"#)).await.unwrap(), Answer::Done(_)));
    let id = world.pending("sam", call("change", r#"{"id":"7"}"#)).await;
    let told = world.host.explain(&acme("sam"), &call("change", r#"{"id":"7"}"#)).await.unwrap();
    assert!(told.verdict == StepVerdict::Wait && told.steps.iter().any(|step| step.rule == "role.confirm"), "{told:?}");
    assert!(matches!(world.host.confirmations().approve(&olga, &id).await.unwrap(), Answer::Done(_)));
    // Without it, the same write runs at once.
    users.assign(&olga, "sam", "support").await.unwrap();
    assert!(matches!(world.invoke("sam", call("change", r#"{"id":"7"}"#)).await.unwrap(), Answer::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_by_owners_and_outlive_nobody() {
    let world = World::new().await;
    let (roles, users, olga) = (world.host.roles(), world.host.users(), acme("olga"));
    let good = role("looks", Role::Owner, &["opsiq/echo/look"], &[]);
    assert_eq!(&*roles.create(&acme("adam"), good.clone(), false).await.unwrap_err().code, "role.not-allowed");
    for (bad, what) in [
        (CustomRole { name: "admin".to_owned(), ..good.clone() }, "the name of a built-in one"),
        (CustomRole { actions: set(&[]), ..good.clone() }, "nothing"),
        (CustomRole { acts: set(&["user role"]), ..good.clone() }, "what makes other roles"),
        (CustomRole { acts: set(&["role create"]), ..good.clone() }, "what makes other roles"),
        (CustomRole { acts: set(&["no such"]), ..good.clone() }, "an act that is none"),
    ] {
        assert_eq!(&*roles.create(&olga, bad, false).await.unwrap_err().code, "role.invalid", "{what}");
    }
    roles.create(&olga, good.clone(), false).await.unwrap();
    assert_eq!(&*roles.create(&olga, good.clone(), false).await.unwrap_err().code, "role.exists");
    let other_base = CustomRole { base: Role::Admin, ..good.clone() };
    assert_eq!(&*roles.create(&olga, other_base, true).await.unwrap_err().code, "role.exists", "a base stays");
    assert_eq!(&*users.assign(&olga, "sam", "lookz").await.unwrap_err().code, "role.unknown");
    // A narrowed owner is no owner of last resort.
    assert_eq!(&*users.assign(&olga, "olga", "looks").await.unwrap_err().code, "user.last-owner");
    users.assign(&olga, "sam", "looks").await.unwrap();
    assert_eq!(&*users.disable(&olga, "olga").await.unwrap_err().code, "user.last-owner");
    assert_eq!(&*roles.remove(&olga, "looks").await.unwrap_err().code, "role.in-use");
    users.assign(&olga, "sam", "support").await.unwrap();
    assert_eq!(roles.list(&acme("adam")).await.unwrap(), std::slice::from_ref(&good));
    assert_eq!(roles.show(&olga, "looks").await.unwrap(), good);
    roles.remove(&olga, "looks").await.unwrap();
    assert_eq!(&*roles.remove(&olga, "looks").await.unwrap_err().code, "role.unknown");
    let stranger = Actor::user(tenant("other"), "olga");
    assert!(roles.list(&stranger).await.unwrap().is_empty());
}

/// What a judge who never saw the host's code makes of the contract as written and of the role as asked for.
struct Judge(toml::Table);

impl Judge {
    fn new() -> Self {
        Self(include_str!("contract.toml").parse().unwrap())
    }

    fn actions(&self) -> Vec<&toml::Value> {
        self.0["action"].as_array().unwrap().iter().collect()
    }

    fn allows(&self, base: &str, custom: Option<&CustomRole>, scopes: Option<&BTreeSet<String>>, action: &str) -> bool {
        let Some(action) = self.actions().into_iter().find(|one| one["name"].as_str() == Some(action)) else {
            return false;
        };
        let (name, scope) = (action["name"].as_str().unwrap(), action["scope"].as_str().unwrap());
        let by_role = action["roles"].as_array().unwrap().iter().any(|role| role.as_str() == Some(base));
        let narrowed = custom.is_none_or(|custom| {
            let named = |entry: &String| match entry.rsplit_once('/') {
                Some((plugin, "*")) => plugin == "opsiq/echo",
                Some((plugin, one)) => plugin == "opsiq/echo" && one == name,
                None => false,
            };
            custom.actions.iter().any(named) || custom.scopes.iter().any(|held| held == scope)
        });
        by_role && narrowed && scopes.is_none_or(|held| held.contains(scope))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_at_every_action_of_every_tenant_is_as_the_judge_says() {
    let world = World::new().await;
    let (judge, olga) = (Judge::new(), acme("olga"));
    let mut customs: Vec<CustomRole> = Vec::new();
    let sets: [(&[&str], &[&str]); 6] = [
        (&["opsiq/echo/*"], &[]),
        (&["opsiq/echo/look", "opsiq/echo/spin"], &[]),
        (&[], &["things:read", "things:refund"]),
        (&["opsiq/echo/fail"], &["things:write"]),
        (&["opsiq/other/*", "other/echo/look"], &["thing:read"]),
        (&["opsiq/echo/loo"], &["things:rea"]),
    ];
    for base in Role::ALL {
        for (at, (actions, scopes)) in sets.iter().enumerate() {
            customs.push(role(&format!("{base}-{at}"), *base, actions, scopes));
        }
    }
    let mut people: Vec<(String, Role, Option<CustomRole>)> = vec![
        ("olga".to_owned(), Role::Owner, None),
        ("adam".to_owned(), Role::Admin, None),
        ("sam".to_owned(), Role::Support, None),
    ];
    for custom in customs {
        let name = format!("has-{}", custom.name);
        world.host.roles().create(&olga, custom.clone(), false).await.unwrap();
        world.host.users().add(&olga, &name, Role::Support).await.unwrap();
        world.host.users().assign(&olga, &name, &custom.name).await.unwrap();
        people.push((name, custom.base, Some(custom)));
    }
    let mut actions: Vec<String> =
        judge.actions().iter().map(|action| action["name"].as_str().unwrap().to_owned()).collect();
    actions.push("no-such".to_owned());
    let (mut allowed, mut refused) = (0, 0);
    for (name, base, custom) in &people {
        for scopes in [None, Some(set(&["things:read"])), Some(set(&["things:refund", "things:spin"])), Some(set(&[]))]
        {
            for action in &actions {
                let params = if ["spin", "break-contract", "fail"].contains(&action.as_str()) {
                    "{}"
                } else if action == "refund" {
                    r#"{"amount":5,"id":"7"}"#
                } else {
                    r#"{"id":"7"}"#
                };
                let mut actor = acme(name);
                if let Some(scopes) = &scopes {
                    actor = actor.limited_to(scopes.clone());
                }
                let told = world.host.explain(&actor, &call(action, params)).await.unwrap();
                let verdict = told.verdict != StepVerdict::Refuse;
                let judged = judge.allows(base.as_str(), custom.as_ref(), scopes.as_ref(), action);
                assert_eq!(verdict, judged, "{name} {scopes:?} {action}: {:?}", told.steps.last());
                *if verdict { &mut allowed } else { &mut refused } += 1;
                // The same decision, when it is acted on; a few, since what is allowed runs.
                if !verdict || (action == "look" && scopes.is_none()) {
                    assert_eq!(
                        world.host.invoke(&actor, call(action, params)).await.is_ok(),
                        judged,
                        "{name} {action}"
                    );
                }
            }
        }
    }
    assert!(allowed > 50 && refused > 300, "{allowed} {refused}");

    // Nobody of another tenant gets anything, and what is there looks to them like what is not.
    let stranger = Actor::user(tenant("other"), "olga");
    let installed = world.host.installations().list(&olga).await.unwrap();
    for action in &actions {
        let mut answers = BTreeSet::new();
        for installation in ["echo".to_owned(), installed[0].id.to_string(), "nonesuch".to_owned()] {
            let asked = Call { installation: installation.clone(), ..call(action, r#"{"id":"7"}"#) };
            let refusal = world.host.invoke(&stranger, asked).await.unwrap_err();
            assert_eq!(refusal.class, Class::NotFound);
            answers.insert(refusal.to_string().replace(&installation, "NAME"));
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_holds_in_a_session_too() {
    let world = World::new().await;
    let looks = role("looks", Role::Admin, &["opsiq/echo/look"], &[]);
    world.host.roles().create(&acme("olga"), looks, false).await.unwrap();
    let nora = world.person("nora", "looks").await;
    let pending = world.pending_login(&nora).await;
    let signed_in = world.host.door().code(&knock(), pending.pending.expose(), &code(&nora.seed, 1)).await.unwrap();
    let actor = world.acting(&signed_in).await.unwrap();
    assert!(world.host.invoke(&actor, call("look", r#"{"id":"7"}"#)).await.is_ok());
    assert_eq!(&*world.host.invoke(&actor, call("change", r#"{"id":"7"}"#)).await.unwrap_err().code, "role.narrowed");
}
