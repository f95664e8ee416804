//! What a leaf of the tree commits to, byte for byte.
//!
//! A leaf is a clear header and one salted commitment per field. The encoding is injective: every part is of fixed width or
//! preceded by its length, and fields stand in strictly ascending order of their names, so one entry has one encoding and
//! one encoding is one entry. Because a leaf holds commitments and no values, content can be erased later and every leaf,
//! root and signature stays as it was; because each commitment has a salt of its own, what is left tells nothing.

use std::borrow::Cow;

use opsiq_contract::InvocationId;
use sha2::{Digest as _, Sha256};

use crate::kind::Kind;
use crate::log::Log;
use crate::tree::{Hash, leaf_hash};

/// First bytes of every leaf.
const LEAF_DOMAIN: &[u8] = b"opsiq audit entry 1\n";
/// First bytes of everything that is hashed into a commitment.
const FIELD_DOMAIN: &[u8] = b"opsiq audit field 1\n";
/// Version of [`Commitments::record`].
const VERSION: u8 = 1;

/// A salt: 16 random bytes, which keep a short value from being guessed by hashing.
pub type Salt = [u8; 16];

/// The clear part of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The log it is in.
    pub log: Log,
    /// Its number, from 0, without gaps: the index of its leaf.
    pub seq: u64,
    /// When it was recorded, in milliseconds since 1970. Never less than the entry before it has.
    pub time_ms: i64,
    /// Whether the clock stood before the previous entry's time, which was then used instead.
    pub clock_held: bool,
    /// What it is about.
    pub kind: Kind,
    /// The invocation it belongs to, if any.
    pub invocation: Option<InvocationId>,
}

/// The commitment to a field's value: SHA-256(domain ‖ len(name) ‖ name ‖ salt ‖ len(value) ‖ value), lengths of 1 and 8 bytes,
/// big-endian.
pub fn commitment(name: &str, salt: &Salt, value: &str) -> Hash {
    Committing::default().to(name, salt, value)
}

/// Makes commitments one after the other, see [`commitment`]. Hashing a value in one piece costs half of what hashing its
/// parts does, so they are put together in one place.
#[derive(Default)]
pub(crate) struct Committing(Vec<u8>);

impl Committing {
    /// The commitment to a field's value.
    pub(crate) fn to(&mut self, name: &str, salt: &Salt, value: &str) -> Hash {
        let all = &mut self.0;
        all.clear();
        all.extend_from_slice(FIELD_DOMAIN);
        all.push(name_length(name));
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(salt);
        all.extend_from_slice(&(value.len() as u64).to_be_bytes());
        all.extend_from_slice(value.as_bytes());
        Hash(Sha256::digest(all).into())
    }
}

/// The length of a field name as one byte. Longer names cannot come to be: [`is_field_name`] bounds them.
fn name_length(name: &str) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

/// Whether a text may name a field: 1 to 64 of a–z, 0–9, `_`, `-` and `.`.
pub fn is_field_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte))
}

/// The commitments of an entry, in ascending order of names, each name once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Commitments(Vec<(Cow<'static, str>, Hash)>);

impl Commitments {
    /// `None` unless the names are field names in strictly ascending order, at most 65,535.
    pub fn new(list: Vec<(Cow<'static, str>, Hash)>) -> Option<Self> {
        let names = list.iter().all(|(name, _)| is_field_name(name));
        let ascending = list.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (names && ascending && u16::try_from(list.len()).is_ok()).then_some(Self(list))
    }

    /// Names and commitments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Hash)> {
        self.0.iter().map(|(name, hash)| (name.as_ref(), hash))
    }

    /// The stored form of a [`Record`] with these commitments.
    pub(crate) fn record(&self, id: &[u8; 16], clock_held: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.0.len() * 48);
        out.push(VERSION);
        out.extend_from_slice(id);
        out.push(u8::from(clock_held));
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (name, hash) in self.iter() {
            out.push(name_length(name));
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&hash.0);
        }
    }
}

impl Header {
    /// The bytes of the leaf.
    pub fn leaf_data(&self, commitments: &Commitments) -> Vec<u8> {
        let log = self.log.to_string();
        let invocation = self.invocation.as_ref().map_or("", AsRef::as_ref);
        let mut data = Vec::with_capacity(128 + log.len() + commitments.0.len() * 48);
        data.extend_from_slice(LEAF_DOMAIN);
        // A log's name has at most 70 bytes, an invocation's id 36.
        data.push(name_length(&log));
        data.extend_from_slice(log.as_bytes());
        data.extend_from_slice(&self.seq.to_be_bytes());
        data.extend_from_slice(&self.time_ms.to_be_bytes());
        data.push(self.kind.code());
        data.push(u8::from(self.clock_held));
        data.push(name_length(invocation));
        data.extend_from_slice(invocation.as_bytes());
        commitments.write(&mut data);
        data
    }

    /// The leaf hash.
    pub fn leaf(&self, commitments: &Commitments) -> Hash {
        leaf_hash(&self.leaf_data(commitments))
    }
}

/// What a row holds beside its clear columns: the random id its sealed content is bound to, whether the clock was held,
/// and the commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: [u8; 16],
    pub(crate) clock_held: bool,
    pub(crate) commitments: Commitments,
}

impl Record {
    #[cfg(test)]
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.commitments.record(&self.id, self.clock_held)
    }

    /// Reads a stored record; `None` for anything [`Commitments::record`] does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (&held, rest) = rest.split_first()?;
        let (count, mut rest) = rest.split_first_chunk::<2>()?;
        if version != VERSION || held > 1 {
            return None;
        }
        let mut list = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (&length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(length))?;
            let (hash, after) = after.split_first_chunk::<32>()?;
            list.push((Cow::Owned(str::from_utf8(name).ok()?.to_owned()), Hash(*hash)));
            rest = after;
        }
        let commitments = Commitments::new(list).filter(|_| rest.is_empty())?;
        Some(Self { id: *id, clock_held: held == 1, commitments })
    }
}

#[cfg(test)]
mod tests;
