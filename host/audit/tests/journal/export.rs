use opsiq_audit::export::Range;
use opsiq_audit::{AuditError, Draft, Format, Kind, Log, field, verify};

use crate::host::{Host, acme, admin, export, report};

const FORMATS: [Format; 2] = [Format::Jsonl, Format::Csv];

async fn any_range_of_a_log_of_several_pages_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    journal.record(&log, (0..203).map(|n| admin(format!("=cmd|'{n}'\n\"q\""))).collect()).await.unwrap();
    for format in FORMATS {
        for (from, to) in [
            (0, None),
            (0, Some(0)),
            (0, Some(1)),
            (0, Some(64)),
            (1, None),
            (63, Some(65)),
            (130, Some(202)),
            (203, None),
        ] {
            let bytes = export(&journal, &log, format, &Range { from, to, reveal: true }).await;
            let report = report(&bytes, format, &journal, &log);
            assert_eq!(report.first_bad, None, "{format:?} {from} {to:?}");
            assert_eq!(report.entries, to.unwrap_or(203) - from);
        }
        for (from, to) in [(204, None), (5, Some(4)), (0, Some(204))] {
            let refused = journal.export(&log, format, &Range { from, to, reveal: true }).await;
            assert!(matches!(refused, Err(AuditError::Range)));
        }
    }
    let empty = export(&journal, &Log::Host, Format::Csv, &Range::ALL).await;
    assert!(report(&empty, Format::Csv, &journal, &Log::Host).is_good());
}

async fn an_export_holds_every_value_unless_hidden_ones_are_withheld() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    let draft = Draft::new(Kind::Outcome).field(field::RESPONSE, "shown-value").hidden("full", "hidden-value");
    journal.record(&log, vec![draft]).await.unwrap();
    for format in FORMATS {
        let text = |reveal| {
            let (journal, log) = (&journal, &log);
            async move { String::from_utf8(export(journal, log, format, &Range { reveal, ..Range::ALL }).await).unwrap() }
        };
        let (all, shown) = (text(true).await, text(false).await);
        assert!(all.contains("shown-value") && all.contains("hidden-value"));
        assert!(shown.contains("shown-value") && !shown.contains("hidden-value"));
        assert_eq!(report(all.as_bytes(), format, &journal, &log).withheld, 0);
        let report = report(shown.as_bytes(), format, &journal, &log);
        assert_eq!((report.is_good(), report.withheld), (true, 1));
    }
}

async fn a_kept_checkpoint_agrees_with_later_exports_and_the_key_reads_back_from_text() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    journal.record(&log, vec![admin(1), admin(2), admin(3)]).await.unwrap();
    let kept = journal.checkpoint(&log).await.unwrap();
    journal.record(&log, vec![admin(4)]).await.unwrap();
    let bytes = export(&journal, &log, Format::Jsonl, &Range::ALL).await;
    let key = journal.public_key(&log).to_string().parse().unwrap();
    let report = verify::check(&bytes[..], Format::Jsonl, &key, Some(&kept)).unwrap();
    assert_eq!((report.first_bad, report.entries), (None, 4));
    let other = journal.public_key(&Log::Host);
    assert!(!verify::jsonl(&bytes[..], &other).unwrap().is_good());
}

async fn what_is_recorded_during_an_export_is_not_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    journal.record(&log, (0..70).map(admin).collect()).await.unwrap();
    let mut running = journal.export(&log, Format::Jsonl, &Range::ALL).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = running.next().await.unwrap() {
        bytes.extend(piece);
        journal.record(&log, vec![admin("meanwhile")]).await.unwrap();
    }
    let report = report(&bytes, Format::Jsonl, &journal, &log);
    assert_eq!((report.first_bad, report.entries), (None, 70));
}

crate::engines::on_both_engines! {
    any_range_of_a_log_of_several_pages_verifies,
    an_export_holds_every_value_unless_hidden_ones_are_withheld,
    a_kept_checkpoint_agrees_with_later_exports_and_the_key_reads_back_from_text,
    what_is_recorded_during_an_export_is_not_part_of_it,
}
