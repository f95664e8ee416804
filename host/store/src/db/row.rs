//! What comes out of a statement.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, FromRow, Postgres, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _};

/// One row, whose columns are read by their place.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A column as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell<'r> {
    Null,
    Number(i64),
    Text(&'r str),
    Bytes(&'r [u8]),
}

impl Row {
    /// The column at place `at`.
    pub(crate) fn get<'r, T>(&'r self, at: usize) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        usize: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
    }

    /// All columns, from the first on.
    pub(crate) fn columns<T: Columns>(&self) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => T::from_row(row),
            Self::Postgres(row) => T::from_row(row),
        }
    }

    /// The column at place `at`, whatever it holds.
    pub(crate) fn cell(&self, at: usize) -> Result<Cell<'_>, sqlx::Error> {
        match self {
            Self::Sqlite(row) => {
                let raw = row.try_get_raw(at)?;
                if raw.is_null() {
                    return Ok(Cell::Null);
                }
                let kind = raw.type_info();
                Ok(match kind.name() {
                    "INTEGER" => Cell::Number(row.try_get_unchecked(at)?),
                    "TEXT" => Cell::Text(row.try_get_unchecked(at)?),
                    _ => Cell::Bytes(row.try_get_unchecked(at)?),
                })
            }
            Self::Postgres(row) => {
                let raw = row.try_get_raw(at)?;
                if raw.is_null() {
                    return Ok(Cell::Null);
                }
                let kind = raw.type_info();
                Ok(match kind.name() {
                    "INT8" => Cell::Number(row.try_get(at)?),
                    "TEXT" => Cell::Text(row.try_get(at)?),
                    _ => Cell::Bytes(row.try_get(at)?),
                })
            }
        }
    }
}

/// A tuple of columns, which both engines fill.
pub(crate) trait Columns: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Columns for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
