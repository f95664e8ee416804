use crate::sample::{SHOP, STRIPE, shop, stripe};
use crate::{Axis, Ceiling, Contract, Effect, KeyUse, PluginKind, Role, WebhookScheme};

#[test]
fn the_example_is_read_whole() {
    let contract = stripe();
    assert_eq!(contract.plugin_ref().to_string(), "opsiq/stripe@0.1.0");
    assert_eq!(contract.plugin.kind, PluginKind::Connector);
    assert_eq!(contract.key("api-key").unwrap().uses, [KeyUse::Inject].into());
    let rule = contract.rule("refunds").unwrap();
    assert_eq!((rule.request_max, rule.response_max, rule.redirects, rule.safe), (64 << 10, 1 << 20, 0, false));
    assert_eq!(rule.inject.as_ref().unwrap().value.to_string(), "Bearer {api-key}");
    let action = contract.action("refund-charge").unwrap();
    assert_eq!(action.effect, Effect::RiskyWrite);
    assert_eq!(action.roles, [Role::Owner, Role::Admin].into());
    assert_eq!(contract.webhooks[0].scheme, WebhookScheme::Stripe);
    assert_eq!(contract.audit[0].event, "refund.created");
    assert_eq!(contract.kv.unwrap().max, 1 << 20);
    assert_eq!(contract.limits.get(Axis::named("cpu").unwrap()), Some(100));
    assert_eq!(contract.nearest_action("refund-charges"), Some("refund-charge"));
    assert_eq!(contract.nearest_action("zzz"), None);
}

#[test]
fn canonical_json_round_trips() {
    for contract in [stripe(), shop()] {
        let json = contract.canonical_json();
        let again = Contract::from_canonical_json(&json).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(again, contract);
        assert_eq!(again.canonical_json(), json);
    }
}

#[test]
fn json_that_is_not_canonical_is_refused() {
    let json = String::from_utf8(stripe().canonical_json()).unwrap();
    let code = |text: &str| Contract::from_canonical_json(text.as_bytes()).unwrap_err().0[0].code;
    assert_eq!(code(&format!("{json} ")), "json.not-canonical");
    assert_eq!(code(&json.replacen(":1048576", ":\"1MiB\"", 1)), "json.not-canonical");
    assert_eq!(code(&json.replacen("\"contract\":1", "\"contract\":1,\"contract\":1", 1)), "json.syntax");
    assert_eq!(code(&json.replacen("\"audit\"", "\"audits\"", 1)), "field.unknown");
    assert_eq!(code("[]"), "field.type");
    assert!(Contract::from_canonical_json("[".repeat(100_000).as_bytes()).is_err());
}

/// Each row: what is replaced in the example by what, the line the error names, its path and its code.
type Row<'a> = (&'a str, &'a str, usize, &'a str, &'a str);

pub(super) fn check(text: &str, rows: &[Row<'_>]) {
    let mut wrong = Vec::new();
    for (from, to, line, path, code) in rows {
        assert!(text.contains(from), "the example has no {from:?}");
        let errors = Contract::parse_toml(&text.replacen(from, to, 1)).expect_err(&format!("{from:?} -> {to:?}")).0;
        let told: Vec<_> = errors.iter().map(|e| (e.line.unwrap(), e.path.as_str(), e.code)).collect();
        if !told.contains(&(*line, *path, *code)) {
            wrong.push(format!("{from:?} -> {to:?} told {told:?}"));
        }
        assert!(
            errors.iter().all(|error| error.column.unwrap() > 0 && !error.message.is_empty() && !error.fix.is_empty())
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn every_mistake_in_the_example_names_its_line() {
    check(
        STRIPE,
        &[
            ("contract = 1", "contract = 2", 1, "contract", "contract.version"),
            ("contract = 1\n", "\n", 1, "", "field.missing"),
            ("[plugin]", "[plugin", 2, "", "toml.syntax"),
            ("title = \"Stripe\"", "title = 2026-01-01", 6, "plugin.title", "toml.value"),
            ("title = \"Stripe\"", "titel = \"Stripe\"", 6, "plugin.titel", "field.unknown"),
            ("title = \"Stripe\"", "titel = \"Stripe\"", 2, "plugin", "field.missing"),
            ("title = \"Stripe\"", "title = \"\"", 6, "plugin.title", "text.length"),
            ("title = \"Stripe\"", "title = \"St\\u202eripe\"", 6, "plugin.title", "text.hidden"),
            ("id = \"stripe\"", "id = \"Stripe\"", 3, "plugin.id", "name.form"),
            ("version = \"0.1.0\"", "version = \"1\"", 4, "plugin.version", "plugin.version"),
            ("kind = \"connector\"", "kind = \"plugin\"", 5, "plugin.kind", "field.value"),
            ("kind = \"connector\"", "kind = \"action\"", 20, "http", "plugin.kind"),
            ("use = [\"inject\"]", "use = [\"read\"]", 13, "key[0].use[0]", "field.value"),
            ("use = [\"inject\"]", "use = []", 13, "key[0].use", "field.count"),
            ("use = [\"inject\"]", "use = [\"inject\", \"inject\"]", 13, "key[0].use[1]", "name.duplicate"),
            ("use = [\"inject\"]", "use = [\"inject\", \"sign\"]", 13, "key[0].use", "key.unused"),
            ("use = [\"inject\"]", "use = [\"verify\"]", 25, "http[0].inject.value", "key.not-inject"),
            ("use = [\"inject\"]", "use = [\"inject\", \"derive\"]", 10, "key[0]", "field.missing"),
            (
                "use = [\"inject\"]",
                "use = [\"inject\"]\nderive = { depth = 1, prefix = \"\" }",
                14,
                "key[0].derive",
                "key.derive-unused",
            ),
            (
                "use = [\"inject\"]",
                "use = [\"derive\"]\nderive = { depth = 9, prefix = \"\" }",
                14,
                "key[0].derive.depth",
                "field.range",
            ),
            (
                "use = [\"inject\"]",
                "use = [\"derive\"]\nderive = { depth = 4, prefix = \"\" }",
                13,
                "key[0].use",
                "key.derive-alone",
            ),
            ("name = \"webhook-secret\"", "name = \"api-key\"", 16, "key[1].name", "name.duplicate"),
            ("methods = [\"POST\"]", "methods = [\"post\"]", 22, "http[0].methods[0]", "http.method"),
            ("methods = [\"POST\"]", "methods = [\"CONNECT\"]", 22, "http[0].methods[0]", "http.method"),
            ("methods = [\"POST\"]", "methods = []", 22, "http[0].methods", "field.count"),
            ("methods = [\"POST\"]", "methods = [\"GET\"]\nsafe = true", 23, "http[0].safe", "field.says-nothing"),
            ("methods = [\"POST\"]", "methods = [\"DELETE\"]\nsafe = true", 23, "http[0].safe", "http.safe"),
            ("methods = [\"POST\"]", "methods = [\"POST\"]\nredirects = 2", 23, "http[0].redirects", "http.redirects"),
            ("methods = [\"POST\"]", "methods = [\"GET\"]\nredirects = 9", 23, "http[0].redirects", "field.range"),
            ("https://api.stripe.com/v1/refunds\"", "ftp://api.stripe.com/\"", 23, "http[0].url", "template.scheme"),
            ("https://api.stripe.com/v1/refunds\"", "https://{config.shop}/\"", 23, "http[0].url", "config.undeclared"),
            (
                "https://api.stripe.com/v1/refunds\"",
                "https://{config.region}.x.com/\"",
                23,
                "http[0].url",
                "config.not-required",
            ),
            ("query = [\"expand\"]", "query = []", 24, "http[0].query", "field.count"),
            ("query = [\"expand\"]", "query = [\"a;b\"]", 24, "http[0].query[0]", "http.query"),
            ("header = \"authorization\"", "header = \"Authorization\"", 25, "http[0].inject.header", "http.header"),
            ("header = \"authorization\"", "header = \"host\"", 25, "http[0].inject.header", "http.header"),
            ("Bearer {api-key}", "Bearer {api-keys}", 25, "http[0].inject.value", "name.undeclared"),
            ("Bearer {api-key}", "Bearer", 25, "http[0].inject.value", "http.inject"),
            ("Bearer {api-key}", "Bearer\\n{api-key}", 25, "http[0].inject.value", "http.inject"),
            ("request-max = \"64KiB\"", "request-max = \"64KB\"", 26, "http[0].request-max", "limit.form"),
            ("request-max = \"64KiB\"", "request-max = 0", 26, "http[0].request-max", "limit.zero"),
            ("response-max = \"1MiB\"", "response-max = \"2MiB\"", 27, "http[0].response-max", "limit.below-rule"),
            ("effect = \"risky-write\"", "effect = \"risky\"", 32, "action[0].effect", "field.value"),
            ("effect = \"risky-write\"", "effect = \"read\"", 37, "action[0].preview", "field.says-nothing"),
            ("scope = \"refunds:create\"", "scope = \"refunds\"", 33, "action[0].scope", "action.scope"),
            ("roles = [\"owner\", \"admin\"]", "roles = [\"root\"]", 34, "action[0].roles[0]", "field.value"),
            ("roles = [\"owner\", \"admin\"]", "roles = []", 34, "action[0].roles", "field.count"),
            ("http = [\"refunds\"]", "http = [\"refund\"]", 35, "action[0].http[0]", "name.undeclared"),
            ("keys = []", "keys = [\"api-key\"]", 36, "action[0].keys[0]", "key.not-openable"),
            ("keys = []", "keys = [\"nothing\"]", 36, "action[0].keys[0]", "name.undeclared"),
            ("{amount} {currency}", "{amounts}", 37, "action[0].preview", "action.preview"),
            ("{amount} {currency}", "{amount", 37, "action[0].preview", "action.preview"),
            (
                "required = [\"charge\", \"amount\", \"currency\"]",
                "required = [\"card\"]",
                40,
                "action[0].params.required",
                "schema.required",
            ),
            (
                "pattern = \"^ch_",
                "pattern = \"(?=x)^ch_",
                42,
                "action[0].params.properties.charge.pattern",
                "schema.pattern",
            ),
            ("minimum = 1", "minimun = 1", 43, "action[0].params.properties.amount.minimun", "schema.keyword"),
            (
                "minimum = 1",
                "minimum = \"1\"",
                43,
                "action[0].params.properties.amount.minimum",
                "schema.keyword-value",
            ),
            ("type = \"integer\"", "type = \"int\"", 43, "action[0].params.properties.amount.type", "schema.type"),
            (
                "x-opsiq = \"pii\"",
                "x-opsiq = \"private\"",
                45,
                "action[0].params.properties.note.x-opsiq",
                "schema.mark",
            ),
            (
                "[action.result]\ntype = \"object\"",
                "[action.result]\ntype = \"text\"",
                47,
                "action[0].result.type",
                "schema.type",
            ),
            ("scheme = \"stripe\"", "scheme = { header = \"x\" }", 53, "webhook[0].scheme", "webhook.recipe"),
            ("scheme = \"stripe\"", "scheme = \"paypal\"", 53, "webhook[0].scheme", "field.value"),
            ("key = \"webhook-secret\"", "key = \"api-key\"", 54, "webhook[0].key", "webhook.key"),
            ("key = \"webhook-secret\"", "key = \"none\"", 54, "webhook[0].key", "name.undeclared"),
            ("event = \"refund.created\"", "event = \"Refund created\"", 57, "audit[0].event", "name.form"),
            ("max = \"1MiB\"\n\n[config]", "\n\n[config]", 59, "kv", "field.missing"),
            ("max = \"1MiB\"\n\n[config]", "max = \"2GiB\"\n\n[config]", 60, "kv.max", "field.range"),
            (
                "region = { type = \"string\" }",
                "region = { type = \"string\", x-opsiq = \"secret\" }",
                64,
                "config.properties.region.x-opsiq",
                "config.secret",
            ),
            (
                "type = \"object\"\nproperties = { region",
                "type = \"string\"\nx-properties = { region",
                64,
                "config.x-properties",
                "schema.keyword",
            ),
            ("memory = \"32MiB\"", "memory = \"lots\"", 66, "limits.memory", "limit.form"),
            ("memory = \"32MiB\"", "memory = 9007199254740993", 66, "limits.memory", "toml.value"),
            ("memory = \"32MiB\"", "memori = \"32MiB\"", 66, "limits.memori", "field.unknown"),
            ("cpu = \"100ms\"", "cpu = \"0s\"", 67, "limits.cpu", "limit.zero"),
            ("cpu = \"100ms\"", "cpu = \"100MiB\"", 67, "limits.cpu", "limit.form"),
        ],
    );
}

#[test]
fn every_mistake_in_the_shop_names_its_line() {
    check(
        SHOP,
        &[
            (
                "url = \"https://search.example.com/v1/query\"\nsafe = true",
                "url = \"https://search.example.com/v1/query\"",
                58,
                "action[1].http[0]",
                "action.read-unsafe",
            ),
            ("keys = [\"signer\"]", "keys = []", 13, "key[0].use", "key.unused"),
            ("http = [\"search\"]", "http = []", 27, "http[1].name", "http.unused"),
        ],
    );
    // The same place twice within one action.
    let twice = SHOP.replacen("methods = [\"POST\", \"DELETE\"]", "methods = [\"GET\", \"DELETE\"]", 1).replacen(
        "/orders/{id}/{rest*}",
        "/orders/{rest*}",
        1,
    );
    let errors = Contract::parse_toml(&twice).unwrap_err().0;
    assert_eq!((errors[0].path.as_str(), errors[0].code, errors.len()), ("action[2].http[1]", "http.overlap", 1));
}

#[test]
fn mistakes_are_told_together_and_in_order() {
    let text = STRIPE
        .replacen("title = \"Stripe\"", "titel = \"Stripe\"", 1)
        .replacen("\"POST\"", "\"post\"", 1)
        .replacen("cpu = \"100ms\"", "cpu = 0", 1);
    let errors = Contract::parse_toml(&text).unwrap_err().0;
    let told: Vec<_> = errors.iter().map(|e| (e.line.unwrap(), e.column.unwrap(), e.code)).collect();
    assert_eq!(
        told,
        [(2, 1, "field.missing"), (6, 1, "field.unknown"), (22, 12, "http.method"), (67, 7, "limit.zero")]
    );
    assert_eq!(errors[1].fix, "did you mean `title`?");
    assert_eq!(
        errors[1].to_string(),
        "6:1: plugin.titel: unknown field `titel` [field.unknown]; did you mean `title`?"
    );
}

#[test]
fn an_action_plugin_has_no_network() {
    let text = r#"contract = 1
plugin = { id = "sum", version = "0.1.0", kind = "action", title = "Sum", summary = "Adds.", publisher = "acme" }
[[action]]
name = "add"
title = "Add"
effect = "read"
scope = "sums:read"
roles = ["support"]
result = { type = "number" }
"#;
    let contract = Contract::parse_toml(text).unwrap();
    assert!(contract.http.is_empty() && contract.actions[0].params.check(b"{}", 64).is_ok());
    assert!(contract.actions[0].params.check(b"{\"a\":1}", 64).is_err());
    let errors = Contract::parse_toml(&format!("{text}[kv]\nmax = \"1KiB\"\n")).unwrap_err().0;
    assert_eq!((errors[0].line, errors[0].code), (Some(10), "plugin.kind"));
}

#[test]
fn garbage_never_panics() {
    for text in
        ["", "\0", "=", "[[[[", "contract", "a.b.c = 1", "plugin = 1\naction = 2\nkey = [1]\nhttp = [[]]\nlimits = []"]
    {
        assert!(!Contract::parse_toml(text).unwrap_err().0.is_empty());
    }
    assert!(Contract::parse_toml(&format!("x = {}", "[".repeat(100_000))).is_err());
    assert!(Contract::parse_toml(&"#".repeat(1 << 20)).is_err());
}

#[test]
fn a_ceiling_is_read() {
    let text = r#"[ceiling]
component = "32MiB"
compile = "2min"
compile-memory = "2GiB"
[ceiling.limits]
cpu = "1s"
[[ceiling.private-target]]
cidr = "127.0.0.1/32"
port = 8080
tls = false
[ceiling.plugin."acme/shop"]
actions = ["get-order"]
limits = { memory = "128MiB" }
[[ceiling.plugin."acme/shop".private-target]]
cidr = "10.1.0.0/16"
port = 443
[ceiling.plugin."evil/corp"]
denied = true
"#;
    let ceiling = Ceiling::parse_toml(text, &[]).unwrap();
    assert_eq!((ceiling.component_bytes, ceiling.compile_ms), (32 << 20, 120_000));
    assert_eq!(ceiling.compile_memory_bytes, 2 << 30);
    assert_eq!(ceiling.private_targets_of("acme/shop").len(), 2);
    assert_eq!(ceiling.private_targets_of("acme/other").len(), 1);
    assert!(ceiling.plugin("evil/corp").unwrap().denied);
    let limits = ceiling.limits_of("acme/shop", &shop().limits);
    assert_eq!((limits.memory_bytes, limits.cpu_ms), (64 << 20, 250));
    assert_ne!(ceiling.fingerprint(), Ceiling::default().fingerprint());
    assert_eq!(Ceiling::parse_toml("", &[]).unwrap(), Ceiling::default());
    assert!(Ceiling::parse_toml("[server]\nport = 1", &["server"]).is_ok());

    for (from, to, line, code) in [
        ("[ceiling]", "[ceilings]", 1, "field.unknown"),
        ("component", "componant", 2, "field.unknown"),
        ("\"2min\"", "\"2h\"", 3, "limit.form"),
        ("\"2GiB\"", "\"much\"", 4, "limit.form"),
        ("compile-memory", "compile-memry", 4, "field.unknown"),
        ("cpu = \"1s\"", "cpu = \"0s\"", 6, "limit.zero"),
        ("127.0.0.1/32", "127.0.0.1/8", 8, "ceiling.cidr"),
        ("127.0.0.1/32", "0.0.0.0/0", 8, "ceiling.cidr"),
        ("127.0.0.1/32", "localhost", 8, "ceiling.cidr"),
        ("port = 8080", "port = 0", 9, "field.range"),
        ("port = 8080\n", "\n", 7, "field.missing"),
        ("tls = false", "tls = \"no\"", 10, "field.type"),
        ("\"acme/shop\"", "\"shop\"", 11, "name.form"),
        ("denied = true", "denied = \"yes\"", 18, "field.type"),
        ("denied = true", "", 17, "field.count"),
    ] {
        let errors = Ceiling::parse_toml(&text.replacen(from, to, 1), &[]).expect_err(from).0;
        assert!(errors.iter().any(|e| (e.line, e.code) == (Some(line), code)), "{from} -> {to}: {errors:#?}");
    }
}
