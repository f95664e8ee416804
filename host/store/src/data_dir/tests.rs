use std::os::unix::fs::PermissionsExt as _;

use opsiq_vault::{RootKey, Vault};

use super::*;
use crate::Store;
use crate::fixture::{store, tenant};

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn everything_in_it_is_private() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/data");
    Store::init(&path).await.unwrap();
    let store = Store::open(&path).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("acme")).await.unwrap();
    tx.commit().await.unwrap();
    store.blobs().put(b"component").unwrap();
    assert_eq!(mode(&path), 0o700);
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry), if entry.is_dir() { 0o700 } else { 0o600 }, "{}", entry.display());
        seen.push(entry.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["data.db", "data.db-wal", "keys.db", "blobs", "compiled", "lock"] {
        assert!(seen.iter().any(|s| s == name), "{name} of {seen:?}");
    }
}

#[tokio::test]
async fn what_others_may_read_is_refused_by_name() {
    let (dir, store) = store().await;
    store.close().await;
    for (name, loose, fine) in [("", 0o750, 0o700), ("keys.db", 0o604, 0o600), ("data.db", 0o640, 0o600)] {
        let path = if name.is_empty() { dir.path().to_owned() } else { dir.path().join(name) };
        chmod(&path, loose);
        let error = Store::open(dir.path()).await.unwrap_err();
        assert!(matches!(error, StoreError::Exposed { mode, .. } if mode == loose), "{error}");
        assert!(error.to_string().contains("chmod go-rwx"), "{error}");
        chmod(&path, fine);
    }
    let elsewhere = dir.path().join("elsewhere.db");
    std::fs::rename(dir.path().join("keys.db"), &elsewhere).unwrap();
    std::os::unix::fs::symlink("elsewhere.db", dir.path().join("keys.db")).unwrap();
    assert!(matches!(Store::open(dir.path()).await, Err(StoreError::Exposed { .. })));
    std::fs::rename(&elsewhere, dir.path().join("keys.db")).unwrap();
    Store::open(dir.path()).await.unwrap();
}

async fn one_process_has_it_at_a_time() {
    let (dir, store) = store().await;
    let own = std::process::id();
    let error = Store::open_with(dir.path(), &dir.options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { pid: Some(pid) } if pid == own), "{error}");
    assert!(error.to_string().contains(&own.to_string()), "{error}");
    let init = Store::init_with(dir.path(), &dir.options()).await;
    assert!(matches!(init, Err(StoreError::Locked { .. })));
    store.close().await;
    dir.open().await;
}

async fn init_can_be_repeated_until_there_is_a_root_check() {
    let (dir, store) = store().await;
    store.close().await;
    Store::init_with(dir.path(), &dir.options()).await.unwrap();
    let store = dir.open().await;
    assert!(store.root_check().await.unwrap().is_none());
    let (_, check) = Vault::create(&RootKey::generate());
    store.root_check_insert(&check, 1).await.unwrap();
    assert_eq!(store.root_check().await.unwrap(), Some(check.clone()));
    let again = store.root_check_insert(&check, 2).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    store.close().await;
    let again = Store::init_with(dir.path(), &dir.options()).await;
    assert!(matches!(again, Err(StoreError::AlreadyInitialised(_))));
}

#[tokio::test]
async fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(dir.path()).await, Err(StoreError::NotInitialised(_))));
    assert!(matches!(Store::open(&dir.path().join("none")).await, Err(StoreError::NotInitialised(_))));
    std::fs::write(dir.path().join("holiday.jpg"), "x").unwrap();
    chmod(dir.path(), 0o755);
    assert!(Store::init(dir.path()).await.is_err());
    assert_eq!(mode(dir.path()), 0o755);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

crate::fixture::on_both_engines! {
    one_process_has_it_at_a_time,
    init_can_be_repeated_until_there_is_a_root_check,
}
