use futures::TryStreamExt as _;

use super::*;
use crate::OpenIntentRow;
use crate::fixture::{Doc, invocation, sealed, store};

fn row(log: &str, seq: u64) -> AuditRow<Doc> {
    let low = u8::try_from(seq % 256).unwrap();
    AuditRow {
        log: log.to_owned(),
        seq,
        time_ms: i64::try_from(seq / 2).unwrap(),
        kind: low,
        invocation: seq.is_multiple_of(2).then(|| invocation(low / 4)),
        leaf: [low; 32],
        nodes: vec![low; usize::from(low % 3) * 32],
        header: vec![low; 5],
        sealed: sealed(&seq.to_be_bytes()),
    }
}

fn seqs(rows: &[AuditRow<Doc>]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

async fn filled(count: u64) -> (crate::fixture::Dir, Store) {
    let (dir, store) = store().await;
    let rows: Vec<_> = (0..count).map(|seq| row("acme", seq)).chain([row("", 0), row("beta", 0)]).collect();
    store.begin().await.unwrap().commit_with(&mut rows.clone()).await.unwrap();
    (dir, store)
}

async fn what_is_appended_comes_back_in_order_from_its_own_log() {
    let (_dir, store) = filled(1300).await;
    let read: Vec<AuditRow<Doc>> = store.audit_stream("acme", 0, u64::MAX).try_collect().await.unwrap();
    assert_eq!(seqs(&read), (0..1300).collect::<Vec<_>>());
    for (read, written) in read.iter().zip((0..1300).map(|seq| row("acme", seq))) {
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert_eq!(read.sealed, written.sealed);
    }
    let part: Vec<AuditRow<Doc>> = store.audit_stream("acme", 510, 1024).try_collect().await.unwrap();
    assert_eq!(seqs(&part), (510..=1024).collect::<Vec<_>>());
    let none: Vec<AuditRow<Doc>> = store.audit_stream("acme", 5, 4).try_collect().await.unwrap();
    assert!(none.is_empty());
    assert_eq!(store.audit_last::<Doc>("acme").await.unwrap().unwrap().seq, 1299);
    assert_eq!(store.audit_last::<Doc>("").await.unwrap().unwrap().seq, 0);
    assert!(store.audit_last::<Doc>("nobody").await.unwrap().is_none());
    assert_eq!(store.audit_logs().await.unwrap(), ["", "acme", "beta"]);
}

async fn entries_are_found_by_number_invocation_and_time() {
    let (_dir, store) = filled(100).await;
    let wanted = [99, 3, 3, 0, 50, 500];
    assert_eq!(seqs(&store.audit_at("acme", &wanted).await.unwrap()), [0, 3, 50, 99]);
    let many: Vec<u64> = (0..80).collect();
    assert_eq!(seqs(&store.audit_at("acme", &many).await.unwrap()), many);
    assert!(store.audit_at::<Doc>("acme", &[]).await.unwrap().is_empty());
    assert_eq!(seqs(&store.audit_of("acme", &invocation(3)).await.unwrap()), [12, 14]);
    assert!(store.audit_of::<Doc>("beta", &invocation(3)).await.unwrap().is_empty());
    assert_eq!(seqs(&store.audit_page("acme", 97, 10).await.unwrap()), [97, 98, 99]);
    for (time, first) in [(-1, Some(0)), (0, Some(0)), (1, Some(2)), (49, Some(98)), (50, None)] {
        assert_eq!(store.audit_first_since("acme", time).await.unwrap(), first, "{time}");
    }
    assert_eq!(store.audit_first_since("nobody", 0).await.unwrap(), None);
}

async fn a_number_is_taken_once() {
    let (_dir, store) = filled(3).await;
    let taken = store.begin().await.unwrap().commit_with(&mut [row("acme", 3), row("acme", 2)]).await;
    assert!(matches!(taken, Err(StoreError::Conflict { what: "audit entry" })), "{taken:?}");
    assert_eq!(store.audit_last::<Doc>("acme").await.unwrap().unwrap().seq, 2, "nothing was written");
    store.begin().await.unwrap().commit_with(&mut [row("acme", 3)]).await.unwrap();
    assert_eq!(store.audit_last::<Doc>("acme").await.unwrap().unwrap().seq, 3);
}

async fn what_came_before_the_entries_is_committed_with_them_or_not_at_all() {
    let (_dir, store) = filled(3).await;
    let head = |size| CheckpointRow { log: "acme".to_owned(), size, created_ms: 5, note: String::new() };
    let mut tx = store.begin().await.unwrap();
    tx.checkpoint_put(&head(3)).await.unwrap();
    assert!(tx.commit_with(&mut [row("acme", 2)]).await.is_err());
    assert_eq!(store.checkpoint_last("acme").await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    tx.checkpoint_put(&head(3)).await.unwrap();
    // More than one statement takes.
    let rows: Vec<_> = (3..603).map(|seq| row("acme", seq)).collect();
    tx.commit_with(&mut rows.clone()).await.unwrap();
    assert_eq!(store.checkpoint_last("acme").await.unwrap(), Some(head(3)));
    assert_eq!(store.audit_last::<Doc>("acme").await.unwrap().unwrap().seq, 602);
    let mut tx = store.begin().await.unwrap();
    tx.checkpoint_put(&head(603)).await.unwrap();
    tx.commit_with::<Doc>(&mut []).await.unwrap();
    assert_eq!(store.checkpoint_last("acme").await.unwrap(), Some(head(603)));
}

async fn checkpoints_and_open_intents() {
    let (_dir, store) = store().await;
    let head = |size| CheckpointRow { log: "acme".to_owned(), size, created_ms: 5, note: format!("note {size}") };
    let open = |n| OpenIntentRow { log: "acme".to_owned(), invocation: invocation(n), seq: n.into() };
    let intents: Vec<_> = (0..75).map(open).collect();
    let mut tx = store.begin().await.unwrap();
    for size in [7, 9, 9] {
        tx.checkpoint_put(&head(size)).await.unwrap();
    }
    tx.open_intents_insert(&intents).await.unwrap();
    assert!(tx.open_intents_insert(&[open(3)]).await.is_err());
    assert!(tx.open_intent_remove("acme", &invocation(3)).await.unwrap());
    assert!(!tx.open_intent_remove("acme", &invocation(3)).await.unwrap());
    assert!(!tx.open_intent_remove("beta", &invocation(4)).await.unwrap());
    let gone: Vec<_> = intents[70..].iter().map(|row| (row.log.as_str(), &row.invocation)).collect();
    tx.open_intents_remove(&gone).await.unwrap();
    tx.open_intents_remove(&[("acme", &invocation(3)), ("beta", &invocation(4))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.checkpoint_last("acme").await.unwrap(), Some(head(9)));
    assert_eq!(store.checkpoint_last("").await.unwrap(), None);
    let left = store.open_intents().await.unwrap();
    assert_eq!(left.len(), 69);
    assert_eq!(left[3], open(4));
}

crate::fixture::on_both_engines! {
    what_is_appended_comes_back_in_order_from_its_own_log,
    entries_are_found_by_number_invocation_and_time,
    a_number_is_taken_once,
    what_came_before_the_entries_is_committed_with_them_or_not_at_all,
    checkpoints_and_open_intents,
}
