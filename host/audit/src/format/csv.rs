//! An export as a table: one column per usual field, the rest as JSON.
//!
//! A spreadsheet runs a cell that begins like a formula, so such a cell gets a `'` before it, which spreadsheets take for
//! "text" and [`plain`] takes away again; a cell that begins with `'` gets one more, so nothing is ambiguous.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Writer};
use serde::{Deserialize, Serialize};

use super::{Entry, Field, Head, Line};
use crate::draft::field;
use crate::tree::Hash;

const BEFORE: [&str; 6] = ["record", "seq", "time", "kind", "clock", "invocation"];
const AFTER: [&str; 2] = ["other", "proof"];
const COLUMNS: usize = BEFORE.len() + field::COLUMNS.len() + AFTER.len();
const OTHER: usize = COLUMNS - 2;
const PROOF: usize = COLUMNS - 1;
/// What the clock column says of an entry whose time is the previous one's.
const HELD: &str = "held";

/// What of an entry is for verifying alone: salts (none for a withheld field), commitments, leaf, siblings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    fields: BTreeMap<String, (Option<String>, Hash)>,
    leaf: Hash,
    siblings: Vec<Hash>,
}

/// The line of column names.
pub(super) fn header() -> Vec<u8> {
    let mut names = Vec::with_capacity(COLUMNS);
    names.extend(BEFORE);
    names.extend(field::COLUMNS);
    names.extend(AFTER);
    let mut line = names.join(",").into_bytes();
    line.push(b'\n');
    line
}

pub(super) fn render(line: &Line) -> Option<Vec<u8>> {
    let mut cells = vec![String::new(); COLUMNS];
    match line {
        Line::Export(head) => {
            "export".clone_into(&mut cells[0]);
            cells[PROOF] = serde_json::to_string(head).ok()?;
        }
        Line::Checkpoint(note) => {
            "checkpoint".clone_into(&mut cells[0]);
            cells[PROOF].clone_from(note);
        }
        Line::Entry(entry) => entry_cells(entry, &mut cells)?,
    }
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(cells.iter().map(|cell| inert(cell))).ok()?;
    writer.into_inner().ok()
}

fn entry_cells(entry: &Entry, cells: &mut [String]) -> Option<()> {
    "entry".clone_into(&mut cells[0]);
    cells[1] = entry.seq.to_string();
    cells[2].clone_from(&entry.time);
    entry.kind.as_str().clone_into(&mut cells[3]);
    if entry.clock_held {
        HELD.clone_into(&mut cells[4]);
    }
    cells[5] = entry.invocation.clone().unwrap_or_default();
    let mut other = BTreeMap::new();
    let mut fields = BTreeMap::new();
    for (name, field) in &entry.fields {
        fields.insert(name.clone(), (field.salt.map(hex::encode), field.commitment));
        let Some(value) = &field.value else { continue };
        match column(name) {
            Some(column) => cells[column].clone_from(value),
            None => drop(other.insert(name, value)),
        }
    }
    if !other.is_empty() {
        cells[OTHER] = serde_json::to_string(&other).ok()?;
    }
    cells[PROOF] = serde_json::to_string(&Proof { fields, leaf: entry.leaf, siblings: entry.proof.clone() }).ok()?;
    Some(())
}

/// The column of a usual field.
fn column(name: &str) -> Option<usize> {
    field::COLUMNS.iter().position(|column| *column == name).map(|at| BEFORE.len() + at)
}

pub(super) fn parse(bytes: &[u8]) -> Option<Line> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record).ok()? || record.len() != COLUMNS {
        return None;
    }
    let cells: Vec<&str> = record.iter().map(plain).collect();
    match cells[0] {
        "export" => serde_json::from_str::<Head>(cells[PROOF]).ok().map(Line::Export),
        "checkpoint" => Some(Line::Checkpoint(cells[PROOF].to_owned())),
        "entry" => parse_entry(&cells).map(Line::Entry),
        _ => None,
    }
}

fn parse_entry(cells: &[&str]) -> Option<Entry> {
    let proof: Proof = serde_json::from_str(cells[PROOF]).ok()?;
    let mut other: BTreeMap<String, String> = match cells[OTHER] {
        "" => BTreeMap::new(),
        json => serde_json::from_str(json).ok()?,
    };
    let mut fields = BTreeMap::new();
    for (name, (salt, commitment)) in proof.fields {
        let salt = match salt {
            None => None,
            Some(text) => Some(hex::decode(text).ok()?.try_into().ok()?),
        };
        let value = match (salt, column(&name)) {
            (None, _) => None,
            (Some(_), Some(column)) => Some(cells[column].to_owned()),
            (Some(_), None) => Some(other.remove(&name)?),
        };
        fields.insert(name, Field { value, salt, commitment });
    }
    Some(Entry {
        seq: cells[1].parse().ok()?,
        time: cells[2].to_owned(),
        kind: cells[3].parse().ok()?,
        clock_held: cells[4] == HELD,
        invocation: (!cells[5].is_empty()).then(|| cells[5].to_owned()),
        fields,
        leaf: proof.leaf,
        proof: proof.siblings,
    })
}

/// Whether a spreadsheet might take a cell that begins so for more than text. Beside `= + - @`, tab and carriage return, the
/// full-width signs and line feed that some locales and programs treat alike (OWASP, CSV injection).
fn is_active(first: char) -> bool {
    matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'' | '＝' | '＋' | '－' | '＠')
}

/// A cell that no spreadsheet evaluates.
fn inert(cell: &str) -> String {
    if cell.starts_with(is_active) { format!("'{cell}") } else { cell.to_owned() }
}

/// The text of a cell made by [`inert`].
fn plain(cell: &str) -> &str {
    cell.strip_prefix('\'').unwrap_or(cell)
}
