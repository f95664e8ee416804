use std::time::Duration;

use crate::error::Trouble;
use crate::fixture::{Doc, id, store, tenant};
use crate::{Store, StoreError, WriteTx};

async fn names(store: &Store) -> Vec<String> {
    store.tenants::<Doc>().await.unwrap().into_iter().map(|row| row.id.to_string()).collect()
}

async fn pragma(tx: &mut WriteTx<'_>, statement: &'static str) {
    crate::db::query(statement).execute(tx.connection().await.unwrap()).await.unwrap();
}

async fn a_savepoint_undoes_its_own_and_keeps_the_rest() {
    let (_dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("first")).await.unwrap();
    tx.savepoint().unwrap();
    tx.tenant_insert(&tenant("undone")).await.unwrap();
    let conflict = tx.tenant_insert(&tenant("first")).await;
    assert!(matches!(conflict, Err(StoreError::Conflict { what: "tenant" })), "{conflict:?}");
    tx.rollback_to().await.unwrap();
    tx.savepoint().unwrap();
    tx.tenant_insert(&tenant("outer")).await.unwrap();
    tx.savepoint().unwrap();
    tx.tenant_insert(&tenant("inner-undone")).await.unwrap();
    tx.rollback_to().await.unwrap();
    tx.release().await.unwrap();
    tx.tenant_insert(&tenant("last")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&store).await, ["first", "last", "outer"]);
}

async fn nothing_of_a_dropped_transaction_remains() {
    let (dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("dropped")).await.unwrap();
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("rolled-back")).await.unwrap();
    tx.rollback().await;
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("kept")).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("dropped-last")).await.unwrap();
    drop(tx);
    store.close().await;
    let store = dir.open().await;
    assert_eq!(names(&store).await, ["kept"]);
}

async fn readers_see_what_is_committed_while_a_write_goes_on() {
    let (_dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("acme")).await.unwrap();
    let readers = (0..16).map(|_| names(&store));
    assert!(futures::future::join_all(readers).await.iter().all(Vec::is_empty));
    tx.commit().await.unwrap();
    assert_eq!(names(&store).await, ["acme"]);
}

/// After the disk is full nothing more of the transaction is taken, also not in parts, and when there is space again
/// the next one works.
#[tokio::test]
async fn a_full_disk_ends_the_transaction_and_only_that() {
    let (_dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&tenant("before")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    pragma(&mut tx, "PRAGMA max_page_count = 1").await;
    let mut big = tenant("big");
    big.doc = opsiq_vault::Sealed::from_stored(vec![7; 1 << 20]);
    tx.tenant_insert(&tenant("lost")).await.unwrap();
    let full = tx.tenant_insert(&big).await;
    assert!(matches!(full, Err(StoreError::Unavailable { trouble: Trouble::Full })), "{full:?}");
    let after = tx.tenant_insert(&tenant("after")).await;
    assert!(matches!(after, Err(StoreError::Unavailable { trouble: Trouble::Ended })), "{after:?}");
    assert!(tx.rollback_to().await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(names(&store).await, ["before"]);

    let mut tx = store.begin().await.unwrap();
    pragma(&mut tx, "PRAGMA max_page_count = 1073741823").await;
    tx.tenant_insert(&big).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&store).await, ["before", "big"]);
}

#[tokio::test]
async fn a_read_only_database_is_a_trouble() {
    let (_dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    pragma(&mut tx, "PRAGMA query_only = ON").await;
    let refused = tx.tenant_insert(&tenant("acme")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { trouble: Trouble::ReadOnly })), "{refused:?}");
}

/// Wherever a caller is cut off, all of its transaction is there or none, and the next caller is not disturbed.
async fn a_cancelled_transaction_is_whole_or_absent() {
    let (_dir, store) = store().await;
    let mut committed = 0;
    for at in 0..200u64 {
        let run = async {
            let mut tx = store.begin().await?;
            tx.tenant_insert(&tenant(&format!("a{at}"))).await?;
            tx.tenant_insert(&tenant(&format!("b{at}"))).await?;
            tx.commit().await
        };
        let done = tokio::time::timeout(Duration::from_micros(at * 10), run).await;
        let (a, b) = (id(&format!("a{at}")), id(&format!("b{at}")));
        // what was cut off in its commit may become visible until the next transaction begins
        store.begin().await.unwrap().rollback().await;
        let there = store.tenant::<Doc>(&a).await.unwrap().is_some();
        assert_eq!(there, store.tenant::<Doc>(&b).await.unwrap().is_some(), "{at}");
        if let Ok(result) = done {
            result.unwrap();
            assert!(there, "{at}: answered and not there");
            committed += 1;
        }
    }
    assert!((1..200).contains(&committed), "{committed} of 200 were not cut off");
}

#[tokio::test]
async fn a_database_of_a_newer_host_is_refused() {
    let (dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    pragma(
        &mut tx,
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
         VALUES (9999, 'later', '2030-01-01', TRUE, x'00', 0)",
    )
    .await;
    tx.commit().await.unwrap();
    store.close().await;
    let error = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Version("data.db")), "{error:?}");
}

/// On a server a host of an older version that is running goes on; one that starts is refused.
#[tokio::test]
async fn tables_of_a_newer_host_on_a_server_are_refused() {
    crate::fixture::on_server(async {
        let (dir, running) = store().await;
        let mut newer = dir.server().unwrap().connect().await;
        let later = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
                     VALUES (9999, 'later', '2030-01-01', TRUE, '', 0); ALTER TABLE tenant ADD COLUMN later BIGINT";
        sqlx::raw_sql(later).execute(&mut newer).await.unwrap();
        let mut tx = running.begin().await.unwrap();
        tx.tenant_insert(&tenant("acme")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&running).await, ["acme"]);
        running.close().await;
        let error = Store::open_with(dir.path(), &dir.options()).await.unwrap_err();
        assert!(matches!(error, StoreError::Version("data.db")), "{error:?}");
    })
    .await;
}

/// A server that ends a connection between two transactions is asked anew; within one, the transaction is lost and said to be.
#[tokio::test]
async fn a_connection_that_ended_is_made_anew() {
    crate::fixture::on_server(async {
        let (dir, store) = store().await;
        let mut killer = dir.server().unwrap().connect().await;
        let mut tx = store.begin().await.unwrap();
        tx.tenant_insert(&tenant("first")).await.unwrap();
        let own = crate::db::query_scalar::<i64>("SELECT pg_backend_pid()::bigint");
        let pid = own.fetch_one(tx.connection().await.unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        let end = format!("SELECT pg_terminate_backend({pid})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(end)).execute(&mut killer).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;

        let mut tx = store.begin().await.unwrap();
        tx.tenant_insert(&tenant("second")).await.unwrap();
        let own = crate::db::query_scalar::<i64>("SELECT pg_backend_pid()::bigint");
        let pid = own.fetch_one(tx.connection().await.unwrap()).await.unwrap();
        let end = format!("SELECT pg_terminate_backend({pid})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(end)).execute(&mut killer).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let lost = tx.tenant_insert(&tenant("third")).await;
        assert!(matches!(lost, Err(StoreError::Unavailable { trouble: Trouble::Away })), "{lost:?}");
        assert!(tx.commit().await.is_err());
        let mut tx = store.begin().await.unwrap();
        tx.tenant_insert(&tenant("fourth")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&store).await, ["first", "fourth"]);
    })
    .await;
}

/// A commit of a transaction that failed without anybody noting it is no commit.
#[tokio::test]
async fn a_failed_transaction_is_not_taken_for_committed() {
    crate::fixture::on_server(async {
        let (_dir, store) = store().await;
        let mut tx = store.begin().await.unwrap();
        tx.tenant_insert(&tenant("lost")).await.unwrap();
        let failed = crate::db::query("SELECT nothing").execute(tx.connection().await.unwrap()).await;
        assert!(failed.is_err());
        assert!(tx.commit().await.is_err());
        assert!(names(&store).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_damaged_database_is_named() {
    let (dir, store) = store().await;
    store.close().await;
    let path = dir.path().join("data.db");
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::write(&path, vec![0x5a; usize::try_from(len).unwrap()]).unwrap();
    let error = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: "data.db" }), "{error:?}");
}

/// Branches of one version are merged in any order, so a database may have a later migration and lack an earlier one.
async fn a_migration_that_was_passed_over_is_made_up_for() {
    let (dir, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    for statement in [
        "DROP TABLE address_rule",
        "DROP TABLE address_list",
        "DROP TABLE account_network",
        "DROP TABLE sign_in_failure",
        "DELETE FROM _sqlx_migrations WHERE version = 25",
    ] {
        pragma(&mut tx, statement).await;
    }
    tx.commit().await.unwrap();
    let versions = async |store: &Store| {
        let mut tx = store.begin().await.unwrap();
        let read = crate::db::query_scalar::<i64>("SELECT COUNT(*) FROM _sqlx_migrations WHERE version IN (25, 30)");
        let versions = read.fetch_one(tx.connection().await.unwrap()).await.unwrap();
        tx.rollback().await;
        versions
    };
    assert_eq!(versions(&store).await, 1, "30 is there and 25 is not");
    let without = crate::fixture::schema(store.reader(), false).await;
    store.close().await;
    let store = dir.open().await;
    assert_eq!(versions(&store).await, 2);
    let with = crate::fixture::schema(store.reader(), false).await;
    let mut made: Vec<_> =
        with.iter().filter(|table| !without.contains(table)).map(|(name, _)| name.as_str()).collect();
    made.sort_unstable();
    assert_eq!(made, ["account_network", "address_list", "address_rule", "sign_in_failure"]);
}

crate::fixture::on_both_engines! {
    a_migration_that_was_passed_over_is_made_up_for,
    a_savepoint_undoes_its_own_and_keeps_the_rest,
    nothing_of_a_dropped_transaction_remains,
    readers_see_what_is_committed_while_a_write_goes_on,
    a_cancelled_transaction_is_whole_or_absent,
}
