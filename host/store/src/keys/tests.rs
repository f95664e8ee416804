use super::*;
use crate::fixture::{Doc, id, installation_id, sealed, shop};

async fn versions_live_together_and_a_retired_one_loses_its_secret() {
    let (_dir, store, shop) = shop().await;
    let version = |name: &str, version| KeyVersionRow::<Doc> {
        tenant: shop.tenant.clone(),
        installation: shop.id.clone(),
        name: name.to_owned(),
        version,
        state: KeyState::Live,
        created_ms: 1,
        secret: Some(sealed(b"secret")),
        doc: sealed(b"fingerprint"),
    };
    let mut tx = store.begin().await.unwrap();
    for row in [version("api-key", 1), version("api-key", 2), version("webhook", 1)] {
        tx.key_version_insert(&row).await.unwrap();
    }
    assert!(matches!(tx.key_version_insert(&version("api-key", 2)).await, Err(StoreError::Conflict { .. })));
    tx.key_version_retire(&shop.tenant, &shop.id, "api-key", 1).await.unwrap();
    assert!(tx.key_version_retire(&shop.tenant, &shop.id, "api-key", 1).await.is_err());
    assert!(tx.key_version_retire(&id("beta"), &shop.id, "api-key", 2).await.is_err());
    tx.commit().await.unwrap();
    let read = store.key_versions::<Doc>(&shop.tenant, &shop.id).await.unwrap();
    let shown: Vec<_> = read.iter().map(|row| (row.name.as_str(), row.version, row.state)).collect();
    let expected = [("api-key", 2, KeyState::Live), ("api-key", 1, KeyState::Retired), ("webhook", 1, KeyState::Live)];
    assert_eq!(shown, expected);
    assert_eq!(read.iter().map(|row| row.secret.is_some()).collect::<Vec<_>>(), [true, false, true]);
    let live = store.live_key_versions::<Doc>(&shop.tenant).await.unwrap();
    let shown: Vec<_> = live.iter().map(|row| (&row.installation, row.name.as_str(), row.version)).collect();
    assert_eq!(shown, [(&shop.id, "api-key", 2), (&shop.id, "webhook", 1)]);
    assert!(store.live_key_versions::<Doc>(&id("beta")).await.unwrap().is_empty());
    assert!(store.key_versions::<Doc>(&id("beta"), &shop.id).await.unwrap().is_empty());
    assert!(store.key_versions::<Doc>(&shop.tenant, &installation_id(9)).await.unwrap().is_empty());
}

crate::fixture::on_both_engines! {
    versions_live_together_and_a_retired_one_loses_its_secret,
}
