use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _};

use super::{Folder, Length, Sizes, length};
use crate::Store;
use crate::fixture::{Dir, Doc, sealed, store, tenant};

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

/// A store that nobody folds, and who may, beyond these sizes.
async fn small() -> (Dir, Store, Folder) {
    let (dir, mut store) = store().await;
    store.folding().unwrap().stop().await;
    let sizes = Sizes { fold: 100, long: 300, rest: 100, most: 600 };
    let folder = Folder::new(store.folder().unwrap().options.clone(), sizes);
    (dir, store, folder)
}

async fn now(folder: &Folder) -> Length {
    let mut connection = folder.options.connect().await.unwrap();
    let length = length(&mut connection).await.unwrap();
    // Another that is still open would be the last one out.
    connection.close().await.unwrap();
    length
}

const PAGE: u64 = 8 << 10;

#[tokio::test]
async fn what_is_folded_is_written_over() {
    let (dir, store, folder) = small().await;
    for round in 0..10 {
        write(&store, 160, round).await;
        assert!(now(&folder).await.left() >= 100, "no commit folds");
        folder.look(store.writer()).await.unwrap();
        assert_eq!(now(&folder).await.left(), 0);
    }
    assert!(log_file(dir.path()) < 400 * PAGE, "the file of the log has {} bytes", log_file(dir.path()));
    assert_eq!(store.tenants::<Doc>().await.unwrap().len(), 10 * 20);
    store.close().await;
    drop(folder);
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.tenants::<Doc>().await.unwrap().len(), 10 * 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_without_pause_do_not_let_the_file_grow_for_ever() {
    let (dir, store, folder) = small().await;
    let (store, over) = (Arc::new(store), Arc::new(AtomicBool::new(false)));
    let (theirs, ends) = (Arc::clone(&store), Arc::clone(&over));
    let writer = tokio::spawn(async move {
        write(&theirs, 8_000, 0).await;
        ends.store(true, Ordering::Relaxed);
    });
    while !over.load(Ordering::Relaxed) {
        folder.look(store.writer()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.await.unwrap();
    let file = log_file(dir.path());
    assert!(file < 4_000 * PAGE, "the file of the log has {file} bytes");
}

/// The twin: nobody else folds, no commit among them, and the file grows. Emptying it on purpose is as ever.
#[tokio::test]
async fn a_commit_folds_nothing() {
    let (dir, store, folder) = small().await;
    write(&store, 4_800, 0).await;
    let length = now(&folder).await;
    assert!(length.written >= 4_800 && length.folded == 0, "{length:?}");
    assert!(log_file(dir.path()) >= 4_800 * PAGE);
    store.leave_no_trace().await.unwrap();
    assert_eq!(log_file(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_store_folds_by_itself() {
    let (dir, store) = store().await;
    write(&store, 1_200, 0).await;
    let begun = Instant::now();
    while now(store.folder().unwrap()).await.left() >= Sizes::default().fold {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it is not folded: {:?}",
            now(store.folder().unwrap()).await
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.close().await;
    assert!(!dir.path().join("data.db-wal").exists(), "whoever closes folds the rest");
}
