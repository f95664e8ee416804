use opsiq_vault::RootKey;

use super::*;
use crate::fixture::{id, store};

async fn tenants(store: &Store, vault: &Vault, count: usize) -> Vec<(TenantId, WrappedKey)> {
    let mut made = Vec::new();
    for at in 0..count {
        let tenant = id(&format!("tenant-{at:03}"));
        let key = vault.new_tenant_key(&tenant);
        store.tenant_key_insert(&tenant, &key, 1).await.unwrap();
        made.push((tenant, key));
    }
    made
}

fn files(dir: &std::path::Path) -> Vec<u8> {
    let read = |name| std::fs::read(dir.join(name)).unwrap_or_default();
    [read("keys.db"), read("keys.db-wal"), read("data.db"), read("data.db-wal")].concat()
}

fn holds(bytes: &[u8], key: &[u8]) -> bool {
    bytes.windows(48).any(|window| window == &key[60..108])
}

#[tokio::test]
async fn every_key_and_then_the_check_goes_under_the_new_root() {
    let (dir, store) = store().await;
    let (old, new) = (RootKey::generate(), RootKey::generate());
    let (vault, check) = Vault::create(&old);
    store.root_check_insert(&check, 1).await.unwrap();
    let before = tenants(&store, &vault, 150).await;
    assert!(holds(&files(dir.path()), before[7].1.as_bytes()));

    vault.wrap_with(&new);
    let done = store.rewrap_keys(&vault, 2).await.unwrap();
    assert_eq!(done, RootRewrapped { moved: 150, stuck: Vec::new() });
    assert_eq!(store.root_rotation().await.unwrap(), None);
    assert_eq!(store.rewrap_keys(&vault, 2).await.unwrap().moved, 0, "again changes nothing");
    let check_now = store.root_check().await.unwrap().unwrap();
    let after = Vault::open(&new, &check_now).unwrap();
    for (tenant, key) in &before {
        let keys = store.tenant_keys(tenant).await.unwrap();
        assert_eq!((keys[0].id(), keys[0].root()), (key.id(), new.id()));
        after.tenant(tenant, &keys).unwrap();
    }
    let bytes = files(dir.path());
    for (tenant, key) in &before {
        assert!(!holds(&bytes, key.as_bytes()), "the key of {tenant} as it was wrapped is still in a file");
    }
    assert!(!holds(&bytes, check.as_bytes()));
}

/// Stopped after any step, both root keys open everything, and going on ends it.
async fn half_done_it_is_said_and_goes_on() {
    let (_dir, store) = store().await;
    let (old, new) = (RootKey::generate(), RootKey::generate());
    let (vault, check) = Vault::create(&old);
    store.root_check_insert(&check, 1).await.unwrap();
    let made = tenants(&store, &vault, 100).await;
    // One key does not open, so the check must not move.
    let foreign = Vault::create(&RootKey::generate()).0.new_tenant_key(&id("broken"));
    store.tenant_key_insert(&id("broken"), &foreign, 1).await.unwrap();
    vault.wrap_with(&new);
    let done = store.rewrap_keys(&vault, 2).await.unwrap();
    assert_eq!(done, RootRewrapped { moved: 100, stuck: vec![id("broken")] });
    assert_eq!(store.root_rotation().await.unwrap(), Some(new.id()));
    let check_now = store.root_check().await.unwrap().unwrap();
    assert_eq!(check_now.root(), old.id());

    let again = Vault::open_with(&old, Some(&new), &check_now).unwrap();
    for (tenant, _) in &made {
        again.tenant(tenant, &store.tenant_keys(tenant).await.unwrap()).unwrap();
    }
    store.tenant_keys_destroy(&id("broken")).await.unwrap();
    again.wrap_with(&new);
    assert_eq!(store.rewrap_keys(&again, 3).await.unwrap(), RootRewrapped::default());
    assert_eq!(store.root_rotation().await.unwrap(), None);
    assert_eq!(store.root_check().await.unwrap().unwrap().root(), new.id());
}

#[tokio::test]
async fn a_retired_generation_is_gone_from_the_files() {
    let (dir, store) = store().await;
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = id("acme");
    let first = vault.new_tenant_key(&acme);
    let second = vault.successor(&acme, &first).unwrap();
    store.tenant_key_insert(&acme, &first, 1).await.unwrap();
    store.tenant_key_insert(&acme, &second, 2).await.unwrap();
    assert_eq!(store.tenant_keys_retire(&acme, 2).await.unwrap(), 1);
    assert_eq!(store.tenant_keys(&acme).await.unwrap(), std::slice::from_ref(&second));
    let bytes = files(dir.path());
    assert!(!holds(&bytes, first.as_bytes()) && holds(&bytes, second.as_bytes()));
}

crate::fixture::on_both_engines! {
    half_done_it_is_said_and_goes_on,
}
