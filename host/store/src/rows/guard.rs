//! The triggers of a server's guarded tables. They are made when a store is opened, of the one list of guarded tables, and only
//! what is missing or different: a table waits for nobody while hosts of one version come and go.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Connection as _};

use super::table::{SHAPES, Shape, joined, pk, slots};
use crate::StoreError;
use crate::db::Dialect;
use crate::db::postgres::Server;

const WHAT: &str = "guards of rows";

/// The list of touched rows, which a commit empties: a change that is not marked before is found as a fault.
pub(crate) const POSTGRES_SESSION: &str = "CREATE TEMP TABLE touched (tbl TEXT COLLATE \"C\" NOT NULL, \
    tenant TEXT COLLATE \"C\" NOT NULL, pk TEXT COLLATE \"C\" NOT NULL, k1 TEXT COLLATE \"C\", k2 TEXT COLLATE \"C\", \
    k3 TEXT COLLATE \"C\", n1 BIGINT, n2 BIGINT, n3 BIGINT, b1 BYTEA, b2 BYTEA, b3 BYTEA, \
    PRIMARY KEY (tbl, tenant, pk)) ON COMMIT DELETE ROWS";

/// What the trigger of a table does.
fn body(shape: &Shape) -> String {
    let Shape { name, tenants, keys, .. } = shape;
    let mut body = "\nBEGIN\n".to_owned();
    for (unless, row) in [("INSERT", "OLD"), ("DELETE", "NEW")] {
        let owner = if *tenants { format!("{row}.tenant") } else { "''".to_owned() };
        let values = joined(keys.iter().map(|key| format!(", {row}.{}", key.column())));
        let (columns, pk) = (slots(keys, Dialect::Postgres), pk(keys, row, Dialect::Postgres));
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            "IF TG_OP <> '{unless}' THEN INSERT INTO pg_temp.touched (tbl, tenant, pk{columns}) \
             VALUES ('{name}', {owner}, {pk}{values}) ON CONFLICT DO NOTHING; END IF;"
        );
    }
    body.push_str("RETURN NULL;\nEND\n");
    body
}

/// Makes sure that every guarded table has its trigger, which also fires where triggers are switched off for a session.
pub(crate) async fn guard(server: &Server) -> Result<(), StoreError> {
    let of = |error: sqlx::Error| StoreError::of(WHAT, &error);
    let mut connection = server.owner().await.map_err(of)?;
    let mut tx = connection.begin().await.map_err(of)?;
    // Of nodes that start together one does it.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('opsiq guards of rows', 0))")
        .execute(&mut *tx)
        .await
        .map_err(of)?;
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, p.prosrc FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
         JOIN pg_proc p ON p.oid = t.tgfoid \
         WHERE t.tgname = 'touched' AND t.tgenabled = 'A' AND t.tgtype = 29 \
         AND c.relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(of)?;
    for shape in &SHAPES {
        let (name, body) = (shape.name, body(shape));
        if found.iter().any(|(table, source)| table == name && *source == body) {
            continue;
        }
        let make = format!(
            "CREATE OR REPLACE FUNCTION touched_{name}() RETURNS trigger LANGUAGE plpgsql AS $touched${body}$touched$; \
             CREATE OR REPLACE TRIGGER touched AFTER INSERT OR UPDATE OR DELETE ON {name} \
             FOR EACH ROW EXECUTE FUNCTION touched_{name}(); \
             ALTER TABLE {name} ENABLE ALWAYS TRIGGER touched;"
        );
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *tx).await.map_err(of)?;
    }
    tx.commit().await.map_err(of)?;
    connection.close().await.map_err(of)
}
