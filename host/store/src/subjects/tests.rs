use opsiq_vault::{RootKey, Vault};

use super::*;
use crate::fixture::{id, shop, store};

fn vault(tenant: &TenantId) -> (Vault, TenantVault, opsiq_vault::WrappedKey) {
    let (vault, _) = Vault::create(&RootKey::generate());
    let key = vault.new_tenant_key(tenant);
    let tenant = vault.tenant(tenant, std::slice::from_ref(&key)).unwrap();
    (vault, tenant, key)
}

fn row(vault: &TenantVault, subject: &str) -> SubjectKeyRow {
    let subject = vault.subject_index(subject);
    let (key, wrapped) = vault.new_subject_key(&subject);
    SubjectKeyRow { id: key.id(), subject, created_ms: 1, wrapped: Some(wrapped) }
}

#[tokio::test]
async fn a_subject_has_one_key_and_a_destroyed_one_is_gone_from_the_files() {
    let (dir, store) = store().await;
    let acme = id("acme");
    let (_, vault, _) = vault(&acme);
    let (ann, bob) = (row(&vault, "ann"), row(&vault, "bob"));
    store.subject_key_insert(&acme, &ann).await.unwrap();
    store.subject_key_insert(&acme, &bob).await.unwrap();
    let second = store.subject_key_insert(&acme, &row(&vault, "ann")).await;
    assert!(matches!(second, Err(StoreError::Conflict { .. })), "{second:?}");

    let held = |row: &SubjectKeyRow| {
        ["keys.db", "keys.db-wal", "data.db", "data.db-wal"].iter().any(|name| {
            let bytes = std::fs::read(dir.path().join(name)).unwrap_or_default();
            bytes.windows(48).any(|window| row.wrapped.as_ref().unwrap().as_bytes().ends_with(window))
        })
    };
    let found = store.subject_key_of(&acme, &ann.subject).await.unwrap().unwrap();
    assert_eq!((found.id, found.subject, &found.wrapped), (ann.id, ann.subject, &ann.wrapped));
    assert!(store.subject_key_of(&id("beta"), &ann.subject).await.unwrap().is_none());
    assert!(vault.subject_key(found.id, &found.subject, &found.wrapped.unwrap()).is_ok());

    assert!(held(&ann) && held(&bob));
    assert!(store.subject_key_destroy(&acme, ann.id).await.unwrap());
    assert!(!store.subject_key_destroy(&acme, ann.id).await.unwrap());
    assert!(!held(&ann), "a destroyed key is still in a file");
    assert!(held(&bob));
    assert!(store.subject_key(&acme, ann.id).await.unwrap().unwrap().wrapped.is_none());
    assert!(store.subject_key_of(&acme, &ann.subject).await.unwrap().is_none());
    // What comes after is under another key.
    store.subject_key_insert(&acme, &row(&vault, "ann")).await.unwrap();

    // The end of the tenant is theirs too.
    assert_eq!(store.tenant_keys_destroy(&acme).await.unwrap(), 3);
    assert!(!held(&bob));
}

async fn subjects_keys_move_to_the_newest_key_of_their_tenant() {
    let (_dir, store) = store().await;
    let acme = id("acme");
    let (root, vault, first) = vault(&acme);
    let mut rows = Vec::new();
    for at in 0..300 {
        let row = row(&vault, &format!("subject {at}"));
        store.subject_key_insert(&acme, &row).await.unwrap();
        rows.push((row.id, row.subject));
    }
    let next = root.successor(&acme, &first).unwrap();
    root.renew(&acme, &vault, &[first.clone(), next.clone()]).unwrap();
    assert_eq!(store.sealed_under_others("acme", next.id()).await.unwrap(), 300);
    let (mut after, mut moved) = (None, 0);
    loop {
        let step = store.rewrap_subject_keys(&acme, after.as_ref(), &vault).await.unwrap();
        assert!(step.stuck.is_empty());
        moved += step.moved;
        match step.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((moved, store.sealed_under_others("acme", next.id()).await.unwrap()), (300, 0));
    vault.retire(first.id());
    for (key, subject) in rows {
        let row = store.subject_key(&acme, key).await.unwrap().unwrap();
        assert!(vault.subject_key(key, &subject, &row.wrapped.unwrap()).is_ok());
    }
}

async fn an_erasure_begins_once_and_ends_once() {
    let (_dir, store, _) = shop().await;
    let (acme, subject) = (id("acme"), [3; 32]);
    let key = KeyId::from_bytes([1; 8]);
    let row = ErasedSubjectRow { tenant: acme.clone(), key, subject, begun_ms: 5, done_ms: None };
    let mut tx = store.begin().await.unwrap();
    tx.erasure_begin(&row).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.erased_subject(&acme, key).await.unwrap(), Some(row.clone()));
    assert_eq!(store.erased_subject(&id("beta"), key).await.unwrap(), None);

    let mut tx = store.begin().await.unwrap();
    assert!(matches!(tx.erasure_begin(&row).await, Err(StoreError::Conflict { .. })));
    tx.erasure_done(&acme, key, 9).await.unwrap();
    assert!(matches!(tx.erasure_done(&acme, key, 10).await, Err(StoreError::Conflict { .. })));
    tx.commit().await.unwrap();
    let done = ErasedSubjectRow { done_ms: Some(9), ..row };
    assert_eq!(store.erasures_of(&acme, &subject).await.unwrap(), std::slice::from_ref(&done));
    assert_eq!(store.all_erasures().await.unwrap(), [done]);
}

crate::fixture::on_both_engines! {
    subjects_keys_move_to_the_newest_key_of_their_tenant,
    an_erasure_begins_once_and_ends_once,
}
