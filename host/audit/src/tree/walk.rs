//! Checking leaves one after the other against a root that is already known.
//!
//! The proof of one leaf also authenticates every subtree to its right. So a reader who goes through leaves in order needs,
//! per leaf, only the right-hand siblings that no earlier proof has named: one hash per leaf on average instead of log n. A wrong
//! leaf is found at that leaf, even by a reader whose input was rewritten by somebody who recomputed every hash, since
//! nothing is believed but what the signed root implies. Memory is O(log n).

use std::ops::Range;

use super::{Hash, empty_root, node_hash, split};

/// A pass over the leaves `from ‥ size` of a tree.
pub struct Walk {
    next: u64,
    size: u64,
    /// Subtrees not reached yet whose hashes are authentic, the nearest last.
    ahead: Vec<(Range<u64>, Hash)>,
    /// Hashes of what lies before `from`, outermost first; used up by the first step.
    left: Vec<Hash>,
}

impl Walk {
    /// Begins at leaf `from` of the tree of `size` leaves with that root. `left` are the hashes of [`Walk::left`].
    /// `None` when the parts cannot belong together: a range past the end, a count of hashes that does not fit, or an empty
    /// tree with another root than the empty one.
    pub fn begin(from: u64, size: u64, root: Hash, left: Vec<Hash>) -> Option<Self> {
        if from > size || left.len() != Self::left(from, size).len() || (size == 0 && root != empty_root()) {
            return None;
        }
        let ahead = if from == size { Vec::new() } else { vec![(0..size, root)] };
        Some(Self { next: from, size, ahead, left })
    }

    /// The subtrees before `from` that its proof needs, outermost first. None for a pass from the beginning.
    pub fn left(from: u64, size: u64) -> Vec<Range<u64>> {
        let mut left = Vec::new();
        if from < size {
            descend(from, 0..size, |sibling, is_left| {
                if is_left {
                    left.push(sibling);
                }
            });
        }
        left
    }

    /// The leaf that comes next; `None` at the end.
    pub fn next(&self) -> Option<u64> {
        (self.next < self.size).then_some(self.next)
    }

    /// The subtrees whose hashes the next step needs, outermost first.
    pub fn right(&self) -> Vec<Range<u64>> {
        let mut right = Vec::new();
        if let Some((range, _)) = self.ahead.last() {
            descend(self.next, range.clone(), |sibling, is_left| {
                if !is_left {
                    right.push(sibling);
                }
            });
        }
        right
    }

    /// Takes the next leaf with the hashes of [`Walk::right`]. False, and no progress, when they do not belong to the tree.
    pub fn step(&mut self, leaf: &Hash, right: &[Hash]) -> bool {
        let Some((range, expected)) = self.ahead.last().cloned() else { return false };
        let mut siblings = Vec::new();
        descend(self.next, range, |sibling, is_left| siblings.push((sibling, is_left)));
        let mut rights = right.iter();
        let mut lefts = self.left.iter();
        let mut path = Vec::with_capacity(siblings.len());
        for (sibling, is_left) in siblings {
            let hash = if is_left { lefts.next() } else { rights.next() };
            let Some(hash) = hash else { return false };
            path.push((sibling, is_left, *hash));
        }
        if rights.next().is_some() || lefts.next().is_some() {
            return false;
        }
        let implied =
            path.iter().rev().fold(
                *leaf,
                |hash, (_, is_left, sibling)| {
                    if *is_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
                },
            );
        if implied != expected {
            return false;
        }
        self.ahead.pop();
        self.ahead.extend(path.into_iter().filter(|(_, is_left, _)| !is_left).map(|(range, _, hash)| (range, hash)));
        self.left.clear();
        self.next += 1;
        true
    }
}

/// Goes from a subtree down to one of its leaves, naming each sibling passed and whether it lies to the left.
fn descend(leaf: u64, range: Range<u64>, mut sibling: impl FnMut(Range<u64>, bool)) {
    let Range { mut start, mut end } = range;
    while end - start > 1 {
        let middle = start + split(end - start);
        if leaf < middle {
            sibling(middle..end, false);
            end = middle;
        } else {
            sibling(start..middle, true);
            start = middle;
        }
    }
}
