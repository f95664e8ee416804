use crate::sample::{ask, installed, person, shop, shop_config};
use crate::{Ceiling, Permission, Role, choose, request_url};

fn try_choose(
    action: &str,
    without: &[&str],
    method: &str,
    url: &str,
) -> Result<String, (&'static str, String, String)> {
    let contract = shop();
    let mut installation = installed(&contract, shop_config());
    for permission in without {
        installation.grant.remove(&contract, &permission.parse::<Permission>().unwrap()).unwrap();
    }
    let authorized = ask(&contract, &installation, &Ceiling::default(), &person(Role::Owner), action).outcome.unwrap();
    let url = request_url(url).unwrap();
    choose(authorized.rules(), authorized.denied_rules(), method, &url)
        .map(|rule| rule.name.clone())
        .map_err(|denial| (denial.code, denial.message, denial.fix))
}

#[test]
fn a_rule_covers_method_url_and_query() {
    assert_eq!(try_choose("note-order", &[], "GET", "https://shop.example.com/api/orders/1").unwrap(), "read-orders");
    assert_eq!(
        try_choose("note-order", &[], "POST", "https://shop.example.com/api/orders/1/notes").unwrap(),
        "change-orders"
    );
    assert_eq!(
        try_choose("note-order", &[], "DELETE", "https://shop.example.com/api/orders/1/notes/2?force=1").unwrap(),
        "change-orders"
    );
    assert_eq!(
        try_choose("note-order", &[], "DELETE", "https://shop.example.com/api/orders/1/a?force=1&%66orce=2").unwrap(),
        "change-orders"
    );
}

#[test]
fn refusals_name_what_would_allow_it() {
    let orders = "https://shop.example.com/api/orders/1";
    let (code, message, fix) = try_choose("note-order", &[], "PUT", orders).unwrap_err();
    assert_eq!(code, "http.method");
    assert_eq!(
        message,
        "the rule `read-orders` covers this URL for GET only, not PUT https://shop.example.com/api/orders/1"
    );
    assert_eq!(
        fix,
        "add \"PUT\" to methods of the rule `read-orders` in contract.toml, by the publisher, in a new version"
    );

    let (code, message, _) = try_choose("note-order", &[], "POST", &format!("{orders}/a?x%3d=canary")).unwrap_err();
    assert_eq!(code, "http.query");
    assert!(message.contains("`x=`") && !message.contains("canary"), "{message}");
    assert_eq!(
        try_choose("note-order", &[], "POST", &format!("{orders}/a?force=1;admin=1")).unwrap_err().0,
        "http.query"
    );

    let (code, message, fix) = try_choose("get-order", &["http:read-orders"], "GET", orders).unwrap_err();
    assert_eq!(code, "grant.http-missing");
    assert_eq!(
        message,
        "no rule allows GET https://shop.example.com/api/orders/1: the tenant did not grant the rule `read-orders` to `shop-de`"
    );
    assert_eq!(fix, "opsiq connector grant shop-de --add http:read-orders, by an owner or admin of the tenant");

    let (code, _, fix) = try_choose("get-order", &[], "POST", "https://search.example.com/v1/query").unwrap_err();
    assert_eq!(code, "contract.rule-not-listed");
    assert!(fix.contains("add \"search\" to http of the action `get-order`"), "{fix}");

    let (code, message, fix) =
        try_choose("get-order", &[], "GET", "https://shop.example.com/api/customers/7?q=canary").unwrap_err();
    assert_eq!(code, "http.no-rule");
    assert!(message.starts_with("no rule allows GET https://shop.example.com/api/customers/7; the rules that come nearest are `read-orders` (GET)"), "{message}");
    assert!(fix.contains("url = \"https://shop.example.com/api/customers/7\"") && !fix.contains("canary"), "{fix}");

    let (code, ..) = try_choose("get-order", &[], "GET", "https://evil.example.com/api/orders/1").unwrap_err();
    assert_eq!(code, "http.no-rule");
    assert_eq!(try_choose("get-order", &[], "get", orders).unwrap_err().0, "http.method");
}
