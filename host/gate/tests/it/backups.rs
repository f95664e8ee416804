//! Backups of hosts on a server: made on one node while the other works, restored into a directory or onto another server. And
//! what one node does at a time.

use std::sync::Arc;

use opsiq_audit::Filter;
use opsiq_gate::{
    Actor, BackupState, Databases, DumpProgress, FindingStatus, Host, HostOptions, RestoreOptions, RootSource,
    VerifyOptions,
};
use tempfile::TempDir;

use crate::nodes::server::Server;
use crate::nodes::{Nodes, two};
use crate::world::{acme, call, options};

/// Makes a backup and waits for its end.
async fn back_up(host: &Host, dir: &TempDir) -> std::path::PathBuf {
    let file = dir.path().join("backup");
    let operator = Actor::operator();
    let mut view = host.backups().begin(&operator, &file).await.unwrap();
    while view.state == BackupState::Running {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        view = host.backups().last(&operator).await.unwrap();
    }
    assert_eq!(view.state, BackupState::Done, "{view:?}");
    file
}

/// How many entries a tenant's log has, all of which open.
async fn entries(host: &Host) -> usize {
    let filter = Filter { limit: 1000, ..Filter::default() };
    host.audit().list(&acme("olga"), &filter).await.unwrap().entries.len()
}

async fn is_whole(host: &Host, before: usize) {
    host.invoke(&acme("sam"), call("look", r#"{"id":"8"}"#)).await.unwrap();
    assert!(entries(host).await > before);
    let failed: Vec<_> =
        host.doctor().await.into_iter().filter(|finding| finding.status == FindingStatus::Fail).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let found = host.master_keys().verify(&Actor::operator(), &|_| ()).await.unwrap();
    assert_eq!(found.faulty, 0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_server_is_restored_on_either_engine() {
    let Some(Nodes { first, second, dirs, server: _server }) = two().await else { return };
    // A call has begun on the other node, and its tenant is in use on both.
    for at in 0..20 {
        let host = if at % 2 == 0 { &first } else { &second };
        let look = call("look", &format!("{{\"id\":\"{at}\"}}"));
        host.users().enable(&acme("olga"), "sam").await.ok();
        while host.invoke(&acme("sam"), look.clone()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let (out, calling) = (TempDir::new().unwrap(), second.clone());
    let load = tokio::spawn(async move {
        for at in 100..200 {
            calling.invoke(&acme("sam"), call("look", &format!("{{\"id\":\"{at}\"}}"))).await.unwrap();
        }
    });
    let file = back_up(&first, &out).await;
    load.await.unwrap();
    let before = entries(&first).await;
    assert!(before >= 20);

    let root = crate::world::data(&dirs[0]).join("root.key");
    let restore = RestoreOptions { file: file.clone(), epochs: None, reason: "drill".to_owned() };
    let Some(other) = Server::new().await else { return };
    for store in [None, Some(Databases { url: other.data(), keys: other.keys(), password_file: None })] {
        let dir = TempDir::new().unwrap();
        let options = HostOptions { root: RootSource::File(root.clone()), store, ..options(&dir) };
        let verify = VerifyOptions { file: file.clone(), key: None, epochs: None };
        assert!(Host::verify_backup(&options, &verify).await.unwrap().holds.is_some());
        let restored = Box::pin(Host::restore(options.clone(), &restore, Arc::new(DumpProgress::default()))).await;
        let restored = restored.unwrap();
        assert!(restored.rows > 40 && restored.plugins == 1, "{restored:?}");
        // `opsiq.toml` says where the databases are, as after an init.
        let host = Box::pin(Host::open(HostOptions { store: None, ..options.clone() })).await.unwrap();
        is_whole(&host, 20).await;
        host.close().await.unwrap();
        // Databases of a host are not written over, from wherever.
        if options.store.is_some() {
            let again = TempDir::new().unwrap();
            let options = HostOptions { data: crate::world::data(&again), ..options };
            let taken = Box::pin(Host::restore(options, &restore, Arc::new(DumpProgress::default()))).await;
            assert_eq!(taken.unwrap_err().code, "data.initialised");
        }
    }
    is_whole(&first, before).await;
}

/// On a server, whose clock says that a part of the log is old: its content goes on one node, and both go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_goes_on_a_server_too() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let Some(Nodes { first, second, dirs: _dirs, server }) = two().await else { return };
    let operator = Actor::operator();
    for at in 0..600 {
        let look = call("look", &format!("{{\"id\":\"{at}\"}}"));
        first.invoke(&acme("adam"), look).await.unwrap();
    }
    assert!(!first.retention().run(&operator).await.unwrap().clock_trusted);
    let mut connection = server.connect().await;
    let mut change = async |statement: &'static str, by: i64| {
        let done = sqlx::query(statement).bind(by).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    };
    change("UPDATE audit_entry SET time_ms = time_ms - $1 WHERE tenant = 'acme' AND seq < 500", 400 * DAY_MS).await;
    change("UPDATE job SET steady_ms = steady_ms - $1", 8 * DAY_MS).await;
    let run = second.retention().run(&operator).await.unwrap();
    assert!(run.clock_trusted);
    let gone: Vec<_> = run.logs.iter().map(|log| (log.log.as_str(), log.entries, log.content_from)).collect();
    assert_eq!(gone, [("tenant/acme", 500, 500)]);
    assert!(first.retention().run(&operator).await.unwrap().logs.is_empty());
    for host in [&first, &second] {
        is_whole(host, 100).await;
        let filter = Filter { limit: 10_000, ..Filter::default() };
        let listed = host.audit().list(&acme("olga"), &filter).await.unwrap();
        assert_eq!(listed.entries.last().map(|entry| entry.seq), Some(500));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_at_a_time_sees_to_what_is_past_its_term() {
    let Some(Nodes { first, second, dirs: _dirs, server: _server }) = two().await else { return };
    let operator = Actor::operator();
    let (mut ran, mut taken) = (0, 0);
    for _ in 0..20 {
        let (one, other) = (first.retention(), second.retention());
        let (one, other) = tokio::join!(one.run(&operator), other.run(&operator));
        for done in [one, other] {
            match done {
                Ok(run) => {
                    assert!(!run.clock_trusted && run.logs.is_empty());
                    ran += 1;
                }
                Err(refusal) => {
                    assert_eq!(refusal.code, "job.taken", "{refusal}");
                    taken += 1;
                }
            }
        }
    }
    assert!(ran >= 20 && ran + taken == 40, "{ran} ran, {taken} found it taken");
}
