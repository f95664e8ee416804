//! Who runs now and who waits. The pool has a fixed number of slots; an installation takes at most its share of them,
//! and who cannot get in within a bounded time is told so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opsiq_contract::InstallationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::config::{Pool, SandboxConfig};
use crate::fault::{Fault, FaultCode};

/// Installations remembered before those without a call are forgotten.
const REMEMBERED: usize = 4096;

/// The doors to the pool: one of each installation, then the common one.
#[derive(Debug)]
pub(crate) struct Admission {
    slots: Semaphore,
    slots_in_all: u32,
    share: u32,
    shares: Mutex<HashMap<InstallationId, Arc<Semaphore>>>,
    waiting: AtomicU32,
    queue_length: u32,
    queue_wait: Duration,
}

/// Leave to run, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    _slots: SemaphorePermit<'a>,
    _share: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(config: &SandboxConfig, pool: Pool) -> Self {
        let slots = pool.slots.max(1);
        let share = pool.calls_per_installation.clamp(1, slots);
        Self {
            slots: Semaphore::new(slots as usize),
            slots_in_all: slots,
            share,
            shares: Mutex::new(HashMap::new()),
            waiting: AtomicU32::new(0),
            queue_length: config.queue_length,
            queue_wait: config.queue_wait,
        }
    }

    /// Leave for a call of `installation` that takes `slots` of the pool, waiting a bounded time.
    pub(crate) async fn enter(&self, installation: &InstallationId, slots: u32) -> Result<Slot<'_>, Fault> {
        if slots > self.slots_in_all {
            let message = format!("the plugin takes {slots} slots and the pool has {}", self.slots_in_all);
            return Err(Fault::new(FaultCode::Busy, message));
        }
        let share = self.share_of(installation);
        if let Ok(share) = Arc::clone(&share).try_acquire_owned()
            && let Ok(slots) = self.slots.try_acquire_many(slots)
        {
            return Ok(Slot { _slots: slots, _share: share });
        }
        let _place = self.queue()?;
        let turn = async {
            let share = share.acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>(Slot { _slots: self.slots.acquire_many(slots).await?, _share: share })
        };
        match tokio::time::timeout(self.queue_wait, turn).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                FaultCode::Busy,
                format!(
                    "no slot was free within {} ms; an installation runs {} calls at once and the host {}",
                    self.queue_wait.as_millis(),
                    self.share,
                    self.slots_in_all
                ),
            )),
        }
    }

    fn share_of(&self, installation: &InstallationId) -> Arc<Semaphore> {
        // Nothing that could panic runs under the lock.
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(installation) {
            return Arc::clone(share);
        }
        if shares.len() >= REMEMBERED {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = Arc::new(Semaphore::new(self.share as usize));
        shares.insert(installation.clone(), Arc::clone(&share));
        share
    }

    fn queue(&self) -> Result<Place<'_>, Fault> {
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.waiting);
        if ahead >= self.queue_length {
            let message = format!("{} calls already wait for a slot", self.queue_length);
            return Err(Fault::new(FaultCode::Busy, message));
        }
        Ok(place)
    }
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> InstallationId {
        format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
    }

    fn admission(slots: u32, share: u32, queue_length: u32) -> Admission {
        let queue_wait = Duration::from_millis(30);
        let config = SandboxConfig { queue_wait, queue_length, ..SandboxConfig::default() };
        Admission::new(&config, Pool { slots, calls_per_installation: share, keep_resident: 0 })
    }

    #[tokio::test]
    async fn one_installation_takes_only_its_share() {
        let doors = admission(3, 2, 8);
        let first = doors.enter(&id(1), 1).await.unwrap();
        let _second = doors.enter(&id(1), 1).await.unwrap();
        assert_eq!(doors.enter(&id(1), 1).await.unwrap_err().code, FaultCode::Busy);
        let _other = doors.enter(&id(2), 1).await.unwrap();
        assert_eq!(doors.enter(&id(3), 1).await.unwrap_err().code, FaultCode::Busy, "the pool is full");
        drop(first);
        doors.enter(&id(1), 1).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_in_and_who_finds_a_full_queue_does_not() {
        let doors = admission(1, 1, 1);
        let held = doors.enter(&id(1), 1).await.unwrap();
        let (second, third) = (id(2), id(3));
        let (waited, turned_away, ()) = tokio::join!(doors.enter(&second, 1), doors.enter(&third, 1), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(held);
        });
        waited.unwrap();
        assert!(turned_away.unwrap_err().message.contains("already wait"));
        assert_eq!(doors.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_plugin_larger_than_the_pool_is_told_so() {
        assert!(admission(2, 2, 1).enter(&id(1), 3).await.unwrap_err().message.contains("takes 3 slots"));
    }
}
