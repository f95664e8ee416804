//! Checks an export offline: nothing is needed but the file and the public key of the log.
//!
//! Believed is only what the signature implies. The signed root stands in the first line; every entry is checked against it
//! on arrival (see [`crate::tree::Walk`]), so the first entry that was changed, left out, added or moved is named even when
//! every hash in the file was recomputed to fit. Memory does not grow with the export. Input may be anything at all.
//!
//! One thing a reader can do to an export without being caught is to *withhold* a field: to cut out its value and its salt.
//! That is by intent (an export may be passed on without personal content), and is counted in the report.

use std::io::{self, BufRead, BufReader, Read};

use crate::checkpoint::Checkpoint;
use crate::entry::{Commitments, Header, commitment};
use crate::format::{Entry, Format, Head, Line, VERSION, time_ms};
use crate::key::PublicKey;
use crate::log::Log;
use crate::tree::{Frontier, Hash, Walk};

/// Longest line accepted, in bytes.
const MAX_LINE: usize = 64 << 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// The log, once the first line has been found genuine.
    pub log: Option<Log>,
    /// The first entry the export says it holds.
    pub from: u64,
    /// One past the last; the size of the tree that was signed.
    pub to: u64,
    /// The signed root.
    pub root: Option<Hash>,
    /// How many entries were checked and found good, in order, before the first bad one.
    pub entries: u64,
    /// How many fields of them have no value in the export.
    pub withheld: u64,
    /// The first thing that is wrong. `None`: the export is exactly what the log's host signed.
    pub first_bad: Option<Bad>,
}

/// Where an export stops being genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The line of the file, from 1.
    pub line: u64,
    /// The number of the entry expected or found there, if it is about an entry.
    pub seq: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "line {}, entry {seq}: {}", self.line, self.why),
            None => write!(f, "line {}: {}", self.line, self.why),
        }
    }
}

impl Report {
    /// Whether everything is as it was signed.
    pub fn is_good(&self) -> bool {
        self.first_bad.is_none()
    }
}

/// Checks a JSON Lines export.
///
/// # Errors
/// Only when reading fails; what is wrong with the content is in the report.
pub fn jsonl(reader: impl Read, key: &PublicKey) -> io::Result<Report> {
    check(reader, Format::Jsonl, key, None)
}

/// Checks a CSV export.
///
/// # Errors
/// Only when reading fails; what is wrong with the content is in the report.
pub fn csv(reader: impl Read, key: &PublicKey) -> io::Result<Report> {
    check(reader, Format::Csv, key, None)
}

/// Checks an export, and if `kept` is given, that it also agrees with a checkpoint the reader kept from earlier: this finds
/// a log that was rolled back or rewritten even by somebody who holds the signing key. It takes an export from entry 0, or
/// one that ends where the kept checkpoint does.
///
/// # Errors
/// Only when reading fails; what is wrong with the content is in the report.
pub fn check(reader: impl Read, format: Format, key: &PublicKey, kept: Option<&str>) -> io::Result<Report> {
    let mut lines = Lines { reader: BufReader::new(reader), format, line: 1, read: 0 };
    let mut report = Report::default();
    match pass(&mut lines, key, kept, &mut report) {
        Ok(()) => Ok(report),
        Err(Stop::Input(error)) => Err(error),
        Err(Stop::Bad(seq, why)) => {
            report.first_bad = Some(Bad { line: lines.line, seq, why });
            Ok(report)
        }
    }
}

/// Why a pass ends early.
enum Stop {
    Input(io::Error),
    Bad(Option<u64>, String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Input(error)
    }
}

fn bad(seq: impl Into<Option<u64>>, why: impl Into<String>) -> Stop {
    Stop::Bad(seq.into(), why.into())
}

fn pass<R: BufRead>(
    lines: &mut Lines<R>,
    key: &PublicKey,
    kept: Option<&str>,
    report: &mut Report,
) -> Result<(), Stop> {
    let preamble = lines.format.preamble();
    if !preamble.is_empty() && lines.next()? != Some(preamble) {
        return Err(bad(None, "the line of column names is not an export's"));
    }
    let Some(line) = lines.next()? else { return Err(bad(None, "the file is empty or cut off: no head")) };
    let head = match lines.format.parse(&line) {
        Ok(Line::Export(head)) => head,
        Ok(_) => return Err(bad(None, "the head of the export is missing")),
        Err(why) => return Err(bad(None, why)),
    };
    let (log, signed) = open_head(&head, key).map_err(|why| bad(None, why))?;
    let mut kept = Kept::new(kept, key, &head, &signed).map_err(|why| bad(None, why))?;
    let mut walk = Walk::begin(head.from, head.to, signed.root, head.left.clone())
        .ok_or_else(|| bad(None, "the range and the checkpoint do not belong together"))?;
    (report.from, report.to) = (head.from, head.to);
    (report.log, report.root) = (Some(log.clone()), Some(signed.root));

    let mut before = i64::MIN;
    while let Some(seq) = walk.next() {
        let Some(line) = lines.next()? else { return Err(bad(seq, "the file is cut off before this entry")) };
        let entry = match lines.format.parse(&line) {
            Ok(Line::Entry(entry)) => entry,
            Ok(_) => return Err(bad(seq, "another line stands where this entry should be")),
            Err(why) => return Err(bad(seq, why)),
        };
        if entry.seq != seq {
            let why = format!("entry {} stands here: entries were removed, added or moved", entry.seq);
            return Err(bad(seq, why));
        }
        let (time, withheld) = check_entry(&entry, &log).map_err(|why| bad(seq, why))?;
        if !walk.step(&entry.leaf, &entry.proof) {
            return Err(bad(seq, "it is not the entry that was signed, or its proof is not"));
        }
        // Cannot be in a genuine log, so this is about the host that signed it.
        if time < before {
            return Err(bad(seq, "it is older than the entry before it"));
        }
        before = time;
        kept.push(entry.leaf).map_err(|why| bad(seq, why))?;
        report.entries += 1;
        report.withheld += withheld;
    }
    let Some(line) = lines.next()? else { return Err(bad(None, "the file is cut off before the checkpoint")) };
    match lines.format.parse(&line) {
        Ok(Line::Checkpoint(note)) if note == head.checkpoint => {}
        Ok(Line::Entry(_)) => return Err(bad(None, "there are more entries than were signed")),
        _ => return Err(bad(None, "the checkpoint is not the one in the head of the export")),
    }
    match lines.next()? {
        None => Ok(()),
        Some(_) => Err(bad(None, "something follows the checkpoint")),
    }
}

/// Checks what an export says of itself against the key.
fn open_head(head: &Head, key: &PublicKey) -> Result<(Log, Checkpoint), String> {
    if head.version != VERSION {
        return Err(format!("the export has format version {}; this verifier reads {VERSION}", head.version));
    }
    if head.key != format!("{}+{}", key.name(), hex::encode(key.id())) {
        return Err(format!("the export is to be verified with the key {}, not {}", head.key, key.name()));
    }
    let log: Log = head.log.parse().map_err(|_| "the export names no log".to_owned())?;
    if !key.name().ends_with(&format!("/{log}")) {
        return Err("the export names another log than its key".to_owned());
    }
    let checkpoint = Checkpoint::open(&head.checkpoint, key).map_err(|error| error.to_string())?;
    if checkpoint.size != head.to {
        return Err(format!("the checkpoint is of {} entries, the export of {}", checkpoint.size, head.to));
    }
    Ok((log, checkpoint))
}

/// Checks that an entry's values fit its commitments, and these its leaf. Its time and how many fields are withheld.
fn check_entry(entry: &Entry, log: &Log) -> Result<(i64, u64), String> {
    let time_ms = time_ms(&entry.time).ok_or("its time is none")?;
    let invocation = entry.invocation.as_deref().map(str::parse).transpose().map_err(|_| "its invocation is none")?;
    let mut withheld = 0;
    let mut commitments = Vec::with_capacity(entry.fields.len());
    for (name, field) in &entry.fields {
        match (&field.value, &field.salt) {
            (Some(value), Some(salt)) if commitment(name, salt, value) == field.commitment => {}
            (Some(_), Some(_)) => return Err(format!("its field {name:?} was changed")),
            (None, None) => withheld += 1,
            _ => return Err(format!("its field {name:?} has a value or a salt alone")),
        }
        commitments.push((name.clone().into(), field.commitment));
    }
    let commitments = Commitments::new(commitments).ok_or("a field has a name that is none")?;
    let header = Header {
        log: log.clone(),
        seq: entry.seq,
        time_ms,
        clock_held: entry.clock_held,
        kind: entry.kind,
        invocation,
    };
    if header.leaf(&commitments) != entry.leaf {
        return Err("its time, kind, invocation, set of fields or hash was changed".to_owned());
    }
    Ok((time_ms, withheld))
}

/// A checkpoint from earlier, compared when the pass reaches its size.
struct Kept {
    checkpoint: Option<Checkpoint>,
    frontier: Frontier,
}

impl Kept {
    fn new(note: Option<&str>, key: &PublicKey, head: &Head, signed: &Checkpoint) -> Result<Self, String> {
        let checkpoint = note.map(|note| Checkpoint::open(note, key)).transpose();
        let checkpoint = checkpoint.map_err(|error| format!("the kept checkpoint: {error}"))?;
        if let Some(kept) = &checkpoint {
            if kept.size > head.to {
                let why = "the log was rolled back, or the export is older";
                return Err(format!(
                    "the kept checkpoint is of {} entries, the export ends at {}: {why}",
                    kept.size, head.to
                ));
            }
            if kept.size == head.to && kept.root != signed.root {
                return Err(
                    "the kept checkpoint has another root for the same entries: the log was rewritten".to_owned()
                );
            }
            if kept.size < head.to && head.from > 0 {
                return Err("only an export from entry 0 can be compared with an earlier checkpoint".to_owned());
            }
        }
        Ok(Self { checkpoint, frontier: Frontier::default() })
    }

    fn push(&mut self, leaf: Hash) -> Result<(), &'static str> {
        let Some(kept) = &self.checkpoint else { return Ok(()) };
        self.frontier.push(leaf);
        if self.frontier.size() == kept.size && self.frontier.root() != kept.root {
            return Err("the entries up to here are not those of the kept checkpoint: the log was rewritten");
        }
        Ok(())
    }
}

/// The lines of an export as bytes, ends included.
struct Lines<R> {
    reader: R,
    format: Format,
    /// The number of the line last read, from 1.
    line: u64,
    /// How many lines of the file have been read.
    read: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line; in CSV the next record, which goes on over lines while a quote is open. `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        self.line = self.read + 1;
        let mut bytes = Vec::new();
        let mut quoted = false;
        loop {
            let start = bytes.len();
            let room = (MAX_LINE - start) as u64 + 1;
            if (&mut self.reader).take(room).read_until(b'\n', &mut bytes)? == 0 {
                return Ok((!bytes.is_empty()).then_some(bytes));
            }
            if bytes.len() > MAX_LINE {
                return Err(bad(None, "the line is longer than any export writes"));
            }
            self.read += 1;
            for byte in &bytes[start..] {
                quoted ^= *byte == b'"';
            }
            if self.format == Format::Jsonl || !quoted {
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests;
