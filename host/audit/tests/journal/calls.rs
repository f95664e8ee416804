use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_audit::{AuditError, Draft, Interruptions, Journal, Kind, Log, Op, OpError, field};
use opsiq_contract::InvocationId;
use opsiq_store::{CheckpointRow, WriteTx};

use crate::host::{
    Host, acme, authorized, entries, fresh, is_marked, kinds, mark, outcome, read, reopen, text, until, verified, write,
};

async fn a_write_has_a_durable_intent_before_its_permit_and_an_outcome_after() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let call = write();
    let draft = Draft::new(Kind::Admin).field(field::PARAMS, "{}");
    let (permit, open, marked) = journal.intent(&call, draft, mark("claimed")).await.unwrap();
    assert_eq!(marked, "marked");
    assert_eq!(permit.invocation(), call.invocation());
    assert!(permit.allows(&call) && !permit.allows(&write()));
    let on_disk = store.open_intents().await.unwrap();
    assert_eq!((on_disk.len(), &on_disk[0].invocation, on_disk[0].seq), (1, call.invocation(), 0));

    let event = Draft::new(Kind::Event).field(field::DETAIL, "kept");
    journal.outcome(open, vec![event, outcome()], mark("answered")).await.unwrap();
    assert!(store.open_intents().await.unwrap().is_empty());
    assert!(is_marked(&store, "claimed").await && is_marked(&store, "answered").await);
    let entries = entries(&journal, &acme()).await;
    let kinds: Vec<Kind> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Intent, Kind::Event, Kind::Outcome]);
    for entry in &entries {
        assert_eq!(entry.invocation.as_ref(), Some(call.invocation()));
    }
    for entry in [&entries[0], &entries[2]] {
        assert_eq!(text(entry, field::ACTOR), "user:alice");
        assert_eq!(text(entry, field::ROLE), "support");
        assert_eq!(text(entry, field::ACTION), "keep");
        assert_eq!(text(entry, field::INSTALLATION), "sums");
        assert_eq!(text(entry, field::PLUGIN), "acme/sum@0.1.0");
    }
    assert!(text(&entries[2], field::DURATION_MS).parse::<u64>().is_ok());
    verified(&journal, &acme()).await;
}

async fn a_read_needs_only_its_outcome_and_a_write_never_gets_by_without_intent() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    assert!(matches!(journal.read_permit(&write()), Err(AuditError::IntentNeeded)));
    let id = fresh();
    let call = authorized("add", id.clone());
    let (permit, open) = journal.read_permit(&call).unwrap();
    assert!(permit.allows(&call));
    // the same invocation as a write is not what was permitted
    assert!(!permit.allows(&authorized("keep", id)));
    journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    assert_eq!(kinds(&journal).await, [Kind::Outcome]);
}

async fn an_outcome_that_ends_nothing_leaves_the_call_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    for drafts in [vec![], vec![Draft::new(Kind::Event)], vec![outcome(), outcome()]] {
        let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
        let ended = journal.outcome(open, drafts, Op::none()).await;
        assert!(matches!(ended, Err(AuditError::NoOutcome)));
    }
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    let interrupted = kinds(&journal).await.into_iter().filter(|kind| *kind == Kind::Interrupted).count();
    assert_eq!(interrupted, 3);
}

async fn dropped_calls_are_recorded_as_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let (_permit, open) = journal.read_permit(&read()).unwrap();
    drop(open);
    until(async || kinds(&journal).await == [Kind::Interrupted]).await;
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    drop(open);
    until(async || kinds(&journal).await == [Kind::Interrupted, Kind::Intent, Kind::Interrupted]).await;
    assert!(store.open_intents().await.unwrap().is_empty());
    let entries = entries(&journal, &acme()).await;
    assert_eq!(text(&entries[2], field::DETAIL), "cancelled");
    assert_eq!(text(&entries[2], field::ACTOR), "user:alice");
    assert_eq!(entries[1].invocation, entries[2].invocation);
    verified(&journal, &acme()).await;
}

async fn a_call_whose_outcome_cannot_be_kept_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    let refused = Op::<()>::new(|_| async { Err(OpError::refused(std::fmt::Error)) }.boxed());
    assert!(matches!(journal.outcome(open, vec![outcome()], refused).await, Err(AuditError::Operation(_))));
    until(async || kinds(&journal).await == [Kind::Intent, Kind::Interrupted]).await;
}

async fn callers_that_leave_at_any_moment_leave_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let mut begun = Vec::new();
    for delay in 0..200_u64 {
        let journal = journal.clone();
        let call = write();
        begun.push(call.invocation().clone());
        let task = tokio::spawn(async move { journal.intent(&call, Draft::new(Kind::Intent), Op::none()).await });
        tokio::time::sleep(Duration::from_micros(delay * 17 % 3000)).await;
        task.abort();
        drop(task.await);
    }
    // What was asked last may not be committed yet; what is asked after it is committed after it.
    journal.record(&acme(), vec![]).await.unwrap();
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    let entries = entries(&journal, &acme()).await;
    let mut recorded = 0;
    for id in &begun {
        let of: Vec<Kind> =
            entries.iter().filter(|entry| entry.invocation.as_ref() == Some(id)).map(|entry| entry.kind).collect();
        assert!(of.is_empty() || of == [Kind::Intent, Kind::Interrupted], "{of:?}");
        recorded += of.len() / 2;
    }
    assert!(recorded > 0, "no caller left after its intent was durable");
    verified(&journal, &acme()).await;
}

struct Marks;

impl Interruptions for Marks {
    fn close<'t>(
        &'t self,
        tx: &'t mut WriteTx<'_>,
        _: &'t Log,
        invocation: &'t InvocationId,
    ) -> BoxFuture<'t, Result<(), OpError>> {
        async move {
            let log = format!("marker {invocation}");
            tx.checkpoint_put(&CheckpointRow { log, size: 1, created_ms: 0, note: String::new() }).await?;
            Ok(())
        }
        .boxed()
    }
}

async fn what_waits_for_an_interrupted_call_is_told_in_the_same_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let store = Arc::new(reopen(dir.path()).await);
    let journal = Journal::start_with(
        Arc::clone(&store),
        host.keys.clone(),
        host.key.clone(),
        Arc::new(Marks),
        Arc::new(()),
        None,
    )
    .await
    .unwrap();
    let (dropped, ended) = (write(), write());
    let (_permit, open, ()) = journal.intent(&dropped, Draft::new(Kind::Intent), Op::none()).await.unwrap();
    drop(open);
    let (_permit, open, ()) = journal.intent(&ended, Draft::new(Kind::Intent), Op::none()).await.unwrap();
    journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    assert!(is_marked(&store, dropped.invocation().as_ref()).await);
    assert!(!is_marked(&store, ended.invocation().as_ref()).await);
}

/// Says no until it is told to say yes.
struct Refuses(AtomicBool);

impl Interruptions for Refuses {
    fn close<'t>(
        &'t self,
        _: &'t mut WriteTx<'_>,
        _: &'t Log,
        _: &'t InvocationId,
    ) -> BoxFuture<'t, Result<(), OpError>> {
        let refused = || Err(OpError::refused(std::io::Error::other("not now")));
        std::future::ready(if self.0.load(Ordering::Relaxed) { refused() } else { Ok(()) }).boxed()
    }
}

async fn an_interruption_of_which_nobody_could_be_told_is_not_recorded_until_they_can() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let store = Arc::new(reopen(dir.path()).await);
    let refuses = Arc::new(Refuses(AtomicBool::new(true)));
    let (vaults, key) = (host.keys.clone(), host.key.clone());
    let journal = Journal::start_with(Arc::clone(&store), vaults, key, refuses.clone(), Arc::new(()), None);
    let journal = journal.await.unwrap();
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    drop(open);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(store.open_intents().await.unwrap().len(), 1);
    assert_eq!(kinds(&journal).await, [Kind::Intent]);
    refuses.0.store(false, Ordering::Relaxed);
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    assert_eq!(kinds(&journal).await, [Kind::Intent, Kind::Interrupted]);
}

crate::engines::on_both_engines! {
    a_write_has_a_durable_intent_before_its_permit_and_an_outcome_after,
    a_read_needs_only_its_outcome_and_a_write_never_gets_by_without_intent,
    an_outcome_that_ends_nothing_leaves_the_call_interrupted,
    dropped_calls_are_recorded_as_interrupted,
    a_call_whose_outcome_cannot_be_kept_is_interrupted,
    callers_that_leave_at_any_moment_leave_nothing_open,
    what_waits_for_an_interrupted_call_is_told_in_the_same_transaction,
    an_interruption_of_which_nobody_could_be_told_is_not_recorded_until_they_can,
}
