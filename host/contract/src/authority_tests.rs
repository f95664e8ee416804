use serde_json::json;

use crate::sample::{ask, installed, person, shop, shop_config, standing};
use crate::{Caller, Ceiling, CustomRole, Denial, Digest, Effect, InstallState, Permission, Principal, Role, Verdict};

fn ceiling(text: &str) -> Ceiling {
    Ceiling::parse_toml(text, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refusal(decision: crate::Decision) -> Denial {
    decision.outcome.map(|authorized| format!("{authorized:?}")).expect_err("allowed")
}

#[test]
fn everything_granted_is_everything_asked_and_no_more() {
    let contract = shop();
    let installation = installed(&contract, shop_config());
    let decision = ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), "note-order");
    let authorized = decision.outcome.unwrap();
    let names: Vec<&str> = authorized.rules().iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["read-orders", "change-orders"]);
    assert_eq!(authorized.denied_rules().len(), 1);
    assert_eq!(authorized.denied_rules()[0].denial.code, "contract.rule-not-listed");
    assert_eq!(authorized.keys().len(), 1);
    assert_eq!(authorized.injected_keys(), ["token"].into());
    assert_eq!(authorized.effect(), Effect::Write);
    assert_eq!(authorized.kv_max(), Some(64 << 10));
    assert_eq!(authorized.audit_events(), &["order.noted".to_owned()].into());
    assert!(authorized.needs_intent());
    assert!(decision.steps.iter().all(|step| step.verdict == Verdict::Allowed), "{:#?}", decision.steps);
}

fn custom(base: Role, actions: &[&str], scopes: &[&str], confirm_writes: bool) -> Caller {
    let set = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
    let (actions, scopes, acts) = (set(actions), set(scopes), set(&["connector list"]));
    let role = CustomRole { name: "clerk".to_owned(), base, actions, scopes, acts, confirm_writes };
    assert_eq!(role.fault(), None);
    Caller { custom: Some(std::sync::Arc::new(role)), ..person(base) }
}

#[test]
fn a_custom_role_takes_away_and_never_gives() {
    let contract = shop();
    let installation = installed(&contract, shop_config());
    let asked = |caller: &Caller, action| ask(&contract, &installation, &Ceiling::default(), caller, action);
    let scope = contract.action("get-order").unwrap().scope.clone();
    for (caller, allowed) in [
        (custom(Role::Owner, &["acme/shop/get-order"], &[], false), true),
        (custom(Role::Owner, &["acme/shop/*"], &[], false), true),
        (custom(Role::Owner, &[], &[&scope], false), true),
        (custom(Role::Owner, &["acme/shop/note-order"], &[], false), false),
        (custom(Role::Owner, &["acme/other/*", "acme/other/get-order"], &["get:order"], false), false),
        (custom(Role::Owner, &[], &[], false), false),
    ] {
        let decision = asked(&caller, "get-order");
        assert_eq!(decision.outcome.is_ok(), allowed, "{caller:?}");
        let rule = if allowed { "role.custom" } else { "role.narrowed" };
        assert!(decision.steps.iter().any(|step| step.rule == rule), "{:#?}", decision.steps);
    }
    let denial = refusal(asked(&custom(Role::Owner, &[], &[], false), "get-order"));
    assert_eq!(denial.code, "role.narrowed");
    assert!(denial.fix.contains("acme/shop/get-order") && denial.message.contains("`clerk` is owner without"));
    // What the base may not, it may not.
    let denial = refusal(asked(&custom(Role::Support, &["acme/shop/*"], &[], false), "note-order"));
    assert_eq!(denial.code, "role.not-allowed");
}

#[test]
fn a_custom_role_may_raise_writes_and_nothing_else() {
    let contract = shop();
    let installation = installed(&contract, shop_config());
    let effect = |caller: &Caller, action| {
        let decision = ask(&contract, &installation, &Ceiling::default(), caller, action);
        let raised = decision.steps.iter().any(|step| step.rule == "role.confirm");
        (decision.outcome.unwrap().effect(), raised)
    };
    let careful = custom(Role::Owner, &["acme/shop/*"], &[], true);
    assert_eq!(effect(&careful, "note-order"), (Effect::RiskyWrite, true));
    assert_eq!(effect(&careful, "get-order"), (Effect::Read, false));
    assert_eq!(effect(&custom(Role::Owner, &["acme/shop/*"], &[], false), "note-order"), (Effect::Write, false));
}

#[test]
fn a_read_needs_an_intent_only_when_its_safety_is_a_claim() {
    let contract = shop();
    let installation = installed(&contract, shop_config());
    let needs = |action| {
        ask(&contract, &installation, &Ceiling::default(), &person(Role::Support), action)
            .outcome
            .unwrap()
            .needs_intent()
    };
    assert!(!needs("get-order"));
    assert!(needs("find-orders"));
}

#[test]
fn each_refusal_says_who_may_change_what() {
    let contract = shop();
    let full = installed(&contract, shop_config());
    let owner = person(Role::Owner);
    let open = Ceiling::default();
    let with = |change: &dyn Fn(&mut crate::Installation)| {
        let mut installation = full.clone();
        change(&mut installation);
        installation
    };
    let client = |scopes: &[&str]| Caller {
        scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
        ..person(Role::Owner)
    };
    let denied = |installation: &crate::Installation, ceiling: &Ceiling, caller: &Caller, action: &str| {
        let denial = refusal(ask(&contract, installation, ceiling, caller, action));
        (denial.code, format!("{} | {}", denial.message, denial.fix))
    };
    let rows = [
        (
            denied(&with(&|i| i.state = InstallState::Paused), &open, &owner, "get-order"),
            (
                "installation.paused",
                "the installation `shop-de` is paused | opsiq connector resume shop-de, by an owner or admin of the tenant",
            ),
        ),
        (
            denied(&full, &open, &owner, "get-orders"),
            ("action.unknown", "acme/shop@1.2.3 has no action `get-orders` | did you mean `get-order`?"),
        ),
        (
            denied(&full, &open, &owner, "\u{202e}x"),
            (
                "action.unknown",
                "acme/shop@1.2.3 has no action `\\u{202e}x` | its actions are get-order, find-orders, note-order",
            ),
        ),
        (
            denied(&full, &ceiling("[ceiling.plugin.\"acme/shop\"]\ndenied = true"), &owner, "get-order"),
            (
                "ceiling.plugin-denied",
                "the operator does not allow acme/shop | remove denied = true under [ceiling.plugin.\"acme/shop\"] in opsiq.toml, by the operator",
            ),
        ),
        (
            denied(&full, &ceiling("[ceiling.plugin.\"acme/shop\"]\nactions = [\"find-orders\"]"), &owner, "get-order"),
            (
                "ceiling.action-denied",
                "the operator does not allow `get-order` of acme/shop | add \"get-order\" to actions under [ceiling.plugin.\"acme/shop\"] in opsiq.toml, by the operator",
            ),
        ),
        (
            denied(
                &with(&|i| {
                    i.grant.actions.remove("get-order");
                }),
                &open,
                &owner,
                "get-order",
            ),
            (
                "grant.action-missing",
                "the tenant did not grant `get-order` to `shop-de` | opsiq connector grant shop-de --add action:get-order, by an owner or admin of the tenant",
            ),
        ),
        (
            denied(&full, &open, &person(Role::Support), "note-order"),
            (
                "role.not-allowed",
                "`note-order` is for owner and admin; user:alice is support | ask owner or admin to call it; an owner can change a user's role",
            ),
        ),
        (
            denied(&full, &open, &client(&["orders:read"]), "note-order"),
            (
                "scope.missing",
                "`note-order` needs the scope orders:write; held: orders:read | give user:alice the scope orders:write, by an owner of the tenant",
            ),
        ),
    ];
    for ((code, text), (wanted_code, wanted)) in rows {
        assert_eq!((code, text.as_str()), (wanted_code, wanted));
    }
    assert_eq!(
        denied(&with(&|i| i.grant.digest = Digest::of(b"other")), &open, &owner, "get-order").0,
        "grant.other-digest"
    );
    assert_eq!(denied(&with(&|i| i.digest = Digest::of(b"other")), &open, &owner, "get-order").0, "grant.other-digest");
    assert_eq!(
        denied(&with(&|i| i.plugin = "acme/shop@1.2.4".parse().unwrap()), &open, &owner, "get-order").0,
        "installation.other-plugin"
    );
    assert_eq!(denied(&full, &open, &client(&[]), "get-order").0, "scope.missing");
    assert!(ask(&contract, &full, &open, &client(&["orders:write"]), "note-order").outcome.is_ok());
}

#[test]
fn rules_and_keys_are_narrowed_each_by_name() {
    let contract = shop();
    let mut installation = installed(&contract, shop_config());
    let codes = |installation: &crate::Installation, ceiling: &Ceiling| {
        let authorized = ask(&contract, installation, ceiling, &person(Role::Owner), "note-order").outcome.unwrap();
        let rules: Vec<(String, &str)> =
            authorized.denied_rules().iter().map(|d| (d.rule.name.clone(), d.denial.code)).collect();
        (rules, authorized.rules().len(), authorized.keys().len())
    };
    let other = || ("search".to_owned(), "contract.rule-not-listed");
    let only_search = ceiling("[ceiling.plugin.\"acme/shop\"]\nhttp = [\"search\"]\nkeys = []");
    assert_eq!(
        codes(&installation, &only_search),
        (
            vec![
                ("read-orders".into(), "ceiling.http-denied"),
                other(),
                ("change-orders".into(), "ceiling.http-denied")
            ],
            0,
            0
        )
    );
    let no_token = ceiling("[ceiling.plugin.\"acme/shop\"]\nkeys = [\"signer\"]");
    assert_eq!(codes(&installation, &no_token), (vec![("read-orders".into(), "ceiling.key-denied"), other()], 1, 1));
    installation.grant.remove(&contract, &Permission::Key("token".into())).unwrap();
    installation.grant.remove(&contract, &Permission::Http("change-orders".into())).unwrap();
    assert_eq!(
        codes(&installation, &Ceiling::default()),
        (
            vec![("read-orders".into(), "grant.key-missing"), other(), ("change-orders".into(), "grant.http-missing")],
            0,
            1
        )
    );
}

#[test]
fn credentials_do_not_follow_a_changed_origin() {
    let contract = shop();
    let mut installation = installed(&contract, shop_config());
    installation.config = json!({ "base-url": "https://evil.example.com/api" });
    let authorized =
        ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), "get-order").outcome.unwrap();
    assert!(authorized.rules().is_empty());
    assert!(
        authorized
            .denied_rules()
            .iter()
            .any(|d| d.rule.name == "read-orders" && d.denial.code == "grant.origin-changed")
    );
    installation.config = json!({ "base-url": "https://shop.example.com/other" });
    assert_eq!(
        ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), "get-order")
            .outcome
            .unwrap()
            .rules()
            .len(),
        1
    );
    installation.config = json!({});
    let authorized =
        ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), "get-order").outcome.unwrap();
    assert!(authorized.denied_rules().iter().any(|d| d.denial.code == "config.missing"));
    let mut grant = installation.grant.clone();
    assert!(grant.bind_origins(&contract, &json!({})).is_err());
    assert_eq!(grant, installation.grant);
}

#[test]
fn effects_are_raised_and_never_lowered() {
    let contract = shop();
    let mut installation = installed(&contract, shop_config());
    installation.grant.add(&contract, &Permission::Confirm("note-order".into())).unwrap();
    assert!(installation.grant.add(&contract, &Permission::Confirm("get-order".into())).is_err());
    installation.grant.confirm.insert("get-order".into());
    let effect = |action| {
        ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), action).outcome.unwrap().effect()
    };
    assert_eq!((effect("note-order"), effect("get-order")), (Effect::RiskyWrite, Effect::Read));
    let stripe = crate::sample::stripe();
    let installation = installed(&stripe, json!({}));
    assert_eq!(
        ask(&stripe, &installation, &Ceiling::default(), &person(Role::Owner), "refund-charge")
            .outcome
            .unwrap()
            .effect(),
        Effect::RiskyWrite
    );
}

#[test]
fn the_explanation_goes_on_after_the_first_refusal() {
    let contract = shop();
    let mut installation = installed(&contract, shop_config());
    installation.state = InstallState::Paused;
    installation.grant.http.clear();
    let decision = ask(
        &contract,
        &installation,
        &ceiling("[ceiling.limits]\ncpu = \"10ms\""),
        &person(Role::Support),
        "note-order",
    );
    let told: Vec<_> =
        decision.steps.iter().filter(|s| s.verdict != Verdict::Allowed).map(|s| (s.stage, s.rule, s.verdict)).collect();
    assert_eq!(
        told,
        [
            ("resolve", "installation.paused", Verdict::Refused),
            ("authority", "role.not-allowed", Verdict::Refused),
            ("authority", "ceiling.limit", Verdict::Narrowed),
            ("authority", "grant.http-missing", Verdict::Narrowed),
            ("authority", "grant.http-missing", Verdict::Narrowed),
        ]
    );
    assert_eq!(refusal(decision).code, "installation.paused");
}

#[test]
fn a_confirmation_is_bound_to_all_of_it() {
    let contract = shop();
    let base = installed(&contract, shop_config());
    let json = |text: &str| crate::CanonicalJson::parse(text.as_bytes(), 64).unwrap();
    let hash = |installation: &crate::Installation,
                ceiling: &Ceiling,
                caller: &Caller,
                action: &str,
                params: &str,
                expires: i64| {
        let authorized = ask(&contract, installation, ceiling, caller, action).outcome.unwrap();
        crate::confirmation_hash(&authorized, &json(params), expires)
    };
    let open = Ceiling::default();
    let owner = person(Role::Owner);
    let first = hash(&base, &open, &owner, "note-order", "{}", 1);
    assert_eq!(first, hash(&base, &open, &owner, "note-order", " { } ", 1));
    let with = |change: &dyn Fn(&mut crate::Installation)| {
        let mut installation = base.clone();
        change(&mut installation);
        installation
    };
    let bob = Caller { principal: Principal::User { name: "bob".into() }, ..person(Role::Owner) };
    let mut all = vec![
        first,
        hash(&with(&|i| i.tenant = "other".parse().unwrap()), &open, &owner, "note-order", "{}", 1),
        hash(
            &with(&|i| i.id = "01890a5d-ac96-774b-bcce-b302099a8059".parse().unwrap()),
            &open,
            &owner,
            "note-order",
            "{}",
            1,
        ),
        hash(&with(&|i| i.revision = 2), &open, &owner, "note-order", "{}", 1),
        hash(
            &with(&|i| {
                i.digest = Digest::of(b"2");
                i.grant.digest = i.digest;
            }),
            &open,
            &owner,
            "note-order",
            "{}",
            1,
        ),
        hash(&base, &ceiling("[ceiling.limits]\ncpu = \"1s\""), &owner, "note-order", "{}", 1),
        hash(&base, &open, &person(Role::Admin), "note-order", "{}", 1),
        hash(&base, &open, &bob, "note-order", "{}", 1),
        hash(&base, &open, &owner, "get-order", "{}", 1),
        hash(&base, &open, &owner, "note-order", "{\"id\":1}", 1),
        hash(&base, &open, &owner, "note-order", "{}", 2),
        hash(
            &with(&|i| {
                i.grant.confirm.insert("note-order".into());
            }),
            &open,
            &owner,
            "note-order",
            "{}",
            1,
        ),
    ];
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn the_short_way_decides_the_same() {
    let contract = shop();
    let open = Ceiling::default();
    let mut installation = installed(&contract, shop_config());
    installation.grant.remove(&contract, &Permission::Http("change-orders".into())).unwrap();
    let kept = standing(&contract, &installation, &open);
    for (role, action) in [
        (Role::Owner, "note-order"),
        (Role::Support, "note-order"),
        (Role::Support, "get-order"),
        (Role::Owner, "none"),
    ] {
        let caller = person(role);
        let long = ask(&contract, &installation, &open, &caller, action).outcome;
        // The first works out what the second finds kept.
        let short = || {
            crate::decide(&crate::AuthorityRequest {
                standing: &kept,
                caller: &std::sync::Arc::new(caller.clone()),
                action,
                invocation: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
            })
        };
        assert_eq!(short().map_err(|denial| denial.code).err(), short().map_err(|denial| denial.code).err());
        match (long, short()) {
            (Ok(long), Ok(short)) => {
                assert_eq!(
                    (long.rules(), long.denied_rules(), long.keys()),
                    (short.rules(), short.denied_rules(), short.keys())
                );
                assert_eq!(
                    (long.effect(), long.limits(), long.ceiling()),
                    (short.effect(), short.limits(), short.ceiling())
                );
            }
            (long, short) => assert_eq!(long.err(), short.err()),
        }
    }
}
