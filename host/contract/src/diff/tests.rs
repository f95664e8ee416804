use super::{Risk, asks, covers, diff};
use crate::sample::{SHOP, STRIPE, installed, shop, shop_config, stripe};
use crate::{Contract, Digest, Permission};

fn changed(text: &str, from: &str, to: &str) -> Contract {
    assert!(text.contains(from), "{from}");
    Contract::parse_toml(&text.replacen(from, to, 1)).unwrap_or_else(|errors| panic!("{from} -> {to}: {errors}"))
}

#[test]
fn a_contract_covers_itself() {
    assert!(diff(&shop(), &shop()).is_empty() && covers(&stripe(), &stripe()));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn each_change_weighs_what_it_weighs() {
    for (text, from, to, about, risk, there, back) in [
        (SHOP, "version = \"1.2.3\"", "version = \"1.2.4\"", "plugin", Risk::Notice, true, true),
        (SHOP, "publisher = \"acme\"", "publisher = \"evil\"", "plugin", Risk::High, false, false),
        (SHOP, "id = \"shop\"", "id = \"shops\"", "plugin", Risk::High, false, false),
        (SHOP, "summary = \"Orders of a shop.\"", "summary = \"Orders.\"", "plugin", Risk::Notice, true, true),
        (SHOP, "effect = \"write\"", "effect = \"risky-write\"", "action:note-order", Risk::High, false, false),
        (
            SHOP,
            "scope = \"orders:write\"",
            "scope = \"orders:note\"",
            "action:note-order",
            Risk::Ordinary,
            false,
            false,
        ),
        (SHOP, "roles = [\"owner\", \"admin\"]", "roles = [\"owner\"]", "action:note-order", Risk::Less, true, false),
        (
            SHOP,
            "http = [\"search\"]",
            "http = [\"search\", \"read-orders\"]",
            "action:find-orders",
            Risk::Ordinary,
            false,
            true,
        ),
        (SHOP, "maxLength = 40", "maxLength = 80", "action:get-order", Risk::Ordinary, false, false),
        (SHOP, "maxLength = 40", "maxLength = 40, description = \"Which.\"", "", Risk::Less, true, true),
        (
            SHOP,
            "{ type = \"string\", x-opsiq = \"subject\" }",
            "{ type = \"string\" }",
            "action:note-order",
            Risk::High,
            false,
            true,
        ),
        (
            SHOP,
            "items = { type = \"string\" }",
            "items = { type = \"integer\" }",
            "action:find-orders",
            Risk::Notice,
            true,
            true,
        ),
        (
            SHOP,
            "preview = \"Note {note} on {id}\"",
            "preview = \"Note {note}\"",
            "action:note-order",
            Risk::Ordinary,
            false,
            false,
        ),
        (SHOP, "title = \"Put a note on an order\"", "title = \"Note\"", "action:note-order", Risk::Notice, true, true),
        (
            SHOP,
            "methods = [\"POST\", \"DELETE\"]",
            "methods = [\"POST\"]",
            "http:change-orders",
            Risk::Less,
            true,
            false,
        ),
        (
            SHOP,
            "https://search.example.com/v1/query",
            "https://search.example.org/v1/query",
            "http:search",
            Risk::High,
            false,
            false,
        ),
        (
            SHOP,
            "https://search.example.com/v1/query",
            "https://search.example.com/v1/{any}",
            "http:search",
            Risk::High,
            false,
            true,
        ),
        (SHOP, "/orders/{id}\"\ninject", "/orders/{number}\"\ninject", "http:read-orders", Risk::Notice, true, true),
        (
            SHOP,
            "query = [\"force\"]",
            "query = [\"force\", \"all\"]",
            "http:change-orders",
            Risk::Ordinary,
            false,
            true,
        ),
        (SHOP, "Bearer {token}", "Basic {token}", "http:read-orders", Risk::High, false, false),
        (SHOP, "safe = true", "safe = true\nresponse-max = \"1KiB\"", "http:search", Risk::Less, true, false),
        (SHOP, "use = [\"sign\"]", "use = [\"sign\", \"verify\"]", "key:signer", Risk::High, false, true),
        (SHOP, "purpose = \"Signs requests.\"", "purpose = \"Signs.\"", "key:signer", Risk::Notice, true, true),
        (
            SHOP,
            "event = \"order.noted\"",
            "event = \"order.changed\"",
            "audit:order.changed",
            Risk::Ordinary,
            false,
            false,
        ),
        (SHOP, "max = \"64KiB\"", "max = \"128KiB\"", "kv", Risk::Ordinary, false, true),
        (SHOP, "[kv]\nmax = \"64KiB\"\n", "", "kv", Risk::Less, true, false),
        (
            SHOP,
            "base-url = { type = \"string\" } }",
            "base-url = { type = \"string\" }, b = { type = \"string\" } }",
            "config",
            Risk::Ordinary,
            false,
            false,
        ),
        (STRIPE, "scheme = \"stripe\"", "scheme = \"github\"", "webhook:events", Risk::Ordinary, false, false),
        (STRIPE, "memory = \"32MiB\"", "memory = \"16MiB\"", "limits", Risk::Less, true, false),
        (STRIPE, "memory = \"32MiB\"\n", "", "limits", Risk::Ordinary, false, true),
        (STRIPE, "cpu = \"100ms\"", "cpu = \"100ms\"\nfuel = 1000000", "limits", Risk::Less, true, false),
        (STRIPE, "cpu = \"100ms\"", "cpu = \"100ms\"\nhttp-min-rate = 100", "limits", Risk::Ordinary, false, true),
    ] {
        let (old, new) = (Contract::parse_toml(text).unwrap(), changed(text, from, to));
        let changes = diff(&old, &new);
        if !about.is_empty() {
            assert!(changes.iter().any(|c| c.about == about && c.risk == risk), "{from} -> {to}: {changes:#?}");
        }
        assert_eq!((covers(&old, &new), covers(&new, &old)), (there, back), "{from} -> {to}: {changes:#?}");
    }
}

#[test]
fn what_is_asked_is_said_in_words() {
    let told: Vec<String> =
        asks(&shop()).iter().map(|ask| format!("{} {:?}: {}", ask.about, ask.risk, ask.text)).collect();
    assert!(told.contains(&"http:read-orders Ordinary: sends GET to {config.base-url}/orders/{id} with the key token in `authorization`; where to is what you set in its config".to_owned()), "{told:#?}");
    assert!(told.contains(&"http:search Ordinary: sends POST to https://search.example.com/v1/query; its publisher claims that this changes nothing".to_owned()));
    assert!(told.contains(&"action:note-order High: Put a note on an order: changes something; for owner, admin or the scope orders:write".to_owned()));
    let withheld = |about: &str| about.parse::<Permission>().is_ok();
    assert!(asks(&shop()).iter().all(|ask| withheld(&ask.about)));
}

#[test]
fn a_grant_is_carried_over_or_accepted() {
    let old = shop();
    let mut grant = installed(&old, shop_config()).grant;
    grant.remove(&old, &Permission::Http("search".into())).unwrap();
    grant.add(&old, &Permission::Confirm("note-order".into())).unwrap();
    let digest = Digest::of(b"new");

    let less = changed(SHOP, "[kv]\nmax = \"64KiB\"\n", "");
    let carried = grant.carried_over(&old, &less, digest).unwrap();
    assert_eq!((carried.digest, carried.kv), (digest, false));
    assert_eq!((&carried.http, &carried.confirm, &carried.origins), (&grant.http, &grant.confirm, &grant.origins));

    let more = changed(SHOP, "event = \"order.noted\"", "event = \"order.noted\"\n[[audit]]\nevent = \"order.read\"");
    assert!(grant.carried_over(&old, &more, digest).is_none());
    let accepted = grant.accepted(&old, &more, digest, &shop_config()).unwrap();
    assert!(
        accepted.audit.contains("order.read")
            && !accepted.http.contains("search")
            && accepted.confirm.contains("note-order")
    );
}
