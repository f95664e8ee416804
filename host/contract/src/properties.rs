//! Rules that hold for whatever contracts, grants, ceilings and URLs come along.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use url::Url;

use crate::diff::{Risk, covers, diff};
use crate::sample::{ask, installed, person};
use crate::{
    AXES, Ceiling, Contract, Digest, Effect, Installation, Origin, Role, Schema, UrlTemplate, Verdict, request_url,
};

const URLS: [&str; 6] = [
    "https://a.example.com/v1/{id}",
    "https://a.example.com/v1/orders",
    "https://a.example.com/{rest*}",
    "https://b.example.com/v1/{id}.json",
    "{config.base}/v1/{id}",
    "https://{config.shop}.example.com/{rest*}",
];

prop_compose! {
    /// One HTTP rule and the action that uses it.
    fn rule(name: &'static str)(
        methods in subsequence(vec!["GET", "POST"], 1..=2),
        url in select(URLS.to_vec()),
        query in subsequence(vec!["a", "b"], 0..=2),
        inject in any::<bool>(),
        response in select(vec![1_024, 65_536]),
        roles in subsequence(vec!["owner", "admin", "support"], 1..=3),
        risky in any::<bool>(),
    ) -> (Value, Value) {
        let mut rule = json!({ "name": name, "methods": methods, "url": url, "response-max": response });
        if !query.is_empty() { rule["query"] = json!(query); }
        if inject { rule["inject"] = json!({ "header": "authorization", "value": "Bearer {token}" }); }
        let effect = match (methods.contains(&"POST"), risky) { (false, _) => "read", (true, false) => "write", (true, true) => "risky-write" };
        let action = json!({
            "name": format!("use-{name}"), "title": "Use", "effect": effect, "scope": "things:use", "roles": roles,
            "http": [name], "result": { "type": "null" },
        });
        (rule, action)
    }
}

prop_compose! {
    fn contract()(
        rules in (proptest::option::of(rule("one")), proptest::option::of(rule("two")), proptest::option::of(rule("three"))),
        signs in any::<bool>(),
        kv in proptest::option::of(select(vec![1_024, 4_096])),
        audit in subsequence(vec!["x.made", "y.made"], 0..=2),
        memory in proptest::option::of(select(vec![1 << 20, 1 << 26, 1 << 28])),
        rate in proptest::option::of(select(vec![100, 1_024, 4_096])),
        fuel in proptest::option::of(select(vec![1_000, 1_000_000])),
    ) -> Contract {
        let pairs: Vec<(Value, Value)> = [rules.0, rules.1, rules.2].into_iter().flatten().collect();
        let (http, mut actions): (Vec<Value>, Vec<Value>) = pairs.into_iter().unzip();
        actions.push(json!({
            "name": "plain", "title": "Plain", "effect": "write", "scope": "things:use", "roles": ["owner"],
            "keys": if signs { vec!["signer"] } else { vec![] }, "result": { "type": "null" },
        }));
        let mut keys = Vec::new();
        if http.iter().any(|rule| rule.get("inject").is_some()) {
            keys.push(json!({ "name": "token", "purpose": "p", "use": ["inject"] }));
        }
        if signs {
            keys.push(json!({ "name": "signer", "purpose": "p", "use": ["sign"] }));
        }
        let mut value = json!({
            "contract": 1,
            "plugin": { "id": "p", "version": "1.0.0", "kind": "connector", "title": "P", "summary": "P.", "publisher": "acme" },
            "action": actions,
            "config": { "type": "object", "required": ["base", "shop"], "properties": { "base": { "type": "string" }, "shop": { "type": "string" } } },
        });
        if !http.is_empty() { value["http"] = json!(http); }
        if !keys.is_empty() { value["key"] = json!(keys); }
        if let Some(kv) = kv { value["kv"] = json!({ "max": kv }); }
        if !audit.is_empty() { value["audit"] = audit.iter().map(|event| json!({ "event": event })).collect(); }
        let mut limits = serde_json::Map::new();
        for (key, amount) in [("memory", memory), ("http-min-rate", rate), ("fuel", fuel)] {
            if let Some(amount) = amount { limits.insert(key.into(), amount.into()); }
        }
        if !limits.is_empty() { value["limits"] = limits.into(); }
        crate::read_value(&value)
    }
}

fn config() -> Value {
    json!({ "base": "https://base.example.com/api", "shop": "shop" })
}

/// An installation with everything granted, then some of it taken away.
fn narrowed(contract: &Contract, without: &[bool]) -> Installation {
    let mut installation = installed(contract, config());
    let permissions = installation.grant.permissions(contract);
    for ((permission, _), _) in permissions.iter().zip(without).filter(|(_, gone)| **gone) {
        installation.grant.remove(contract, permission).unwrap();
    }
    installation
}

fn ceiling() -> impl Strategy<Value = Ceiling> {
    let names = |all: &[&'static str]| proptest::option::of(subsequence(all.to_vec(), 0..=all.len()));
    let actions = names(&["plain", "use-one", "use-two", "use-three"]);
    (
        actions,
        names(&["one", "two", "three"]),
        names(&["token", "signer"]),
        proptest::option::of(select(vec!["1MiB", "1GiB"])),
    )
        .prop_map(|(actions, http, keys, memory)| {
            let mut text = String::from("[ceiling.plugin.\"acme/p\"]\ndenied = false\n");
            for (key, names) in [("actions", actions), ("http", http), ("keys", keys)] {
                if let Some(names) = names {
                    let _ = writeln!(text, "{key} = {names:?}");
                }
            }
            if let Some(memory) = memory {
                let _ = writeln!(text, "limits = {{ memory = {memory:?} }}");
            }
            Ceiling::parse_toml(&text, &[]).unwrap()
        })
}

/// Everything an authority allows, as a set that can be compared.
fn allowed(contract: &Contract, installation: &Installation, ceiling: &Ceiling, role: Role) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for action in &contract.actions {
        let decision = ask(contract, installation, ceiling, &person(role), &action.name);
        assert_eq!(decision.outcome.is_ok(), decision.steps.iter().all(|step| step.verdict != Verdict::Refused));
        let Ok(authorized) = decision.outcome else { continue };
        assert!(authorized.effect() >= action.effect);
        let mut add = |what: String| {
            all.insert(format!("{}: {what}", action.name));
        };
        add("runs".into());
        authorized.rules().iter().for_each(|rule| add(format!("http {}", rule.name)));
        authorized.keys().iter().for_each(|key| add(format!("key {}", key.name)));
        authorized.injected_keys().iter().for_each(|key| add(format!("injected {key}")));
        authorized.audit_events().iter().for_each(|event| add(format!("audit {event}")));
        authorized.kv_max().into_iter().for_each(|_| add("kv".into()));
    }
    all
}

/// The contract asking for less in each way that is chosen.
fn lessened(contract: &Contract, ways: [bool; 5]) -> Contract {
    let mut value = contract.to_value();
    let list =
        |value: &mut Value, key: &str| value.get_mut(key).and_then(Value::as_array_mut).cloned().unwrap_or_default();
    let (mut http, mut actions) = (list(&mut value, "http"), list(&mut value, "action"));
    for rule in &mut http {
        if ways[0] {
            rule.as_object_mut().unwrap().remove("query");
        }
        if ways[1] {
            rule["response-max"] = 512.into();
        }
    }
    for action in &mut actions {
        let roles = action["roles"].as_array_mut().unwrap();
        if ways[2] && roles.len() > 1 {
            roles.pop();
        }
    }
    if !http.is_empty() {
        value["http"] = http.into();
    }
    value["action"] = actions.into();
    if ways[3] {
        value.as_object_mut().unwrap().remove("kv");
    }
    if ways[4] {
        value["limits"] = json!({ "memory": 65_536, "fuel": 10, "http-min-rate": 10_000 });
    }
    crate::read_value(&value)
}

proptest! {
    #[test]
    fn parsing_round_trips(contract in contract()) {
        let json = contract.canonical_json();
        let again = Contract::from_canonical_json(&json).unwrap();
        prop_assert_eq!(&again, &contract);
        prop_assert_eq!(again.canonical_json(), json);
    }

    #[test]
    fn covers_is_a_partial_order(a in contract(), other in contract(), first in any::<[bool; 5]>(), second in any::<[bool; 5]>()) {
        let b = lessened(&a, first);
        let c = lessened(&b, second);
        prop_assert!(covers(&a, &b) && covers(&b, &c) && covers(&a, &c), "{:#?}", diff(&a, &c));
        for (x, y, z) in [(&a, &b, &other), (&other, &a, &b), (&b, &other, &a), (&c, &a, &b), (&c, &b, &a)] {
            prop_assert!(!covers(x, y) || !covers(y, z) || covers(x, z));
            if covers(x, y) && covers(y, x) {
                prop_assert!(diff(x, y).iter().all(|change| change.risk == Risk::Notice), "{:#?}", diff(x, y));
            }
        }
        prop_assert!(diff(&a, &a).is_empty());
    }

    #[test]
    fn less_is_covered_and_carries_no_more(
        full in contract(), drop_rule in any::<prop::sample::Index>(), without in prop::collection::vec(any::<bool>(), 20), role in select(Role::ALL.to_vec()),
    ) {
        // Take one action with its rule away: the rest is covered, and a carried grant allows nothing new.
        let mut value = full.to_value();
        let at = drop_rule.index(full.actions.len());
        let gone = full.actions[at].http.clone();
        prop_assume!(full.actions.len() > 1 && full.actions[at].name != "plain");
        value["action"].as_array_mut().unwrap().remove(at);
        value["http"].as_array_mut().unwrap().retain(|rule| !gone.iter().any(|name| rule["name"] == *name));
        if value["http"].as_array().unwrap().is_empty() { value.as_object_mut().unwrap().remove("http"); }
        let injects = value.get("http").is_some_and(|all| all.as_array().unwrap().iter().any(|rule| rule.get("inject").is_some()));
        if !injects && let Some(keys) = value.get_mut("key") {
            keys.as_array_mut().unwrap().retain(|key| key["name"] != "token");
            if keys.as_array().unwrap().is_empty() { value.as_object_mut().unwrap().remove("key"); }
        }
        let less = crate::read_value(&value);
        prop_assert!(covers(&full, &less), "{:#?}", diff(&full, &less));
        prop_assert!(!covers(&less, &full));
        let before = narrowed(&full, &without);
        let mut after = before.clone();
        after.digest = Digest::of(b"new");
        after.grant = before.grant.carried_over(&full, &less, after.digest).unwrap();
        let open = Ceiling::default();
        prop_assert!(allowed(&less, &after, &open, role).is_subset(&allowed(&full, &before, &open, role)));
    }

    #[test]
    fn intersection_never_widens(
        contract in contract(), without in prop::collection::vec(any::<bool>(), 20), ceiling in ceiling(), role in select(Role::ALL.to_vec()),
    ) {
        let (full, less) = (narrowed(&contract, &[]), narrowed(&contract, &without));
        let open = Ceiling::default();
        let most = allowed(&contract, &full, &open, role);
        let granted = allowed(&contract, &less, &open, role);
        let capped = allowed(&contract, &full, &ceiling, role);
        let both = allowed(&contract, &less, &ceiling, role);
        prop_assert!(granted.is_subset(&most) && capped.is_subset(&most));
        prop_assert!(both.is_subset(&granted) && both.is_subset(&capped));
        let asked = contract.limits.clone();
        let limits = ceiling.limits_of("acme/p", &asked);
        prop_assert!(limits.memory_bytes <= asked.get(AXES.iter().find(|a| a.key == "memory").unwrap()).unwrap_or(64 << 20));
        for action in &contract.actions {
            if let Ok(authorized) = ask(&contract, &less, &ceiling, &person(role), &action.name).outcome {
                prop_assert!(authorized.rules().iter().all(|rule| action.http.contains(&rule.name) && less.grant.http.contains(&rule.name)));
                prop_assert!(authorized.effect() == action.effect || action.effect == Effect::Write);
            }
        }
    }

    #[test]
    fn a_template_matches_its_own_origin_only(
        template in select(URLS.to_vec()),
        scheme in select(vec!["https", "http"]),
        user in select(vec!["", "a.example.com@", "a:b@"]),
        host in select(vec!["a.example.com", "b.example.com", "base.example.com", "shop.example.com", "a.example.com.evil.org", "evil.org", "a.example.com.", "A.example.com", "127.0.0.1", "[::1]"]),
        port in select(vec!["", ":443", ":80", ":8443"]),
        path in "(/[a-z0-9.%25eEfF{}]{0,6}){0,5}",
        tail in select(vec!["", "?a=1", "#x", "?a#x"]),
    ) {
        let resolved = UrlTemplate::parse(template).unwrap().resolve(&config()).unwrap();
        let Ok(url) = Url::parse(&format!("{scheme}://{user}{host}{port}{path}{tail}")) else { return Ok(()) };
        if resolved.matches(&url) {
            prop_assert_eq!(Origin::of(&url), Some(resolved.origin().clone()));
            prop_assert!(user.is_empty() && !tail.contains('#'));
            prop_assert!(!url.path().contains("//") && !url.path().to_lowercase().contains("%2f"));
        }
    }

    #[test]
    fn including_templates_match_all_that_the_included_do(
        a in select(URLS.to_vec()), b in select(URLS.to_vec()), path in "(/(v1|orders|x|7\\.json)){0,4}", host in select(vec!["a", "b", "shop"]),
    ) {
        let (a, b) = (UrlTemplate::parse(a).unwrap(), UrlTemplate::parse(b).unwrap());
        let url = Url::parse(&format!("https://{host}.example.com{path}")).unwrap();
        let matches = |template: &UrlTemplate| template.resolve(&config()).unwrap().matches(&url);
        prop_assert!(!a.includes(&b) || !matches(&b) || matches(&a));
        prop_assert!(!(matches(&a) && matches(&b)) || a.overlaps(&b) || a.origin_config() != b.origin_config());
    }

    #[test]
    fn no_text_makes_a_panic(text in any::<String>(), toml in "[a-z\\[\\]{}=\"\\. \n0-9#-]{0,200}", json in "[\\[\\]{}\",:a0 .e\\\\-]{0,100}") {
        let _ = Contract::parse_toml(&text);
        let _ = Contract::parse_toml(&toml);
        let _ = Contract::parse_toml(&format!("contract = 1\n{toml}"));
        let _ = Ceiling::parse_toml(&toml, &[]);
        let _ = Contract::from_canonical_json(json.as_bytes());
        let _ = UrlTemplate::parse(&text);
        let _ = UrlTemplate::parse(&format!("https://{toml}"));
        let _ = request_url(&text);
        let _ = crate::component::inspect(text.as_bytes());
        if let Ok(value) = serde_json::from_str::<Value>(&json) {
            let _ = Schema::compile(value);
        }
    }
}
