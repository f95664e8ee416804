//! Turns: which call computes, and who of those that want to is next.

use super::{ADVANCE, Again, HOST, Scheduler, replace, weighted};
use crate::admission::node::{KINDS, Kind};

impl<W> Scheduler<W> {
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

    pub(super) fn want_turn(&mut self, path: [usize; 3], kind: Kind, number: u64, wake: W) {
        self.node_mut(path[0]).line[kind as usize].insert(number, wake);
        for at in path {
            self.node_mut(at).wanting[kind as usize] += 1;
        }
        self.refresh_turns(path);
    }

    /// Whether there is a turn for this one, if it is the next.
    pub(super) fn may_begin(&self, path: [usize; 3], kind: Kind) -> bool {
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
    pub(super) fn has_long_turn(&self) -> bool {
        self.held[Kind::Long as usize] < (self.turns - 1).max(1)
    }

    pub(super) fn begin_turn(&mut self, path: [usize; 3], kind: Kind) {
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

    pub(super) fn charge(&mut self, path: [usize; 3], ns: u64) {
        let now = self.now;
        for at in path {
            let node = self.node_mut(at);
            node.used += weighted(ns, node.share.weight);
            if let Some(cpu) = &mut node.cpu {
                cpu.spend(ns, now);
            }
        }
        // Where nobody waits there is no order to keep.
        if self.node(HOST).wanting != [0; 2] {
            self.refresh_turns(path);
        }
    }

    pub(super) fn refresh_turns(&mut self, path: [usize; 3]) {
        for (at, kind) in [path[0], path[1]].into_iter().flat_map(|at| KINDS.map(|kind| (at, kind))) {
            let node = self.node_mut(at);
            let (was, is, parent) = (node.turn_at[kind as usize], node.turn_wanted(kind), node.parent);
            node.turn_at[kind as usize] = is;
            replace(&mut self.node_mut(parent).turns[kind as usize], at, was, is);
        }
    }

    /// The first of a kind to get a turn, and what its tenant used.
    pub(super) fn first(&self, kind: Kind) -> Option<(u128, usize)> {
        let (used, tenant) = *self.node(HOST).turns[kind as usize].first()?;
        let (_, leaf) = *self.node(tenant).turns[kind as usize].first()?;
        Some((used, leaf))
    }

    /// Turns go to those who used least.
    pub(super) fn hand_out_turns(&mut self) {
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
}
