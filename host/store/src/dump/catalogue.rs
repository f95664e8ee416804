//! Which tables there are, by the engine's own account.

use crate::StoreError;
use crate::db::{Dialect, Kind, Pool, query_as, query_scalar};

use super::{NOT_COPIED, OF_NODES, WHAT};

/// Which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Data,
    Keys,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) part: Part,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    parents: Vec<String>,
}

/// A column of it that is copied.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
const POSTGRES_TABLES: &str = "SELECT table_name::text COLLATE \"C\" FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1";
const SQLITE_COLUMNS: &str = "SELECT name, type FROM pragma_table_info($1) ORDER BY cid";
const POSTGRES_COLUMNS: &str = "SELECT column_name::text, data_type::text FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";
const SQLITE_PARENTS: &str = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)";
const POSTGRES_PARENTS: &str = "SELECT DISTINCT f.relname::text FROM pg_constraint c \
     JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid \
     WHERE c.contype = 'f' AND t.relname = $1 AND t.relnamespace = current_schema()::regnamespace";

/// The tables of a database that are copied, each after those that it refers to.
pub(super) async fn tables(part: Part, pool: &Pool) -> Result<Vec<Table>, StoreError> {
    let dialect = pool.dialect();
    let failed = |error: sqlx::Error| StoreError::of(WHAT, &error);
    let names = query_scalar::<String>(dialect.pick(SQLITE_TABLES, POSTGRES_TABLES)).fetch_all(pool).await;
    let mut tables = Vec::new();
    for name in names.map_err(failed)?.into_iter().filter(|name| !NOT_COPIED.contains(&name.as_str())) {
        let found = query_as::<(String, String)>(dialect.pick(SQLITE_COLUMNS, POSTGRES_COLUMNS));
        let mut columns = Vec::new();
        for (column, kind) in found.bind(&name).fetch_all(pool).await.map_err(failed)? {
            if !OF_NODES.contains(&(name.as_str(), column.as_str())) {
                columns.push(Column { kind: kind_of(&kind)?, name: column });
            }
        }
        let parents = query_scalar(dialect.pick(SQLITE_PARENTS, POSTGRES_PARENTS)).bind(&name);
        let parents = parents.fetch_all(pool).await.map_err(failed)?;
        tables.push(Table { part, name, columns, parents });
    }
    Ok(in_order(tables))
}

fn kind_of(kind: &str) -> Result<Kind, StoreError> {
    match kind.to_ascii_lowercase().as_str() {
        "text" => Ok(Kind::Text),
        "bigint" | "integer" => Ok(Kind::Number),
        "blob" | "bytea" => Ok(Kind::Bytes),
        _ => Err(StoreError::damaged("type of a column")),
    }
}

/// Parents before their children; the order of names otherwise. No table refers to itself, not even by way of others.
fn in_order(mut left: Vec<Table>) -> Vec<Table> {
    let mut done: Vec<Table> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let ready = |table: &Table| !table.parents.iter().any(|parent| left.iter().any(|other| other.name == *parent));
        let at = left.iter().position(ready).unwrap_or(0);
        done.push(left.remove(at));
    }
    done
}

impl Table {
    /// All its rows.
    pub(super) fn select(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        format!("SELECT {} FROM {}", columns.join(", "), quoted(&self.name))
    }

    /// Adds so many rows with these of its columns.
    pub(super) fn insert(&self, columns: &[Column], rows: usize, dialect: Dialect) -> String {
        let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
        let into = format!("INSERT INTO {} ({})", quoted(&self.name), names.join(", "));
        match dialect {
            Dialect::Sqlite => {
                let row = format!("({})", vec!["?"; columns.len()].join(", "));
                format!("{into} VALUES {}", vec![row; rows].join(", "))
            }
            Dialect::Postgres => {
                let lists = columns.iter().zip(1..).map(|(column, at)| format!("${at}::{}", column.kind.list()));
                format!("{into} SELECT * FROM UNNEST({})", lists.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Removes all its rows.
    pub(super) fn empty(&self) -> String {
        format!("DELETE FROM {}", quoted(&self.name))
    }
}

/// A name from the catalogue in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
