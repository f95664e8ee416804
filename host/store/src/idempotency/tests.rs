use super::*;
use crate::fixture::{Doc, id, invocation, sealed, shop};

const PARAMS: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

/// What a claim at `now` finds; claims last 100 ms.
async fn claim_at(store: &Store, key: IdempotencyKey<'_>, params: &[u8; 32], by: u8, now: i64) -> Claim<Doc> {
    let mut tx = store.begin().await.unwrap();
    let claim = tx.idempotency_claim(key, params, &invocation(by), now, now + 100).await.unwrap();
    tx.commit().await.unwrap();
    claim
}

async fn a_key_belongs_to_one_call_until_it_expires() {
    let (_dir, store, _) = shop().await;
    let (acme, beta) = (id("acme"), id("beta"));
    let key = IdempotencyKey { tenant: &acme, client_index: &[7; 32], key_index: &[8; 32] };
    assert!(matches!(store.idempotency_find::<Doc>(key, &PARAMS, 0).await.unwrap(), Claim::New));
    assert!(matches!(claim_at(&store, key, &PARAMS, 1, 0).await, Claim::New));
    assert!(matches!(claim_at(&store, key, &PARAMS, 2, 1).await, Claim::InFlight(first) if first == invocation(1)));
    assert!(matches!(claim_at(&store, key, &OTHER, 2, 1).await, Claim::OtherParams));
    for other in [
        IdempotencyKey { tenant: &beta, ..key },
        IdempotencyKey { client_index: &[6; 32], ..key },
        IdempotencyKey { key_index: &[6; 32], ..key },
    ] {
        assert!(matches!(claim_at(&store, other, &OTHER, 3, 1).await, Claim::New));
    }

    let mut tx = store.begin().await.unwrap();
    let not_holder = tx.idempotency_finish(key, &invocation(2), &sealed::<Doc>(b"forged")).await;
    assert!(matches!(not_holder, Err(StoreError::Conflict { .. })));
    tx.idempotency_finish(key, &invocation(1), &sealed::<Doc>(b"answer")).await.unwrap();
    assert!(tx.idempotency_finish(key, &invocation(1), &sealed::<Doc>(b"second")).await.is_err());
    tx.commit().await.unwrap();
    let found = claim_at(&store, key, &PARAMS, 2, 99).await;
    let Claim::Answered { invocation: by, answer } = found else { panic!("{found:?}") };
    assert_eq!((by, answer.as_bytes()), (invocation(1), &b"answer"[..]));
    assert!(matches!(store.idempotency_find::<Doc>(key, &OTHER, 99).await.unwrap(), Claim::OtherParams));
    // expired, it is new, with other parameters as well, and nothing of the old answer is left
    assert!(matches!(claim_at(&store, key, &OTHER, 4, 100).await, Claim::New));
    assert!(matches!(claim_at(&store, key, &OTHER, 5, 101).await, Claim::InFlight(by) if by == invocation(4)));
}

async fn an_interrupted_call_is_not_run_again_and_a_released_one_may_be() {
    let (_dir, store, _) = shop().await;
    let acme = id("acme");
    let key = |n: &'static [u8; 32]| IdempotencyKey { tenant: &acme, client_index: &[7; 32], key_index: n };
    for (n, by) in [(&[1; 32], 1), (&[2; 32], 2), (&[3; 32], 3)] {
        assert!(matches!(claim_at(&store, key(n), &PARAMS, by, 0).await, Claim::New));
    }
    let mut tx = store.begin().await.unwrap();
    tx.idempotency_interrupt(&acme, &invocation(1)).await.unwrap();
    tx.idempotency_release(&acme, &invocation(2)).await.unwrap();
    tx.idempotency_release(&acme, &invocation(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(claim_at(&store, key(&[1; 32]), &PARAMS, 9, 1).await, Claim::Interrupted(_)));
    assert!(matches!(claim_at(&store, key(&[2; 32]), &PARAMS, 9, 1).await, Claim::New));
    assert!(matches!(claim_at(&store, key(&[3; 32]), &PARAMS, 9, 1).await, Claim::InFlight(_)));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.idempotency_purge(99, 9).await.unwrap(), 0);
    assert_eq!(tx.idempotency_purge(100, 1).await.unwrap(), 1);
    assert_eq!(tx.idempotency_purge(100, 9).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn of_many_claims_at_once_one_is_new() {
    let (_dir, store, _) = shop().await;
    let acme = id("acme");
    let key = IdempotencyKey { tenant: &acme, client_index: &[7; 32], key_index: &[8; 32] };
    let claims = futures::future::join_all((0..50).map(|by| claim_at(&store, key, &PARAMS, by, 0))).await;
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::New)).count(), 1);
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::InFlight(_))).count(), 49);
}

crate::fixture::on_both_engines! {
    a_key_belongs_to_one_call_until_it_expires,
    an_interrupted_call_is_not_run_again_and_a_released_one_may_be,
    of_many_claims_at_once_one_is_new,
}
