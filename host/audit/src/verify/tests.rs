use proptest::prelude::*;

use super::*;
use crate::entry::Salt;
use crate::format::{Field, time_text};
use crate::key::CheckpointKey;
use crate::kind::Kind;
use crate::tree::{Node, Nodes, cover, empty_root, range_hash};

const FORMATS: [Format; 2] = [Format::Jsonl, Format::Csv];

fn key() -> CheckpointKey {
    CheckpointKey::from_seed(&[7; 32])
}

fn log() -> Log {
    Log::Tenant("acme".parse().unwrap())
}

fn public() -> PublicKey {
    key().public(&log())
}

type Fields = Vec<(&'static str, String)>;

/// A log made without a store: the lines of any export of it.
struct Sample {
    entries: Vec<Entry>,
    nodes: Nodes,
}

impl Sample {
    fn new(size: u64) -> Self {
        Self::of((0..size).map(|seq| {
            let mut fields = vec![("actor", "user:alice".to_owned()), ("detail", format!("=cmd {seq}\n\"é\""))];
            if seq.is_multiple_of(3) {
                fields.push(("x-plugin", String::new()));
            }
            (1_700_000_000_000 + i64::try_from(seq).unwrap(), fields)
        }))
    }

    fn of(entries: impl Iterator<Item = (i64, Fields)>) -> Self {
        let mut sample = Self { entries: Vec::new(), nodes: Nodes::new() };
        let mut frontier = Frontier::default();
        for (seq, (time, fields)) in (0_u64..).zip(entries) {
            let entry = entry(seq, time, &fields);
            let completed = frontier.push(entry.leaf);
            for (level, hash) in (0..).zip(std::iter::once(&entry.leaf).chain(&completed)) {
                sample.nodes.insert(Node { level, index: seq >> level }, *hash);
            }
            sample.entries.push(entry);
        }
        sample
    }

    fn hashes(&self, ranges: &[std::ops::Range<u64>]) -> Vec<Hash> {
        ranges.iter().map(|range| range_hash(range, &self.nodes).unwrap()).collect()
    }

    fn root(&self, size: u64) -> Hash {
        if size == 0 { empty_root() } else { range_hash(&(0..size), &self.nodes).unwrap() }
    }

    fn note(&self, size: u64) -> String {
        Checkpoint::sign(&key(), &log(), size, self.root(size), None)
    }

    fn lines(&self, from: u64, to: u64) -> Vec<Line> {
        let left = self.hashes(&Walk::left(from, to));
        let mut walk = Walk::begin(from, to, self.root(to), left.clone()).unwrap();
        let key = format!("{}+{}", public().name(), hex::encode(public().id()));
        let checkpoint = self.note(to);
        let head =
            Head { version: VERSION, log: log().to_string(), key, from, to, left, checkpoint: checkpoint.clone() };
        let mut lines = vec![Line::Export(head)];
        for seq in from..to {
            let mut entry = self.entries[usize::try_from(seq).unwrap()].clone();
            entry.proof = self.hashes(&walk.right());
            assert!(walk.step(&entry.leaf, &entry.proof));
            lines.push(Line::Entry(entry));
        }
        lines.push(Line::Checkpoint(checkpoint));
        lines
    }

    fn export(&self, format: Format) -> Vec<Vec<u8>> {
        render(format, &self.lines(0, self.entries.len() as u64))
    }
}

fn entry(seq: u64, time_ms: i64, values: &[(&'static str, String)]) -> Entry {
    let mut fields = std::collections::BTreeMap::new();
    for (at, (name, value)) in (0_u8..).zip(values) {
        let salt: Salt = [at ^ u8::try_from(seq % 251).unwrap(); 16];
        let commitment = commitment(name, &salt, value);
        fields.insert((*name).to_owned(), Field { value: Some(value.clone()), salt: Some(salt), commitment });
    }
    let mut entry = Entry {
        seq,
        time: time_text(time_ms).unwrap(),
        kind: Kind::Outcome,
        clock_held: seq % 5 == 4,
        invocation: seq.is_multiple_of(2).then(|| "01890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
        fields,
        leaf: empty_root(),
        proof: Vec::new(),
    };
    reseal(&mut entry);
    entry
}

/// What a forger does who knows the format: makes commitments and leaf fit the values.
fn reseal(entry: &mut Entry) {
    let mut list = Vec::new();
    for (name, field) in &mut entry.fields {
        if let (Some(value), Some(salt)) = (&field.value, &field.salt) {
            field.commitment = commitment(name, salt, value);
        }
        list.push((name.clone().into(), field.commitment));
    }
    let header = Header {
        log: log(),
        seq: entry.seq,
        time_ms: time_ms(&entry.time).unwrap(),
        clock_held: entry.clock_held,
        kind: entry.kind,
        invocation: entry.invocation.as_deref().map(|id| id.parse().unwrap()),
    };
    entry.leaf = header.leaf(&Commitments::new(list).unwrap());
}

/// The lines as bytes; in CSV the column names are the first.
fn render(format: Format, lines: &[Line]) -> Vec<Vec<u8>> {
    let preamble = Some(format.preamble()).filter(|bytes| !bytes.is_empty());
    preamble.into_iter().chain(lines.iter().map(|line| format.render(line).unwrap())).collect()
}

fn run(format: Format, bytes: &[u8]) -> Report {
    check(bytes, format, &public(), None).unwrap()
}

fn first_bad(format: Format, lines: &[Line]) -> Option<Bad> {
    run(format, &render(format, lines).concat()).first_bad
}

fn edit(sample: &Sample, seq: usize, change: impl Fn(&mut Entry)) -> Vec<Line> {
    let mut lines = sample.lines(0, sample.entries.len() as u64);
    let Line::Entry(entry) = &mut lines[seq + 1] else { panic!("no entry") };
    change(entry);
    lines
}

fn seq_of(bad: Option<Bad>) -> Option<u64> {
    bad.expect("something is wrong").seq
}

#[test]
fn every_range_of_a_genuine_log_verifies() {
    for format in FORMATS {
        for size in [0, 1, 2, 3, 5, 8, 13] {
            let sample = Sample::new(size);
            for to in 0..=size {
                for from in 0..=to {
                    let report = run(format, &render(format, &sample.lines(from, to)).concat());
                    assert_eq!(report.first_bad, None, "{format:?} {from}..{to} of {size}");
                    assert_eq!((report.from, report.to, report.entries), (from, to, to - from));
                    assert_eq!((report.log, report.root), (Some(log()), Some(sample.root(to))));
                }
            }
        }
    }
}

#[test]
fn every_changed_bit_is_found() {
    for format in FORMATS {
        let good = Sample::new(3).export(format).concat();
        assert!(run(format, &good).is_good());
        let mut bytes = good.clone();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(!run(format, &bytes).is_good(), "{format:?} byte {at} bit {bit}");
                bytes[at] ^= 1 << bit;
            }
        }
        assert_eq!(bytes, good);
    }
}

#[test]
fn bytes_taken_out_or_put_in_anywhere_are_found() {
    for format in FORMATS {
        let good = Sample::new(2).export(format).concat();
        for at in 0..good.len() {
            assert!(!run(format, &good[..at]).is_good(), "{format:?} cut at {at}");
            let mut less = good.clone();
            less.remove(at);
            assert!(!run(format, &less).is_good(), "{format:?} without byte {at}");
            for extra in [b' ', b'\n', b'\r', b'"', b'0', 0] {
                let mut more = good.clone();
                more.insert(at, extra);
                assert!(!run(format, &more).is_good(), "{format:?} {extra} at {at}");
            }
        }
        for extra in [&b"\n"[..], b" ", b"{}\n", b"\0"] {
            assert!(!run(format, &[&good, extra].concat()).is_good());
        }
    }
}

#[test]
fn lines_removed_doubled_or_moved_are_found_and_named() {
    let sample = Sample::new(7);
    for format in FORMATS {
        let lines = sample.lines(0, 7);
        for at in 0..lines.len() {
            // Line 0 is the head, entry n is line n + 1, the checkpoint is last.
            let named = |at: usize| (1..=7).contains(&at).then(|| at as u64 - 1);
            let mut removed = lines.clone();
            removed.remove(at);
            assert_eq!(seq_of(first_bad(format, &removed)), named(at), "{format:?} line {at} removed");
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at].clone());
            assert_eq!(seq_of(first_bad(format, &doubled)), named(at + 1), "{format:?} line {at} doubled");
            if at > 0 {
                let mut swapped = lines.clone();
                swapped.swap(at - 1, at);
                assert_eq!(seq_of(first_bad(format, &swapped)), named(at - 1), "{format:?} lines {at} swapped");
            }
            let cut = &lines[..at];
            assert_eq!(seq_of(first_bad(format, cut)), named(at), "{format:?} cut after {at} lines");
        }
    }
}

type Change = fn(&mut Entry);

#[test]
fn a_changed_entry_is_named_even_when_its_hashes_were_made_to_fit() {
    let sample = Sample::new(9);
    let changes: [Change; 7] = [
        |entry| entry.fields.get_mut("detail").unwrap().value = Some("innocent".to_owned()),
        |entry| entry.fields.get_mut("actor").unwrap().salt = Some([9; 16]),
        |entry| entry.time = time_text(1_700_000_000_100).unwrap(),
        |entry| entry.kind = Kind::Refused,
        |entry| entry.clock_held ^= true,
        |entry| entry.invocation = Some("01890a5d-ac96-774b-bcce-b302099a8058".to_owned()),
        |entry| drop(entry.fields.remove("actor")),
    ];
    for format in FORMATS {
        for seq in 0..9 {
            for change in changes {
                let plain = first_bad(format, &edit(&sample, seq, change));
                assert_eq!(seq_of(plain), Some(seq as u64));
                let forged = first_bad(
                    format,
                    &edit(&sample, seq, |entry| {
                        change(entry);
                        reseal(entry);
                    }),
                );
                assert_eq!(seq_of(forged), Some(seq as u64));
            }
        }
    }
}

#[test]
fn the_reason_names_what_was_changed() {
    let sample = Sample::new(4);
    let why = |change: fn(&mut Entry)| first_bad(Format::Jsonl, &edit(&sample, 2, change)).unwrap().to_string();
    let value = why(|entry| entry.fields.get_mut("detail").unwrap().value = Some("x".to_owned()));
    assert_eq!(value, "line 4, entry 2: its field \"detail\" was changed");
    assert!(why(|entry| entry.kind = Kind::Admin).contains("kind"));
    assert!(why(|entry| entry.proof.clear()).contains("not the entry that was signed"));
}

#[test]
fn a_whole_log_rewritten_without_the_key_does_not_verify() {
    let genuine = Sample::new(6);
    let forged = Sample::of((0..6).map(|seq| (1_700_000_000_000 + seq, vec![("actor", "user:mallory".to_owned())])));
    for format in FORMATS {
        let mut lines = forged.lines(0, 6);
        let Line::Export(head) = &mut lines[0] else { panic!() };
        head.checkpoint = genuine.note(6);
        *lines.last_mut().unwrap() = Line::Checkpoint(genuine.note(6));
        assert_eq!(seq_of(first_bad(format, &lines)), Some(0));
    }
}

#[test]
fn an_old_checkpoint_or_a_foreign_key_is_refused() {
    let sample = Sample::new(6);
    for format in FORMATS {
        let mut lines = sample.lines(0, 6);
        *lines.last_mut().unwrap() = Line::Checkpoint(sample.note(5));
        assert_eq!(first_bad(format, &lines).unwrap().seq, None);
        let Line::Export(head) = &mut lines[0] else { panic!() };
        head.checkpoint = sample.note(5);
        assert!(first_bad(format, &lines).unwrap().why.contains("of 5 entries"));

        let bytes = sample.export(format).concat();
        let others = [CheckpointKey::from_seed(&[8; 32]).public(&log()), key().public(&Log::Host)];
        for other in others {
            let report = check(&bytes[..], format, &other, None).unwrap();
            assert!(report.first_bad.unwrap().why.contains("key"));
            assert_eq!((report.entries, report.log), (0, None));
        }
    }
}

#[test]
fn a_kept_checkpoint_finds_what_the_holder_of_the_key_did() {
    let genuine = Sample::new(6);
    let rewritten = Sample::of((0..8).map(|seq| (1_700_000_000_000 + seq, vec![("actor", "user:x".to_owned())])));
    let with = |sample: &Sample, from, to, kept: &str| {
        let bytes = render(Format::Jsonl, &sample.lines(from, to)).concat();
        check(&bytes[..], Format::Jsonl, &public(), Some(kept)).unwrap().first_bad
    };
    for kept in 0..=6 {
        assert_eq!(with(&genuine, 0, 6, &genuine.note(kept)), None);
        if kept > 0 {
            assert!(with(&rewritten, 0, 8, &genuine.note(kept)).unwrap().why.contains("rewritten"), "{kept}");
        }
    }
    assert!(with(&genuine, 0, 4, &genuine.note(5)).unwrap().why.contains("rolled back"));
    assert!(with(&rewritten, 0, 6, &genuine.note(6)).unwrap().why.contains("rewritten"));
    assert_eq!(with(&genuine, 2, 6, &genuine.note(6)), None);
    assert!(with(&genuine, 2, 6, &genuine.note(3)).is_some());
    assert!(with(&genuine, 0, 6, "nonsense").is_some());
}

#[test]
fn withheld_fields_are_counted_and_half_withheld_ones_refused() {
    let sample = Sample::new(4);
    for format in FORMATS {
        let lines = edit(&sample, 1, |entry| {
            let field = entry.fields.get_mut("detail").unwrap();
            (field.value, field.salt) = (None, None);
        });
        let report = run(format, &render(format, &lines).concat());
        assert_eq!((report.is_good(), report.withheld, report.entries), (true, 1, 4));
    }
    let half = edit(&sample, 1, |entry| entry.fields.get_mut("detail").unwrap().salt = None);
    assert_eq!(seq_of(first_bad(Format::Jsonl, &half)), Some(1));
}

#[test]
fn time_running_backwards_is_refused_although_signed() {
    let times = [5, 6, 4];
    let sample = Sample::of(times.into_iter().map(|time| (time, vec![("actor", "a".to_owned())])));
    assert_eq!(seq_of(first_bad(Format::Jsonl, &sample.lines(0, 3))), Some(2));
}

#[test]
fn an_endless_line_is_refused_in_bounded_memory() {
    for (format, start) in
        [(Format::Jsonl, Vec::new()), (Format::Csv, [Format::Csv.preamble(), b"\"".to_vec()].concat())]
    {
        let endless = (&start[..]).chain(io::repeat(b'a'));
        let bad = check(endless, format, &public(), None).unwrap().first_bad.unwrap();
        assert!(bad.why.contains("longer"));
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes: Vec<u8>, text in "\\PC*") {
        for format in FORMATS {
            prop_assert!(!run(format, &bytes).is_good());
            prop_assert!(!run(format, text.as_bytes()).is_good());
            let after = [format.preamble(), bytes.clone()].concat();
            prop_assert!(!run(format, &after).is_good());
        }
    }

    #[test]
    fn spliced_exports_are_refused(cut in 0_usize..3000, skip in 0_usize..3000) {
        for format in FORMATS {
            let good = Sample::new(3).export(format).concat();
            let (start, end) = (cut.min(good.len()), skip.min(good.len()));
            let spliced = [&good[..start], &good[end..]].concat();
            prop_assert_eq!(run(format, &spliced).is_good(), spliced == good);
        }
    }
}

#[test]
fn covers_are_what_the_walk_asks_for() {
    // The helper above and the exporter both fetch covers; a cover names each row once.
    let rows: Vec<u64> = cover(&(0..13)).iter().map(|node| node.row()).collect();
    assert_eq!(rows, [7, 11, 12]);
}
