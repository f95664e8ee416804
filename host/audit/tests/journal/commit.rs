use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;
use opsiq_audit::checkpoint::Checkpoint;
use opsiq_audit::{AuditError, Draft, Kind, Log, Op, OpError, field};

use crate::host::{Host, acme, admin, entries, is_marked, kinds, mark, text, until, verified};

async fn many_callers_are_recorded_once_each_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let logs = [acme(), Log::Tenant("other".parse().unwrap()), Log::Host];
    let callers = (0..60).map(|caller| {
        let (journal, log) = (journal.clone(), logs[caller % 3].clone());
        tokio::spawn(async move {
            for call in 0..10 {
                journal.record(&log, vec![admin(format!("{caller}/{call}"))]).await.unwrap();
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    for (at, log) in logs.iter().enumerate() {
        let mut details: Vec<String> =
            entries(&journal, log).await.iter().map(|entry| text(entry, field::DETAIL)).collect();
        details.sort();
        let mut expected: Vec<String> = (0..60)
            .filter(|caller| caller % 3 == at)
            .flat_map(|caller| (0..10).map(move |call| format!("{caller}/{call}")))
            .collect();
        expected.sort();
        assert_eq!(details, expected);
        assert_eq!(verified(&journal, log).await, 200);
    }
}

/// One log on one disk: who floods it waits behind their own flood, and who brings one entry is in the next commit.
#[tokio::test]
async fn a_flood_of_one_tenant_leaves_the_other_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let (loud, calm) = (acme(), Log::Tenant("other".parse().unwrap()));
    let (done, filler) = (AtomicUsize::new(0), "x".repeat(64 << 10));
    let flood = join_all((0..100).map(|number| {
        let (journal, loud, done, filler) = (&journal, &loud, &done, &filler);
        async move {
            journal.record(loud, vec![admin(number).field(field::PARAMS, filler)]).await.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let after = async {
        journal.record(&calm, vec![admin("calm")]).await.unwrap();
        done.load(Ordering::Relaxed)
    };
    // The runtime has one thread, so all have asked before the committer runs, and the flood came first.
    let (_, before) = tokio::join!(flood, after);
    assert!(before < 30, "{before} entries of the flood were written before");
    let details: Vec<String> = entries(&journal, &loud).await.iter().map(|entry| text(entry, field::DETAIL)).collect();
    assert_eq!(details, (0..100).map(|number| number.to_string()).collect::<Vec<_>>(), "in the order they came");
    assert_eq!((verified(&journal, &loud).await, verified(&journal, &calm).await), (100, 1));
}

async fn a_change_and_its_entries_are_both_there_or_neither() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    // All in one batch: the runtime has one thread, so the committer runs when all have asked.
    let refused = Op::<()>::new(|tx| {
        async move {
            tx.checkpoint_put(&opsiq_store::CheckpointRow {
                log: "marker refused".to_owned(),
                size: 1,
                created_ms: 0,
                note: String::new(),
            })
            .await?;
            Err(OpError::refused(std::io::Error::other("not like this")))
        }
        .boxed()
    });
    let panics = Op::<()>::new(|_| async move { panic!("a fault in the host") }.boxed());
    let log = acme();
    let (before, bad, fault, after) = tokio::join!(
        journal.commit(&log, vec![admin("before"), admin("before too")], mark("before")),
        journal.commit(&log, vec![admin("refused")], refused),
        journal.commit(&log, vec![admin("panicked")], panics),
        journal.commit(&log, vec![admin("after")], mark("after")),
    );
    assert_eq!((before.unwrap(), after.unwrap()), ("marked", "marked"));
    let Err(AuditError::Operation(OpError::Refused(why))) = bad else { panic!("{bad:?}") };
    assert_eq!(why.downcast_ref::<std::io::Error>().unwrap().to_string(), "not like this");
    assert!(matches!(fault, Err(AuditError::Operation(_))));
    let details: Vec<String> = entries(&journal, &log).await.iter().map(|entry| text(entry, field::DETAIL)).collect();
    assert_eq!(details, ["before", "before too", "after"]);
    assert!(is_marked(&store, "before").await && is_marked(&store, "after").await);
    assert!(!is_marked(&store, "refused").await);
    assert_eq!(verified(&journal, &log).await, 3);
}

async fn a_log_that_grew_is_signed_soon_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let log = acme();
    let key = journal.public_key(&log);
    let size = async || {
        let row = store.checkpoint_last("acme").await.unwrap()?;
        Some(Checkpoint::open(&row.note, &key).unwrap().size)
    };
    journal.record(&log, vec![admin(1)]).await.unwrap();
    assert_eq!(size().await, None);
    until(async || size().await == Some(1)).await;
    journal.record(&log, vec![admin(2), admin(3)]).await.unwrap();
    let note = journal.checkpoint(&log).await.unwrap();
    assert_eq!(Checkpoint::open(&note, &key).unwrap().size, 3);
    assert_eq!(size().await, Some(3));
    assert_eq!(journal.checkpoint(&log).await.unwrap(), note);
    journal.record(&log, vec![admin(4)]).await.unwrap();
    journal.close().await.unwrap();
    assert_eq!(size().await, Some(4));
    let after = journal.record(&log, vec![admin(5)]).await;
    assert!(matches!(after, Err(AuditError::Unavailable(_))));
}

async fn what_was_asked_is_written_when_every_journal_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let (log, writer) = (acme(), journal.clone());
    let asked = tokio::spawn(async move { writer.record(&log, vec![admin("last")]).await });
    tokio::task::yield_now().await;
    drop(journal);
    asked.await.unwrap().unwrap();
    // The task lets go of the store, and with it of the directory's lock.
    until(async || Arc::strong_count(&store) == 1).await;
    assert!(store.checkpoint_last("acme").await.unwrap().is_some());
    drop(store);
    let (_store, journal) = host.open(dir.path()).await;
    assert_eq!(kinds(&journal).await, [Kind::Admin]);
}

async fn a_tenant_without_keys_or_a_field_without_a_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let nobody = Log::Tenant("nobody".parse().unwrap());
    assert!(journal.record(&nobody, vec![admin("x")]).await.is_err());
    let bad = Draft::new(Kind::Admin).field("Not A Name", "x");
    assert!(matches!(journal.record(&acme(), vec![bad]).await, Err(AuditError::Draft)));
    assert!(kinds(&journal).await.is_empty());
}

crate::engines::on_both_engines! {
    many_callers_are_recorded_once_each_without_gaps,
    a_change_and_its_entries_are_both_there_or_neither,
    a_log_that_grew_is_signed_soon_and_at_the_end,
    what_was_asked_is_written_when_every_journal_is_dropped,
    a_tenant_without_keys_or_a_field_without_a_name_is_refused,
}
