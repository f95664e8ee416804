//! The nonces of this host, written along with every commit of the audit log.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_audit::Rider;
use opsiq_signing::Nonces;
use opsiq_store::{Store, StoreError, WriteTx};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which requests were taken, in memory and in the store.
#[derive(Debug)]
pub(crate) struct Window {
    nonces: Nonces,
    /// Rows dropped by the commit in progress.
    dropped: AtomicU64,
}

impl Window {
    /// As the store holds it, before anything is accepted.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let (floor_ms, rows) = store.nonces().await?;
        Ok(Self { nonces: Nonces::load(floor_ms, rows), dropped: AtomicU64::new(0) })
    }

    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }
}

impl Rider for Window {
    fn write<'t>(&'t self, tx: &'t mut WriteTx<'_>) -> BoxFuture<'t, Result<(), StoreError>> {
        async move {
            let writing = self.nonces.begin();
            self.dropped.store(0, Ordering::Relaxed);
            if !writing.add.is_empty() {
                tx.nonces_insert(&writing.add).await?;
            }
            if let Some(floor_ms) = writing.floor_ms {
                self.dropped.store(tx.nonces_drop(floor_ms, writing.drop_most).await?, Ordering::Relaxed);
            }
            Ok(())
        }
        .boxed()
    }

    fn ended(&self, durable: bool) {
        self.nonces.end(durable.then(|| self.dropped.load(Ordering::Relaxed)));
    }
}
