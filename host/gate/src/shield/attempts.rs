//! Failed attempts to sign in, and who waits for them: in the store where several nodes share one, so that nobody guesses at
//! each node anew, and in memory, by a clock that only goes forward, where there is one.
//!
//! Fails closed: while the shared store is away, nobody signs in, as nobody could anyway.

use std::sync::Arc;
use std::time::Instant;

use opsiq_shield::{Count, Failures, Key, Slow, Who};
use opsiq_store::{FailureRow, StoreError};

use crate::core::{Core, now_ms};
use crate::door::slow;
use crate::errors;
use crate::refusal::{Refusal, Stage};

/// Those counted in memory.
pub(crate) struct Attempts {
    here: Failures,
    began: Instant,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { here: Failures::default(), began: Instant::now() }
    }
}

impl Attempts {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// An attempt under way. Dropped without a word, it failed.
#[must_use = "an attempt nobody reports on failed"]
pub(crate) struct Attempt {
    core: Arc<Core>,
    keys: Vec<Key>,
}

impl Core {
    /// Begins an attempt, unless it is too soon.
    pub(crate) async fn attempt(self: &Arc<Self>, who: &Who) -> Result<Attempt, Refusal> {
        let keys = who.keys();
        let begun = if self.store.is_shared() {
            self.begin_shared(&keys).await.map_err(|error| errors::store(Stage::Authenticate, &error))?
        } else {
            self.guards.attempts.here.begin(&keys, self.guards.attempts.now_ms())
        };
        begun.map_err(slow)?;
        Ok(Attempt { core: self.clone(), keys })
    }

    async fn begin_shared(&self, keys: &[Key]) -> Result<Result<(), Slow>, StoreError> {
        let now_ms = now_ms();
        let mut whose: Vec<(Key, [u8; 32])> = keys.iter().map(|key| (*key, self.whose(*key))).collect();
        // All nodes hold rows in one order.
        whose.sort_by_key(|(_, whose)| *whose);
        // Who waits is told without a transaction.
        for (key, whose) in &whose {
            let found = self.store.sign_in_failures(whose).await?;
            if let Err(slow) = found.map_or(Ok(()), |row| count(row).allow(*key, now_ms)) {
                return Ok(Err(slow));
            }
        }
        let mut tx = self.store.begin().await?;
        let mut rows = Vec::new();
        for (key, whose) in &whose {
            let row = tx.sign_in_failures(whose).await?;
            if let Err(slow) = count(row).allow(*key, now_ms) {
                tx.rollback().await;
                return Ok(Err(slow));
            }
            let Count { failures, last_ms } = Count::and_one(Some(count(row)), now_ms);
            rows.push(FailureRow { whose: *whose, failures, last_ms });
        }
        for row in &rows {
            tx.sign_in_failure_put(row).await?;
        }
        tx.sign_in_failures_drop(Count::forgotten_before(now_ms)).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// The keyed hash by which the store knows whose failures they are.
    fn whose(&self, key: Key) -> [u8; 32] {
        let (kind, text) = match key {
            Key::Account(account) => (b'a', account.to_vec()),
            Key::Device(device) => (b'd', device.to_vec()),
            Key::Address(network) => (b'n', network.to_string().into_bytes()),
        };
        self.vault.host().blind_index("sign-in failure", &[&[kind], text.as_slice()].concat())
    }
}

fn count(row: FailureRow) -> Count {
    Count { failures: row.failures, last_ms: row.last_ms }
}

impl Attempt {
    /// It did not fail.
    pub(crate) async fn succeeded(self) {
        if self.core.store.is_shared() {
            self.end_shared(Key::begins_anew).await;
        } else {
            self.core.guards.attempts.here.succeeded(&self.keys);
        }
    }

    /// It came to no end that says anything about who tries.
    pub(crate) async fn void(self) {
        if self.core.store.is_shared() {
            self.end_shared(|_| false).await;
        } else {
            self.core.guards.attempts.here.void(&self.keys);
        }
    }

    /// Forgets the failures of those that `all` says yes to, and takes the last one of the others back.
    async fn end_shared(&self, all: impl Fn(Key) -> bool) {
        let done = async {
            let mut whose: Vec<_> = self.keys.iter().map(|key| (self.core.whose(*key), all(*key))).collect();
            whose.sort_unstable();
            let mut tx = self.core.store.begin().await?;
            for (whose, all) in &whose {
                tx.sign_in_failure_end(whose, *all).await?;
            }
            tx.commit().await
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "an attempt that did not fail could not be told from one that did");
        }
    }
}
