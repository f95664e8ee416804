//! The `orders` connector, installed as `shop`.

use serde_json::{Value, json};

use crate::opsiq::{Ran, World, guest};

/// A Standard Webhooks secret.
pub(crate) const SECRET: &str = "whsec_b3BzaXEtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ==";

/// What an order looks like on the wire.
pub(crate) fn order(id: &str) -> Value {
    json!({
        "id": id, "status": "paid", "customer": { "name": "Grace Hopper", "email": "grace@example.com" },
        "currency": "EUR", "total": 4200, "refunded": 0,
        "items": [{ "sku": "MUG-1", "quantity": 2, "price": 2100 }], "created": "2026-11-01T10:00:00Z",
    })
}

/// What a refund looks like on the wire.
pub(crate) fn refund() -> Value {
    json!({ "id": "R-1", "order": "A-1", "amount": 500, "currency": "EUR", "created": "2026-11-02T10:00:00Z" })
}

/// Opens the server's port by the ceiling, installs the connector with everything it asks for, and sets its key.
pub(crate) fn install(world: &World, url: &str, port: u16) {
    world.open_loopback(port);
    world.install(&guest("orders"), "shop", &[("base-url", url)], &[("signing-secret", SECRET)]);
}

/// Parameters of a refund.
pub(crate) fn params(amount: u64) -> Value {
    json!({ "id": "A-1", "amount": amount, "currency": "EUR", "reason": "arrived broken" })
}

/// Looks at an order as the owner, under the idempotency key `k-1`.
pub(crate) fn look_keyed(run: impl Fn(&[&str]) -> Ran, id: &str) -> Ran {
    let params = json!({ "id": id }).to_string();
    let call = ["--as", "acme/ada", "action", "call", "shop", "get-order", "--params", &params];
    run(&[&call[..], &["--idempotency-key", "k-1"]].concat())
}

/// Asks for a refund, which waits; the confirmation's id.
pub(crate) fn propose(world: &World, amount: u64) -> String {
    let ran = world.call("shop", "refund-order", &params(amount));
    assert_eq!(ran.code, 4, "a risky write must wait: {ran:?}");
    let data = ran.json();
    let id = &data["data"]["confirmation"];
    id.as_str().or_else(|| id["id"].as_str()).unwrap_or_else(|| panic!("{data}")).to_owned()
}
