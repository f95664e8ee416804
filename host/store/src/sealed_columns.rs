//! Every column that holds ciphertext of a vault, and how its values are walked: the one list that re-wrapping and
//! verifying share, so that neither can forget what the other knows.
//!
//! A walk goes by primary key in short steps. A step that re-wraps reads and writes in one transaction of the one writer,
//! so nothing newer is overwritten; it stops after so many rows or bytes, so that whoever waits to write is hardly delayed.
//! A walk that was stopped begins anew: what is done is passed over.

use std::fmt::Write as _;

use opsiq_vault::{Form, KeyId, Sealed, TenantVault};
use sqlx::AssertSqlSafe;

use crate::column::unsigned;
use crate::db::{Query, Row, Target, Value, query};
use crate::{Store, StoreError, WriteTx};

/// Rows of one step.
const STEP_ROWS: usize = 128;
/// Bytes of sealed values after which a step that writes ends, in bytes.
const STEP_BYTES: usize = 512 * 1024;

/// A column that names a row beside its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Text(&'static str),
    Bytes(&'static str),
    Number(&'static str),
}

impl Key {
    fn name(self) -> &'static str {
        let (Self::Text(name) | Self::Bytes(name) | Self::Number(name)) = self;
        name
    }
}

/// Which place a value of a column is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// To these columns, with bytes in hex, and to the column that counts versions, where there is one.
    Row(&'static [Key], Option<&'static str>),
    /// To an id within the row's header, which is the audit's to read.
    Header,
}

/// One column of sealed values. All are of the tenant their row names; the empty text names the host.
#[derive(Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// What was sealed.
    pub form: Form,
    /// Whether it is with the wrapped keys, apart from the data, so that no transaction spans it and others.
    pub in_key_store: bool,
    key: &'static [Key],
    bound: Bound,
}

const fn documents(table: &'static str, key: &'static [Key], version: &'static str) -> SealedColumn {
    let bound = Bound::Row(key, Some(version));
    SealedColumn { table, column: "doc", form: Form::Document, in_key_store: false, key, bound }
}

/// The keys of data subjects.
pub(crate) const SUBJECT_KEYS: SealedColumn = SealedColumn {
    table: "subject_key",
    column: "wrapped",
    form: Form::Secret,
    in_key_store: true,
    key: &[Key::Bytes("id")],
    bound: Bound::Row(&[Key::Bytes("id"), Key::Bytes("subject")], None),
};

const KEY_OF_KEY: &[Key] = &[Key::Text("installation"), Key::Text("name"), Key::Number("version")];
const PLACE_OF_KEY: Bound = Bound::Row(&[Key::Text("installation"), Key::Text("name")], Some("version"));
const KEY_OF_KV: &[Key] = &[Key::Text("installation"), Key::Bytes("key_index")];

/// All columns of sealed values of tenants.
pub const SEALED_COLUMNS: &[SealedColumn] = &[
    SUBJECT_KEYS,
    documents("tenant", &[], "version"),
    documents("app_user", &[Key::Text("id")], "version"),
    documents("installation", &[Key::Text("id")], "revision"),
    SealedColumn {
        table: "installation_key",
        column: "secret",
        form: Form::Secret,
        in_key_store: false,
        key: KEY_OF_KEY,
        bound: PLACE_OF_KEY,
    },
    SealedColumn {
        table: "installation_key",
        column: "doc",
        form: Form::Document,
        in_key_store: false,
        key: KEY_OF_KEY,
        bound: PLACE_OF_KEY,
    },
    documents("api_client", &[Key::Text("id")], "version"),
    SealedColumn {
        table: "api_client_key",
        column: "secret",
        form: Form::Secret,
        in_key_store: false,
        key: &[Key::Text("client"), Key::Number("version")],
        bound: Bound::Row(&[Key::Text("client")], Some("version")),
    },
    documents("confirmation", &[Key::Text("id")], "version"),
    documents("quarantine", &[Key::Text("kind"), Key::Text("value")], "created_ms"),
    documents("credential", &[Key::Text("user_id")], "version"),
    documents("invitation", &[Key::Text("id")], "created_ms"),
    documents("user_session", &[Key::Text("id")], "created_ms"),
    documents("known_device", &[Key::Text("id")], "created_ms"),
    documents("custom_role", &[Key::Text("id")], "version"),
    documents("passkey", &[Key::Text("id")], "version"),
    documents("audit_hold", &[Key::Text("id")], "created_ms"),
    SealedColumn {
        table: "sso_provider",
        column: "secret",
        form: Form::Secret,
        in_key_store: false,
        key: &[Key::Text("id")],
        bound: Bound::Row(&[Key::Text("id")], Some("version")),
    },
    documents("sso_provider", &[Key::Text("id")], "version"),
    documents("sso_identity", &[Key::Text("id")], "created_ms"),
    documents("address_rule", &[Key::Text("network")], "created_ms"),
    SealedColumn {
        table: "idempotency",
        column: "answer",
        form: Form::Document,
        in_key_store: false,
        key: &[Key::Bytes("client_index"), Key::Bytes("key_index")],
        bound: Bound::Row(&[Key::Text("invocation")], None),
    },
    SealedColumn {
        table: "kv",
        column: "key",
        form: Form::Document,
        in_key_store: false,
        key: KEY_OF_KV,
        bound: Bound::Row(&[Key::Text("installation")], None),
    },
    SealedColumn {
        table: "kv",
        column: "value",
        form: Form::Document,
        in_key_store: false,
        key: KEY_OF_KV,
        bound: Bound::Row(KEY_OF_KV, Some("version")),
    },
    SealedColumn {
        table: "audit_entry",
        column: "sealed",
        form: Form::Document,
        in_key_store: false,
        key: &[Key::Number("seq")],
        bound: Bound::Header,
    },
];

/// Where a walk stands: after this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Bytes(Vec<u8>),
    Number(i64),
}

impl Part {
    fn of(key: Key, at: usize, row: &Row) -> Result<Self, sqlx::Error> {
        Ok(match key {
            Key::Text(_) => Self::Text(row.get(at)?),
            Key::Bytes(_) => Self::Bytes(row.get(at)?),
            Key::Number(_) => Self::Number(row.get(at)?),
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Number(number) => number.into(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
                // Writing to a string does not fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The row's name beside its tenant.
impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(Part::shown).collect::<Vec<_>>().join("/"))
    }
}

/// Where a stored value is to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedPlace {
    /// The parts of its place's row, and its version.
    Row(Vec<String>, u64),
    /// The header of the audit entry it belongs to.
    Header(Vec<u8>),
}

/// One stored value.
#[derive(Debug, Clone)]
pub struct SealedValue {
    /// Which row it is in.
    pub row: Cursor,
    /// Where it is to open.
    pub place: SealedPlace,
    /// Its bytes.
    pub stored: Vec<u8>,
}

/// What a step of re-wrapping did.
#[derive(Debug, Default)]
pub struct Rewrapped {
    /// Where to go on; `None` at the end of the column.
    pub next: Option<Cursor>,
    /// Values put under the newest key.
    pub moved: u64,
    /// Rows whose value does not unwrap under any live key, which stay as they are.
    pub stuck: Vec<Cursor>,
}

impl SealedColumn {
    /// The values of a tenant after `after`: key columns, the value, then what its place is made of.
    fn select<'q>(&self, tenant: &'q str, after: Option<&'q Cursor>) -> Query<'q> {
        let names: Vec<_> = self.key.iter().map(|key| key.name()).collect();
        let mut columns = names.clone();
        columns.push(self.column);
        match self.bound {
            Bound::Row(parts, version) => {
                columns.extend(parts.iter().map(|part| part.name()));
                columns.extend(version);
            }
            Bound::Header => columns.push("header"),
        }
        let mut values: Vec<Value<'q>> = vec![tenant.into()];
        let (columns, table, column) = (columns.join(", "), self.table, self.column);
        let mut sql = format!("SELECT {columns} FROM {table} WHERE tenant = $1 AND {column} IS NOT NULL");
        if self.bound == Bound::Header {
            // Content whose term is over is not there any more.
            let _ = write!(sql, " AND LENGTH({column}) > 0");
        }
        if let Some(after) = after.filter(|_| !names.is_empty()) {
            let marks: Vec<_> = (2..2 + after.0.len()).map(|at| format!("${at}")).collect();
            let _ = write!(sql, " AND ({}) > ({})", names.join(", "), marks.join(", "));
            values.extend(after.0.iter().map(Part::value));
        }
        if !names.is_empty() {
            let _ = write!(sql, " ORDER BY {}", names.join(", "));
        }
        let _ = write!(sql, " LIMIT {STEP_ROWS}");
        values.into_iter().fold(query(AssertSqlSafe(sql)), Query::bind)
    }

    pub(crate) fn update<'q>(&self, tenant: &'q str, row: &'q Cursor, stored: &'q [u8]) -> Query<'q> {
        let mut values: Vec<Value<'q>> = vec![stored.into(), tenant.into()];
        let mut sql = format!("UPDATE {} SET {} = $1 WHERE tenant = $2", self.table, self.column);
        for (at, (key, part)) in self.key.iter().zip(&row.0).enumerate() {
            let _ = write!(sql, " AND {} = ${}", key.name(), at + 3);
            values.push(part.value());
        }
        values.into_iter().fold(query(AssertSqlSafe(sql)), Query::bind)
    }

    fn value(&self, row: &Row) -> Result<SealedValue, StoreError> {
        let failed = |error: sqlx::Error| StoreError::of(self.table, &error);
        let keys = self.key.iter().enumerate();
        let cursor = keys.map(|(at, key)| Part::of(*key, at, row)).collect::<Result<_, _>>().map_err(failed)?;
        let mut at = self.key.len();
        let stored = row.get(at).map_err(failed)?;
        at += 1;
        let place = match self.bound {
            Bound::Header => SealedPlace::Header(row.get(at).map_err(failed)?),
            Bound::Row(parts, version) => {
                let mut shown = Vec::with_capacity(parts.len());
                for part in parts {
                    shown.push(Part::of(*part, at, row).map_err(failed)?.shown());
                    at += 1;
                }
                let version = version.map(|_| row.get(at)).transpose().map_err(failed)?;
                SealedPlace::Row(shown, unsigned(self.table, version.unwrap_or(0))?)
            }
        };
        Ok(SealedValue { row: Cursor(cursor), place, stored })
    }

    /// The next values; as many as a step has unless there are no more.
    pub(crate) async fn step(
        &self,
        on: impl Into<Target<'_>>,
        tenant: &str,
        after: Option<&Cursor>,
    ) -> Result<Vec<SealedValue>, StoreError> {
        if self.key.is_empty() && after.is_some() {
            return Ok(Vec::new());
        }
        let rows = self.select(tenant, after).fetch_all(on).await;
        let rows = rows.map_err(|error| StoreError::of(self.table, &error))?;
        rows.iter().map(|row| self.value(row)).collect()
    }

    /// Where to go on after a step with these values; `None` at the end of the column.
    pub(crate) fn next(values: &[SealedValue]) -> Option<Cursor> {
        values.last().filter(|_| values.len() == STEP_ROWS).map(|last| last.row.clone())
    }
}

impl Store {
    /// The next values of a column of `tenant`, the empty text for the host's, and where to go on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Damaged`] for columns that hold what no host writes.
    pub async fn sealed_values(
        &self,
        column: &SealedColumn,
        tenant: &str,
        after: Option<&Cursor>,
    ) -> Result<(Vec<SealedValue>, Option<Cursor>), StoreError> {
        let pool = if column.in_key_store { self.key_db() } else { self.reader() };
        let values = column.step(pool, tenant, after).await?;
        let next = SealedColumn::next(&values);
        Ok((values, next))
    }

    /// How many values of `tenant` are not under `newest`, in all columns. Reads everything, step by step.
    ///
    /// # Errors
    /// As [`Store::sealed_values`].
    pub async fn sealed_under_others(&self, tenant: &str, newest: KeyId) -> Result<u64, StoreError> {
        let mut others = 0;
        for column in SEALED_COLUMNS {
            let mut after = None;
            loop {
                let (values, next) = self.sealed_values(column, tenant, after.as_ref()).await?;
                let under = |value: SealedValue| Sealed::<()>::from_stored(value.stored).key_id() == Some(newest);
                others += values.into_iter().map(under).map(|is| u64::from(!is)).sum::<u64>();
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(others)
    }
}

impl WriteTx<'_> {
    /// One step of putting a column of the data of `tenant` under the newest key of `vault`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rewrap_step(
        &mut self,
        column: &SealedColumn,
        tenant: &str,
        after: Option<&Cursor>,
        vault: &TenantVault,
    ) -> Result<Rewrapped, StoreError> {
        let values = match column.step(self.connection().await?, tenant, after).await {
            Err(error) if error.is_unavailable() => self.noting(Err(error)),
            // A row that somebody damaged ends this step and not the transaction, which others share. What a server calls
            // damaged ends it there: its commit is then refused.
            values => values,
        }?;
        let mut done = Rewrapped::default();
        let (mut bytes, count) = (0, values.len());
        for (at, value) in values.into_iter().enumerate() {
            match vault.rewrap(&Sealed::<()>::from_stored(value.stored)) {
                Ok(None) => {}
                Ok(Some(moved)) => {
                    self.run_one(column.table, column.update(tenant, &value.row, moved.as_bytes())).await?;
                    bytes += moved.as_bytes().len();
                    done.moved += 1;
                }
                Err(_) => done.stuck.push(value.row.clone()),
            }
            let last = at + 1 == count;
            if if last { count == STEP_ROWS } else { bytes >= STEP_BYTES } {
                done.next = Some(value.row);
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
