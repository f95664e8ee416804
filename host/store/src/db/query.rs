//! Statements with their values.

use std::marker::PhantomData;

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, SqlSafeStr, SqlStr, Sqlite};

use super::pool::{Connection, Pool, Target, read, write};
use super::row::{Columns, Row};
use super::value::{Rows, Value, lists};

/// A statement that answers whole rows, or how many it changed.
#[must_use]
pub(crate) struct Query<'q> {
    text: SqlStr,
    values: Values<'q>,
}

enum Values<'q> {
    /// One after the other.
    Some(Vec<Value<'q>>),
    /// Of many rows, in the engine's own form already.
    Rows(Rows),
}

/// A statement that answers tuples of columns.
#[must_use]
pub(crate) struct QueryAs<'q, T>(Query<'q>, PhantomData<fn() -> T>);

/// A statement that answers single columns.
#[must_use]
pub(crate) struct QueryScalar<'q, T>(QueryAs<'q, (T,)>);

/// A statement of this text.
pub(crate) fn query<'q>(text: impl SqlSafeStr) -> Query<'q> {
    Query { text: text.into_sql_str(), values: Values::Some(Vec::new()) }
}

/// A statement of this text that answers tuples.
pub(crate) fn query_as<'q, T>(text: impl SqlSafeStr) -> QueryAs<'q, T> {
    QueryAs(query(text), PhantomData)
}

/// A statement of this text that answers one column.
pub(crate) fn query_scalar<'q, T>(text: impl SqlSafeStr) -> QueryScalar<'q, T> {
    QueryScalar(query_as(text))
}

impl<'q> Query<'q> {
    /// Gives the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        match &mut self.values {
            Values::Some(values) => values.push(value.into()),
            Values::Rows(_) => debug_assert!(false, "rows are all the values there are"),
        }
        self
    }

    /// Gives the values of many rows, in the place of others.
    pub(crate) fn with(mut self, rows: Rows) -> Self {
        self.values = Values::Rows(rows);
        self
    }

    fn sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        match self.values {
            Values::Some(values) => {
                for value in values {
                    value.add_to_sqlite(&mut arguments).map_err(sqlx::Error::Encode)?;
                }
            }
            Values::Rows(Rows::Sqlite(rows)) => arguments = rows,
            Values::Rows(Rows::Postgres { .. }) => return Err(sqlx::Error::Encode("values of another engine".into())),
        }
        Ok(sqlx::query_with(self.text, arguments))
    }

    fn postgres(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, sqlx::Error> {
        let mut arguments = PgArguments::default();
        match self.values {
            Values::Some(values) => {
                for value in values {
                    value.add_to_postgres(&mut arguments).map_err(sqlx::Error::Encode)?;
                }
            }
            Values::Rows(Rows::Postgres { columns, .. }) => {
                arguments = lists(columns).map_err(sqlx::Error::Encode)?;
            }
            Values::Rows(Rows::Sqlite(_)) => return Err(sqlx::Error::Encode("values of another engine".into())),
        }
        Ok(sqlx::query_with(self.text, arguments))
    }

    /// Runs it; answers how many rows it changed.
    pub(crate) async fn execute<'c>(self, on: impl Into<Target<'c>>) -> Result<u64, sqlx::Error> {
        self.changes(on.into()).await
    }

    /// Runs it; answers all rows.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<Target<'c>>) -> Result<Vec<Row>, sqlx::Error> {
        self.all(on.into()).await
    }

    async fn changes(self, on: Target<'_>) -> Result<u64, sqlx::Error> {
        Ok(match on {
            Target::Sqlite(connection) => self.sqlite()?.execute(connection).await?.rows_affected(),
            Target::SqlitePool(pool) => self.sqlite()?.execute(pool).await?.rows_affected(),
            Target::Postgres(connection) => write(self.postgres()?.execute(connection)).await?.rows_affected(),
            Target::PostgresPool(pool) => read(self.postgres()?.execute(pool)).await?.rows_affected(),
        })
    }

    async fn all(self, on: Target<'_>) -> Result<Vec<Row>, sqlx::Error> {
        let sqlite = |rows: Vec<_>| rows.into_iter().map(Row::Sqlite).collect();
        let postgres = |rows: Vec<_>| rows.into_iter().map(Row::Postgres).collect();
        match on {
            Target::Sqlite(connection) => self.sqlite()?.fetch_all(connection).await.map(sqlite),
            Target::SqlitePool(pool) => self.sqlite()?.fetch_all(pool).await.map(sqlite),
            Target::Postgres(connection) => write(self.postgres()?.fetch_all(connection)).await.map(postgres),
            Target::PostgresPool(pool) => read(self.postgres()?.fetch_all(pool)).await.map(postgres),
        }
    }

    async fn optional(self, on: Target<'_>) -> Result<Option<Row>, sqlx::Error> {
        let (sqlite, postgres) = (|row: Option<_>| row.map(Row::Sqlite), |row: Option<_>| row.map(Row::Postgres));
        match on {
            Target::Sqlite(connection) => self.sqlite()?.fetch_optional(connection).await.map(sqlite),
            Target::SqlitePool(pool) => self.sqlite()?.fetch_optional(pool).await.map(sqlite),
            Target::Postgres(connection) => write(self.postgres()?.fetch_optional(connection)).await.map(postgres),
            Target::PostgresPool(pool) => read(self.postgres()?.fetch_optional(pool)).await.map(postgres),
        }
    }

    /// Runs it; rows come as they are read, and whoever takes them may take their time.
    pub(crate) fn stream(self, on: &mut Connection) -> Result<BoxStream<'_, Result<Row, sqlx::Error>>, sqlx::Error> {
        Ok(match on {
            Connection::Sqlite(connection) => self.sqlite()?.fetch(connection).map_ok(Row::Sqlite).boxed(),
            Connection::Postgres(connection) => self.postgres()?.fetch(connection).map_ok(Row::Postgres).boxed(),
        })
    }

    /// Runs it; rows come as they are read.
    pub(crate) fn fetch(self, pool: &Pool) -> Result<BoxStream<'_, Result<Row, sqlx::Error>>, sqlx::Error> {
        Ok(match pool {
            Pool::Sqlite(pool) => self.sqlite()?.fetch(pool).map_ok(Row::Sqlite).boxed(),
            Pool::Postgres(pool) => self.postgres()?.fetch(pool).map_ok(Row::Postgres).boxed(),
        })
    }
}

impl<'q, T> QueryAs<'q, T> {
    /// Gives the next value.
    pub(crate) fn bind(self, value: impl Into<Value<'q>>) -> Self {
        Self(self.0.bind(value), PhantomData)
    }
}

// What waits for the engine knows nothing of `T`, so it is compiled once.
impl<T: Columns> QueryAs<'_, T> {
    /// Runs it; answers all rows.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<Target<'c>>) -> Result<Vec<T>, sqlx::Error> {
        self.0.all(on.into()).await?.iter().map(Row::columns).collect()
    }

    /// Runs it; answers its row, if there is one.
    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<Target<'c>>) -> Result<Option<T>, sqlx::Error> {
        self.0.optional(on.into()).await?.as_ref().map(Row::columns).transpose()
    }

    /// Runs it; answers its row, which must be there.
    pub(crate) async fn fetch_one<'c>(self, on: impl Into<Target<'c>>) -> Result<T, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

impl<'q, T> QueryScalar<'q, T> {
    /// Gives the next value.
    pub(crate) fn bind(self, value: impl Into<Value<'q>>) -> Self {
        Self(self.0.bind(value))
    }
}

impl<T> QueryScalar<'_, T>
where
    (T,): Columns,
{
    /// Runs it; answers the column of all rows.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<Target<'c>>) -> Result<Vec<T>, sqlx::Error> {
        Ok(self.0.fetch_all(on).await?.into_iter().map(|(column,)| column).collect())
    }

    /// Runs it; answers the column of its row, if there is one.
    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<Target<'c>>) -> Result<Option<T>, sqlx::Error> {
        Ok(self.0.fetch_optional(on).await?.map(|(column,)| column))
    }

    /// Runs it; answers the column of its row, which must be there.
    pub(crate) async fn fetch_one<'c>(self, on: impl Into<Target<'c>>) -> Result<T, sqlx::Error> {
        Ok(self.0.fetch_one(on).await?.0)
    }
}
