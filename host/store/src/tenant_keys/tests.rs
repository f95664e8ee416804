use opsiq_vault::{RootKey, Vault};

use super::*;
use crate::fixture::{id, store};

#[tokio::test]
async fn keys_come_back_in_order_and_a_destroyed_one_is_gone_from_the_files() {
    let (dir, store) = store().await;
    let (vault, _) = Vault::create(&RootKey::generate());
    let (acme, beta) = (id("acme"), id("beta"));
    let first = vault.new_tenant_key(&acme);
    let second = vault.successor(&acme, &first).unwrap();
    store.tenant_key_insert(&acme, &second, 2).await.unwrap();
    store.tenant_key_insert(&acme, &first, 1).await.unwrap();
    let again = store.tenant_key_insert(&acme, &first, 3).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    let kept = vault.new_tenant_key(&beta);
    store.tenant_key_insert(&beta, &kept, 1).await.unwrap();
    assert_eq!(store.tenant_keys(&acme).await.unwrap(), [first.clone(), second.clone()]);

    let held = |key: &WrappedKey| {
        ["keys.db", "keys.db-wal", "data.db", "data.db-wal"].iter().any(|name| {
            let bytes = std::fs::read(dir.path().join(name)).unwrap_or_default();
            bytes.windows(48).any(|window| window == &key.as_bytes()[60..108])
        })
    };
    assert!(held(&first) && held(&second) && held(&kept));
    assert_eq!(store.tenant_keys_destroy(&acme).await.unwrap(), 2);
    assert!(!held(&first) && !held(&second), "a destroyed key is still in a file");
    assert!(held(&kept));
    assert!(store.tenant_keys(&acme).await.unwrap().is_empty());
    assert_eq!(store.tenant_keys(&beta).await.unwrap(), [kept]);
}
