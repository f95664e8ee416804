//! The two forms of an export, JSON Lines and CSV, over one model.
//!
//! An export is a head, the entries of a range in order, and the checkpoint again as its last line. There is exactly one
//! way to write each line: a reader renders what it understood and compares bytes, so whatever could be changed without
//! changing the meaning (spaces, an escape, needless quotes, a key given twice) is refused rather than overlooked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::entry::Salt;
use crate::kind::Kind;
use crate::tree::Hash;

mod csv;

/// The version of the export format.
pub(crate) const VERSION: u32 = 1;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with `\n`, for spreadsheets; cells that one could take for formulas begin with `'`.
    Csv,
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Export(Head),
    Entry(Entry),
    Checkpoint(String),
}

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) version: u32,
    /// `tenant/acme` or `host`.
    pub(crate) log: String,
    /// Name and id of the key that verifies it, `name+id`.
    pub(crate) key: String,
    /// The first entry.
    pub(crate) from: u64,
    /// One past the last entry; the size of the checkpoint's tree.
    pub(crate) to: u64,
    /// What proves that the entries before `from` exist and are not shown: see [`crate::tree::Walk::left`].
    pub(crate) left: Vec<Hash>,
    /// The signed head, which is also the last line: it comes first so that each entry can be checked when it is read.
    pub(crate) checkpoint: String,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// RFC 3339 in UTC with milliseconds.
    pub(crate) time: String,
    pub(crate) kind: Kind,
    /// See [`crate::entry::Header::clock_held`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) clock_held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invocation: Option<String>,
    pub(crate) fields: BTreeMap<String, Field>,
    /// The hash of the leaf, so that a reader can tell an entry whose content was changed from one that was moved.
    pub(crate) leaf: Hash,
    /// See [`crate::tree::Walk::right`].
    pub(crate) proof: Vec<Hash>,
}

/// A field of an entry. Without value and salt it is withheld: its commitment still counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "salt")]
    pub(crate) salt: Option<Salt>,
    pub(crate) commitment: Hash,
}

impl Format {
    /// What comes before the first line.
    pub(crate) fn preamble(self) -> Vec<u8> {
        match self {
            Self::Jsonl => Vec::new(),
            Self::Csv => csv::header(),
        }
    }

    /// A line with its end. `None` cannot happen for lines that were made or read; it is not a panic all the same.
    pub(crate) fn render(self, line: &Line) -> Option<Vec<u8>> {
        match self {
            Self::Jsonl => {
                let mut bytes = serde_json::to_vec(line).ok()?;
                bytes.push(b'\n');
                Some(bytes)
            }
            Self::Csv => csv::render(line),
        }
    }

    /// Reads a line with its end; only what [`Format::render`] writes.
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Line, &'static str> {
        let line = match self {
            Self::Jsonl => serde_json::from_slice(bytes).map_err(|_| "it is not a line of an export")?,
            Self::Csv => csv::parse(bytes).ok_or("it is not a record of an export")?,
        };
        if self.render(&line).as_deref() == Some(bytes) {
            Ok(line)
        } else {
            Err("it is not written as an export writes it")
        }
    }
}

/// A time as exports show it. `None` for one outside the years −9999 to 9999.
pub(crate) fn time_text(ms: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(ms).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The milliseconds of such a text; `None` when it is not spelled exactly so.
pub(crate) fn time_ms(text: &str) -> Option<i64> {
    let ms = text.parse::<Timestamp>().ok()?.as_millisecond();
    (time_text(ms)? == text).then_some(ms)
}

/// Salts as hex digits.
mod salt {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Salt;

    #[allow(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(salt: &Option<Salt>, serializer: S) -> Result<S::Ok, S::Error> {
        match salt {
            Some(salt) => serializer.serialize_str(&hex::encode(salt)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Salt>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut salt = [0; 16];
        hex::decode_to_slice(text, &mut salt).map_err(serde::de::Error::custom)?;
        Ok(Some(salt))
    }
}

#[cfg(test)]
mod tests;
