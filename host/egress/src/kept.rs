//! Connections kept for the next request.
//!
//! What may be shared is a matter of who holds it: [`Kept`] belongs to one installation as it stands, and whoever keeps
//! installations makes one for each and closes it when anything that decides about the installation changes. So no
//! connection is ever seen by another tenant, installation, grant or key. Within it a connection serves the same scheme,
//! host, port, TLS versions and limits it was made for, and only while the address it leads to is among those the name
//! has, resolved and checked anew for each request.
//!
//! A connection is taken out by one request and put back when its answer was read to the end and is framed beyond doubt
//! (RFC 9112 section 6.3); one that says anything unasked, or that the peer ends, is closed. How many are kept, how long,
//! how old and how often used is bounded. Those that nobody asks for any more are closed by a sweep.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use opsiq_contract::HttpLimits;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::connection::Connection;
use crate::vet::Vetted;

/// How long one is kept unused. Below what servers commonly allow, so that few are found closed.
const UNUSED: Duration = Duration::from_secs(30);
/// How long it may be unused to carry a request that must not be sent twice (RFC 9112 section 9.3.1): the shortest time
/// that common servers allow is 5 s.
const UNUSED_FOR_EFFECT: Duration = Duration::from_secs(2);
/// How old one may become: a server that is to be left for another, as names and load change, is left.
const OLD: Duration = Duration::from_mins(5);
/// How many requests one may carry.
const CARRIED: u32 = 1_000;
/// How many are kept for one purpose.
const OF_PURPOSE: usize = 8;
/// How many for one installation; beyond, the one that was unused longest is closed.
const OF_INSTALLATION: usize = 16;
/// How many for all installations of one tenant.
const OF_TENANT: usize = 128;
/// How many in all.
const IN_ALL: usize = 1_024;
/// How often to look for those that nobody asks for.
const SWEEP: Duration = Duration::from_secs(1);

/// Places for so many connections; the same room may be counted on by many.
#[derive(Debug)]
struct Room {
    taken: AtomicUsize,
    most: usize,
}

/// One place, given back when dropped.
#[derive(Debug)]
struct InRoom(Arc<Room>);

impl Room {
    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most })
    }

    fn enter(self: &Arc<Self>) -> Option<InRoom> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(InRoom(Arc::clone(self)))
    }
}

impl Drop for InRoom {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all installations of one tenant may keep together.
#[derive(Debug, Clone)]
pub struct Share(Arc<Room>);

impl Default for Share {
    fn default() -> Self {
        Self(Room::of(OF_TENANT))
    }
}

/// The connections kept for one installation as it stands. Dropping it closes them.
pub struct Kept {
    share: Share,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Grows when all are closed: what was in use then is not taken back.
    era: u64,
    /// Nothing is taken back any more.
    over: bool,
    /// Whether the sweep knows of it.
    watched: bool,
    /// Those unused longest come first.
    unused: Vec<Unused>,
}

struct Unused {
    connection: Connection,
    since: Instant,
    _in_share: InRoom,
    _in_all: InRoom,
}

impl Unused {
    fn is_good(&self, now: Instant) -> bool {
        !self.connection.is_closed() && now - self.since < UNUSED && now - self.connection.made < OLD
    }
}

/// The right to put a connection back: until all are closed.
#[derive(Clone)]
pub(crate) struct Back {
    kept: Arc<Kept>,
    pool: Arc<Pool>,
    era: u64,
}

impl Kept {
    /// None yet, for an installation of the tenant that has this share.
    pub fn new(share: Share) -> Self {
        Self { share, state: Mutex::default() }
    }

    /// Closes all that are unused. Those in use now are closed when their request is over.
    pub fn close(&self) {
        let mut state = self.lock();
        state.era += 1;
        let closed = std::mem::take(&mut state.unused);
        drop(state);
        drop(closed);
    }

    /// Closes all, and keeps none from now on: the installation does not stand like this any more.
    pub fn end(&self) {
        self.lock().over = true;
        self.close();
    }

    /// How many are unused now.
    pub fn unused(&self) -> usize {
        self.lock().unused.len()
    }

    /// The right to put back what is taken or made from now on.
    pub(crate) fn back(self: &Arc<Self>, pool: &Arc<Pool>) -> Back {
        Back { kept: Arc::clone(self), pool: Arc::clone(pool), era: self.lock().era }
    }

    /// One for a request to `url`, whose host has the addresses of `vetted`, that was used last. With `effect` the request
    /// must not be sent twice.
    pub(crate) fn take(
        &self,
        url: &Url,
        old_tls: bool,
        limits: &HttpLimits,
        vetted: &Vetted,
        effect: bool,
    ) -> Option<Connection> {
        let now = Instant::now();
        let mut state = self.lock();
        let fits = |unused: &Unused| {
            vetted.addresses.contains(&unused.connection.address)
                && (!effect || now - unused.since < UNUSED_FOR_EFFECT)
                && unused.connection.purpose.covers(url, old_tls, limits)
        };
        while let Some(at) = state.unused.iter().rposition(fits) {
            let found = state.unused.remove(at);
            if found.is_good(now) {
                return Some(found.connection);
            }
        }
        None
    }

    /// Closes those unused too long; how many are left.
    fn sweep(&self, now: Instant) -> usize {
        let mut state = self.lock();
        state.unused.retain(|unused| unused.is_good(now));
        let left = state.unused.len();
        state.watched = left > 0;
        left
    }

    /// Each change of it is whole by itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Back {
    /// Puts a connection back that is over with its request, or closes it.
    pub(crate) fn put(self, connection: Connection) {
        let now = Instant::now();
        if connection.is_closed() || connection.carried >= CARRIED || now - connection.made >= OLD {
            return;
        }
        connection.rest();
        let Self { kept, pool, era } = self;
        let mut state = kept.lock();
        if state.over || state.era != era {
            return;
        }
        let alike = |unused: &Unused| unused.connection.purpose == connection.purpose;
        let of_purpose = state.unused.iter().filter(|unused| alike(unused)).count();
        let closed = if of_purpose >= OF_PURPOSE {
            state.unused.iter().position(alike).map(|at| state.unused.remove(at))
        } else if state.unused.len() >= OF_INSTALLATION {
            Some(state.unused.remove(0))
        } else {
            None
        };
        drop(closed);
        let (Some(in_share), Some(in_all)) = (kept.share.0.enter(), pool.room.enter()) else { return };
        state.unused.push(Unused { connection, since: now, _in_share: in_share, _in_all: in_all });
        if !std::mem::replace(&mut state.watched, true) {
            drop(state);
            pool.watch(&kept);
        }
    }
}

/// What all that are kept have in common: how many there may be, and the sweep.
pub(crate) struct Pool {
    room: Arc<Room>,
    watched: Mutex<Vec<Weak<Kept>>>,
    sweeping: AtomicBool,
    over: AtomicBool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            room: Room::of(IN_ALL),
            watched: Mutex::default(),
            sweeping: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }
}

/// Says that the sweep is over, however it ends.
struct Sweeping(Weak<Pool>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.sweeping.store(false, Ordering::Release);
        }
    }
}

impl Pool {
    /// Closes all that are kept, of all installations, and keeps none from now on.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        let watched = std::mem::take(&mut *self.lock());
        for kept in watched.iter().filter_map(Weak::upgrade) {
            kept.end();
        }
    }

    /// How many there are now.
    pub(crate) fn kept(&self) -> usize {
        self.room.taken.load(Ordering::Relaxed)
    }

    fn watch(self: &Arc<Self>, kept: &Arc<Kept>) {
        self.lock().push(Arc::downgrade(kept));
        if self.over.load(Ordering::Acquire) {
            self.end();
        } else if !self.sweeping.swap(true, Ordering::AcqRel) {
            let sweeping = Sweeping(Arc::downgrade(self));
            tokio::spawn(async move {
                loop {
                    sleep(SWEEP).await;
                    let Some(pool) = sweeping.0.upgrade() else { return };
                    pool.sweep(Instant::now());
                }
            });
        }
    }

    fn sweep(&self, now: Instant) {
        self.lock().retain(|kept| kept.upgrade().is_some_and(|kept| kept.sweep(now) > 0));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Kept>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
