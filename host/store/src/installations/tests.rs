use super::*;
use crate::fixture::{Doc, id, installation, plugin, sealed, shop};
use crate::{UserRow, UserState};

async fn a_change_needs_the_revision_that_was_read() {
    let (_dir, store, mut row) = shop().await;
    let mut tx = store.begin().await.unwrap();
    row.revision = 2;
    row.state = InstallState::Paused;
    row.doc = sealed(b"changed");
    tx.installation_update(&row, 1).await.unwrap();
    let again = tx.installation_update(&row, 1).await;
    assert!(matches!(again, Err(StoreError::Conflict { what: "installation" })), "{again:?}");
    assert_eq!(tx.installation::<Doc>(&row.tenant, &row.id).await.unwrap().unwrap().revision, 2);
    tx.commit().await.unwrap();
    let read = store.installation_by_name::<Doc>(&row.tenant, &row.name_index).await.unwrap().unwrap();
    assert_eq!((read.revision, read.state), (2, InstallState::Paused));
    assert_eq!(read.doc.as_bytes(), b"changed");
    assert_eq!((read.id, read.digest), (row.id, row.digest));
}

async fn names_are_unique_within_a_tenant_and_no_further() {
    let (_dir, store, row) = shop().await;
    let mut tx = store.begin().await.unwrap();
    let mut same_name = installation("acme", 2);
    same_name.name_index = row.name_index;
    assert!(matches!(tx.installation_insert(&same_name).await, Err(StoreError::Conflict { .. })));
    let mut other_tenant = installation("beta", 1);
    other_tenant.name_index = row.name_index;
    tx.installation_insert(&other_tenant).await.unwrap();
    let mut unknown_plugin = installation("acme", 3);
    unknown_plugin.digest = Digest::of(b"unknown");
    assert!(matches!(tx.installation_insert(&unknown_plugin).await, Err(StoreError::Conflict { .. })));
    let mut unknown_tenant = installation("nobody", 4);
    unknown_tenant.name_index = [4; 32];
    assert!(matches!(tx.installation_insert(&unknown_tenant).await, Err(StoreError::Conflict { .. })));
    tx.commit().await.unwrap();
    assert_eq!(store.installations::<Doc>(&id("acme")).await.unwrap().len(), 1);
    assert!(store.installation::<Doc>(&id("nobody"), &row.id).await.unwrap().is_none());
    let foreign = store.installation::<Doc>(&id("beta"), &row.id).await.unwrap().unwrap();
    assert_eq!(foreign.tenant, id("beta"), "the same id of another tenant is another row");
}

async fn the_catalogue_names_one_digest_each() {
    let (_dir, store, _) = shop().await;
    let mut tx = store.begin().await.unwrap();
    let mut other_bytes = plugin();
    other_bytes.digest = Digest::of(b"other bytes");
    assert!(matches!(tx.plugin_insert(&other_bytes).await, Err(StoreError::Conflict { .. })));
    other_bytes.plugin.version = "0.2.0-rc.1+build.5".parse().unwrap();
    tx.plugin_insert(&other_bytes).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.plugin(&plugin().digest).await.unwrap(), Some(plugin()));
    assert_eq!(store.plugin(&other_bytes.digest).await.unwrap(), Some(other_bytes));
    assert_eq!(store.plugin_versions("opsiq", "orders").await.unwrap().len(), 2);
    assert_eq!(store.plugin_versions("opsiq", "order").await.unwrap().len(), 0);
    assert_eq!(store.plugins().await.unwrap().len(), 2);
}

async fn users_change_by_version() {
    let (_dir, store, _) = shop().await;
    let mut alice = UserRow::<Doc> {
        tenant: id("acme"),
        id: "u1".to_owned(),
        name_index: [1; 32],
        state: UserState::Active,
        created_ms: 5,
        version: 1,
        doc: sealed(b"alice"),
    };
    let mut tx = store.begin().await.unwrap();
    tx.user_insert(&alice).await.unwrap();
    assert!(tx.user_insert(&UserRow { id: "u2".to_owned(), ..alice.clone() }).await.is_err());
    alice.state = UserState::Disabled;
    alice.version = 2;
    tx.user_update(&alice, 1).await.unwrap();
    assert!(matches!(tx.user_update(&alice, 1).await, Err(StoreError::Conflict { what: "user" })));
    let read = tx.user_by_name::<Doc>(&id("acme"), &[1; 32]).await.unwrap().unwrap();
    assert_eq!((read.state, read.version), (UserState::Disabled, 2));
    tx.commit().await.unwrap();
    assert!(store.user_by_name::<Doc>(&id("beta"), &[1; 32]).await.unwrap().is_none());
    assert_eq!(store.users::<Doc>(&id("acme")).await.unwrap().len(), 1);
}

crate::fixture::on_both_engines! {
    a_change_needs_the_revision_that_was_read,
    names_are_unique_within_a_tenant_and_no_further,
    the_catalogue_names_one_digest_each,
    users_change_by_version,
}
