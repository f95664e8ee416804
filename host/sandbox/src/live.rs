//! What can be seen of a call while it runs, and the way to end it from outside. Shared between the call, which writes plain
//! numbers as it goes, and whoever looks or stops; which calls to stop is for them to choose.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use opsiq_egress::Usage;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::meter::CpuClock;

/// What a call does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Phase {
    /// It waits for a slot and has not begun.
    Queued = 0,
    /// The guest computes.
    Computing = 1,
    /// The host waits for an HTTP server on its behalf.
    Http = 2,
    /// The host waits for its storage.
    Storage = 3,
}

impl Phase {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Computing => "computing",
            Self::Http => "http",
            Self::Storage => "storage",
        }
    }

    fn of(code: u8) -> Self {
        [Self::Queued, Self::Computing, Self::Http, Self::Storage][usize::from(code.min(3))]
    }
}

/// A call as it stands: exact to a tick of the guest or the last import it called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub phase: Phase,
    /// CPU time so far, in microseconds.
    pub cpu_us: u64,
    /// Memory held, in bytes, of all memories together.
    pub memory_bytes: u64,
    /// Imports called.
    pub host_calls: u64,
    /// HTTP requests that a rule allowed.
    pub egress_requests: u64,
    /// Bytes sent and received by them.
    pub egress_bytes: u64,
}

/// One call, from before it waits for a slot until it has ended.
#[derive(Debug, Default)]
pub struct Live {
    phase: AtomicU8,
    /// Runs from when it got its slot.
    clock: OnceLock<CpuClock>,
    memory_bytes: AtomicU64,
    host_calls: AtomicU64,
    egress_requests: AtomicU64,
    egress_bytes: AtomicU64,
    /// Why it is to end, once somebody said so.
    order: OnceLock<Fault>,
    ordered: Notify,
}

impl Live {
    /// A call that has not begun.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Ends the call with `fault`: before it begins if it waits, with the next tick of the guest if that computes, at once
    /// while the host waits for it. The first order counts.
    pub fn stop(&self, fault: Fault) {
        if self.order.set(fault).is_ok() {
            // Kept until somebody waits for it; only the call itself does.
            self.ordered.notify_one();
        }
    }

    /// Whether it got a slot: what never began had no effect.
    pub fn began(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != Phase::Queued as u8
    }

    /// What it does and what it used so far.
    pub fn seen(&self) -> Seen {
        Seen {
            phase: Phase::of(self.phase.load(Ordering::Relaxed)),
            cpu_us: self.clock.get().map_or(0, CpuClock::total) / 1000,
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            host_calls: self.host_calls.load(Ordering::Relaxed),
            egress_requests: self.egress_requests.load(Ordering::Relaxed),
            egress_bytes: self.egress_bytes.load(Ordering::Relaxed),
        }
    }

    /// Why it is to end, if it is.
    pub(crate) fn order(&self) -> Option<Fault> {
        self.order.get().cloned()
    }

    /// Ends when the call is to end.
    pub(crate) async fn stopped(&self) -> Fault {
        loop {
            if let Some(fault) = self.order() {
                return fault;
            }
            self.ordered.notified().await;
        }
    }

    /// It got its slot at `began`.
    pub(crate) fn begin(&self, began: Instant) -> &CpuClock {
        self.now(Phase::Computing);
        self.clock.get_or_init(|| CpuClock::new(began))
    }

    /// What it computes. One that did not begin begins now.
    pub(crate) fn clock(&self) -> &CpuClock {
        self.clock.get_or_init(|| CpuClock::new(Instant::now()))
    }

    pub(crate) fn now(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, memory_bytes: u64) {
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
    }

    pub(crate) fn called(&self, host_calls: u64) {
        self.host_calls.store(host_calls, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, usage: Usage) {
        self.egress_requests.store(usage.requests, Ordering::Relaxed);
        self.egress_bytes.store(usage.sent_bytes + usage.received_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::FaultCode;

    #[tokio::test]
    async fn an_order_reaches_who_waits_already_and_who_waits_later() {
        let live = Live::new();
        assert!(tokio::time::timeout(Duration::from_millis(10), live.stopped()).await.is_err());
        let waits = tokio::spawn({
            let live = Arc::clone(&live);
            async move { live.stopped().await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        live.stop(Fault::new(FaultCode::Stopped, "first"));
        live.stop(Fault::new(FaultCode::Stopped, "second"));
        assert_eq!(waits.await.unwrap().message, "first");
        assert_eq!(live.stopped().await.message, "first");
        assert!(!live.began());
    }
}
