//! What a call used. CPU time is the thread's own, measured around each poll of the call, so that time spent waiting
//! or given to others is nobody's, and host work done for the guest is the guest's.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::admission::Seat;

/// Shortest turn that a tick ends, in nanoseconds.
const TURN_LEAST: u64 = 1_000_000;

use crate::fault::Fault;

/// What one call used of each thing that is limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// CPU time, in microseconds; of a call that neither waited nor met a tick, the time it took.
    pub cpu_us: u64,
    /// Time from the start of the run to its end, in microseconds; waiting for a slot is not in it.
    pub wall_us: u64,
    /// The most memory held at once, in bytes, of all memories together.
    pub peak_memory_bytes: u64,
    /// Calls of imports.
    pub host_calls: u64,
    /// Bytes passed to imports.
    pub hostcall_bytes: u64,
    /// HTTP requests that a rule allowed, redirects followed among them.
    pub egress_requests: u64,
    /// Bytes sent and received by them.
    pub egress_bytes: u64,
    /// Log lines kept.
    pub log_lines: u64,
    /// Fuel used, where it was counted.
    pub fuel: Option<u64>,
}

/// The CPU time of one call so far. Shared between the future that is polled and the epoch callback inside it, which
/// run on one thread at a time.
///
/// Asking the kernel for a thread's time costs as much as a short call's other bookkeeping together. So the first poll
/// is measured by the wall clock, which is never less than the CPU time and is off by at most one preemption; a call
/// that goes beyond it, because it waited or met a tick, is measured by the kernel from then on.
#[derive(Debug)]
pub(crate) struct CpuClock {
    /// When it got its place.
    origin: Instant,
    /// Of finished polls, in nanoseconds.
    used: AtomicU64,
    /// The clock at the beginning of the current poll.
    began: AtomicU64,
    /// Whether it had to wait, for its turn or in its first poll.
    waited: AtomicBool,
    /// Whether the guest met a tick in its turn and would compute on, and whether it ever did.
    paused: AtomicBool,
    long: AtomicBool,
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Both parts are non-negative on the thread's own clock.
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

impl CpuClock {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            used: AtomicU64::new(0),
            began: AtomicU64::new(0),
            waited: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            long: AtomicBool::new(false),
        }
    }

    fn read(&self) -> u64 {
        if self.waited.load(Ordering::Relaxed) {
            thread_ns()
        } else {
            u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }
    }

    fn begin(&self) {
        // The first poll is the call's from its start: what is made ready for it is its own.
        if self.waited.load(Ordering::Relaxed) {
            self.began.store(thread_ns(), Ordering::Relaxed);
        }
    }

    /// Nanoseconds the poll took that ends here.
    fn end(&self) -> u64 {
        let turn = self.turn();
        self.used.fetch_add(turn, Ordering::Relaxed);
        turn
    }

    /// It goes on later, so from now on its own clock counts.
    fn waits(&self) {
        self.waited.store(true, Ordering::Relaxed);
    }

    /// Nanoseconds of the current poll. Only meaningful on the thread that polls.
    fn turn(&self) -> u64 {
        self.read().saturating_sub(self.began.load(Ordering::Relaxed))
    }

    /// The guest meets a tick. Whether its turn is over: a tick may come just as it began.
    pub(crate) fn tick(&self) -> bool {
        let over = self.turn_is_over();
        if over {
            self.paused.store(true, Ordering::Relaxed);
            self.long.store(true, Ordering::Relaxed);
        }
        over
    }

    /// Whether the current turn has lasted for as long as a tick may end one.
    pub(crate) fn turn_is_over(&self) -> bool {
        self.turn() >= TURN_LEAST
    }

    /// Whether a tick ever ended its turn.
    pub(crate) fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }

    /// Nanoseconds used, the current poll included. Only meaningful on the thread that polls.
    pub(crate) fn now(&self) -> u64 {
        self.total() + self.turn()
    }

    /// Time from the start to the end of a call that is over.
    pub(crate) fn wall(&self) -> Duration {
        if self.waited.load(Ordering::Relaxed) { self.origin.elapsed() } else { Duration::from_nanos(self.total()) }
    }

    /// Nanoseconds used by all polls that ended.
    pub(crate) fn total(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// How a supervised future ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// By itself.
    Done(T),
    /// Its time was up.
    Late,
    /// Someone stopped it, and said why.
    Stopped(Fault),
    /// Host code in it panicked.
    Panicked,
}

/// Runs `future` to its end, or until `deadline`, or until `stopped` ends. It is polled only in turns that it takes from
/// `seat`, which is not asked for another once it ended. The alarms are only set when the future waits for the first time, so a call that never waits pays for neither.
pub(crate) async fn supervise<T>(
    future: impl Future<Output = T>,
    seat: &mut Seat,
    clock: &CpuClock,
    deadline: Instant,
    stopped: impl Future<Output = Fault>,
) -> Ended<T> {
    let mut future = pin!(future);
    let mut late = pin!(async move { tokio::time::sleep_until(deadline.into()).await });
    let mut stopped = pin!(stopped);
    poll_fn(|cx| {
        if seat.poll_turn(cx).is_ready() {
            clock.begin();
            // The panic ends this call alone: everything it could have left half-done belongs to its own store, which
            // is not run again.
            let polled = catch_unwind(AssertUnwindSafe(|| {
                if clock.long.load(Ordering::Relaxed) {
                    apart(|| future.as_mut().poll(cx))
                } else {
                    future.as_mut().poll(cx)
                }
            }));
            let turn = clock.end();
            let paused = clock.paused.swap(false, Ordering::Relaxed);
            match polled {
                Ok(Poll::Pending) if paused => seat.pause(turn, cx),
                Ok(Poll::Pending) => seat.end(turn),
                Ok(Poll::Ready(_)) | Err(_) => seat.finish(turn),
            }
            match polled {
                Ok(Poll::Ready(value)) => return Poll::Ready(Ended::Done(value)),
                Err(_) => return Poll::Ready(Ended::Panicked),
                Ok(Poll::Pending) => {}
            }
        }
        clock.waits();
        if late.as_mut().poll(cx).is_ready() {
            Poll::Ready(Ended::Late)
        } else {
            stopped.as_mut().poll(cx).map(Ended::Stopped)
        }
    })
    .await
}

/// Computes for long, away from the few threads on which everything else waits to be served in passing.
fn apart<T>(compute: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(compute),
        _ => compute(),
    }
}

/// `duration` in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use opsiq_contract::Fairness;

    use super::*;
    use crate::admission::{Admission, Who};
    use crate::class::Class;
    use crate::fault::FaultCode;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    async fn seat() -> Seat {
        let (tenant, id) = ("acme".parse().unwrap(), "00000000-0000-4000-8000-000000000001".parse().unwrap());
        let who = Who { tenant: &tenant, installation: &id, name: "shop", family: "acme/shop" };
        Arc::new(Admission::new(&Fairness::default(), [8, 8])).enter(who, Class::Small, 1).await.unwrap().seat()
    }

    #[tokio::test]
    async fn counts_work_and_not_waiting() {
        let clock = CpuClock::new(Instant::now());
        let work = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let begin = thread_ns();
            while thread_ns() - begin < 10_000_000 {}
        };
        let ended =
            supervise(work, &mut seat().await, &clock, Instant::now() + Duration::from_secs(5), pending()).await;
        assert!(matches!(ended, Ended::Done(())));
        assert!(clock.total() >= 10_000_000 && clock.total() < 50_000_000, "{}", clock.total());
    }

    #[tokio::test]
    async fn ends_late_stopped_or_panicked() {
        let clock = CpuClock::new(Instant::now());
        assert!(matches!(supervise(pending::<()>(), &mut seat().await, &clock, soon(), pending()).await, Ended::Late));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Fault::new(FaultCode::Stopped, "enough")
        };
        assert!(matches!(supervise(pending::<()>(), &mut seat().await, &clock, soon(), stop).await, Ended::Stopped(_)));
        let panics = async { panic!("an import of the host fails") };
        assert!(matches!(supervise::<()>(panics, &mut seat().await, &clock, soon(), pending()).await, Ended::Panicked));
        let enough = std::future::ready(Fault::new(FaultCode::Stopped, "enough"));
        let ready = supervise(async { 7 }, &mut seat().await, &clock, Instant::now(), enough).await;
        assert!(matches!(ready, Ended::Done(7)), "what is done is done");
    }
}
