//! The calls that run or wait to, so that they can be seen and stopped. A call is here from before the last look at the
//! quarantines until its sandbox is gone: whoever places a quarantine and then looks here has missed none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opsiq_contract::{About, Authorized, Installation, InvocationId};
use opsiq_sandbox::{Fault, Live};

use super::totals::Totals;

/// How often to look whether stopped calls are gone.
const LOOK: Duration = Duration::from_millis(2);

/// One call.
pub(crate) struct LiveCall {
    pub(crate) about: About,
    pub(crate) invocation: InvocationId,
    pub(crate) since: Instant,
    pub(crate) live: Arc<Live>,
    gone: AtomicBool,
}

impl LiveCall {
    /// Of which installation.
    pub(crate) fn installation(&self) -> &Installation {
        self.about.installation()
    }
}

#[derive(Default)]
struct Slots {
    calls: Vec<Option<Arc<LiveCall>>>,
    free: Vec<usize>,
}

/// All of them. As many places as there were calls at once.
#[derive(Default)]
pub(crate) struct LiveCalls(Mutex<Slots>);

/// One call's place, given back when dropped. A call that was not counted by then had no caller any more.
pub(crate) struct Entered {
    calls: Arc<LiveCalls>,
    at: usize,
    pub(crate) call: Arc<LiveCall>,
    totals: Arc<Totals>,
    counted: bool,
}

impl LiveCalls {
    /// A call comes in.
    pub(crate) fn enter(self: &Arc<Self>, authorized: &Authorized, totals: &Arc<Totals>) -> Entered {
        let call = Arc::new(LiveCall {
            about: authorized.about(),
            invocation: authorized.invocation().clone(),
            since: Instant::now(),
            live: Live::new(),
            gone: AtomicBool::new(false),
        });
        let kept = call.clone();
        let mut slots = self.lock();
        let at = slots.free.pop().unwrap_or(slots.calls.len());
        if at == slots.calls.len() {
            slots.calls.push(Some(kept));
        } else {
            slots.calls[at] = Some(kept);
        }
        drop(slots);
        Entered { calls: self.clone(), at, call, totals: totals.clone(), counted: false }
    }

    /// Those that are there now, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<LiveCall>> {
        self.lock().calls.iter().flatten().cloned().collect()
    }

    /// Orders those that `selects` to end; answers them.
    pub(crate) fn stop(&self, selects: impl Fn(&LiveCall) -> bool, fault: &Fault) -> Vec<Arc<LiveCall>> {
        let mut stopped = self.all();
        stopped.retain(|call| selects(call));
        for call in &stopped {
            call.live.stop(fault.clone());
        }
        stopped
    }

    /// Each change of it is one assignment, so it stays whole when a thread panics.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// The call ended and is counted in its installation's totals, or elsewhere.
    pub(crate) fn ended(mut self, count: impl FnOnce(&Totals, Duration)) {
        count(&self.totals, self.call.since.elapsed());
        self.counted = true;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.counted {
            self.totals.cancelled();
        }
        self.call.gone.store(true, Ordering::Release);
        let mut slots = self.calls.lock();
        slots.calls[self.at] = None;
        slots.free.push(self.at);
    }
}

/// Waits until `calls` are gone, `most` at the longest; how many are.
pub(crate) async fn gone(calls: &[Arc<LiveCall>], most: Duration) -> usize {
    let until = Instant::now() + most;
    loop {
        let gone = calls.iter().filter(|call| call.gone.load(Ordering::Acquire)).count();
        if gone == calls.len() || Instant::now() >= until {
            return gone;
        }
        tokio::time::sleep(LOOK).await;
    }
}
