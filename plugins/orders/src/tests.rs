use std::time::{SystemTime, UNIX_EPOCH};

use opsiq_sdk::testing::{Answer, Host, HttpFailure, Request};
use standardwebhooks::Webhook;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECRET_BYTES: &[u8] =
    b"\x31\xf2\x90\xf6\xbf\x06\x29\x8a\xab\x4f\x08\xd4\x3c\x3f\x08\x2c\xf6\x48\xa3\x62\xda\x2d\xa4\xb0";

/// A shop that gives the same answer to everything signed as it should be.
fn shop(answer: Answer) -> Host {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Host::new()
        .config(json!({ "base-url": "https://shop.example/api/" }))
        .key("signing-secret", SECRET_BYTES)
        .now_ms(u64::try_from(now).unwrap())
        .http(move |request| if signed(request) { Ok(answer.clone()) } else { Err(HttpFailure::Broken) })
}

/// Whether the scheme's own library accepts the request.
fn signed(request: &Request) -> bool {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &request.headers {
        headers.insert(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::try_from(value).unwrap());
    }
    Webhook::new(SECRET).unwrap().verify(request.body.as_deref().unwrap_or_default(), &headers).is_ok()
}

fn order() -> opsiq_sdk::serde_json::Value {
    json!({
        "id": "A-1", "status": "paid", "customer": { "name": "Grace Hopper", "email": "grace@example.com" },
        "currency": "EUR", "total": 4200, "refunded": 0,
        "items": [{ "sku": "MUG-1", "quantity": 2, "price": 2100 }], "created": "2026-11-01T10:00:00Z",
        "internal-note": "not in the contract",
    })
}

fn refund(order: &str, amount: u64) -> Answer {
    let created = "2026-11-02T10:00:00Z";
    Answer::json(201, &json!({ "id": "R-1", "order": order, "amount": amount, "currency": "EUR", "created": created }))
}

fn refund_of(id: &str, amount: u64) -> RefundOrderParams {
    RefundOrderParams { id: id.into(), amount, currency: "EUR".into(), reason: "arrived broken".into() }
}

#[test]
fn an_order_is_looked_up_by_a_signed_request() {
    let shop = shop(Answer::json(200, &order()));
    let found = shop.run(|| Plugin::get_order(&Context::new(), GetOrderParams { id: "A-1".into() })).unwrap();
    assert_eq!((found.id.as_str(), found.status, found.total), ("A-1", OrderStatus::Paid, 4200));
    let request = shop.requests().remove(0);
    assert_eq!((request.method.as_str(), request.url.as_str()), ("GET", "https://shop.example/api/orders/A-1"));
    assert!(request.body.is_none());
    // What the shop tells beyond the contract goes no further, and what is personal is not shown by accident.
    assert!(!opsiq_sdk::serde_json::to_string(&found).unwrap().contains("internal-note"));
    assert!(!format!("{found:?}").contains("grace"));
}

#[test]
fn orders_are_listed_page_by_page() {
    let shop = shop(Answer::json(200, &json!({ "orders": [order()], "next": null })));
    let params =
        ListOrdersParams { status: Some(ListOrdersParamsStatus::Paid), limit: Some(10), cursor: Some("a/b".into()) };
    let page = shop.run(|| Plugin::list_orders(&Context::new(), params)).unwrap();
    assert_eq!((page.orders.len(), &page.next), (1, &None));
    assert_eq!(shop.requests()[0].url, "https://shop.example/api/orders?status=paid&limit=10&cursor=a%2Fb");
    assert!(opsiq_sdk::serde_json::to_string(&page).unwrap().contains(r#""next":null"#));
    let shop = self::shop(Answer::json(200, &json!({ "orders": [], "next": "c2" })));
    let page = shop.run(|| Plugin::list_orders(&Context::new(), ListOrdersParams::default())).unwrap();
    assert_eq!(page.next.as_deref(), Some("c2"));
    assert_eq!(shop.requests()[0].url, "https://shop.example/api/orders");
}

#[test]
fn a_refund_carries_the_hosts_idempotency_key_and_leaves_an_event() {
    let shop = shop(refund("A-1", 500)).idempotency_key(Some("idem-7"));
    let made = shop.run(|| Plugin::refund_order(&Context::new(), refund_of("A-1", 500))).unwrap();
    assert_eq!((made.id.as_str(), made.amount), ("R-1", 500));
    let request = shop.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://shop.example/api/orders/A-1/refunds")
    );
    assert!(request.headers.contains(&("idempotency-key".into(), "idem-7".into())));
    let body: opsiq_sdk::serde_json::Value = opsiq_sdk::serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!(body, json!({ "amount": 500, "currency": "EUR", "reason": "arrived broken" }));
    let detail = json!({ "refund": "R-1", "order": "A-1", "amount": 500, "currency": "EUR" });
    assert_eq!(shop.events(), [("refund.created".to_owned(), detail)]);
}

#[test]
fn a_refund_that_is_not_the_one_asked_for_is_recorded_and_told() {
    let shop = shop(refund("A-1", 5000));
    let failed = shop.run(|| Plugin::refund_order(&Context::new(), refund_of("A-1", 500)));
    assert!(matches!(failed, Err(Failure::Upstream(f)) if f.request_sent && f.message.contains("5000")));
    assert_eq!(shop.events().len(), 1);
}

#[test]
fn refusals_of_the_shop_keep_their_meaning_and_leave_no_event() {
    let problem = |status| Answer::json(status, &json!({ "detail": "more than is left" }));
    let attempt = |answer| {
        let shop = shop(answer);
        let failure = shop.run(|| Plugin::refund_order(&Context::new(), refund_of("A-1", 500))).unwrap_err();
        assert!(shop.events().is_empty());
        failure
    };
    assert!(matches!(attempt(problem(404)), Failure::NotFound(_)));
    assert!(matches!(attempt(problem(409)), Failure::Conflict(m) if m.contains("more than is left")));
    assert!(matches!(attempt(problem(422)), Failure::Invalid(_)));
    assert!(matches!(attempt(Answer::status(429).header("retry-after", "7")), Failure::RateLimited(Some(7))));
    assert!(matches!(attempt(problem(401)), Failure::Upstream(f) if f.status == Some(401)));
}

#[test]
fn nothing_is_sent_without_the_key() {
    let shop = Host::new().config(json!({ "base-url": "https://shop.example" })).http(|_| Ok(Answer::status(200)));
    let failed = shop.run(|| Plugin::get_order(&Context::new(), GetOrderParams { id: "A-1".into() }));
    assert!(matches!(failed, Err(Failure::Denied(_))));
    assert!(shop.requests().is_empty());
}
