use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{FOLD, Length, length};
use crate::Store;
use crate::fixture::{sealed, store, tenant};

/// Writes about `pages` pages of 8 KiB, a few a commit.
async fn write(store: &Store, pages: usize, round: usize) {
    for number in 0..pages / 8 {
        let mut tx = store.begin().await.unwrap();
        let mut row = tenant(&format!("t{round}-{number}"));
        row.doc = sealed(&vec![7; 64 << 10]);
        tx.tenant_insert(&row).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn log_file(dir: &Path) -> u64 {
    fs::metadata(dir.join("data.db-wal")).unwrap().len()
}

async fn now(store: &Store) -> Length {
    let mut slot = store.folder().hold().await;
    if slot.is_none() {
        *slot = Some(sqlx::ConnectOptions::connect(&store.folder().options).await.unwrap());
    }
    length(slot.as_mut().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_folded_beside_the_writer_and_its_file_is_bounded() {
    let (dir, store) = store().await;
    let fold = usize::try_from(FOLD).unwrap();
    // In pauses as little ones as these it catches up; without folding there would be five times as much.
    for round in 0..5 {
        write(&store, fold + 200, round).await;
        let begun = Instant::now();
        while now(&store).await.left() >= FOLD {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is not folded: {:?}", now(&store).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (file, one) = (log_file(dir.path()), (FOLD as u64 + 200) * (8 << 10));
    assert!(file < 3 * one, "the file of the log has {file} bytes");
    assert_eq!(store.tenants::<crate::fixture::Doc>().await.unwrap().len(), 5 * ((fold + 200) / 8));
    store.close().await;
    assert!(!dir.path().join("data.db-wal").exists(), "whoever closes folds the rest");
}

/// The twin: nobody else folds, no commit among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_folds_nothing() {
    let (dir, mut store) = store().await;
    store.folding().stop().await;
    write(&store, 3 * usize::try_from(FOLD).unwrap(), 0).await;
    let length = now(&store).await;
    assert!(length.written >= 3 * FOLD && length.folded == 0, "{length:?}");
    let before = log_file(dir.path());
    // Emptying it on purpose is as before.
    store.empty_data_log().await.unwrap();
    assert!(before > 0 && log_file(dir.path()) == 0);
}
