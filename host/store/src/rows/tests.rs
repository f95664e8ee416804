use opsiq_vault::{RootKey, Vault};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::*;
use crate::fixture::{self, Dir, Doc};
use crate::{KeyState, KeyVersionRow, KvEntryRow};

fn host() -> TenantVault {
    Vault::create(&RootKey::generate()).0.host()
}

/// What somebody with the file does to it.
async fn behind(dir: &Dir, sql: &'static str) {
    if let Some(server) = dir.server() {
        let mut thief = server.connect().await;
        // The triggers must find a list; this one nobody reads.
        sqlx::raw_sql(POSTGRES_SESSION).execute(&mut thief).await.unwrap();
        let sql = sql.replace("x'00'", "'\\x00'");
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut thief).await.unwrap();
        assert!(done.rows_affected() > 0 || sql.starts_with("CREATE"), "changed nothing: {sql}");
        return sqlx::Connection::close(thief).await.unwrap();
    }
    let mut thief =
        SqliteConnectOptions::new().filename(dir.path().join("data.db")).foreign_keys(false).connect().await.unwrap();
    let done = sqlx::raw_sql(sql).execute(&mut thief).await.unwrap();
    assert!(done.rows_affected() > 0 || sql.starts_with("CREATE"), "changed nothing: {sql}");
    sqlx::Connection::close(thief).await.unwrap();
}

/// The shop of the fixture, marked, with a kv entry and a key.
async fn shop(host: &TenantVault) -> (Dir, Store, BTreeMap<String, RowHead>) {
    let (dir, store) = fixture::store().await;
    let mut tx = store.begin().await.unwrap();
    let row = fixture::furnish(&mut tx).await;
    let entry = KvEntryRow::<Doc, Doc> {
        key_index: [3; 32],
        version: 1,
        bytes: 8,
        key: fixture::sealed(b"key"),
        value: fixture::sealed(b"value"),
    };
    tx.kv_set(&row.tenant, &row.id, &entry, 0).await.unwrap();
    let key = KeyVersionRow::<Doc> {
        tenant: row.tenant.clone(),
        installation: row.id.clone(),
        name: "token".into(),
        version: 1,
        state: KeyState::Live,
        created_ms: 4,
        secret: Some(fixture::sealed(b"secret")),
        doc: fixture::sealed(b"doc"),
    };
    tx.key_version_insert(&key).await.unwrap();
    let heads = tx.mark_rows(host).await.unwrap();
    tx.commit().await.unwrap();
    (dir, store, heads)
}

#[test]
fn a_head_written_before_a_table_was_there_still_counts() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let host = vault.host();
    let mut sums = Sums::NONE;
    sums.0[1] = [7; 32];
    let older = Secret::from(sums.0[..COUNT - 1].concat());
    let sealed = host.seal_secret(&place(&["acme"], 3), &older);
    assert!(Sums::open(&host, "acme", 3, sealed.as_bytes().to_vec()) == Some(sums));
    for odd in [vec![0; 33], vec![0; 32 * (COUNT + 1)]] {
        let sealed = host.seal_secret(&place(&["acme"], 3), &Secret::from(odd));
        assert!(Sums::open(&host, "acme", 3, sealed.as_bytes().to_vec()).is_none());
    }
}

async fn what_the_host_writes_is_as_marked() {
    let host = host();
    let (_dir, store, heads) = shop(&host).await;
    assert_eq!(heads.keys().map(String::as_str).collect::<Vec<_>>(), ["", "acme", "beta"]);
    assert_eq!(store.row_head("acme").await.unwrap(), Some(heads["acme"]));
    assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());

    let mut tx = store.begin().await.unwrap();
    fixture::change_plugin(&mut tx).await;
    let heads = tx.mark_rows(&host).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(heads.keys().map(String::as_str).collect::<Vec<_>>(), [""]);
    assert_eq!(heads[""].changes, 2);

    let mut tx = store.begin().await.unwrap();
    tx.installation_remove(&fixture::id("acme"), &fixture::installation_id(1), 1).await.unwrap();
    assert_eq!(tx.mark_rows(&host).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());
    let marks: i64 =
        query_scalar("SELECT count(*) FROM row_mark WHERE tenant = 'acme'").fetch_one(store.reader()).await.unwrap();
    assert_eq!(marks, 1, "only the tenant's own row is left");
}

async fn a_transaction_that_is_rolled_back_marks_nothing() {
    let host = host();
    let (_dir, store, before) = shop(&host).await;
    let mut tx = store.begin().await.unwrap();
    fixture::change_plugin(&mut tx).await;
    tx.mark_rows(&host).await.unwrap();
    tx.rollback().await;
    assert_eq!(store.row_head("").await.unwrap(), Some(before[""]));

    let mut tx = store.begin().await.unwrap();
    tx.tenant_insert(&fixture::tenant("gamma")).await.unwrap();
    tx.savepoint().unwrap();
    fixture::change_plugin(&mut tx).await;
    tx.rollback_to().await.unwrap();
    let heads = tx.mark_rows(&host).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(heads.keys().map(String::as_str).collect::<Vec<_>>(), ["gamma"]);
    assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());
}

async fn what_others_write_is_named() {
    let cases: [(&'static str, &str, &str, RowFaultKind); 6] = [
        ("UPDATE installation SET revision = 7", "acme", "installation", RowFaultKind::NotAsWritten),
        ("UPDATE installation_key SET secret = x'00'", "acme", "installation_key", RowFaultKind::NotAsWritten),
        ("DELETE FROM kv", "acme", "kv", RowFaultKind::Removed),
        ("INSERT INTO tenant VALUES ('evil', 1, 1, x'00')", "evil", "row_head", RowFaultKind::Head),
        ("UPDATE plugin SET size = 7", "", "plugin", RowFaultKind::NotAsWritten),
        ("UPDATE row_head SET changes = 9 WHERE tenant = 'beta'", "beta", "row_head", RowFaultKind::Head),
    ];
    for (sql, owner, table, kind) in cases {
        fixture::on_others(async {
            let host = host();
            let (dir, store, _) = shop(&host).await;
            behind(&dir, sql).await;
            let found = store.check_rows(&host).await.unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), [owner], "{sql}");
            assert!(found[owner].iter().any(|fault| fault.table == table && fault.kind == kind), "{sql}: {found:?}");
        })
        .await;
    }
}

/// Rows, and then rows with their marks, and then the head as well: each needs the next.
async fn older_rows_put_back_are_noticed() {
    let host = host();
    let (dir, store, _) = shop(&host).await;
    behind(
        &dir,
        "CREATE TABLE old_row AS SELECT * FROM plugin; CREATE TABLE old_mark AS SELECT * FROM row_mark WHERE tbl = 'plugin'; \
         CREATE TABLE old_head AS SELECT * FROM row_head WHERE tenant = '';",
    )
    .await;
    let mut tx = store.begin().await.unwrap();
    fixture::change_plugin(&mut tx).await;
    let newer = tx.mark_rows(&host).await.unwrap();
    tx.commit().await.unwrap();

    behind(&dir, "UPDATE plugin SET size = (SELECT size FROM old_row)").await;
    let found = store.check_rows(&host).await.unwrap();
    let digest = fixture::plugin().digest.to_string();
    assert_eq!(found[""], [RowFault { table: "plugin", row: digest, kind: RowFaultKind::NotAsWritten }]);

    behind(&dir, "UPDATE row_mark SET mark = (SELECT mark FROM old_mark) WHERE tbl = 'plugin'").await;
    let found = store.check_rows(&host).await.unwrap();
    assert_eq!(found[""], [RowFault { table: "plugin", row: String::new(), kind: RowFaultKind::PutBack }]);

    // with the head as well everything fits: only its count tells, which is why checkpoints repeat it
    behind(
        &dir,
        "UPDATE row_head SET changes = (SELECT changes FROM old_head), sealed = (SELECT sealed FROM old_head) WHERE tenant = ''",
    )
    .await;
    assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());
    assert!(store.row_head("").await.unwrap().unwrap().changes < newer[""].changes);
}

async fn accepted_rows_are_as_marked_again() {
    let host = host();
    let (dir, store, _) = shop(&host).await;
    behind(&dir, "UPDATE installation SET revision = 7; DELETE FROM kv").await;
    let mut tx = store.begin().await.unwrap();
    tx.accept_rows("acme", 40, &host).await.unwrap();
    let heads = tx.mark_rows(&host).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(heads["acme"].changes, 41);
    assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());
}

/// Whoever is not a host has no list of touched rows, and changes no guarded row; also not where triggers are switched off.
#[tokio::test]
async fn on_a_server_strangers_change_no_guarded_row() {
    fixture::on_server(async {
        let (dir, _store, _) = shop(&host()).await;
        let mut stranger = dir.server().unwrap().connect().await;
        for statement in ["UPDATE plugin SET size = 7", "DELETE FROM kv", "INSERT INTO tenant VALUES ('x', 1, 1, '')"] {
            for replica in ["SET session_replication_role = origin", "SET session_replication_role = replica"] {
                sqlx::raw_sql(replica).execute(&mut stranger).await.unwrap();
                let refused = sqlx::query(statement).execute(&mut stranger).await.unwrap_err();
                let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap().into_owned();
                assert!(["42P01", "3F000"].contains(&code.as_str()), "{statement}: {refused}");
            }
        }
        sqlx::raw_sql(POSTGRES_SESSION).execute(&mut stranger).await.unwrap();
        sqlx::query("UPDATE plugin SET size = 7").execute(&mut stranger).await.unwrap();
    })
    .await;
}

/// A trigger that somebody took away or changed is there again when a store is opened.
#[tokio::test]
async fn on_a_server_guards_are_put_back() {
    fixture::on_server(async {
        let host = host();
        let (dir, store, _) = shop(&host).await;
        store.close().await;
        let mut stranger = dir.server().unwrap().connect().await;
        let off = "DROP TRIGGER touched ON plugin; ALTER TABLE kv DISABLE TRIGGER touched; CREATE OR REPLACE FUNCTION \
                   touched_tenant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$";
        sqlx::raw_sql(off).execute(&mut stranger).await.unwrap();
        let store = dir.open().await;
        let mut tx = store.begin().await.unwrap();
        fixture::change_plugin(&mut tx).await;
        tx.tenant_insert(&fixture::tenant("gamma")).await.unwrap();
        let heads = tx.mark_rows(&host).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(heads.keys().map(String::as_str).collect::<Vec<_>>(), ["", "gamma"]);
        sqlx::query("DELETE FROM kv").execute(&mut stranger).await.unwrap_err();
        assert_eq!(store.check_rows(&host).await.unwrap(), BTreeMap::new());
    })
    .await;
}

crate::fixture::on_both_engines! {
    what_the_host_writes_is_as_marked,
    a_transaction_that_is_rolled_back_marks_nothing,
    what_others_write_is_named,
    older_rows_put_back_are_noticed,
    accepted_rows_are_as_marked_again,
}
