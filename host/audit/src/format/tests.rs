use proptest::prelude::*;

use super::*;
use crate::draft::field;
use crate::tree::empty_root;

fn entry(fields: &[(&str, Option<&str>)]) -> Entry {
    let fields = fields.iter().map(|(name, value)| {
        let field =
            Field { value: value.map(ToOwned::to_owned), salt: value.map(|_| [1; 16]), commitment: empty_root() };
        ((*name).to_owned(), field)
    });
    Entry {
        seq: 1,
        time: time_text(0).unwrap(),
        kind: Kind::Event,
        clock_held: true,
        invocation: None,
        fields: fields.collect(),
        leaf: empty_root(),
        proof: vec![empty_root()],
    }
}

#[test]
fn cells_that_could_be_formulas_are_inert_and_read_back_exactly() {
    for start in ["=", "+", "-", "@", "\t", "\r", "\n", "'", "''=", "＝", "＠", "\"=", "=1+1,\"x\"\n"] {
        let value = format!("{start}HYPERLINK(\"http://x\")");
        for name in [field::PARAMS, "x-other"] {
            let line = Line::Entry(entry(&[(name, Some(&value))]));
            let bytes = Format::Csv.render(&line).unwrap();
            assert_eq!(Format::Csv.parse(&bytes), Ok(line), "{value:?}");
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let record = reader.records().next().unwrap().unwrap();
            for cell in &record {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']), "{cell:?}");
            }
        }
    }
}

#[test]
fn a_spreadsheet_sees_the_usual_fields_in_columns_of_their_names() {
    let header = String::from_utf8(Format::Csv.preamble()).unwrap();
    let names: Vec<&str> = header.trim_end().split(',').collect();
    let line = Line::Entry(entry(&[("actor", Some("user:alice")), ("x", Some("y")), ("detail", Some(""))]));
    let bytes = Format::Csv.render(&line).unwrap();
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
    let record = reader.records().next().unwrap().unwrap();
    let cell = |name: &str| &record[names.iter().position(|column| *column == name).unwrap()];
    assert_eq!((cell("record"), cell("seq"), cell("kind"), cell("clock")), ("entry", "1", "event", "held"));
    assert_eq!((cell("actor"), cell("detail"), cell("other")), ("user:alice", "", "{\"x\":\"y\"}"));
    assert_eq!(cell("time"), "1970-01-01T00:00:00.000Z");
    assert_eq!(record.len(), names.len());
}

#[test]
fn what_could_be_written_in_two_ways_is_read_in_one() {
    let line = Line::Entry(entry(&[("actor", Some("é\u{1}"))]));
    let good = String::from_utf8(Format::Jsonl.render(&line).unwrap()).unwrap();
    assert_eq!(Format::Jsonl.parse(good.as_bytes()).unwrap(), line);
    let repeated = good.replace("\"seq\":1", "\"seq\":1,\"seq\":1");
    let spaced = good.replace(':', ": ");
    let escaped = good.replace('é', "\\u00e9");
    let longer = good.replace("\"seq\":1", "\"seq\":1.0");
    let unknown = good.replace("\"seq\":1", "\"seq\":1,\"more\":1");
    for changed in [repeated, spaced, escaped, longer, unknown, good.replace('\n', ""), good.replace('\n', "\r\n")] {
        assert_ne!(changed, good);
        assert!(Format::Jsonl.parse(changed.as_bytes()).is_err(), "{changed}");
    }
    let csv = String::from_utf8(Format::Csv.render(&line).unwrap()).unwrap();
    for changed in
        [csv.replacen("entry", "\"entry\"", 1), csv.replace('\n', "\r\n"), csv.replacen("entry", "'entry", 1)]
    {
        assert!(Format::Csv.parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn times_have_one_spelling() {
    assert_eq!(time_text(1_700_000_000_123).as_deref(), Some("2023-11-14T22:13:20.123Z"));
    assert_eq!(time_ms("2023-11-14T22:13:20.123Z"), Some(1_700_000_000_123));
    for bad in ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.123+00:00", "2023-11-14 22:13:20.123Z", "", "0"] {
        assert_eq!(time_ms(bad), None, "{bad}");
    }
    assert_eq!(time_text(i64::MAX), None);
}

proptest! {
    #[test]
    fn any_value_reads_back(values in proptest::collection::btree_map("[a-z._-]{1,8}|actor|params", any::<Option<String>>(), 0..6)) {
        let fields: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let line = Line::Entry(entry(&fields));
        for format in [Format::Jsonl, Format::Csv] {
            let bytes = format.render(&line).unwrap();
            prop_assert_eq!(format.parse(&bytes), Ok(line.clone()));
        }
    }

    #[test]
    fn garbage_is_no_line(bytes: Vec<u8>) {
        for format in [Format::Jsonl, Format::Csv] {
            prop_assert!(format.parse(&bytes).is_err());
        }
    }
}
