//! What goes into a statement. A value is moved, or borrowed until the engine's own form of it is made: what is sealed is
//! not copied on the way.

use std::borrow::Cow;

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

use crate::dump::DumpCell;

/// A value of a statement. A column that may be null is told of which kind the null is, which `PostgreSQL` wants to know.
#[derive(Clone)]
pub(crate) enum Value<'v> {
    Text(Option<Cow<'v, str>>),
    Bytes(Option<Cow<'v, [u8]>>),
    Number(Option<i64>),
    /// Lists, of which `PostgreSQL` alone knows.
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

macro_rules! value_of {
    ($($from:ty => $kind:ident($value:ident) $make:expr;)*) => {$(
        impl<'v> From<$from> for Value<'v> {
            fn from($value: $from) -> Self {
                Self::$kind($make)
            }
        }
    )*};
}

value_of! {
    &'v str => Text(value) Some(Cow::Borrowed(value));
    &'v String => Text(value) Some(Cow::Borrowed(value));
    String => Text(value) Some(Cow::Owned(value));
    Option<&'v str> => Text(value) value.map(Cow::Borrowed);
    Option<String> => Text(value) value.map(Cow::Owned);
    &'v [u8] => Bytes(value) Some(Cow::Borrowed(value));
    &'v Vec<u8> => Bytes(value) Some(Cow::Borrowed(value));
    Vec<u8> => Bytes(value) Some(Cow::Owned(value));
    Option<&'v [u8]> => Bytes(value) value.map(Cow::Borrowed);
    Option<Vec<u8>> => Bytes(value) value.map(Cow::Owned);
    i64 => Number(value) Some(value);
    &i64 => Number(value) Some(*value);
    Option<i64> => Number(value) value;
    Vec<String> => Texts(value) value;
    Vec<i64> => Numbers(value) value;
}

impl Value<'_> {
    pub(super) fn add_to_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Text(Some(Cow::Borrowed(text))) => arguments.add(text),
            Self::Text(Some(Cow::Owned(text))) => arguments.add(text),
            Self::Text(None) => arguments.add(None::<String>),
            Self::Bytes(Some(Cow::Borrowed(bytes))) => arguments.add(bytes),
            Self::Bytes(Some(Cow::Owned(bytes))) => arguments.add(bytes),
            Self::Bytes(None) => arguments.add(None::<Vec<u8>>),
            Self::Number(number) => arguments.add(number),
            Self::Texts(_) | Self::Numbers(_) => Err("a list".into()),
        }
    }

    pub(super) fn add_to_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Text(text) => arguments.add(text.as_deref()),
            Self::Bytes(bytes) => arguments.add(bytes.as_deref()),
            Self::Number(number) => arguments.add(number),
            Self::Texts(list) => arguments.add(list),
            Self::Numbers(list) => arguments.add(list),
        }
    }
}

/// The values of many rows: one after the other for `SQLite`, a list for each column for `PostgreSQL`.
pub(crate) enum Rows {
    Sqlite(SqliteArguments),
    Postgres { columns: Vec<Column>, next: usize },
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bytes,
    Number,
}

impl Kind {
    /// The type of a list of them in `PostgreSQL`.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Self::Text => "text[]",
            Self::Bytes => "bytea[]",
            Self::Number => "bigint[]",
        }
    }
}

/// The values of one column.
pub(crate) enum Column {
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Number(Vec<Option<i64>>),
}

impl Rows {
    /// Adds a value that was read from a dump, to a column of this kind.
    pub(crate) fn add_cell(&mut self, kind: Kind, cell: &DumpCell) -> Result<(), BoxDynError> {
        match (kind, cell) {
            (Kind::Text, DumpCell::Text(text)) => self.add(text),
            (Kind::Number, DumpCell::Number(number)) => self.add(number),
            (Kind::Bytes, DumpCell::Bytes(bytes)) => self.add(bytes),
            (Kind::Text, DumpCell::Null) => self.add(None::<&str>),
            (Kind::Number, DumpCell::Null) => self.add(None::<i64>),
            (Kind::Bytes, DumpCell::Null) => self.add(None::<&[u8]>),
            _ => Err("a value of another kind than its column".into()),
        }
    }

    pub(crate) fn for_sqlite() -> Self {
        Self::Sqlite(SqliteArguments::default())
    }

    pub(crate) fn for_postgres(kinds: &[Kind]) -> Self {
        let empty = |kind: &Kind| match kind {
            Kind::Text => Column::Text(Vec::new()),
            Kind::Bytes => Column::Bytes(Vec::new()),
            Kind::Number => Column::Number(Vec::new()),
        };
        Self::Postgres { columns: kinds.iter().map(empty).collect(), next: 0 }
    }

    /// Adds the next value of a row; after the last column comes the first of the next row.
    pub(crate) fn add<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<(), BoxDynError> {
        let value = value.into();
        match self {
            Self::Sqlite(arguments) => value.add_to_sqlite(arguments),
            Self::Postgres { columns, next } => {
                let at = *next;
                *next = (at + 1) % columns.len().max(1);
                match (columns.get_mut(at), value) {
                    (Some(Column::Text(list)), Value::Text(text)) => list.push(text.map(Cow::into_owned)),
                    (Some(Column::Bytes(list)), Value::Bytes(bytes)) => list.push(bytes.map(Cow::into_owned)),
                    (Some(Column::Number(list)), Value::Number(number)) => list.push(number),
                    _ => return Err("a value of another kind than its column".into()),
                }
                Ok(())
            }
        }
    }
}

/// The lists of the columns as the values of a statement.
pub(crate) fn lists(columns: Vec<Column>) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for column in columns {
        match column {
            Column::Text(list) => arguments.add(list)?,
            Column::Bytes(list) => arguments.add(list)?,
            Column::Number(list) => arguments.add(list)?,
        }
    }
    Ok(arguments)
}
