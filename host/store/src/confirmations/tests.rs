use super::*;
use crate::fixture::{Doc, id, sealed, shop};

fn pending(name: &str, expires_ms: i64) -> ConfirmationRow<Doc> {
    ConfirmationRow {
        tenant: id("acme"),
        id: name.to_owned(),
        installation: crate::fixture::installation_id(1),
        state: ConfirmationState::Pending,
        created_ms: 10,
        expires_ms,
        version: 1,
        doc: sealed(b"preview"),
    }
}

async fn of_many_decisions_at_once_exactly_one_happens() {
    use ConfirmationState::{Denied, Done, Expired, Interrupted, Pending, Running, Void};
    let (_dir, store, _) = shop().await;
    let mut tx = store.begin().await.unwrap();
    tx.confirmation_insert(&pending("c1", 100)).await.unwrap();
    tx.commit().await.unwrap();
    let decide = async |to| {
        let mut tx = store.begin().await.unwrap();
        let moved = tx.confirmation_transition(&id("acme"), "c1", Pending, to).await.unwrap();
        tx.commit().await.unwrap();
        moved
    };
    let moved = futures::future::join_all([Void, Denied, Expired, Denied].map(decide)).await;
    assert_eq!(moved.iter().filter(|moved| **moved).count(), 1);
    let mut tx = store.begin().await.unwrap();
    let row = store.confirmation::<Doc>(&id("acme"), "c1").await.unwrap().unwrap();
    assert_ne!(row.state, Pending);
    assert!(!tx.confirmation_transition(&id("beta"), "c1", row.state, Done).await.unwrap());
    assert!(tx.confirmation_transition(&id("acme"), "c1", row.state, Running).await.unwrap());
    let done = ConfirmationRow { state: Done, version: 2, doc: sealed(b"result"), ..row };
    assert!(!tx.confirmation_update(&done, Running, 7).await.unwrap());
    assert!(!tx.confirmation_update(&done, Interrupted, 1).await.unwrap());
    assert!(tx.confirmation_update(&done, Running, 1).await.unwrap());
    assert!(!tx.confirmation_update(&done, Running, 1).await.unwrap());
    tx.commit().await.unwrap();
    let row = store.confirmation::<Doc>(&id("acme"), "c1").await.unwrap().unwrap();
    assert_eq!((row.state, row.version, row.doc.as_bytes()), (Done, 2, &b"result"[..]));
}

async fn lists_are_of_one_tenant_and_due_ones_of_all() {
    let (_dir, store, _) = shop().await;
    let mut tx = store.begin().await.unwrap();
    for (name, expires) in [("c1", 100), ("c2", 200), ("c3", 300)] {
        tx.confirmation_insert(&pending(name, expires)).await.unwrap();
    }
    tx.confirmation_insert(&ConfirmationRow { tenant: id("beta"), ..pending("c1", 150) }).await.unwrap();
    assert!(matches!(tx.confirmation_insert(&pending("c1", 1)).await, Err(StoreError::Conflict { .. })));
    tx.confirmation_transition(&id("acme"), "c2", ConfirmationState::Pending, ConfirmationState::Denied).await.unwrap();
    tx.commit().await.unwrap();
    let ids = |rows: Vec<ConfirmationRow<Doc>>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let acme = id("acme");
    assert_eq!(ids(store.confirmations(&acme, 10).await.unwrap()), ["c3", "c2", "c1"]);
    assert_eq!(ids(store.confirmations(&acme, 1).await.unwrap()), ["c3"]);
    let waiting = store.confirmations_in(&acme, ConfirmationState::Pending, 10).await.unwrap();
    assert_eq!(ids(waiting), ["c3", "c1"]);
    assert_eq!(ids(store.confirmations_due(200, 10).await.unwrap()), ["c1", "c1"]);
}

crate::fixture::on_both_engines! {
    of_many_decisions_at_once_exactly_one_happens,
    lists_are_of_one_tenant_and_due_ones_of_all,
}
