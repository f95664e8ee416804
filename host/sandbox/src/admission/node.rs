//! One holder of a share: the host, a tenant or an installation. What of its children waits is kept in order, so that
//! who is next is the first of the first, whatever the number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opsiq_contract::{Level, Share};

use crate::admission::bucket::Bucket;
use crate::class::Class;

/// Nanoseconds after which an idle holder's use of the processor is forgotten.
const REMEMBERED: u64 = 60_000_000_000;
/// Of the calls that ended, the mean counts the last few.
const MEAN_OF: u64 = 8;

/// How a call computes: what it asks of those that share a processor with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never yet for a whole turn: it may soon be done.
    Short,
    /// For whole turns.
    Long,
}

/// Both of them.
pub(crate) const KINDS: [Kind; 2] = [Kind::Short, Kind::Long];

/// What a call takes of the pool of its plugin's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) class: Class,
    pub(crate) slots: u64,
}

/// A call that waits for a place.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) slots: u64,
    /// Set when its future was looked at for the first time.
    pub(crate) wake: Option<W>,
}

/// One holder.
#[derive(Debug)]
pub(crate) struct Node<W> {
    pub(crate) level: Level,
    /// Itself for the host.
    pub(crate) parent: usize,
    /// Under which its parent has it.
    pub(crate) name: String,
    pub(crate) share: Share,
    /// Its place in the tree may be given to another.
    pub(crate) forgotten: bool,
    pub(crate) children: HashMap<String, usize>,

    /// Calls that have a place; of the host, the slots they take.
    pub(crate) running: u64,
    /// Calls that wait for one.
    pub(crate) queued: u64,
    /// Its place among `entries` of its parent, while a call of a class could enter but for its parent.
    pub(crate) entry_at: [Option<u128>; 2],
    /// Children of which a call of a class could enter, those that hold least for their weight first.
    pub(crate) entries: [BTreeSet<(u128, usize)>; 2],
    /// Of an installation: its calls of each class that wait for a place, in order.
    pub(crate) queue: [BTreeMap<u64, Waiter<W>>; 2],

    /// Calls that compute or want to.
    pub(crate) runnable: u64,
    /// Calls that want to, of each kind.
    pub(crate) wanting: [u64; 2],
    /// Processor time used over weight, moved up to that of the others whenever it comes back from rest.
    pub(crate) used: u128,
    /// That of its children which computed last.
    pub(crate) front: u128,
    /// Its place among `turns` of its parent, while a call of it wants to compute.
    pub(crate) turn_at: [Option<u128>; 2],
    /// Children of which a call wants to compute, those that used least for their weight first.
    pub(crate) turns: [BTreeSet<(u128, usize)>; 2],
    /// Of an installation: its calls that want to compute, in order.
    pub(crate) line: [BTreeMap<u64, W>; 2],

    pub(crate) calls: Option<Bucket>,
    pub(crate) cpu: Option<Bucket>,
    pub(crate) egress: Option<Bucket>,
    /// How long a call lately had its place, in nanoseconds.
    pub(crate) mean: u64,
    /// When the last call left.
    left: u64,
}

impl<W> Node<W> {
    pub(crate) fn new(level: Level, parent: usize, name: String, share: Share, now: u64) -> Self {
        let bucket = |per_minute: Option<u64>| per_minute.map(|amount| Bucket::new(amount, now));
        let calls = bucket(share.calls_per_minute);
        let cpu = bucket(share.cpu_ms_per_minute.map(|ms| ms.saturating_mul(1_000_000)));
        let egress = bucket(share.egress_bytes_per_minute);
        Self {
            level,
            parent,
            name,
            share,
            forgotten: false,
            children: HashMap::new(),
            running: 0,
            queued: 0,
            entry_at: [None; 2],
            entries: [BTreeSet::new(), BTreeSet::new()],
            queue: [BTreeMap::new(), BTreeMap::new()],
            runnable: 0,
            wanting: [0; 2],
            used: 0,
            front: 0,
            turn_at: [None; 2],
            turns: [BTreeSet::new(), BTreeSet::new()],
            line: [BTreeMap::new(), BTreeMap::new()],
            calls,
            cpu,
            egress,
            mean: 0,
            left: now,
        }
    }

    /// Whether a call of `slots` slots has room here.
    pub(crate) fn has_room(&self, slots: u64) -> bool {
        self.running + self.counts(slots) <= self.share.concurrency
    }

    /// What a call of `slots` slots counts for here: slots are the host's.
    pub(crate) fn counts(&self, slots: u64) -> u64 {
        if self.level == Level::Host { slots } else { 1 }
    }

    /// Where it should stand among its parent's `entries` of a class.
    pub(crate) fn entry_wanted(&self, class: Class) -> Option<u128> {
        let waits = match self.level {
            Level::Installation => !self.queue[class as usize].is_empty(),
            _ => !self.entries[class as usize].is_empty(),
        };
        let could = waits && self.running < self.share.concurrency;
        could.then(|| (u128::from(self.running) << 32) / u128::from(self.share.weight))
    }

    /// Where it should stand among its parent's `turns` of a kind.
    pub(crate) fn turn_wanted(&self, kind: Kind) -> Option<u128> {
        (self.wanting[kind as usize] > 0).then_some(self.used)
    }

    /// Calls that have a turn.
    pub(crate) fn computing(&self) -> u64 {
        self.runnable - self.wanting[0] - self.wanting[1]
    }

    /// A call left after having had its place for `held` nanoseconds.
    pub(crate) fn left(&mut self, held: u64, now: u64) {
        self.mean = if self.mean == 0 { held } else { self.mean - self.mean / MEAN_OF + held / MEAN_OF };
        self.left = now;
    }

    /// Whether nothing would change if it were made anew at its next call. `front` is its parent's.
    pub(crate) fn is_forgettable(&mut self, front: u128, now: u64) -> bool {
        let full = |bucket: &mut Option<Bucket>| bucket.as_mut().is_none_or(|bucket| bucket.is_full(now));
        self.running == 0
            && self.queued == 0
            && self.runnable == 0
            && self.children.is_empty()
            && (self.used <= front || now.saturating_sub(self.left) > REMEMBERED)
            && full(&mut self.calls)
            && full(&mut self.cpu)
            && full(&mut self.egress)
    }
}
