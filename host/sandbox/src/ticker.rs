//! The one clock hand of the engine: while a call runs, the epoch moves every few milliseconds, and each running
//! guest then counts its CPU time and lets others run. With no call running the thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Length of one tick. A guest overruns its CPU limit by at most about this.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Ticks without a call before the thread goes to sleep, so that a steady trickle of short calls wakes nobody.
const IDLE_TICKS: u32 = 64;

/// On a line of the cache of its own: every call writes to it.
#[derive(Debug)]
#[repr(align(128))]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// The ticking thread; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread for an engine, which it does not keep alive.
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let handle =
            std::thread::Builder::new().name("opsiq-epoch".to_owned()).spawn(move || tick(&theirs, &engine))?;
        Ok(Self { thread: handle.thread().clone(), shared, handle: Some(handle) })
    }

    /// Ticks as long as the answer lives.
    pub(crate) fn running(&self) -> Running<'_> {
        // SeqCst on both sides: either the sleeper sees the new count, or this call sees it asleep and wakes it.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running { shared: &self.shared }
    }

    /// Calls running now.
    pub(crate) fn count(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // The thread only ticks and sleeps; there is nothing in it that could fail.
            let _ = handle.join();
        }
    }
}

/// Proof that a call runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    shared: &'a Shared,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        idle = if shared.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle >= IDLE_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            while shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
        std::thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_when_idle_and_wakes_for_a_call() {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::start(engine.weak()).unwrap();
        let asleep = || ticker.shared.asleep.load(Ordering::SeqCst);
        let wait = |what: &dyn Fn() -> bool| {
            (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(5));
                what()
            })
        };
        assert!(wait(&asleep), "an idle ticker goes to sleep");
        let running = ticker.running();
        assert!(wait(&|| !asleep()), "a call wakes it");
        assert_eq!(ticker.count(), 1);
        drop(running);
        assert_eq!(ticker.count(), 0);
        assert!(wait(&asleep));
    }
}
