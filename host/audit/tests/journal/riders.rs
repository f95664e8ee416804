//! What rides along with commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::{BoxFuture, FutureExt as _};
use opsiq_audit::{AuditError, Draft, Journal, Kind, Log, Op, Rider};
use opsiq_store::{CheckpointRow, Store, StoreError, WriteTx};

use crate::host::{Host, acme, reopen};

/// Writes a row with each commit, or refuses.
#[derive(Default)]
struct Rides {
    refuses: AtomicBool,
    writing: AtomicUsize,
    durable: AtomicUsize,
    undone: AtomicUsize,
}

impl Rider for Rides {
    fn write<'t>(&'t self, tx: &'t mut WriteTx<'_>) -> BoxFuture<'t, Result<(), StoreError>> {
        async move {
            let at = self.writing.fetch_add(1, Ordering::Relaxed);
            tx.checkpoint_put(&CheckpointRow {
                log: format!("ride-{at}"),
                size: 1,
                created_ms: 0,
                note: String::new(),
            })
            .await?;
            if self.refuses.load(Ordering::Relaxed) { Err(StoreError::NotFound { what: "ride" }) } else { Ok(()) }
        }
        .boxed()
    }

    fn ended(&self, durable: bool) {
        let count = if durable { &self.durable } else { &self.undone };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn written(store: &Store, at: usize) -> bool {
    store.checkpoint_last(&format!("ride-{at}")).await.unwrap().is_some()
}

#[tokio::test]
async fn a_rider_is_durable_with_the_commit_it_rides_along_with_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let store = Arc::new(reopen(dir.path()).await);
    let rides = Arc::new(Rides::default());
    let (keys, key) = (host.keys.clone(), host.key.clone());
    let journal = Journal::start_with(Arc::clone(&store), keys, key, Arc::new(()), rides.clone(), None).await.unwrap();
    let counts = || (rides.durable.load(Ordering::Relaxed), rides.undone.load(Ordering::Relaxed));
    let nothing = || Op::new(|_| std::future::ready(Ok(())).boxed());
    // With an entry, and with a commit of nothing else. A checkpoint may be a commit in between.
    journal.record(&acme(), vec![Draft::new(Kind::Admin)]).await.unwrap();
    let (first, _) = counts();
    assert!(first >= 1 && written(&store, 0).await);
    journal.commit(&Log::Host, Vec::new(), nothing()).await.unwrap();
    assert!(counts().0 > first && written(&store, first).await);
    assert_eq!(counts().1, 0);
    // What it refuses undoes the whole commit.
    rides.refuses.store(true, Ordering::Relaxed);
    let next = rides.writing.load(Ordering::Relaxed);
    let refused = journal.record(&acme(), vec![Draft::new(Kind::Admin)]).await;
    assert!(matches!(refused, Err(AuditError::Unavailable(_))));
    assert!(counts().1 >= 1 && !written(&store, next).await);
    rides.refuses.store(false, Ordering::Relaxed);
    let (durable, _) = counts();
    journal.record(&acme(), vec![Draft::new(Kind::Admin)]).await.unwrap();
    assert!(counts().0 > durable);
}
