//! The orders, and the one thing that can be done to them: a refund, at most once per idempotency key.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ledger::Ledger;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Not paid yet.
    Pending,
    /// Paid, not sent.
    Paid,
    /// Paid and sent.
    Shipped,
    /// Paid and given back in full.
    Refunded,
}

/// Who ordered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Customer {
    name: &'static str,
    email: &'static str,
}

/// What was ordered; the price of one, in minor units.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    sku: &'static str,
    quantity: u64,
    price: u64,
}

/// One order; amounts are in minor units of its currency.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    id: &'static str,
    status: Status,
    customer: Customer,
    currency: &'static str,
    total: u64,
    refunded: u64,
    items: Vec<Item>,
    created: &'static str,
}

/// What a refund asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundRequest {
    amount: u64,
    currency: String,
    reason: String,
}

/// A refund that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refund {
    id: String,
    order: String,
    amount: u64,
    currency: String,
    created: String,
}

/// Why there is no refund.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such order.
    Unknown,
    /// The order does not allow it as it stands.
    Conflict(String),
    /// The request contradicts itself, the order, or an earlier request under the same key.
    Unprocessable(String),
    /// The refund could not be recorded, so it did not happen.
    Unrecorded,
}

/// Part of the list, and where the next part begins.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    orders: Vec<Order>,
    next: Option<String>,
}

/// All orders, and the refunds given so far.
pub(crate) struct Book {
    orders: BTreeMap<&'static str, Order>,
    answered: HashMap<String, (String, RefundRequest, Refund)>,
    refunds: u64,
    ledger: Ledger,
}

impl Book {
    /// A shop that has sold a few things.
    pub(crate) fn seeded(ledger: Ledger) -> Self {
        let orders = seed().into_iter().map(|order| (order.id, order)).collect();
        Self { orders, answered: HashMap::new(), refunds: 0, ledger }
    }

    /// One order.
    pub(crate) fn order(&self, id: &str) -> Option<&Order> {
        self.orders.get(id)
    }

    /// At most `limit` orders of one status or any, after `cursor`, in the order of their ids.
    pub(crate) fn page(&self, status: Option<Status>, cursor: Option<&str>, limit: usize) -> Page {
        let mut found = self
            .orders
            .values()
            .filter(|order| cursor.is_none_or(|cursor| order.id > cursor))
            .filter(|order| status.is_none_or(|status| order.status == status));
        let orders: Vec<_> = found.by_ref().take(limit).cloned().collect();
        let next = found.next().and(orders.last()).map(|last| last.id.to_owned());
        Page { orders, next }
    }

    /// Gives money back, unless this key already did: then the first answer is given again.
    pub(crate) fn refund(&mut self, id: &str, key: Option<&str>, asked: &RefundRequest) -> Result<Refund, Refusal> {
        let order = self.orders.get_mut(id).ok_or(Refusal::Unknown)?;
        if let Some((first_id, first, answer)) = key.and_then(|key| self.answered.get(key)) {
            if first_id == id && first == asked {
                return Ok(answer.clone());
            }
            return Err(Refusal::Unprocessable("this idempotency key was used for another refund".to_owned()));
        }
        if asked.amount == 0 || asked.reason.trim().is_empty() {
            return Err(Refusal::Unprocessable("a refund needs an amount and a reason".to_owned()));
        }
        if asked.currency != order.currency {
            return Err(Refusal::Unprocessable(format!("the order is in {}", order.currency)));
        }
        let left = match order.status {
            Status::Pending => 0,
            Status::Paid | Status::Shipped | Status::Refunded => order.total - order.refunded,
        };
        if asked.amount > left {
            return Err(Refusal::Conflict(format!("{left} left to refund")));
        }
        let refund = Refund {
            id: format!("re_{:04}", self.refunds + 1),
            order: id.to_owned(),
            amount: asked.amount,
            currency: asked.currency.clone(),
            created: now(),
        };
        self.ledger.append(&entry(&refund, key, &asked.reason)).map_err(|_| Refusal::Unrecorded)?;
        self.refunds += 1;
        order.refunded += asked.amount;
        if order.refunded == order.total {
            order.status = Status::Refunded;
        }
        if let Some(key) = key {
            let answer = (id.to_owned(), asked.clone(), refund.clone());
            self.answered.insert(key.to_owned(), answer);
        }
        Ok(refund)
    }
}

fn entry(refund: &Refund, key: Option<&str>, reason: &str) -> Value {
    json!({
        "effect": "refund",
        "id": refund.id,
        "order": refund.order,
        "amount": refund.amount,
        "currency": refund.currency,
        "reason": reason,
        "idempotency_key": key,
        "created": refund.created,
    })
}

/// RFC 3339, to the second.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn seed() -> Vec<Order> {
    let order = |id, status, (name, email), currency, items: &[(&'static str, u64, u64)], created| {
        let total = items.iter().map(|(_, quantity, price)| quantity * price).sum();
        Order {
            id,
            status,
            customer: Customer { name, email },
            currency,
            total,
            refunded: if status == Status::Refunded { total } else { 0 },
            items: items.iter().map(|&(sku, quantity, price)| Item { sku, quantity, price }).collect(),
            created,
        }
    };
    let ada = ("Ada Moss", "ada@example.com");
    let ben = ("Ben Okri", "ben@example.com");
    let chloé = ("Chloé Roux", "chloe@example.com");
    vec![
        order(
            "ord-1001",
            Status::Paid,
            ada,
            "EUR",
            &[("MUG-BLUE", 2, 1250), ("TEA-EARL", 1, 999)],
            "2026-11-02T09:14:05Z",
        ),
        order("ord-1002", Status::Shipped, ben, "EUR", &[("LAMP-OAK", 1, 8900)], "2026-11-03T16:40:31Z"),
        order("ord-1003", Status::Pending, chloé, "EUR", &[("MUG-RED", 6, 1250)], "2026-11-05T11:02:47Z"),
        order("ord-1004", Status::Refunded, ada, "USD", &[("POSTER-A2", 1, 2400)], "2026-11-08T20:55:12Z"),
        order(
            "ord-1005",
            Status::Shipped,
            chloé,
            "USD",
            &[("CHAIR-ASH", 2, 12900), ("FELT-PADS", 1, 450)],
            "2026-11-12T07:30:00Z",
        ),
        order("ord-1006", Status::Paid, ben, "JPY", &[("INK-BLACK", 3, 1800)], "2026-11-17T13:21:59Z"),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Book, RefundRequest, Refusal, Status};
    use crate::ledger::Ledger;

    fn book() -> Book {
        Book::seeded(Ledger::open(None).unwrap())
    }

    fn asked(amount: u64) -> RefundRequest {
        RefundRequest { amount, currency: "EUR".to_owned(), reason: "broken".to_owned() }
    }

    #[test]
    fn one_key_is_one_refund() {
        let mut book = book();
        let first = book.refund("ord-1001", Some("k"), &asked(1250)).unwrap();
        let again = book.refund("ord-1001", Some("k"), &asked(1250)).unwrap();
        assert_eq!(first.id, again.id);
        assert_eq!(book.order("ord-1001").unwrap().refunded, 1250);
        for (order, amount) in [("ord-1001", 1), ("ord-1002", 1250)] {
            let other = book.refund(order, Some("k"), &asked(amount));
            assert!(matches!(other, Err(Refusal::Unprocessable(_))), "{order}");
        }
        assert_eq!(book.refund("ord-1001", Some("l"), &asked(1)).unwrap().id, "re_0002");
    }

    #[test]
    fn no_more_is_given_back_than_was_paid() {
        let mut book = book();
        assert!(book.refund("ord-1001", None, &asked(3000)).is_ok());
        assert!(matches!(book.refund("ord-1001", None, &asked(500)), Err(Refusal::Conflict(_))));
        assert!(book.refund("ord-1001", None, &asked(499)).is_ok());
        assert_eq!(book.order("ord-1001").unwrap().status, Status::Refunded);
        for (order, amount) in [("ord-1001", 1), ("ord-1003", 1), ("ord-1002", u64::MAX)] {
            assert!(matches!(book.refund(order, None, &asked(amount)), Err(Refusal::Conflict(_))));
        }
        assert!(matches!(book.refund("ord-9", None, &asked(1)), Err(Refusal::Unknown)));
        assert!(matches!(book.refund("ord-1002", None, &asked(0)), Err(Refusal::Unprocessable(_))));
        assert!(matches!(book.refund("ord-1006", None, &asked(1)), Err(Refusal::Unprocessable(_))));
    }

    #[test]
    fn pages_meet_without_gap_or_overlap() {
        let book = book();
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = book.page(None, cursor.as_deref(), 4);
            seen.extend(page.orders.iter().map(|order| order.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let all: Vec<_> = book.orders.keys().copied().collect();
        assert_eq!(seen, all);
        let shipped = book.page(Some(Status::Shipped), None, 100);
        assert_eq!((shipped.orders.len(), shipped.next), (2, None));
    }
}
