//! Places: which call may exist, and who of those that wait gets the next one.

use std::num::NonZeroU32;

use opsiq_contract::Level;

use super::{CALL_COST, Entry, HOST, Scheduler, Who, replace};
use crate::admission::limit::{Full, Scarce, seconds};
use crate::admission::node::{Need, Waiter};
use crate::class::Class;

impl<W> Scheduler<W> {
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
        // Where nobody waits there is no order to keep.
        if self.node(HOST).queued > 0 {
            self.refresh_entries(path);
            self.hand_out_places();
        }
    }

    /// Whether a call has room at every level and in its pool.
    pub(super) fn room(&self, path: [usize; 3], need: Need) -> bool {
        path.iter().all(|at| self.node(*at).has_room(need.slots))
            && self.pools[need.class as usize].has_room(need.slots)
    }

    pub(super) fn take(&mut self, path: [usize; 3], need: Need) {
        for at in path {
            let node = self.node_mut(at);
            node.running += node.counts(need.slots);
        }
        self.pools[need.class as usize].taken += need.slots;
    }

    pub(super) fn refresh_entries(&mut self, path: [usize; 3]) {
        for (at, class) in [path[0], path[1]].into_iter().flat_map(|at| Class::ALL.map(|class| (at, class))) {
            let node = self.node_mut(at);
            let (was, is, parent) = (node.entry_at[class as usize], node.entry_wanted(class), node.parent);
            node.entry_at[class as usize] = is;
            replace(&mut self.node_mut(parent).entries[class as usize], at, was, is);
        }
    }

    /// The first of a class to get a place: what its tenant holds, its installation, and what it takes.
    pub(super) fn first_entry(&self, class: Class) -> Option<(u128, usize, Need)> {
        let (holds, tenant) = *self.node(HOST).entries[class as usize].first()?;
        let (_, leaf) = *self.node(tenant).entries[class as usize].first()?;
        let (_, waiter) = self.node(leaf).queue[class as usize].first_key_value()?;
        Some((holds, leaf, Need { class, slots: waiter.slots }))
    }

    /// Free places go to those who hold least. One that is too large for what is free is waited for, lest it never fits;
    /// those of the other class are not kept waiting by it.
    pub(super) fn hand_out_places(&mut self) {
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

    /// Whose concurrency keeps a call waiting; the host's when its pool is full, or it is only not its turn.
    pub(super) fn blocked_by(&self, path: [usize; 3], need: Need) -> usize {
        path.into_iter().find(|at| !self.node(*at).has_room(need.slots)).unwrap_or(HOST)
    }

    pub(super) fn no_queue(&self, path: [usize; 3], need: Need, full: usize) -> Full {
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

    pub(super) fn waited_in_vain(&self, path: [usize; 3], need: Need) -> Full {
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
    pub(super) fn expected(&self, at: usize) -> NonZeroU32 {
        let node = self.node(at);
        seconds(node.mean.saturating_mul(node.queued + 1) / node.share.concurrency)
    }
}
