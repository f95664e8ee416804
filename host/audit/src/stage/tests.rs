use opsiq_vault::{RootKey, Vault};

use super::*;
use crate::content::prepare;
use crate::draft::Draft;
use crate::kind::Kind;
use crate::rows::checked;
use crate::tree::Frontier;

fn entry() -> Prepared {
    let (vault, _) = Vault::create(&RootKey::generate());
    prepare(Draft::new(Kind::Admin).field("actor", "operator"), &vault.host()).unwrap()
}

fn head(time_ms: i64) -> Head {
    Head { frontier: Frontier::default(), time_ms, rows: None, signed: None }
}

#[test]
fn time_never_goes_back_within_a_log_and_a_held_clock_is_noted() {
    let known = head(2_000);
    let mut stage = Stage::new(1_000);
    stage.append(&Log::Host, &known, entry());
    stage.append(&Log::Tenant("acme".parse().unwrap()), &head(i64::MIN), entry());
    let times: Vec<_> = stage
        .rows
        .iter()
        .zip([Log::Host, Log::Tenant("acme".parse().unwrap())])
        .map(|(row, log)| checked(&log, row).unwrap().0)
        .map(|header| (header.time_ms, header.clock_held))
        .collect();
    assert_eq!(times, [(2_000, true), (1_000, false)]);
    assert_eq!(stage.heads[&Log::Host].time_ms, 2_000);
}

#[test]
fn entries_of_a_batch_follow_one_another_and_what_was_known_stays_as_it_was() {
    let known = head(0);
    let mut stage = Stage::new(5);
    let numbers: Vec<u64> = (0..5).map(|_| stage.append(&Log::Host, &known, entry())).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!((known.size(), stage.heads[&Log::Host].size()), (0, 5));
    let hashes: Vec<usize> = stage.rows.iter().map(|row| row.nodes.len() / 32).collect();
    assert_eq!(hashes, [0, 1, 0, 2, 0]);
}

#[test]
fn a_head_is_signed_once() {
    let key = CheckpointKey::from_seed(&[1; 32]);
    let known = head(0);
    let mut stage = Stage::new(5);
    stage.append(&Log::Host, &known, entry());
    let first = stage.sign(&key, &Log::Host, &known);
    let again = stage.sign(&key, &Log::Host, &known);
    assert_eq!((first.size, &first.note), (1, &again.note));
    assert_eq!(stage.checkpoints.len(), 1);
    stage.append(&Log::Host, &known, entry());
    assert_eq!(stage.sign(&key, &Log::Host, &known).size, 2);
}
