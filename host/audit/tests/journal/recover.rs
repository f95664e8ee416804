use std::process::Command;

use opsiq_audit::{Draft, Kind, Op, field};

use crate::host::{Host, acme, admin, entries, kinds, outcome, text, verified, write};

/// Tells the child process that it is one: where, and with which root key.
const CHILD: [&str; 2] = ["OPSIQ_AUDIT_TEST_DIR", "OPSIQ_AUDIT_TEST_ROOT"];

/// What the process does that dies: no destructor runs, nothing is flushed.
async fn die(dir: &std::path::Path, host: &Host) -> ! {
    let (_store, journal) = host.open(dir).await;
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    for _ in 0..3 {
        let draft = Draft::new(Kind::Intent).field(field::IP, "192.0.2.1");
        let (_permit, open, ()) = journal.intent(&write(), draft, Op::none()).await.unwrap();
        std::mem::forget(open);
    }
    journal.record(&acme(), vec![admin("last acknowledged")]).await.unwrap();
    std::process::abort();
}

#[tokio::test]
async fn a_process_that_dies_leaves_intents_that_the_next_one_closes() {
    if let [Ok(dir), Ok(root)] = CHILD.map(std::env::var) {
        let dir = std::path::PathBuf::from(dir);
        die(&dir, &Host::again(&dir, &root).await).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let died = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recover::a_process_that_dies_leaves_intents_that_the_next_one_closes"])
        .env(CHILD[0], dir.path())
        .env(CHILD[1], &host.root)
        .output()
        .unwrap();
    assert!(!died.status.success());

    let (store, journal) = host.open(dir.path()).await;
    let before = kinds(&journal).await;
    let expected = [Kind::Intent, Kind::Outcome, Kind::Intent, Kind::Intent, Kind::Intent, Kind::Admin];
    assert_eq!(before, expected, "{}", String::from_utf8_lossy(&died.stderr));
    let recovered = journal.recover().await.unwrap();
    assert_eq!(recovered.iter().map(|lost| lost.seq).collect::<Vec<_>>(), [2, 3, 4]);
    for lost in &recovered {
        assert_eq!(lost.log, acme());
        assert_eq!(lost.about[field::ACTOR], "user:alice");
        assert_eq!(lost.about[field::IP], "192.0.2.1");
        assert!(lost.time_ms.is_some());
    }
    assert!(store.open_intents().await.unwrap().is_empty());
    assert_eq!(journal.recover().await.unwrap(), []);
    let entries = entries(&journal, &acme()).await;
    let mut ended: Vec<_> = entries[6..].iter().filter_map(|entry| entry.invocation.as_ref()).collect();
    ended.sort();
    assert_eq!(ended, recovered.iter().map(|lost| &lost.invocation).collect::<Vec<_>>());
    for entry in &entries[6..] {
        assert_eq!((entry.kind, text(entry, field::ACTION).as_str()), (Kind::Interrupted, "keep"));
    }
    assert_eq!(verified(&journal, &acme()).await, 9);
}

#[tokio::test]
async fn recovery_leaves_the_calls_of_this_process_alone() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    assert_eq!(journal.recover().await.unwrap(), []);
    assert_eq!(store.open_intents().await.unwrap().len(), 1);
    journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    assert_eq!(kinds(&journal).await, [Kind::Intent, Kind::Outcome]);
}
