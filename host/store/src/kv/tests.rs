use super::*;
use crate::fixture::{Doc, id, sealed, shop};

fn entry(key: u8, version: u64, bytes: u64) -> KvEntryRow<Doc, Doc> {
    KvEntryRow { key_index: [key; 32], version, bytes, key: sealed(&[key]), value: sealed(&version.to_be_bytes()) }
}

async fn writes_compare_and_swap_and_count_bytes() {
    let (_dir, store, shop) = shop().await;
    let (tenant, inst) = (&shop.tenant, &shop.id);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.kv_bytes(tenant, inst).await.unwrap(), 0);
    tx.kv_set(tenant, inst, &entry(1, 1, 10), 0).await.unwrap();
    tx.kv_set(tenant, inst, &entry(2, 1, 5), 0).await.unwrap();
    assert!(matches!(tx.kv_set(tenant, inst, &entry(1, 1, 10), 0).await, Err(StoreError::Conflict { .. })));
    assert!(matches!(tx.kv_set(tenant, inst, &entry(1, 3, 10), 2).await, Err(StoreError::Conflict { .. })));
    assert!(tx.kv_set(tenant, inst, &entry(3, 2, 1), 1).await.is_err(), "an update makes no entry");
    tx.kv_set(tenant, inst, &entry(1, 2, 30), 1).await.unwrap();
    assert_eq!(tx.kv_bytes(tenant, inst).await.unwrap(), 35);
    assert_eq!(tx.kv_bytes(&id("beta"), inst).await.unwrap(), 0);
    assert_eq!(tx.kv_get::<Doc, Doc>(tenant, inst, &[1; 32]).await.unwrap().unwrap().version, 2);
    tx.commit().await.unwrap();

    let read = store.kv_get::<Doc, Doc>(tenant, inst, &[1; 32]).await.unwrap().unwrap();
    assert_eq!((read.bytes, read.value.as_bytes()), (30, &2u64.to_be_bytes()[..]));
    assert!(store.kv_get::<Doc, Doc>(&id("beta"), inst, &[1; 32]).await.unwrap().is_none());
    let mut keys = store.kv_keys::<Doc>(tenant, inst).await.unwrap();
    keys.sort_by_key(|row| row.key_index);
    assert_eq!(keys.iter().map(|row| row.key.as_bytes()).collect::<Vec<_>>(), [[1], [2]]);

    let mut tx = store.begin().await.unwrap();
    assert!(matches!(tx.kv_delete(tenant, inst, &[1; 32], 1).await, Err(StoreError::Conflict { .. })));
    tx.kv_delete(tenant, inst, &[1; 32], 2).await.unwrap();
    assert_eq!(tx.kv_bytes(tenant, inst).await.unwrap(), 5);
    tx.commit().await.unwrap();
}

async fn removing_an_installation_takes_its_entries_and_keys_or_nothing() {
    let (_dir, store, shop) = shop().await;
    let (tenant, inst) = (&shop.tenant, &shop.id);
    let mut tx = store.begin().await.unwrap();
    tx.kv_set(tenant, inst, &entry(1, 1, 10), 0).await.unwrap();
    let stale = tx.installation_remove(tenant, inst, 9).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    assert_eq!(tx.kv_bytes(tenant, inst).await.unwrap(), 10, "a refused removal removes nothing");
    tx.installation_remove(tenant, inst, 1).await.unwrap();
    assert_eq!(tx.kv_bytes(tenant, inst).await.unwrap(), 0);
    assert!(tx.kv_set(tenant, inst, &entry(1, 1, 10), 0).await.is_err(), "nothing is kept for what is gone");
    tx.commit().await.unwrap();
    assert!(store.installation::<Doc>(tenant, inst).await.unwrap().is_none());
}

crate::fixture::on_both_engines! {
    writes_compare_and_swap_and_count_bytes,
    removing_an_installation_takes_its_entries_and_keys_or_nothing,
}
