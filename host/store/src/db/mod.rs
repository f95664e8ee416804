//! The one way to the databases: statements, rows and connections that do not say which engine answers.
//!
//! A statement is one text for both engines, with `$1`, `$2` and so on, and values that are texts, bytes or numbers. What is read
//! comes as tuples of `String`, `i64` and `Vec<u8>`, or `Option`s of them. Only where the engines have no common text does
//! a caller ask for the [`Dialect`]. Failures are `sqlx::Error` here, and are put into the words of
//! [`StoreError`](crate::StoreError) in one place for both.

mod migrations;
mod pool;
pub(crate) mod postgres;
mod query;
mod row;
pub(crate) mod sqlite;
mod value;

pub(crate) use pool::{Connection, Pool, Target};
pub(crate) use query::{Query, query, query_as, query_scalar};
pub(crate) use row::{Cell, Row};
pub(crate) use value::{Kind, Rows, Value};

/// Which engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `SQLite`.
    Sqlite,
    /// `PostgreSQL`.
    Postgres,
}

impl Dialect {
    /// The one of the two that is this engine's.
    pub(crate) fn pick<T>(self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }
}
