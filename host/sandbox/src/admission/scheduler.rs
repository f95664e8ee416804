//! Who is next: a tree of host, tenants and installations, and two things its calls take turns at.
//!
//! A **place** lets a call exist: it is held from before its intent is written to the end of its run. Places are counted at
//! each level; when one is free, it goes to the tenant, and in it to the installation, that holds least for its weight.
//!
//! A **turn** lets a call compute. There are about as many as processors, and a call has one only while its guest or the
//! host's work for it runs, not while it waits for the network. A turn ends with a tick of the engine if others want one,
//! and goes to the tenant, and in it to the installation, that used least processor time for its weight (start-time fair
//! queueing, with time charged when it has been used). As many turns again are for those that are behind the others:
//! they do not wait for a tick to end somebody's turn, since what they ask for is theirs. Who comes back from rest starts
//! level with the others but for a moment's advance, so rest earns nothing. Calls that have computed for a whole turn
//! leave one processor to everything else: the host's own work, which every call needs, and calls that are soon done.
//!
//! Pure: it has no clock and wakes nobody itself. Every operation takes time logarithmic in the number of holders that
//! wait. Holders that are idle are forgotten, so memory is bounded by those that were active within a minute or so.

mod places;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::HashSet;

use opsiq_contract::{Authorized, Fairness, InstallationId, Level, Share, TenantId};

use crate::admission::limit::{Full, Scarce, seconds};
use crate::admission::node::Node;

/// The host's place in the tree.
const HOST: usize = 0;
/// Processor time that the host spends on a call outside its turns, in nanoseconds: so many calls are not for free.
const CALL_COST: u64 = 50_000;
/// The advance of a holder that comes back from rest, in nanoseconds: two ticks of the engine.
const ADVANCE: u64 = 4_000_000;
/// The weight at which a nanosecond counts as one.
const PLAIN_WEIGHT: u64 = 100;
/// Holders that are remembered before the first look for idle ones.
const REMEMBERED: usize = 1_024;

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) installation: &'a InstallationId,
    /// The installation's name.
    pub(crate) name: &'a str,
    /// Of its plugin.
    pub(crate) family: &'a str,
}

impl<'a> Who<'a> {
    /// Whose call was authorised.
    pub(crate) fn of(authorized: &'a Authorized) -> Self {
        Self {
            tenant: authorized.tenant(),
            installation: authorized.installation(),
            name: authorized.installation_name(),
            family: authorized.family(),
        }
    }
}

/// What became of a call that asked for a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It has one.
    In(usize),
    /// It waits, under this number, so many nanoseconds at most.
    Queued { leaf: usize, number: u64, wait: u64 },
}

/// What became of a call that ended its turn and would go on. It keeps its number: of an installation's long calls the one
/// that was first goes on first, so that some come to their end when there is not time for all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It has the next turn.
    Kept(u64),
    /// It waits, under its number.
    Waits(u64),
}

/// The pool of a class.
#[derive(Debug, Clone, Copy)]
struct Pool {
    slots: u64,
    taken: u64,
}

impl Pool {
    fn has_room(self, slots: u64) -> bool {
        self.taken + slots <= self.slots
    }
}

/// The tree. `W` wakes whoever waits.
#[derive(Debug)]
pub(crate) struct Scheduler<W> {
    fairness: Fairness,
    nodes: Vec<Node<W>>,
    /// Places of forgotten nodes.
    vacant: Vec<usize>,
    /// Number of nodes at which idle ones are looked for.
    sweep_at: usize,
    /// Slots of each class's pool, and those that are taken.
    pools: [Pool; 2],
    /// Turns there are, and calls that have one, of each kind.
    turns: u64,
    held: [u64; 2],
    numbers: u64,
    /// Numbers that got what they waited for and were not told yet.
    granted: HashSet<u64>,
    /// To be woken by whoever called, once nobody is in here.
    pub(crate) woken: Vec<W>,
    /// The latest time told.
    now: u64,
}

impl<W> Scheduler<W> {
    /// A tree without tenants, of pools with so many `slots` for each class, and of `turns` turns; times are nanoseconds from
    /// `0` on.
    pub(crate) fn new(fairness: Fairness, slots: [u64; 2], turns: u64) -> Self {
        let mut share = fairness.host();
        share.concurrency = share.concurrency.min(slots.iter().sum());
        let host = Node::new(Level::Host, HOST, String::new(), share, 0);
        Self {
            fairness,
            nodes: vec![host],
            vacant: Vec::new(),
            sweep_at: REMEMBERED,
            pools: slots.map(|slots| Pool { slots, taken: 0 }),
            turns: turns.max(1),
            held: [0; 2],
            numbers: 0,
            granted: HashSet::new(),
            woken: Vec::new(),
            now: 0,
        }
    }

    fn node(&self, at: usize) -> &Node<W> {
        &self.nodes[at]
    }

    fn node_mut(&mut self, at: usize) -> &mut Node<W> {
        &mut self.nodes[at]
    }

    /// An installation, its tenant, the host.
    fn path(&self, leaf: usize) -> [usize; 3] {
        [leaf, self.node(leaf).parent, HOST]
    }

    /// The installation's place in the tree; made when there is none.
    fn leaf(&mut self, who: Who<'_>) -> usize {
        let known = self.node(HOST).children.get(who.tenant.as_str()).copied();
        if let Some(tenant) = known
            && let Some(leaf) = self.node(tenant).children.get(who.installation.as_str())
        {
            return *leaf;
        }
        if self.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = (2 * self.len()).max(REMEMBERED);
        }
        let known = self.node(HOST).children.get(who.tenant.as_str()).copied();
        let tenant = known.unwrap_or_else(|| {
            let share = self.fairness.tenant(who.tenant);
            self.add(Level::Tenant, HOST, who.tenant.as_str(), share)
        });
        let share = self.fairness.installation(who.tenant, who.name, who.family);
        self.add(Level::Installation, tenant, who.installation.as_str(), share)
    }

    fn add(&mut self, level: Level, parent: usize, name: &str, share: Share) -> usize {
        let node = Node::new(level, parent, name.to_owned(), share, self.now);
        let at = if let Some(at) = self.vacant.pop() {
            self.nodes[at] = node;
            at
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.node_mut(parent).children.insert(name.to_owned(), at);
        at
    }

    /// Holders that are remembered.
    fn len(&self) -> usize {
        self.nodes.len() - self.vacant.len()
    }

    /// Forgets who is idle: installations first, then tenants that have none left.
    fn sweep(&mut self) {
        for level in [Level::Installation, Level::Tenant] {
            for at in 0..self.nodes.len() {
                let (parent, now) = (self.node(at).parent, self.now);
                let front = self.node(parent).front;
                let node = self.node_mut(at);
                if node.level != level || node.forgotten || !node.is_forgettable(front, now) {
                    continue;
                }
                node.forgotten = true;
                let name = std::mem::take(&mut node.name);
                self.node_mut(parent).children.remove(&name);
                self.vacant.push(at);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Counts a call that needs no place yet.
    pub(crate) fn count(&mut self, who: Who<'_>, now: u64) -> Result<(), Full> {
        self.now = self.now.max(now);
        let path = {
            let leaf = self.leaf(who);
            self.path(leaf)
        };
        self.minute(path)?;
        self.counted(path);
        Ok(())
    }

    /// What the minute has left, at every level; the refusal is the one that lasts longest.
    fn minute(&mut self, path: [usize; 3]) -> Result<(), Full> {
        let now = self.now;
        let mut worst: Option<(u64, usize, Scarce)> = None;
        for at in path {
            let node = self.node_mut(at);
            let buckets =
                [(&mut node.calls, Scarce::Calls), (&mut node.cpu, Scarce::Cpu), (&mut node.egress, Scarce::Egress)];
            for (bucket, scarce) in buckets {
                let wait = bucket.as_mut().map_or(0, |bucket| bucket.wait(now));
                if wait > worst.map_or(0, |(wait, ..)| wait) {
                    worst = Some((wait, at, scarce));
                }
            }
        }
        match worst {
            None => Ok(()),
            Some((wait, at, scarce)) => Err(self.used_up(at, scarce, wait)),
        }
    }

    fn counted(&mut self, path: [usize; 3]) {
        let now = self.now;
        for at in path {
            if let Some(calls) = &mut self.node_mut(at).calls {
                calls.spend(1, now);
            }
        }
    }

    /// Whether a request may go out: else the limit that is used up.
    pub(crate) fn egress_left(&mut self, leaf: usize, now: u64) -> Result<(), &'static str> {
        self.now = self.now.max(now);
        let now = self.now;
        for at in self.path(leaf) {
            let node = self.node_mut(at);
            if node.egress.as_mut().is_some_and(|egress| egress.wait(now) > 0) {
                return Err(Scarce::Egress.name(node.level));
            }
        }
        Ok(())
    }

    /// So many bytes went out or came in.
    pub(crate) fn egress_used(&mut self, leaf: usize, bytes: u64, now: u64) {
        self.now = self.now.max(now);
        let now = self.now;
        for at in self.path(leaf) {
            if let Some(egress) = &mut self.node_mut(at).egress {
                egress.spend(bytes, now);
            }
        }
    }

    fn used_up(&self, at: usize, scarce: Scarce, wait: u64) -> Full {
        let node = self.node(at);
        let (share, level) = (&node.share, node.level);
        let most = match scarce {
            Scarce::Cpu => {
                let ms = share.cpu_ms_per_minute.unwrap_or(0);
                format!("{} of processor time", opsiq_contract::show_time(ms))
            }
            Scarce::Egress => {
                let bytes = share.egress_bytes_per_minute.unwrap_or(0);
                format!("{} sent and received", opsiq_contract::show_size(bytes))
            }
            _ => format!("{} calls", share.calls_per_minute.unwrap_or(0)),
        };
        Full {
            name: scarce.name(level),
            level,
            message: format!("the {level} may have {most} a minute, and they are used up"),
            retry_after: Some(seconds(wait)),
        }
    }
}

/// `ns` as they count at `weight`.
fn weighted(ns: u64, weight: u64) -> u128 {
    u128::from(ns.saturating_mul(PLAIN_WEIGHT) / weight)
}

/// Moves `at` within an order, in or out of it.
fn replace(order: &mut std::collections::BTreeSet<(u128, usize)>, at: usize, was: Option<u128>, is: Option<u128>) {
    if was == is {
        return;
    }
    if let Some(key) = was {
        order.remove(&(key, at));
    }
    if let Some(key) = is {
        order.insert((key, at));
    }
}
