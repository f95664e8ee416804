//! Disks that fill, fail and hang. Where the process itself must be limited, a child process is: this test again, told by its
//! environment what it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use opsiq_audit::{AuditError, Draft, Journal, Kind, Op, field};
use opsiq_store::Store;

use crate::host::{Host, acme, admin, entries, is_marked, kinds, mark, outcome, text, until, verified, write};

const CHILD: &str = "OPSIQ_AUDIT_TEST_DISK";
/// What an unavailable answer may take.
const PROMISED: Duration = Duration::from_secs(2);

async fn unavailable<T>(asked: impl Future<Output = Result<T, AuditError>>) {
    let start = Instant::now();
    let answer = asked.await.map(drop);
    assert!(matches!(answer, Err(AuditError::Unavailable(_))), "{answer:?}");
    assert!(start.elapsed() < PROMISED, "{:?}", start.elapsed());
}

/// Records until the disk refuses, calls while it does, and goes on when it works again.
async fn story(dir: &Path, break_disk: impl FnOnce(), mend_disk: impl FnOnce()) {
    let host = Host::new(&dir.join("data")).await;
    let (store, journal) = host.open(&dir.join("data")).await;
    let begin = |journal: Journal| async move {
        let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await?;
        Ok::<_, AuditError>(open)
    };
    let open = begin(journal.clone()).await.unwrap();
    break_disk();
    let filler = "x".repeat(64 << 10);
    let mut acknowledged = Vec::new();
    for number in 0..200 {
        let draft = admin(number).field(field::PARAMS, &filler);
        if journal.record(&acme(), vec![draft]).await.is_err() {
            break;
        }
        acknowledged.push(number.to_string());
    }
    assert!(acknowledged.len() < 200, "the disk never filled");
    // Nothing may run, nothing is answered, no change is made: again and again, and quickly.
    for _ in 0..3 {
        let huge = Draft::new(Kind::Intent).field(field::PARAMS, &filler);
        unavailable(journal.intent(&write(), huge, Op::none())).await;
        unavailable(journal.commit(&acme(), vec![admin("never").field(field::PARAMS, &filler)], mark("never"))).await;
    }
    let known = outcome().field(field::RESPONSE, &filler);
    unavailable(journal.outcome(open, vec![known], Op::none())).await;
    assert!(!is_marked(&store, "never").await);

    mend_disk();
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    let open = begin(journal.clone()).await.unwrap();
    journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    let all = entries(&journal, &acme()).await;
    let recorded: Vec<String> =
        all.iter().filter(|entry| entry.kind == Kind::Admin).map(|entry| text(entry, field::DETAIL)).collect();
    assert_eq!(recorded, acknowledged);
    // The call whose answer nobody got is on record with what it did.
    let interrupted: Vec<_> = all.iter().filter(|entry| entry.kind == Kind::Interrupted).collect();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(
        (text(interrupted[0], field::OUTCOME), text(interrupted[0], field::RESPONSE)),
        ("ok".to_owned(), filler)
    );
    assert_eq!(verified(&journal, &acme()).await, all.len() as u64);
    assert!(!is_marked(&store, "never").await);
    journal.close().await.unwrap();
}

/// Runs a test of this file again in a child process, inside `shell`; the child finds its directory in the environment.
fn in_child(test: &str, shell: &[&str], script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .arg(format!("{script} exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn child() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

#[tokio::test]
async fn a_full_disk_stops_everything_and_nothing_is_lost_when_it_has_room_again() {
    let Some(dir) = child() else {
        // A file system of our own, which any user may mount in a namespace of their own.
        let name = "fault::a_full_disk_stops_everything_and_nothing_is_lost_when_it_has_room_again";
        let mount = format!("mount -t tmpfs -o size=4m none \"${CHILD}\" &&");
        return in_child(name, &["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"], &mount);
    };
    let ballast = dir.join("ballast");
    let fill = || {
        let mut size = 1 << 20;
        let mut bytes = Vec::new();
        while size > 0 {
            bytes.resize(bytes.len() + size, 1);
            if fs::write(&ballast, &bytes).is_err() {
                bytes.truncate(bytes.len() - size);
                size /= 2;
            }
        }
    };
    story(&dir, fill, || fs::remove_file(&ballast).unwrap()).await;
}

#[tokio::test]
async fn write_errors_stop_everything_and_nothing_is_lost_when_they_end() {
    let Some(dir) = child() else {
        // Files may not grow beyond 2 MiB: writes beyond fail with an error that is not "full".
        let name = "fault::write_errors_stop_everything_and_nothing_is_lost_when_they_end";
        return in_child(name, &["sh", "-c"], "trap '' XFSZ; ulimit -S -f 4096;");
    };
    let mend = || {
        let limit = rustix::process::Rlimit { current: None, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    story(&dir, || (), mend).await;
}

#[tokio::test]
async fn a_writer_that_hangs_makes_callers_unavailable_in_time_and_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal) = host.open(dir.path()).await;
    journal.record(&acme(), vec![admin("before")]).await.unwrap();
    let hanging = store.begin().await.unwrap();
    let call = write();
    let log = acme();
    tokio::join!(
        unavailable(journal.intent(&call, Draft::new(Kind::Intent), Op::none())),
        unavailable(journal.commit(&log, vec![admin("never")], mark("never"))),
        unavailable(journal.record(&log, vec![admin("never")])),
    );
    hanging.rollback().await;
    journal.record(&acme(), vec![admin("after")]).await.unwrap();
    assert!(!is_marked(&store, "never").await);
    assert!(store.open_intents().await.unwrap().is_empty());
    let details: Vec<String> = entries(&journal, &acme()).await.iter().map(|e| text(e, field::DETAIL)).collect();
    assert_eq!(details, ["before", "after"]);
    verified(&journal, &acme()).await;
}

#[tokio::test]
async fn an_outcome_that_came_too_late_for_its_caller_is_recorded_as_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (store, journal): (std::sync::Arc<Store>, _) = host.open(dir.path()).await;
    let (_permit, open, ()) = journal.intent(&write(), Draft::new(Kind::Intent), Op::none()).await.unwrap();
    let hanging = store.begin().await.unwrap();
    unavailable(journal.outcome(open, vec![outcome()], Op::none())).await;
    hanging.rollback().await;
    until(async || store.open_intents().await.unwrap().is_empty()).await;
    assert_eq!(kinds(&journal).await, [Kind::Intent, Kind::Outcome]);
}
