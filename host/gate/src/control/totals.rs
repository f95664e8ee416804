//! What calls used, added up since this process opened the data directory. A call costs a few additions and no look-up:
//! an installation as it is remembered between calls holds its own counters.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opsiq_contract::{Digest, Installation, InstallationId, PluginRef, TenantId};
use opsiq_sandbox::Meter;

/// Installations counted apart, at most; more are counted together.
const MOST: usize = 8192;
/// Parts of a doubling of the duration, so that a percentile is off by a quarter at most.
const PARTS: usize = 4;
/// Doublings of a microsecond: up to two minutes.
const DOUBLINGS: usize = 27;
/// All parts.
pub(crate) const BUCKETS: usize = PARTS * DOUBLINGS;

/// Whose calls are counted: of one installation of one component.
#[derive(Debug, Clone)]
pub(crate) struct Whose {
    pub(crate) tenant: TenantId,
    pub(crate) installation: InstallationId,
    pub(crate) plugin: PluginRef,
}

/// Counters that only grow.
pub(crate) struct Totals {
    /// `None` for those that are counted together.
    pub(crate) whose: Option<Whose>,
    calls: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    cancelled: AtomicU64,
    cpu_us: AtomicU64,
    host_calls: AtomicU64,
    egress_requests: AtomicU64,
    egress_bytes: AtomicU64,
    duration_us: AtomicU64,
    durations: [AtomicU64; BUCKETS],
}

/// Counters as they were at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) cancelled: u64,
    pub(crate) cpu_us: u64,
    pub(crate) host_calls: u64,
    pub(crate) egress_requests: u64,
    pub(crate) egress_bytes: u64,
    pub(crate) duration_us: u64,
    durations: [u64; BUCKETS],
}

/// The bucket of a duration.
fn bucket(us: u64) -> usize {
    let us = us.max(1);
    let doubling = us.ilog2() as usize;
    // What follows the highest bit says how far into the doubling it is.
    let part = if doubling < 2 { 0 } else { ((us >> (doubling - 2)) & 3) as usize };
    (doubling * PARTS + part).min(BUCKETS - 1)
}

/// The end of a bucket, in microseconds.
fn end(bucket: usize) -> u64 {
    let (doubling, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    ((PARTS as u64 + part + 1) << doubling) / PARTS as u64
}

impl Totals {
    fn new(whose: Option<Whose>) -> Self {
        let zero = AtomicU64::default;
        Self {
            whose,
            calls: zero(),
            failed: zero(),
            refused: zero(),
            cancelled: zero(),
            cpu_us: zero(),
            host_calls: zero(),
            egress_requests: zero(),
            egress_bytes: zero(),
            duration_us: zero(),
            durations: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    /// A call ended after `took`, waiting for a slot among it; `failed` without a result.
    pub(crate) fn call(&self, meter: &Meter, took: Duration, failed: bool) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let add = |counter: &AtomicU64, count: u64| {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.calls, 1);
        add(&self.failed, u64::from(failed));
        add(&self.cpu_us, meter.cpu_us);
        add(&self.host_calls, meter.host_calls);
        add(&self.egress_requests, meter.egress_requests);
        add(&self.egress_bytes, meter.egress_bytes);
        add(&self.duration_us, us);
        add(&self.durations[bucket(us)], 1);
    }

    /// A call was refused, or did not begin.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A call's caller went away.
    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    /// As they are now.
    pub(crate) fn counted(&self) -> Counted {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            calls: now(&self.calls),
            failed: now(&self.failed),
            refused: now(&self.refused),
            cancelled: now(&self.cancelled),
            cpu_us: now(&self.cpu_us),
            host_calls: now(&self.host_calls),
            egress_requests: now(&self.egress_requests),
            egress_bytes: now(&self.egress_bytes),
            duration_us: now(&self.duration_us),
            durations: std::array::from_fn(|at| now(&self.durations[at])),
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Totals::new(None).counted()
    }
}

impl Counted {
    /// Both together.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.refused += other.refused;
        self.cancelled += other.cancelled;
        self.cpu_us += other.cpu_us;
        self.host_calls += other.host_calls;
        self.egress_requests += other.egress_requests;
        self.egress_bytes += other.egress_bytes;
        self.duration_us += other.duration_us;
        for (count, more) in self.durations.iter_mut().zip(other.durations) {
            *count += more;
        }
    }

    /// The duration within which `percent` of the calls ended, in microseconds; `None` without a call.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.durations.iter().sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.durations.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.filter(|_| all > 0).map(end)
    }

    /// How many calls took at most `us` microseconds, a power of two.
    pub(crate) fn within(&self, us: u64) -> u64 {
        self.durations.iter().enumerate().take_while(|(at, _)| end(*at) <= us).map(|(_, count)| count).sum()
    }
}

/// The counters of all installations.
pub(crate) struct Meters {
    known: Mutex<HashMap<(TenantId, InstallationId, Digest), Arc<Totals>>>,
    others: Arc<Totals>,
}

impl Default for Meters {
    fn default() -> Self {
        Self { known: Mutex::default(), others: Arc::new(Totals::new(None)) }
    }
}

impl Meters {
    /// The counters of an installation as it is.
    pub(crate) fn of(&self, installation: &Installation) -> Arc<Totals> {
        let Installation { tenant, id, digest, plugin, .. } = installation;
        let key = (tenant.clone(), id.clone(), *digest);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(totals) = known.get(&key) {
            return totals.clone();
        }
        if known.len() >= MOST {
            // Of installations that nobody remembers between calls: what they counted so far goes.
            known.retain(|_, totals| Arc::strong_count(totals) > 1);
        }
        if known.len() >= MOST {
            return self.others.clone();
        }
        let whose = Whose { tenant: tenant.clone(), installation: id.clone(), plugin: plugin.clone() };
        let totals = Arc::new(Totals::new(Some(whose)));
        known.insert(key, totals.clone());
        totals
    }

    /// All of them, those counted together at the end.
    pub(crate) fn all(&self) -> Vec<Arc<Totals>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().chain([&self.others]).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_hold_what_they_say() {
        let mut last = 0;
        for us in 1..100_000 {
            let at = bucket(us);
            assert!(at >= last && us <= end(at).max(1) + 1, "{us} in {at}");
            last = at;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_near() {
        let totals = Totals::new(None);
        for ms in 1..=100 {
            totals.call(&Meter { cpu_us: 5, ..Meter::default() }, Duration::from_millis(ms), ms > 90);
        }
        totals.refused();
        let counted = totals.counted();
        assert_eq!((counted.calls, counted.failed, counted.refused, counted.cpu_us), (100, 10, 1, 500));
        let within = |percent, near: u64| {
            let found = counted.percentile(percent).unwrap();
            assert!(found >= near && found <= near * 5 / 4 + 1, "{percent}: {found}");
        };
        within(50, 50_000);
        within(99, 99_000);
        assert_eq!(counted.within(1 << 30), 100);
        assert!(counted.within(1 << 16) >= 60 && counted.within(1 << 16) <= 66);
        assert_eq!(Counted::default().percentile(50), None);
    }
}
