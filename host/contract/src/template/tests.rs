use serde_json::json;
use url::Url;

use super::{UrlTemplate, request_url};

fn matches(template: &str, url: &str) -> bool {
    let resolved = UrlTemplate::parse(template).unwrap().resolve(&json!({})).unwrap();
    Url::parse(url).is_ok_and(|url| resolved.matches(&url))
}

#[test]
fn one_spelling_each() {
    for good in [
        "https://api.x.com",
        "https://api.x.com/",
        "https://api.x.com/v1/refunds/{id}",
        "https://api.x.com/v1/{rest*}",
        "https://api.x.com/v1/",
        "https://api.x.com/orders/{id}.json",
        "http://127.0.0.1:8080/a",
        "https://[::1]:8443/a",
        "https://{config.shop}.myshopify.com/admin",
        "https://api.x.com:{config.port}/",
        "{config.scheme}://{config.host}:81/",
        "{config.base-url}",
        "{config.base-url}/orders/{id}",
        "https://api.x.com/{config.region}/a",
    ] {
        assert_eq!(UrlTemplate::parse(good).unwrap().to_string(), good);
    }
    for (bad, code) in [
        ("", "template.scheme"),
        ("api.x.com/a", "template.scheme"),
        ("ftp://x/", "template.scheme"),
        ("HTTPS://x/", "template.scheme"),
        ("{scheme}://x/", "template.scheme"),
        ("https://", "template.host"),
        ("https:///a", "template.host"),
        ("https://API.x.com/", "template.host"),
        ("https://x..com/", "template.host"),
        ("https://x.com./", "template.host"),
        ("https://0x7f.1/", "template.host"),
        ("https://127.1/", "template.host"),
        ("https://2130706433/", "template.host"),
        ("https://{host}/", "template.host"),
        ("https://a{config.b}.com/", "template.host"),
        ("https://{config.a}{config.b}.com/", "template.host"),
        ("https://{config.A}.com/", "template.config"),
        ("https://x.com:0/", "template.port"),
        ("https://x.com:080/", "template.port"),
        ("https://x.com:65536/", "template.port"),
        ("https://x.com:/", "template.port"),
        ("https://x.com/a?b=c", "template.character"),
        ("https://x.com/a#b", "template.character"),
        ("https://u@x.com/", "template.character"),
        ("https://x.com/a%2fb", "template.character"),
        ("https://x.com/a b", "template.character"),
        ("https://x.com\\a", "template.character"),
        ("https://xä.com/", "template.character"),
        ("https://x.com/a//b", "template.segment"),
        ("https://x.com/./b", "template.segment"),
        ("https://x.com/../b", "template.segment"),
        ("https://x.com/{a}{b}", "template.segment"),
        ("https://x.com/{a", "template.segment"),
        ("https://x.com/a}", "template.segment"),
        ("https://x.com/{}", "template.segment"),
        ("https://x.com/{a*}b", "template.segment"),
        ("https://x.com/{rest*}/b", "template.rest"),
        ("https://x.com/{rest*}/", "template.rest"),
        ("https://x.com/{a}/{a}", "template.duplicate"),
        ("{config.base}x/", "template.base"),
        ("{config.base}.com/", "template.base"),
    ] {
        assert_eq!(UrlTemplate::parse(bad).expect_err(bad).code, code, "{bad}");
    }
}

#[test]
fn what_matches() {
    let id = "https://api.x.com/v1/refunds/{id}";
    for url in [
        "https://api.x.com/v1/refunds/re_1",
        "https://api.x.com:443/v1/refunds/re_1",
        "https://API.X.com/v1/refunds/re_1?expand=a",
        "https://api.x.com/v1/refunds/a%20b",
        "https://api.x.com/v1/refunds/100%25",
    ] {
        assert!(matches(id, url), "{url}");
    }
    for url in [
        "http://api.x.com/v1/refunds/re_1",
        "https://api.x.com:8443/v1/refunds/re_1",
        "https://api.x.com.evil.com/v1/refunds/re_1",
        "https://evil.com/v1/refunds/re_1",
        "https://api.x.com./v1/refunds/re_1",
        "https://api.x.com@evil.com/v1/refunds/re_1",
        "https://user@api.x.com/v1/refunds/re_1",
        "https://:pw@api.x.com/v1/refunds/re_1",
        "https://api.x.com/v1/refunds/re_1#f",
        "https://api.x.com/v1/refunds",
        "https://api.x.com/v1/refunds/",
        "https://api.x.com/v1/refunds//",
        "https://api.x.com/v1/refunds/a/b",
        "https://api.x.com/v1/refunds/re_1/",
        "https://api.x.com//v1/refunds/re_1",
        "https://api.x.com/V1/refunds/re_1",
        "https://api.x.com/v1/%72efunds/re_1",
        "https://api.x.com/v1/refunds/..",
        "https://api.x.com/v1/refunds/%2e%2e",
        "https://api.x.com/v1/refunds/%252e%252e",
        "https://api.x.com/v1/refunds/a%2fb",
        "https://api.x.com/v1/refunds/a%2Fb",
        "https://api.x.com/v1/refunds/a%252fb",
        "https://api.x.com/v1/refunds/a%5cb",
        "https://api.x.com/v1/refunds/a\\b",
        "https://api.x.com/v1/refunds/a%00",
        "https://api.x.com/v1/refunds/a%0d%0ab",
        "https://api.x.com/v1/refunds/%2525252525252e",
    ] {
        assert!(!matches(id, url), "{url}");
    }
    assert!(matches("https://x.com", "https://x.com/") && matches("https://x.com/", "https://x.com"));
    assert!(matches("https://x.com/a/", "https://x.com/a/") && !matches("https://x.com/a/", "https://x.com/a"));
    assert!(matches("https://x.com/{r*}", "https://x.com/a/b/c") && !matches("https://x.com/{r*}", "https://x.com/"));
    assert!(
        matches("https://x.com/{id}.json", "https://x.com/1.json")
            && !matches("https://x.com/{id}.json", "https://x.com/.json")
    );
    assert!(matches("https://[::1]/a", "https://[0:0:0:0:0:0:0:1]/a"));
}

#[test]
fn config_values_stay_in_their_place() {
    let resolve = |template: &str, value: serde_json::Value| {
        UrlTemplate::parse(template).unwrap().resolve(&json!({ "v": value })).map(|r| r.origin().to_string())
    };
    let label = "https://{config.v}.x.com/";
    assert_eq!(resolve(label, json!("shop-1")).unwrap(), "https://shop-1.x.com");
    for bad in ["", "a.b", "a/b", "a:1", "a@b", "Shop", "ä", "a b", "-a", "a-", "*", "a%2e", "a#", "a?"] {
        assert!(resolve(label, json!(bad)).is_err(), "{bad}");
    }
    assert!(resolve(label, json!(null)).is_err() && resolve(label, json!(["a"])).is_err());
    assert_eq!(UrlTemplate::parse(label).unwrap().resolve(&json!({})).unwrap_err().code, "config.missing");
    for bad in ["0x7f", "127", "2130706433"] {
        assert!(resolve("https://{config.v}/", json!(bad)).is_err(), "{bad}");
    }
    assert_eq!(resolve("https://x.com:{config.v}/", json!(8443)).unwrap(), "https://x.com:8443");
    assert_eq!(resolve("https://x.com:{config.v}/", json!("443")).unwrap(), "https://x.com");
    for bad in [json!(0), json!(65_536), json!("+1"), json!("01"), json!(-1), json!("8443@evil")] {
        assert!(resolve("https://x.com:{config.v}/", bad).is_err());
    }
    assert!(resolve("{config.v}://x.com/", json!("gopher")).is_err());
    let base = "{config.v}/orders";
    for good in [
        "https://shop.example.com",
        "https://shop.example.com/",
        "http://127.0.0.1:8080/api",
        "https://Shop.example.com/a/b/",
    ] {
        assert!(resolve(base, json!(good)).is_ok(), "{good}");
    }
    for bad in [
        "shop.example.com",
        "ftp://x/",
        "https://u:p@x/",
        "https://u@x/",
        "https://x/?q",
        "https://x/#f",
        "https://x/a//b",
        "https://x/a/../b",
        "https://x/a%2fb",
        "https://x\\y",
        " https://x/",
        "https://x/ ",
        "https://x\n/",
        "file:///etc",
        "https://x./",
    ] {
        assert!(resolve(base, json!(bad)).is_err(), "{bad}");
    }
    let secret = resolve(base, json!("canary://canary")).unwrap_err().to_string();
    assert!(!secret.contains("canary"));
    let segment = UrlTemplate::parse("https://x.com/{config.v}/a").unwrap();
    let with = |v: &str| segment.resolve(&json!({ "v": v }));
    assert!(with("eu 1").unwrap().matches(&Url::parse("https://x.com/eu%201/a").unwrap()));
    for bad in ["", ".", "..", "a/b", "a\\b", "%2e", "a\n"] {
        assert!(with(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_of_config_values() {
    let template = UrlTemplate::parse("https://{config.a}.x.com:{config.b}/{config.c}/{d}").unwrap();
    assert_eq!(template.origin_config(), ["a", "b"]);
    assert_eq!(template.config_names(), ["a", "b", "c"]);
}

#[test]
fn includes_and_overlaps() {
    let template = |text| UrlTemplate::parse(text).unwrap();
    let includes = |a, b| template(a).includes(&template(b));
    assert!(includes("https://x.com/{a}", "https://x.com/{b}"));
    assert!(includes("https://x.com/{a}", "https://x.com/v1"));
    assert!(!includes("https://x.com/v1", "https://x.com/{a}"));
    assert!(includes("https://x.com/{r*}", "https://x.com/a/{b}/{c*}"));
    assert!(!includes("https://x.com/a/{r*}", "https://x.com/a"));
    assert!(!includes("https://x.com/{a}", "https://y.com/{a}"));
    assert!(!includes("https://x.com/{a}", "http://x.com/{a}"));
    assert!(
        includes("https://x.com/{a}", "https://x.com/{b}.json")
            && !includes("https://x.com/{b}.json", "https://x.com/{a}")
    );
    assert!(!includes("https://x.com/{a}", "https://x.com/{r*}"));
    let overlaps = |a, b| template(a).overlaps(&template(b)) && template(b).overlaps(&template(a));
    assert!(overlaps("https://x.com/{a}", "https://x.com/v1"));
    assert!(overlaps("https://x.com/{a}/b", "https://x.com/{r*}"));
    assert!(!overlaps("https://x.com/a/{b}", "https://x.com/c/{d}"));
    assert!(!overlaps("https://x.com/{a}.json", "https://x.com/a"));
    assert!(!overlaps("{config.a}/x", "{config.b}/x"));
}

#[test]
fn a_request_url_is_taken_as_written_or_not_at_all() {
    for good in ["https://x.com", "https://x.com/a?b=%2f&c", "http://127.0.0.1:8080/", "https://X.com/a%20b"] {
        assert!(request_url(good).is_ok(), "{good}");
    }
    for bad in [
        "https://@x.com/",
        "",
        "x.com",
        "//x.com/",
        "https:x.com",
        "https:/x.com/",
        "https:///x.com",
        "file:///etc/passwd",
        "data:,x",
        "https://x.com\\a",
        "https://x.com/a/../b",
        "https://x.com/a/%2E%2e/b",
        "https://x.com/./a",
        "https://x.com/a\tb",
        "https://x.com/a\n",
        " https://x.com/",
        "https://x.com/a b",
        "https://u@x.com/",
        "https://u:p@x.com/",
        "https://x.com/#",
        "https://x.com/#f",
        "https://x.com/a//b",
        "https://x.com/a%2fb",
        "https://x.com/\u{a0}",
        "https://[::1%25eth0]/",
    ] {
        let denial = request_url(bad).map(|url| url.to_string()).expect_err(bad);
        assert_eq!(denial.code, "http.url-invalid", "{bad}");
    }
    assert!(request_url(&format!("https://x.com/{}", "a".repeat(9_000))).is_err());
}
