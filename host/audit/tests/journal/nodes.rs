//! Two nodes on the databases of one server.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use opsiq_audit::{AuditError, Draft, Journal, Kind, Log, Op, field};
use opsiq_store::Store;
use sqlx::Connection as _;

use crate::engines::{on_server, server};
use crate::host::{Host, acme, admin, entries, kinds, mark, outcome, text, until, verified, write};

struct Node {
    _dir: tempfile::TempDir,
    host: Host,
    store: Arc<Store>,
    journal: Journal,
}

async fn two() -> (Node, Node) {
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Host::new(first_dir.path()).await;
    let second = first.join(second_dir.path()).await;
    let mut nodes = Vec::new();
    for (dir, host) in [(first_dir, first), (second_dir, second)] {
        let (store, journal) = host.open(dir.path()).await;
        nodes.push(Node { _dir: dir, host, store, journal });
    }
    let second = nodes.pop().unwrap();
    (nodes.pop().unwrap(), second)
}

/// Asks until there is an answer that is not "unavailable": what was said so is not there twice.
async fn recorded(journal: &Journal, log: &Log, detail: &str) -> u32 {
    for refused in 0.. {
        match journal.record(log, vec![admin(detail)]).await {
            Ok(()) => return refused,
            Err(AuditError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

fn details(entries: &[opsiq_audit::View]) -> Vec<String> {
    let mut details: Vec<String> = entries.iter().map(|entry| text(entry, field::DETAIL)).collect();
    details.sort();
    details
}

/// Both append to the same logs at once: no fork, no gap, nothing twice, and both see the same tree.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_append_to_one_log() {
    on_server(async {
        let (first, second) = two().await;
        let logs = [acme(), Log::Tenant("other".parse().unwrap()), Log::Host];
        let callers = (0..24).map(|caller| {
            let journal = if caller % 2 == 0 { &first.journal } else { &second.journal };
            let (journal, log) = (journal.clone(), logs[caller / 2 % 3].clone());
            tokio::spawn(async move {
                for call in 0..10 {
                    assert_eq!(
                        recorded(&journal, &log, &format!("{caller:02}/{call}")).await,
                        0,
                        "it had to wait too long"
                    );
                }
            })
        });
        for caller in join_all(callers).await {
            caller.unwrap();
        }
        for (at, log) in logs.iter().enumerate() {
            let expected: Vec<String> = (0..24)
                .filter(|caller| caller / 2 % 3 == at)
                .flat_map(|caller| (0..10).map(move |call| format!("{caller:02}/{call}")))
                .collect();
            for node in [&first, &second] {
                assert_eq!(details(&entries(&node.journal, log).await), expected);
                node.journal.check_tree(log).await.unwrap();
                assert_eq!(verified(&node.journal, log).await, 80);
            }
            let heads = (first.journal.checkpoint(log).await.unwrap(), second.journal.checkpoint(log).await.unwrap());
            assert_eq!(heads.0, heads.1);
        }
        first.journal.close().await.unwrap();
        second.journal.close().await.unwrap();
    })
    .await;
}

/// The twin: entries placed by what a node remembers, without holding the log, do fork or fail. So the test above can fail.
#[tokio::test(flavor = "multi_thread")]
async fn without_holding_a_log_a_place_is_taken_once() {
    on_server(async {
        let (first, second) = two().await;
        first.journal.record(&acme(), vec![admin("first")]).await.unwrap();
        let row = first.store.audit_last::<()>("acme").await.unwrap().unwrap();
        second.journal.record(&acme(), vec![admin("second")]).await.unwrap();
        let mut stale = row.clone();
        stale.seq += 1;
        let taken = first.store.begin().await.unwrap().commit_with(&mut [stale]).await;
        assert!(matches!(taken, Err(opsiq_store::StoreError::Conflict { what: "audit entry" })), "{taken:?}");
        assert_eq!(details(&entries(&first.journal, &acme()).await), ["first", "second"]);
    })
    .await;
}

/// What runs on one node is not what another finds left open when it starts; what the first left is its own to report.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_reports_its_own_calls_and_no_others() {
    on_server(async {
        let (first, second) = two().await;
        let call = write();
        let (_permit, open, ()) = first.journal.intent(&call, Draft::new(Kind::Intent), Op::none()).await.unwrap();
        let again =
            Journal::start(second.store.clone(), second.host.keys.clone(), second.host.key.clone()).await.unwrap();
        assert!(again.recover().await.unwrap().is_empty());
        // As a process does that opens the store.
        first.store.node_register().await.unwrap();
        let own = Journal::start(first.store.clone(), first.host.keys.clone(), first.host.key.clone()).await.unwrap();
        assert_eq!(own.recover().await.unwrap().len(), 1);
        assert_eq!(kinds(&second.journal).await, [Kind::Intent, Kind::Interrupted]);
        std::mem::forget(open);
    })
    .await;
}

/// A node that is given up records nothing more, its calls end elsewhere, and once: its own outcome comes too late, before it
/// has registered anew and after.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_had_begun_ends_elsewhere_and_once() {
    on_server(async {
        let (first, second) = two().await;
        let begin = async || {
            let (_permit, open, ()) =
                first.journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
            open
        };
        let (late, later) = (begin().await, begin().await);
        let job = second.store.job_claim("a test", Duration::from_mins(1)).await.unwrap().unwrap();
        // The twin: while its lease runs, nobody else ends them.
        assert_eq!(second.store.nodes_give_up(&job).await.unwrap(), []);
        assert!(second.journal.recover_lost().await.unwrap().is_empty());
        let ended = begin().await;
        first.journal.outcome(ended, vec![outcome()], Op::none()).await.unwrap();

        let mut database = server().unwrap().connect().await;
        sqlx::query("UPDATE node SET lease_ms = 1").execute(&mut database).await.unwrap();
        assert_eq!(second.store.nodes_give_up(&job).await.unwrap().len(), 1);
        let refused = first.journal.outcome(late, vec![outcome()], Op::none()).await;
        assert!(matches!(refused, Err(AuditError::Fenced)), "{refused:?}");
        let refused = first.journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.map(|_| ());
        assert!(matches!(refused, Err(AuditError::Fenced)), "{refused:?}");
        let both = tokio::join!(second.journal.recover_lost(), second.journal.recover_lost());
        assert_eq!(both.0.unwrap().len(), 2);
        both.1.unwrap();

        first.store.node_register().await.unwrap();
        let refused = first.journal.outcome(later, vec![outcome()], Op::none()).await;
        assert!(matches!(refused, Err(AuditError::Fenced)), "{refused:?}");
        let ended = begin().await;
        first.journal.outcome(ended, vec![outcome()], Op::none()).await.unwrap();
        until(async || first.store.open_intents().await.is_ok_and(|open| open.is_empty())).await;
        first.journal.close().await.unwrap();
        let kinds = kinds(&second.journal).await;
        let of = |wanted: Kind| kinds.iter().filter(|kind| **kind == wanted).count();
        assert_eq!((of(Kind::Intent), of(Kind::Outcome), of(Kind::Interrupted)), (4, 2, 2), "{kinds:?}");
        verified(&second.journal, &acme()).await;
        database.close().await.unwrap();
    })
    .await;
}

/// A server that ends every connection, again and again: callers are told so, and go on; what was acknowledged is there, what is
/// there has no gap, and changes are with their entries.
#[tokio::test(flavor = "multi_thread")]
async fn ended_connections_lose_nothing_that_was_acknowledged() {
    on_server(async {
        let (first, second) = two().await;
        let mut killer = server().unwrap().connect().await;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let callers = (0..8).map(|caller| {
            let journal = if caller % 2 == 0 { first.journal.clone() } else { second.journal.clone() };
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let (mut acknowledged, mut refused) = (Vec::new(), 0);
                for call in 0.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{caller}/{call}");
                    match journal.commit(&acme(), vec![admin(&name)], mark(&name)).await {
                        Ok(_) => acknowledged.push(name),
                        Err(AuditError::Unavailable(_)) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                    let begun = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await;
                    if let Ok((_permit, open, ())) = begun {
                        // Whatever comes of it, the call ends in the log.
                        let _ = journal.outcome(open, vec![outcome()], Op::none()).await;
                    }
                }
                (acknowledged, refused)
            })
        });
        let callers: Vec<_> = callers.collect();
        let mut ended = 0i64;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks WHERE relation IN \
                       ('audit_entry'::regclass, 'open_intent'::regclass) AND pid <> pg_backend_pid()) AS busy";
            ended += sqlx::query_scalar::<_, i64>(end).fetch_one(&mut killer).await.unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        let mut refused = 0;
        for caller in join_all(callers).await {
            let (names, times) = caller.unwrap();
            acknowledged.extend(names);
            refused += times;
        }
        assert!(ended > 0, "no connection was ended");
        until(async || first.store.open_intents().await.is_ok_and(|open| open.is_empty())).await;
        let all = entries(&second.journal, &acme()).await;
        let found: Vec<String> =
            all.iter().filter(|entry| entry.kind == Kind::Admin).map(|entry| text(entry, field::DETAIL)).collect();
        for name in &acknowledged {
            assert_eq!(found.iter().filter(|found| *found == name).count(), 1, "{name}, {refused} refused");
        }
        for name in &found {
            assert!(crate::host::is_marked(&first.store, name).await, "{name} without its change");
        }
        let of = |kind: Kind| all.iter().filter(|entry| entry.kind == kind).count();
        assert_eq!(of(Kind::Intent), of(Kind::Outcome) + of(Kind::Interrupted), "a call without its end");
        assert_eq!(verified(&second.journal, &acme()).await, all.len() as u64);
        first.journal.check_tree(&acme()).await.unwrap();
        killer.close().await.unwrap();
    })
    .await;
}
