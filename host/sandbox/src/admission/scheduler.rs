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

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::num::NonZeroU32;

use opsiq_contract::{Authorized, Fairness, InstallationId, Level, Share, TenantId};

use crate::admission::limit::{Full, Scarce, seconds};
use crate::admission::node::{KINDS, Kind, Need, Node, Waiter};
use crate::class::Class;

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

    /// Asks for a place for a call.
    pub(crate) fn enter(&mut self, who: Who<'_>, need: Need, now: u64) -> Result<Entry, Full> {
        self.now = self.now.max(now);
        let most = self.node(HOST).share.concurrency.min(self.pools[need.class as usize].slots);
        if need.slots > most {
            return Err(Full {
                name: Scarce::Concurrency.name(Level::Host),
                level: Level::Host,
                message: format!("the plugin takes {} slots and the host has {most}", need.slots),
                retry_after: None,
            });
        }
        let leaf = self.leaf(who);
        let path = self.path(leaf);
        self.minute(path)?;
        let class = need.class as usize;
        // Whoever came before and could enter goes first.
        if self.room(path, need) && self.node(leaf).queue[class].is_empty() && self.node(HOST).entries[class].is_empty()
        {
            self.counted(path);
            self.take(path, need);
            return Ok(Entry::In(leaf));
        }
        let full = path.iter().copied().find(|at| self.node(*at).queued >= self.node(*at).share.queue);
        if let Some(full) = full {
            return Err(self.no_queue(path, need, full));
        }
        self.counted(path);
        let number = self.number();
        for at in path {
            self.node_mut(at).queued += 1;
        }
        self.node_mut(leaf).queue[class].insert(number, Waiter { slots: need.slots, wake: None });
        self.refresh_entries(path);
        self.hand_out_places();
        let wait = path.iter().map(|at| self.node(*at).share.queue_wait_ms).min().unwrap_or(0);
        Ok(Entry::Queued { leaf, number, wait: wait.saturating_mul(1_000_000) })
    }

    /// Whether the call that waits under `number` has its place; if not, `wake` is told when.
    pub(crate) fn entered(&mut self, leaf: usize, number: u64, wake: impl FnOnce() -> W) -> bool {
        if self.granted.remove(&number) {
            return true;
        }
        let [small, large] = &mut self.node_mut(leaf).queue;
        if let Some(waiter) = small.get_mut(&number).or_else(|| large.get_mut(&number)) {
            waiter.wake = Some(wake());
        }
        false
    }

    /// A call that waits under `number` waits no longer. Answers why it got no place; `None` when it has one after all.
    pub(crate) fn give_up(&mut self, leaf: usize, need: Need, number: u64) -> Option<Full> {
        if self.granted.remove(&number) {
            return None;
        }
        let path = self.path(leaf);
        self.node_mut(leaf).queue[need.class as usize].remove(&number);
        let why = self.waited_in_vain(path, need);
        for at in path {
            self.node_mut(at).queued -= 1;
        }
        self.refresh_entries(path);
        // It may have stood before smaller ones.
        self.hand_out_places();
        Some(why)
    }

    /// A call gives its place back after `held` nanoseconds.
    pub(crate) fn leave(&mut self, leaf: usize, need: Need, held: u64, now: u64) {
        self.now = self.now.max(now);
        let (path, now) = (self.path(leaf), self.now);
        for at in path {
            let node = self.node_mut(at);
            node.running -= node.counts(need.slots);
            node.left(held, now);
        }
        self.pools[need.class as usize].taken -= need.slots;
        self.charge(path, CALL_COST);
        self.refresh_entries(path);
        self.hand_out_places();
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

    /// Whether a call has room at every level and in its pool.
    fn room(&self, path: [usize; 3], need: Need) -> bool {
        path.iter().all(|at| self.node(*at).has_room(need.slots))
            && self.pools[need.class as usize].has_room(need.slots)
    }

    fn take(&mut self, path: [usize; 3], need: Need) {
        for at in path {
            let node = self.node_mut(at);
            node.running += node.counts(need.slots);
        }
        self.pools[need.class as usize].taken += need.slots;
    }

    fn refresh_entries(&mut self, path: [usize; 3]) {
        for (at, class) in [path[0], path[1]].into_iter().flat_map(|at| Class::ALL.map(|class| (at, class))) {
            let node = self.node_mut(at);
            let (was, is, parent) = (node.entry_at[class as usize], node.entry_wanted(class), node.parent);
            node.entry_at[class as usize] = is;
            replace(&mut self.node_mut(parent).entries[class as usize], at, was, is);
        }
    }

    /// The first of a class to get a place: what its tenant holds, its installation, and what it takes.
    fn first_entry(&self, class: Class) -> Option<(u128, usize, Need)> {
        let (holds, tenant) = *self.node(HOST).entries[class as usize].first()?;
        let (_, leaf) = *self.node(tenant).entries[class as usize].first()?;
        let (_, waiter) = self.node(leaf).queue[class as usize].first_key_value()?;
        Some((holds, leaf, Need { class, slots: waiter.slots }))
    }

    /// Free places go to those who hold least. One that is too large for what is free is waited for, lest it never fits;
    /// those of the other class are not kept waiting by it.
    fn hand_out_places(&mut self) {
        loop {
            let next = Class::ALL.into_iter().filter_map(|class| {
                let (holds, leaf, need) = self.first_entry(class)?;
                self.room(self.path(leaf), need).then_some((holds, leaf, need))
            });
            let Some((_, leaf, need)) = next.min_by_key(|(holds, ..)| *holds) else { return };
            let Some((number, waiter)) = self.node_mut(leaf).queue[need.class as usize].pop_first() else { return };
            let path = self.path(leaf);
            for at in path {
                self.node_mut(at).queued -= 1;
            }
            self.take(path, need);
            self.refresh_entries(path);
            self.granted.insert(number);
            self.woken.extend(waiter.wake);
        }
    }

    /// Asks for a turn. Answers the number it waits under; `None` when it has it.
    pub(crate) fn turn(
        &mut self,
        leaf: usize,
        kind: Kind,
        number: Option<u64>,
        wake: impl FnOnce() -> W,
    ) -> Option<u64> {
        let path = self.path(leaf);
        for [at, parent] in [[path[0], path[1]], [path[1], path[2]]] {
            let front = self.node(parent).front;
            let node = self.node_mut(at);
            if node.runnable == 0 {
                // Level with the others, but for a moment's advance: rest earns nothing.
                node.used = node.used.max(front.saturating_sub(weighted(ADVANCE, node.share.weight)));
            }
        }
        let begins = self.may_begin(path, kind);
        for at in path {
            self.node_mut(at).runnable += 1;
        }
        if begins {
            self.begin_turn(path, kind);
            return None;
        }
        let number = number.unwrap_or_else(|| self.number());
        self.want_turn(path, kind, number, wake());
        Some(number)
    }

    fn want_turn(&mut self, path: [usize; 3], kind: Kind, number: u64, wake: W) {
        self.node_mut(path[0]).line[kind as usize].insert(number, wake);
        for at in path {
            self.node_mut(at).wanting[kind as usize] += 1;
        }
        self.refresh_turns(path);
    }

    /// Whether there is a turn for this one, if it is the next.
    fn may_begin(&self, path: [usize; 3], kind: Kind) -> bool {
        if kind == Kind::Long && !self.has_long_turn() {
            return false;
        }
        let held = self.held[0] + self.held[1];
        if held < self.turns {
            return true;
        }
        // The turns a tenant has count as if they were used, which they soon are.
        let tenant = self.node(path[1]);
        let soon = weighted(tenant.computing().saturating_mul(ADVANCE), tenant.share.weight);
        held < 2 * self.turns && tenant.used + soon <= self.node(HOST).front
    }

    /// Whether another call may compute for long: one turn is kept for others, where there is more than one.
    fn has_long_turn(&self) -> bool {
        self.held[Kind::Long as usize] < (self.turns - 1).max(1)
    }

    fn begin_turn(&mut self, path: [usize; 3], kind: Kind) {
        self.held[kind as usize] += 1;
        for [at, parent] in [[path[0], path[1]], [path[1], path[2]]] {
            let used = self.node(at).used;
            let parent = self.node_mut(parent);
            parent.front = parent.front.max(used);
        }
    }

    /// Whether the call that waits under `number` has its turn; if not, `wake` may change whom to wake.
    pub(crate) fn has_turn(&mut self, leaf: usize, number: u64, wake: impl FnOnce(&mut W)) -> bool {
        if self.granted.remove(&number) {
            return true;
        }
        let [short, long] = &mut self.node_mut(leaf).line;
        if let Some(old) = short.get_mut(&number).or_else(|| long.get_mut(&number)) {
            wake(old);
        }
        false
    }

    /// A call of `kind` ends its turn, in which it used `ns` nanoseconds, and would compute on at once, from now on as a long
    /// one. With nobody else waiting it keeps the turn.
    pub(crate) fn pause_turn(
        &mut self,
        leaf: usize,
        kind: Kind,
        number: Option<u64>,
        ns: u64,
        wake: impl FnOnce() -> W,
    ) -> Again {
        let path = self.path(leaf);
        self.charge(path, ns);
        let number = number.unwrap_or_else(|| self.number());
        self.held[kind as usize] -= 1;
        if self.node(HOST).wanting == [0; 2] && self.has_long_turn() {
            self.begin_turn(path, Kind::Long);
            return Again::Kept(number);
        }
        self.want_turn(path, Kind::Long, number, wake());
        self.hand_out_turns();
        if self.granted.remove(&number) { Again::Kept(number) } else { Again::Waits(number) }
    }

    /// A call of `kind` ends its turn, in which it used `ns` nanoseconds: it is over, or waits for something else.
    pub(crate) fn end_turn(&mut self, leaf: usize, kind: Kind, ns: u64) {
        let path = self.path(leaf);
        self.charge(path, ns);
        for at in path {
            self.node_mut(at).runnable -= 1;
        }
        self.held[kind as usize] -= 1;
        self.hand_out_turns();
    }

    /// A call of `kind` that waits for its turn under `number` ends.
    pub(crate) fn give_up_turn(&mut self, leaf: usize, kind: Kind, number: u64) {
        if self.granted.remove(&number) {
            return self.end_turn(leaf, kind, 0);
        }
        let path = self.path(leaf);
        self.node_mut(leaf).line[kind as usize].remove(&number);
        for at in path {
            let node = self.node_mut(at);
            node.wanting[kind as usize] -= 1;
            node.runnable -= 1;
        }
        self.refresh_turns(path);
    }

    fn charge(&mut self, path: [usize; 3], ns: u64) {
        let now = self.now;
        for at in path {
            let node = self.node_mut(at);
            node.used += weighted(ns, node.share.weight);
            if let Some(cpu) = &mut node.cpu {
                cpu.spend(ns, now);
            }
        }
        self.refresh_turns(path);
    }

    fn refresh_turns(&mut self, path: [usize; 3]) {
        for (at, kind) in [path[0], path[1]].into_iter().flat_map(|at| KINDS.map(|kind| (at, kind))) {
            let node = self.node_mut(at);
            let (was, is, parent) = (node.turn_at[kind as usize], node.turn_wanted(kind), node.parent);
            node.turn_at[kind as usize] = is;
            replace(&mut self.node_mut(parent).turns[kind as usize], at, was, is);
        }
    }

    /// The first of a kind to get a turn, and what its tenant used.
    fn first(&self, kind: Kind) -> Option<(u128, usize)> {
        let (used, tenant) = *self.node(HOST).turns[kind as usize].first()?;
        let (_, leaf) = *self.node(tenant).turns[kind as usize].first()?;
        Some((used, leaf))
    }

    /// Turns go to those who used least.
    fn hand_out_turns(&mut self) {
        loop {
            let next = KINDS.into_iter().filter_map(|kind| {
                let (used, leaf) = self.first(kind)?;
                self.may_begin(self.path(leaf), kind).then_some((used, leaf, kind))
            });
            let Some((_, leaf, kind)) = next.min_by_key(|(used, ..)| *used) else { return };
            let Some((number, wake)) = self.node_mut(leaf).line[kind as usize].pop_first() else { return };
            let path = self.path(leaf);
            for at in path {
                self.node_mut(at).wanting[kind as usize] -= 1;
            }
            self.begin_turn(path, kind);
            self.refresh_turns(path);
            self.granted.insert(number);
            self.woken.push(wake);
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

    /// Whose concurrency keeps a call waiting; the host's when its pool is full, or it is only not its turn.
    fn blocked_by(&self, path: [usize; 3], need: Need) -> usize {
        path.into_iter().find(|at| !self.node(*at).has_room(need.slots)).unwrap_or(HOST)
    }

    fn no_queue(&self, path: [usize; 3], need: Need, full: usize) -> Full {
        let queue = self.node(full).share.queue;
        let (at, scarce) =
            if queue == 0 { (self.blocked_by(path, need), Scarce::Concurrency) } else { (full, Scarce::Queue) };
        let node = self.node(at);
        let (level, running) = (node.level, node.share.concurrency);
        let message = match scarce {
            Scarce::Queue => format!("the {level} runs {running} calls at once, and {queue} already wait"),
            _ => format!("the {level} runs {running} calls at once, and none may wait"),
        };
        Full { name: scarce.name(level), level, message, retry_after: Some(self.expected(at)) }
    }

    fn waited_in_vain(&self, path: [usize; 3], need: Need) -> Full {
        let at = self.blocked_by(path, need);
        let wait = path.iter().map(|at| self.node(*at).share.queue_wait_ms).min().unwrap_or(0);
        let node = self.node(at);
        let (level, running) = (node.level, node.share.concurrency);
        Full {
            name: Scarce::QueueWait.name(level),
            level,
            message: format!("the {level} runs {running} calls at once, and no place was free within {wait} ms"),
            retry_after: Some(self.expected(at)),
        }
    }

    /// Seconds until those who wait now have left, by how long calls took lately.
    fn expected(&self, at: usize) -> NonZeroU32 {
        let node = self.node(at);
        seconds(node.mean.saturating_mul(node.queued + 1) / node.share.concurrency)
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
