//! Who runs now, who waits, and who is told to come back: one machine shared by all tenants, by [`Fairness`].
//!
//! A call first takes a [`Place`], which may be refused, and computes in turns, which may have to be waited for. A call
//! that nobody competes with takes both without waiting, under a lock held for a fraction of a microsecond.

mod bucket;
mod limit;
mod node;
mod scheduler;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use opsiq_contract::{Authorized, Fairness, InstallationId};
use opsiq_egress::Budget;

pub use self::limit::Full;
use self::node::{Kind, Need};
pub(crate) use self::scheduler::Who;
use self::scheduler::{Again, Entry, Scheduler};
use crate::class::Class;

/// The doors to the pool.
#[derive(Debug)]
pub(crate) struct Admission {
    scheduler: Mutex<Scheduler<Waker>>,
    /// From which its times count.
    epoch: Instant,
}

impl Admission {
    /// `slots` are the sizes of the pools, in the order of [`Class::ALL`].
    pub(crate) fn new(fairness: &Fairness, slots: [u32; 2]) -> Self {
        let processors = || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let turns = fairness.computing.unwrap_or_else(processors);
        let scheduler = Mutex::new(Scheduler::new(fairness.clone(), slots.map(u64::from), turns));
        Self { scheduler, epoch: Instant::now() }
    }

    /// Asks the scheduler, and then wakes whom it named.
    fn with<T>(&self, ask: impl FnOnce(&mut Scheduler<Waker>) -> T) -> T {
        let (answer, woken) = {
            // What is done under the lock is whole before anything in it could panic.
            let mut scheduler = self.scheduler.lock().unwrap_or_else(PoisonError::into_inner);
            (ask(&mut scheduler), std::mem::take(&mut scheduler.woken))
        };
        for waker in woken {
            waker.wake();
        }
        answer
    }

    /// Nanoseconds since the beginning.
    fn at(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.epoch))
    }

    /// Counts a call that asks for something and does not run yet, against what a minute may bring.
    pub(crate) fn count(&self, who: Who<'_>) -> Result<(), Full> {
        let now = self.at(Instant::now());
        self.with(|scheduler| scheduler.count(who, now))
    }

    /// A place for a call of `slots` slots of its class's pool, waiting a bounded time for it.
    pub(crate) async fn enter(self: &Arc<Self>, who: Who<'_>, class: Class, slots: u32) -> Result<Place, Full> {
        let (now, need) = (self.at(Instant::now()), Need { class, slots: slots.into() });
        let place = |leaf| Place {
            admission: self.clone(),
            leaf,
            need,
            installation: who.installation.clone(),
            since: Instant::now(),
            last: None,
        };
        let (leaf, number, wait) = match self.with(|scheduler| scheduler.enter(who, need, now))? {
            Entry::In(leaf) => return Ok(place(leaf)),
            Entry::Queued { leaf, number, wait } => (leaf, number, Duration::from_nanos(wait)),
        };
        let mut queued = Queued { admission: self, leaf, need, number: Some(number) };
        if tokio::time::timeout(wait, &mut queued).await.is_ok() {
            return Ok(place(leaf));
        }
        queued.number = None;
        match self.with(|scheduler| scheduler.give_up(leaf, need, number)) {
            Some(full) => Err(full),
            None => Ok(place(leaf)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits for a place; leaves the queue when dropped.
struct Queued<'a> {
    admission: &'a Admission,
    leaf: usize,
    need: Need,
    /// While it stands in the queue.
    number: Option<u64>,
}

impl Future for Queued<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(number) = self.number else { return Poll::Ready(()) };
        if self.admission.with(|scheduler| scheduler.entered(self.leaf, number, || cx.waker().clone())) {
            self.number = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let now = self.admission.at(Instant::now());
        self.admission.with(|scheduler| {
            if scheduler.give_up(self.leaf, self.need, number).is_none() {
                scheduler.leave(self.leaf, self.need, 0, now);
            }
        });
    }
}

/// A place among the calls of an installation, its tenant and the host. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    leaf: usize,
    need: Need,
    installation: InstallationId,
    since: Instant,
    /// Its call's last turn, which ends with it: the kind, and the nanoseconds used.
    last: Option<(Kind, u64)>,
}

impl Place {
    /// Whether it was taken for a call of this installation.
    pub(crate) fn is_of(&self, authorized: &Authorized) -> bool {
        self.installation == *authorized.installation()
    }

    /// What its call computes by.
    pub(crate) fn seat(self) -> Seat {
        Seat { place: self, kind: Kind::Short, number: None, state: Turn::None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let held = nanoseconds(now.saturating_duration_since(self.since));
        let at = self.admission.at(now);
        self.admission.with(|scheduler| {
            if let Some((kind, ns)) = self.last {
                scheduler.end_turn(self.leaf, kind, ns);
            }
            scheduler.leave(self.leaf, self.need, held, at);
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    Has,
    Waits(u64),
}

/// Takes turns at computing for one call, in its place. Its owner must be polled on while it has one.
#[derive(Debug)]
pub(crate) struct Seat {
    place: Place,
    /// Of its turn, or of the next.
    kind: Kind,
    /// Under which it waits for turns, once it computed for a whole one.
    number: Option<u64>,
    state: Turn,
}

impl Seat {
    /// What its call's requests are charged to.
    pub(crate) fn toll(&self) -> Toll {
        Toll { admission: self.place.admission.clone(), leaf: self.place.leaf }
    }

    /// Ready when the call may compute.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        let (leaf, kind, number, waker) = (self.place.leaf, self.kind, self.number, cx.waker());
        self.state = match self.state {
            Turn::Has => Turn::Has,
            Turn::None => {
                let number =
                    self.place.admission.with(|scheduler| scheduler.turn(leaf, kind, number, || waker.clone()));
                number.map_or(Turn::Has, Turn::Waits)
            }
            Turn::Waits(number) => {
                let has = self.place.admission.with(|scheduler| {
                    scheduler.has_turn(leaf, number, |old| {
                        if !old.will_wake(waker) {
                            old.clone_from(waker);
                        }
                    })
                });
                if has { Turn::Has } else { Turn::Waits(number) }
            }
        };
        if self.state == Turn::Has { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The call used `ns` nanoseconds of its turn, and would go on at once; others may be before it.
    pub(crate) fn pause(&mut self, ns: u64, cx: &Context<'_>) {
        let (leaf, kind, number) = (self.place.leaf, self.kind, self.number);
        let again =
            self.place.admission.with(|scheduler| scheduler.pause_turn(leaf, kind, number, ns, || cx.waker().clone()));
        self.kind = Kind::Long;
        (self.number, self.state) = match again {
            Again::Kept(number) => (Some(number), Turn::Has),
            Again::Waits(number) => (Some(number), Turn::Waits(number)),
        };
    }

    /// The call used `ns` nanoseconds of its turn and is over. The turn ends when its place is given back, which is soon.
    pub(crate) fn finish(&mut self, ns: u64) {
        self.state = Turn::None;
        self.place.last = Some((self.kind, ns));
    }

    /// The call used `ns` nanoseconds of its turn and waits for something.
    pub(crate) fn end(&mut self, ns: u64) {
        self.state = Turn::None;
        self.place.admission.with(|scheduler| scheduler.end_turn(self.place.leaf, self.kind, ns));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        match self.state {
            Turn::None => {}
            Turn::Has => self.end(0),
            Turn::Waits(number) => {
                self.place.admission.with(|scheduler| scheduler.give_up_turn(self.place.leaf, self.kind, number));
            }
        }
    }
}

/// Charges an invocation's bytes to whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Toll {
    admission: Arc<Admission>,
    leaf: usize,
}

impl Budget for Toll {
    fn left(&self) -> Result<(), &'static str> {
        let now = self.admission.at(Instant::now());
        self.admission.with(|scheduler| scheduler.egress_left(self.leaf, now))
    }

    fn used(&self, bytes: u64) {
        let now = self.admission.at(Instant::now());
        self.admission.with(|scheduler| scheduler.egress_used(self.leaf, bytes, now));
    }
}
