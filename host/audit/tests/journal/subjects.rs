//! What entries hold about data subjects.

use opsiq_audit::export::Range;
use opsiq_audit::{AuditError, Draft, Filter, Format, Kind, Shown, field, verify};

use crate::host::{Host, acme, export};

async fn what_is_about_an_erased_subject_is_gone_and_the_rest_stays_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    let (ann, bob) = (host.keys.subject(&log, 1), host.keys.subject(&log, 2));
    let draft = Draft::new(Kind::Outcome)
        .about(Some(ann.clone()))
        .field(field::ACTOR, "user:olga")
        .field(field::PARAMS, "told by ann")
        .field_about(field::RESPONSE, "told about bob", Some(bob.clone()))
        .field(field::OUTCOME, "ok")
        .hidden("secret", "hidden of ann");
    journal.record(&log, vec![draft, Draft::new(Kind::Admin).field(field::DETAIL, "about nobody")]).await.unwrap();

    let filter = Filter { kind: Some(Kind::Outcome), limit: 10, ..Filter::default() };
    let shown = async || {
        let page = journal.list(&log, &filter).await.unwrap();
        let fields = &page.entries[0].fields;
        let of = |name: &str| fields[name].to_string();
        [of(field::ACTOR), of(field::PARAMS), of(field::RESPONSE), of(field::OUTCOME), of("secret")]
    };
    assert_eq!(shown().await, ["user:olga", "told by ann", "told about bob", "ok", "[sealed]"]);

    host.keys.subjects.lock().unwrap().insert(ann.id(), None);
    assert_eq!(shown().await, ["user:olga", "[erased]", "told about bob", "ok", "[erased]"]);
    let page = journal.list(&log, &filter).await.unwrap();
    assert_eq!(page.entries[0].fields[field::PARAMS], Shown::Erased);
    let bytes = export(&journal, &log, Format::Jsonl, &Range::ALL).await;
    let report = verify::check(&bytes[..], Format::Jsonl, &journal.public_key(&log), None).unwrap();
    assert_eq!((report.entries, report.first_bad, report.withheld), (2, None, 2));
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("ann") && text.contains("told about bob") && text.contains("about nobody"), "{text}");

    // A key that is merely missing is no erasure: nothing is shown.
    host.keys.subjects.lock().unwrap().remove(&bob.id());
    let lost = journal.list(&log, &filter).await;
    assert!(matches!(lost, Err(AuditError::Subject(key)) if key == bob.id()), "{lost:?}");
}

crate::engines::on_both_engines! {
    what_is_about_an_erased_subject_is_gone_and_the_rest_stays_and_verifies,
}
