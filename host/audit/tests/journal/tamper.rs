use std::path::Path;

use opsiq_audit::export::Range;
use opsiq_audit::{AuditError, Filter, Format, Journal, Log};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::host::{Host, acme, admin};

/// Changes the database behind the host's back.
async fn change(dir: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("data.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql} changed nothing");
    connection.close().await.unwrap();
}

async fn eight_entries(dir: &Path) -> (Host, Journal) {
    let host = Host::new(dir).await;
    let (_store, journal) = host.open(dir).await;
    journal.record(&acme(), (0..8).map(admin).collect()).await.unwrap();
    journal.record(&"tenant/other".parse().unwrap(), (0..8).map(admin).collect()).await.unwrap();
    (host, journal)
}

fn tampered<T: std::fmt::Debug>(result: Result<T, AuditError>) -> u64 {
    match result {
        Err(AuditError::Tampered { seq, .. }) => seq,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_changed_row_is_named_by_lists_and_exports() {
    for sql in [
        "UPDATE audit_entry SET time_ms = time_ms + 1 WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_entry SET kind = 1 WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_entry SET invocation = '01890a5d-ac96-774b-bcce-b302099a8057' WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_entry SET leaf = zeroblob(32) WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_entry SET header = (SELECT header FROM audit_entry WHERE tenant = 'acme' AND seq = 4) \
         WHERE tenant = 'acme' AND seq = 5",
        "DELETE FROM audit_entry WHERE tenant = 'acme' AND seq = 5",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (_host, journal) = eight_entries(dir.path()).await;
        change(dir.path(), sql).await;
        let list = journal.list(&acme(), &Filter { limit: 10, ..Filter::default() }).await;
        assert_eq!(tampered(list), 5, "{sql}");
        let export = journal.export(&acme(), Format::Jsonl, &Range::ALL).await.unwrap();
        let mut bytes = Vec::new();
        assert_eq!(tampered(export.write(&mut bytes).await), 5, "{sql}");
        assert!(matches!(journal.check_tree(&acme()).await, Err(AuditError::Tampered { .. })), "{sql}");
        journal.check_tree(&Log::Host).await.unwrap();
        assert!(!crate::host::report(&bytes, Format::Jsonl, &journal, &acme()).is_good());
    }
}

#[tokio::test]
async fn content_swapped_between_entries_or_tenants_does_not_open() {
    for sql in [
        "UPDATE audit_entry SET sealed = (SELECT sealed FROM audit_entry WHERE tenant = 'acme' AND seq = 4) \
         WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_entry SET sealed = (SELECT sealed FROM audit_entry WHERE tenant = 'other' AND seq = 5) \
         WHERE tenant = 'acme' AND seq = 5",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (_host, journal) = eight_entries(dir.path()).await;
        change(dir.path(), sql).await;
        let export = journal.export(&acme(), Format::Csv, &Range::ALL).await.unwrap();
        let result = export.write(&mut std::io::sink()).await;
        assert!(matches!(result, Err(AuditError::Vault(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_whole_row_of_another_tenant_is_none_of_this_log() {
    let dir = tempfile::tempdir().unwrap();
    let (_host, journal) = eight_entries(dir.path()).await;
    change(
        dir.path(),
        "UPDATE audit_entry SET (time_ms, leaf, nodes, header, sealed) = \
         (SELECT time_ms, leaf, nodes, header, sealed FROM audit_entry WHERE tenant = 'other' AND seq = 5) \
         WHERE tenant = 'acme' AND seq = 5",
    )
    .await;
    let export = journal.export(&acme(), Format::Jsonl, &Range::ALL).await.unwrap();
    assert_eq!(tampered(export.write(&mut std::io::sink()).await), 5);
}

#[tokio::test]
async fn a_log_that_is_not_what_was_signed_takes_no_entry_and_other_logs_go_on() {
    for (sql, seq) in [
        ("DELETE FROM audit_entry WHERE tenant = 'acme' AND seq >= 6", 6),
        ("DELETE FROM audit_entry WHERE tenant = 'acme'", 0),
        ("UPDATE audit_entry SET nodes = zeroblob(96) WHERE tenant = 'acme' AND seq = 7", 8),
        ("UPDATE audit_entry SET nodes = x'00' WHERE tenant = 'acme' AND seq = 7", 7),
        ("UPDATE audit_checkpoint SET note = 'none' WHERE tenant = 'acme'", 8),
        ("UPDATE audit_checkpoint SET size = 7 WHERE tenant = 'acme'", 7),
        (
            "UPDATE audit_checkpoint SET note = (SELECT note FROM audit_checkpoint WHERE tenant = 'other') \
             WHERE tenant = 'acme'",
            8,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (host, journal) = eight_entries(dir.path()).await;
        journal.close().await.unwrap();
        drop(journal);
        crate::host::reopen(dir.path()).await.close().await;
        change(dir.path(), sql).await;
        let (_store, journal) = host.open(dir.path()).await;
        assert_eq!(tampered(journal.record(&acme(), vec![admin("more")]).await), seq, "{sql}");
        assert_eq!(tampered(journal.export(&acme(), Format::Csv, &Range::ALL).await.map(drop)), seq);
        journal.record(&"tenant/other".parse().unwrap(), vec![admin("more")]).await.unwrap();
    }
}
