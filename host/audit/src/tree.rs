//! The Merkle tree of a log, as RFC 6962 §2 defines it over SHA-256.
//!
//! Perfect subtrees never change once full, so each interior node is stored with the leaf that completes it: node
//! (level `l`, index `i`) covers leaves `i·2^l ‥ (i+1)·2^l` and lies in the row of leaf `(i+1)·2^l − 1`. An append therefore
//! writes one row and reads none (the frontier is in memory), and any root or proof of any past size reads O(log n) rows.
//!
//! Everything here is pure: it says *which* nodes a computation needs ([`Node`], [`cover`]) and computes with those given.
//! A node that is not given is a `None`, never a guess.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

mod proof;
mod walk;

pub use proof::{consistency, inclusion, verify_consistency, verify_inclusion};
pub use walk::Walk;

/// A SHA-256 value of the tree: of a leaf or of an interior node. Shown and serialised as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Reads a hash from exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// The hash of a leaf: SHA-256(0x00 ‖ data), RFC 6962 §2.1.
pub fn leaf_hash(data: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

/// The hash of an interior node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree without leaves: SHA-256 of nothing, RFC 6962 §2.1.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The place of a perfect subtree: 2^level leaves, the `index`-th of that width. Level 0 is a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Height above the leaves.
    pub level: u32,
    /// Position among the nodes of the level, from the left, from 0.
    pub index: u64,
}

impl Node {
    /// The leaf whose append completes this node, and in whose row it is stored.
    pub fn row(self) -> u64 {
        ((self.index + 1) << self.level) - 1
    }

    /// The leaves below this node.
    pub fn leaves(self) -> Range<u64> {
        (self.index << self.level)..((self.index + 1) << self.level)
    }
}

/// Hashes of nodes fetched for a computation.
pub type Nodes = HashMap<Node, Hash>;

/// The perfect nodes of a subtree that RFC 6962's splitting makes: `start` is aligned to at least its width.
/// Largest first, at most one per bit of the width.
pub fn cover(range: &Range<u64>) -> Vec<Node> {
    let mut start = range.start;
    let mut nodes = Vec::new();
    while start < range.end {
        let level = (range.end - start).ilog2();
        nodes.push(Node { level, index: start >> level });
        start += 1 << level;
    }
    nodes
}

/// The hash of a subtree from its [`cover`]; `None` when a node was not fetched or the range is empty.
pub fn range_hash(range: &Range<u64>, nodes: &Nodes) -> Option<Hash> {
    let mut hash = None;
    for node in cover(range).iter().rev() {
        let left = nodes.get(node)?;
        hash = Some(hash.map_or(*left, |right| node_hash(left, &right)));
    }
    hash
}

/// Where RFC 6962 splits a tree of `width` ≥ 2 leaves: the largest power of two below it.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The right edge of a growing tree: one hash per perfect subtree of its size, largest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The nodes that make up the frontier of a tree of `size` leaves, to be fetched for [`Frontier::resume`].
    pub fn nodes(size: u64) -> Vec<Node> {
        cover(&(0..size))
    }

    /// The frontier of a tree of `size` leaves from its stored nodes; `None` when one is absent.
    pub fn resume(size: u64, nodes: &Nodes) -> Option<Self> {
        let peaks = Self::nodes(size).iter().map(|node| nodes.get(node).copied()).collect::<Option<_>>()?;
        Some(Self { size, peaks })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and returns the interior nodes it completes, from level 1 upwards: what its row stores.
    pub fn push(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = Vec::with_capacity(self.size.trailing_ones() as usize);
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            completed.push(hash);
        }
        self.peaks.push(hash);
        self.size += 1;
        completed
    }

    /// The root of the tree as it stands.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests;
