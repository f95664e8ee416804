use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header {
        log: Log::Tenant("acme".parse().unwrap()),
        seq: 7,
        time_ms: 1_700_000_000_000,
        clock_held: false,
        kind: Kind::Intent,
        invocation: Some("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()),
    }
}

fn list(fields: &[(&'static str, u8)]) -> Commitments {
    Commitments::new(fields.iter().map(|(name, hash)| (Cow::Borrowed(*name), Hash([*hash; 32]))).collect()).unwrap()
}

#[test]
fn every_part_of_an_entry_changes_its_leaf() {
    let base = (header(), list(&[("a", 1), ("b", 2)]));
    let variants = [
        base.clone(),
        (Header { log: Log::Host, ..header() }, base.1.clone()),
        (Header { log: Log::Tenant("acm".parse().unwrap()), ..header() }, base.1.clone()),
        (Header { seq: 8, ..header() }, base.1.clone()),
        (Header { time_ms: -1, ..header() }, base.1.clone()),
        (Header { kind: Kind::Outcome, ..header() }, base.1.clone()),
        (Header { clock_held: true, ..header() }, base.1.clone()),
        (Header { invocation: None, ..header() }, base.1.clone()),
        (header(), list(&[("a", 1)])),
        (header(), list(&[("a", 1), ("b", 3)])),
        (header(), list(&[("a", 1), ("c", 2)])),
        (header(), list(&[("a", 2), ("b", 1)])),
        (header(), list(&[])),
    ];
    let leaves: HashSet<Hash> = variants.iter().map(|(header, list)| header.leaf(list)).collect();
    assert_eq!(leaves.len(), variants.len());
}

#[test]
fn a_leaf_is_pinned() {
    // The format, computed apart: changing it breaks every log in the world.
    let data = header().leaf_data(&list(&[("a", 1)]));
    let mut expected = b"opsiq audit entry 1\n\x0btenant/acme".to_vec();
    expected.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 1, 0, 36]);
    expected.extend(b"01890a5d-ac96-774b-bcce-b302099a8057\x00\x01\x01a");
    expected.extend([1; 32]);
    assert_eq!(data, expected);
}

#[test]
fn a_commitment_is_bound_to_name_salt_and_value() {
    let base = commitment("name", &[1; 16], "value");
    assert_ne!(base, commitment("nam", &[1; 16], "evalue"));
    assert_ne!(base, commitment("name", &[2; 16], "value"));
    assert_ne!(base, commitment("name", &[1; 16], "valu"));
    assert_ne!(commitment("name", &[1; 16], ""), commitment("name", &[1; 16], "\0"));
}

#[test]
fn names_are_ordered_and_plain() {
    let one = |name: &'static str| (Cow::Borrowed(name), Hash([0; 32]));
    assert!(Commitments::new(vec![one("b"), one("a")]).is_none());
    assert!(Commitments::new(vec![one("a"), one("a")]).is_none());
    for bad in ["", "A", "a b", "=a", "a\n", "ä"] {
        assert!(Commitments::new(vec![one(bad)]).is_none(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn records_round_trip_and_have_one_encoding(
        id: [u8; 16],
        held: bool,
        fields in proptest::collection::btree_map("[a-z0-9_.-]{1,64}", any::<[u8; 32]>(), 0..20),
    ) {
        let commitments = fields.into_iter().map(|(name, hash)| (Cow::Owned(name), Hash(hash))).collect();
        let record = Record { id, clock_held: held, commitments: Commitments::new(commitments).unwrap() };
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes), Some(record));
        prop_assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert_eq!(Record::decode(&longer), None);
    }

    #[test]
    fn garbage_is_no_record(bytes: Vec<u8>) {
        if let Some(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
