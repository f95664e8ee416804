//! A call that has no effect: the same sandbox, authority and limits, with nothing behind the imports. Its storage is a
//! map, its way out ends in this process, its clock and randomness are given, so that it runs the same again. Since all of
//! that is made here and leads nowhere, no leave of the audit log is needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opsiq_contract::{Authorized, CanonicalJson};
use opsiq_egress::{Egress, Upstream};
use opsiq_vault::LeakWatch;
use sha2::{Digest as _, Sha256};

use crate::fault::{Fault, FaultCode};
use crate::keys::KeySet;
use crate::kv::{Kv, KvEntry, KvError};
use crate::live::Live;
use crate::plugin::Plugin;
use crate::run::{Call, Capabilities, NoPlace, RunReport};
use crate::sandbox::Sandbox;

/// A call to rehearse.
pub struct Rehearsal {
    /// What it may do: made by the one function that decides.
    pub authorized: Authorized,
    /// The parameters, valid against the action's schema.
    pub params: CanonicalJson,
    /// The key the plugin passes upstream; `None` for reads.
    pub idempotency_key: Option<String>,
    /// What stands in for the installation's secrets. An upstream sees them, so they are to be none.
    pub keys: KeySet,
    /// What stands in for its storage.
    pub kv: Arc<MemoryKv>,
    /// What stands in for everything outside.
    pub upstream: Arc<dyn Upstream>,
    /// What looks for the stand-ins of secrets in what the call stores and sends.
    pub leaks: Arc<LeakWatch>,
    /// What stands in for the clock and for chance.
    pub moment: Moment,
}

impl Sandbox {
    /// Runs one action of `plugin` as [`run`](Self::run) does, without any effect: what it would change, ask and record
    /// is in the report, in `kv`, and with `upstream`.
    pub async fn rehearse(&self, plugin: &Plugin, rehearsal: Rehearsal) -> RunReport {
        let Rehearsal { authorized, params, idempotency_key, keys, kv, upstream, leaks, moment } = rehearsal;
        let egress = Arc::new(Egress::rehearsal(upstream));
        let capabilities = Capabilities { keys: Arc::new(keys), kv, egress, kept: None, leaks };
        let live = Live::new();
        let place = match self.enter(plugin, &authorized, &live).await {
            Ok(place) => place,
            Err(NoPlace::Full(full)) => {
                return RunReport::refused(authorized, Fault::new(FaultCode::Busy, full.message));
            }
            Err(NoPlace::Stopped(fault)) => return RunReport::refused(authorized, fault),
        };
        let call = Call { authorized, place, params, idempotency_key, capabilities, live, moment: Some(moment) };
        self.begin(plugin, call).await
    }
}

/// Nanoseconds that each look at the clock takes, so that waiting for it ends.
const LOOK_NS: u64 = 1_000_000;

/// A time and a source of randomness that are the same in every run.
#[derive(Debug, Clone)]
pub struct Moment {
    began_ms: u64,
    looks: u64,
    seed: [u8; 32],
    drawn: u64,
}

impl Moment {
    /// A call that begins at `now_ms` since 1970, by a clock on which each look at it takes a millisecond, with the
    /// randomness that follows from `seed`. That is for repeating, not for secrets.
    pub fn new(now_ms: u64, seed: &str) -> Self {
        Self { began_ms: now_ms, looks: 0, seed: Sha256::digest(seed.as_bytes()).into(), drawn: 0 }
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.looks.saturating_mul(LOOK_NS)
    }

    pub(crate) fn now_ms(&mut self) -> u64 {
        let elapsed = self.monotonic_ns();
        self.began_ms.saturating_add(elapsed / 1_000_000)
    }

    pub(crate) fn monotonic_ns(&mut self) -> u64 {
        let elapsed = self.elapsed_ns();
        self.looks = self.looks.saturating_add(1);
        elapsed
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(32) {
            let block = Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_be_bytes()).finalize();
            piece.copy_from_slice(&block[..piece.len()]);
            self.drawn += 1;
        }
    }
}

/// Storage that is gone with its last user.
#[derive(Debug, Default)]
pub struct MemoryKv {
    entries: Mutex<BTreeMap<String, KvEntry>>,
}

impl MemoryKv {
    /// Storage that holds these values, each in its first version.
    pub fn holding(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key, KvEntry { value, version: 1 })).collect();
        Self { entries: Mutex::new(entries) }
    }

    /// What it holds now.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.entries().iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// A map stays whole when a thread panics: each change of it is one insertion or removal.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, KvEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        Ok(self.entries().get(key).cloned())
    }

    async fn set(&self, key: &str, value: Vec<u8>, expected: Option<u64>, max_total: u64) -> Result<u64, KvError> {
        let mut entries = self.entries();
        let current = entries.get(key).map_or(0, |entry| entry.version);
        if expected.is_some_and(|expected| expected != current) {
            return Err(KvError::Conflict(current));
        }
        let others = entries.iter().filter(|(other, _)| other.as_str() != key);
        let held: usize = others.map(|(other, entry)| other.len() + entry.value.len()).sum();
        if (held + key.len() + value.len()) as u64 > max_total {
            return Err(KvError::Full(format!("[kv] max is {max_total} bytes")));
        }
        entries.insert(key.to_owned(), KvEntry { value, version: current + 1 });
        Ok(current + 1)
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), KvError> {
        let mut entries = self.entries();
        let current = entries.get(key).map_or(0, |entry| entry.version);
        if expected.is_some_and(|expected| expected != current) {
            return Err(KvError::Conflict(current));
        }
        entries.remove(key);
        Ok(())
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, KvError> {
        let entries = self.entries();
        let found = entries.keys().filter(|key| key.starts_with(prefix));
        Ok(found.filter(|key| after.is_none_or(|after| key.as_str() > after)).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_is_the_same_again_and_goes_on() {
        let (mut one, mut two) = (Moment::new(1_000, "a"), Moment::new(1_000, "a"));
        assert_eq!((one.now_ms(), one.now_ms(), one.monotonic_ns()), (1_000, 1_001, 2_000_000));
        let (mut first, mut second, mut split) = ([0; 40], [0; 40], [0; 40]);
        one.fill(&mut first);
        two.fill(&mut second);
        assert_eq!(first, second);
        two.fill(&mut split);
        assert_ne!(first, split);
        Moment::new(1_000, "b").fill(&mut split);
        assert_ne!(first, split);
    }

    #[tokio::test]
    async fn storage_keeps_versions_and_its_size() {
        let kv = MemoryKv::holding([("a".to_owned(), b"1".to_vec())]);
        assert_eq!(kv.set("a", b"22".to_vec(), Some(1), 3).await, Ok(2));
        assert_eq!(kv.set("a", b"333".to_vec(), None, 3).await, Err(KvError::Full("[kv] max is 3 bytes".to_owned())));
        assert_eq!(kv.set("b", Vec::new(), Some(0), 4).await, Ok(1));
        assert_eq!(kv.delete("b", Some(7)).await, Err(KvError::Conflict(1)));
        assert_eq!(kv.keys("", Some("a"), 9).await, Ok(vec!["b".to_owned()]));
        kv.delete("b", None).await.unwrap();
        assert_eq!(kv.contents(), BTreeMap::from([("a".to_owned(), b"22".to_vec())]));
    }
}
