//! The keys a tenant's values may be sealed under right now: which one seals, which ones open, and whether values sealed
//! by an older one are still on their way into the store.
//!
//! Why it counts: a key may be destroyed only when nothing stored is under it *and* nothing that it sealed can still be
//! stored. So every value holds a token of the key that sealed it, from the moment the key is chosen until the value is
//! dropped, which is after it was written. Once a newer key has taken over, the count of an older one only falls.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock};

use crate::KeyId;
use crate::cipher::{KeyWrap, derive_key};

/// One key-encryption key with its cipher ready.
pub(crate) struct LiveKey {
    pub(crate) id: KeyId,
    pub(crate) wrap: KeyWrap,
    /// Held once here, and once by everything that this key sealed and that is not dropped yet.
    sealing: Arc<()>,
}

/// Says that a value sealed by a key is still in memory. It holds nothing of the key.
#[derive(Clone)]
pub(crate) struct InUse(#[allow(dead_code, reason = "it is counted, not read")] Arc<()>);

impl LiveKey {
    /// `kind` is what the id is derived with, see [`KeyId::of`].
    pub(crate) fn new(kind: &'static str, key: &[u8]) -> Self {
        Self {
            id: KeyId::of(kind, key),
            wrap: KeyWrap::new(&derive_key(key, &["opsiq/1/record-wrap"])),
            sealing: Arc::default(),
        }
    }
}

/// All live keys of one tenant, oldest first, never none. Changed under everybody who seals and opens.
pub(crate) struct LiveKeys(RwLock<Vec<Arc<LiveKey>>>);

impl LiveKeys {
    /// `keys` oldest first and not empty.
    pub(crate) fn new(keys: Vec<LiveKey>) -> Self {
        Self(RwLock::new(keys.into_iter().map(Arc::new).collect()))
    }

    /// The key that seals now, and the token for what it is about to seal.
    pub(crate) fn newest(&self) -> (Arc<LiveKey>, InUse) {
        let keys = self.read();
        let newest = keys.last().expect("a tenant's vault is made of one key at least");
        // Both are taken under the lock: whoever changes the keys sees the token or is seen by it.
        (newest.clone(), InUse(newest.sealing.clone()))
    }

    /// The live key called `id`.
    pub(crate) fn find(&self, id: KeyId) -> Option<Arc<LiveKey>> {
        self.read().iter().rev().find(|key| key.id == id).cloned()
    }

    /// The ids of all, oldest first.
    pub(crate) fn ids(&self) -> Vec<KeyId> {
        self.read().iter().map(|key| key.id).collect()
    }

    /// Takes over the keys of `other`. A key that is live already stays the same one, with its count.
    pub(crate) fn adopt(&self, other: Self) {
        let other = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let same = |new: Arc<LiveKey>| keys.iter().find(|old| old.id == new.id).cloned().unwrap_or(new);
        *keys = other.into_iter().map(same).collect();
    }

    /// Whether something sealed by `id` may still be written.
    pub(crate) fn in_use(&self, id: KeyId) -> bool {
        let Some(key) = self.find(id) else { return false };
        let used = Arc::strong_count(&key.sealing) > 1;
        // What the last holder wrote happened before this answer (as `Arc` itself does before it drops).
        fence(Ordering::Acquire);
        used
    }

    /// Drops an older key; `false` for the newest, which is never dropped, and for one that is not live.
    pub(crate) fn retire(&self, id: KeyId) -> bool {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = keys.len();
        let newest = keys.last().map(|key| key.id);
        keys.retain(|key| key.id != id || Some(id) == newest);
        keys.len() < before
    }

    /// What is inside stays whole when a thread panics: each change of it is one assignment.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<LiveKey>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
