//! Making a data directory of a stream.

use std::path::Path;

use opsiq_vault::KeyCheck;
use sqlx::AssertSqlSafe;

use super::catalogue::{Column, Part, Table, tables};
use super::read::{DumpCell, DumpRecord, DumpStream};
use super::{DumpCounts, DumpProgress, WHAT};
use crate::db::{Dialect, Query, Rows, query};
use crate::{Store, StoreError, StoreOptions, WriteTx};

/// The table that makes a directory one of a host.
const CHECK: &str = "root_check";
/// Rows of one statement, and of one transaction.
const BATCH: usize = 64;
const TRANSACTION: usize = 4096;
/// Bytes of values after which a statement is run.
const BATCH_BYTES: usize = 1 << 20;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The store, which nobody opens yet: it has no root check.
    pub store: Store,
    /// The root check, and when it was made. To be put into the store once all else is as it should be.
    pub check: (KeyCheck, i64),
    /// Files that came along, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// How much there was.
    pub counts: DumpCounts,
}

impl Store {
    /// Makes `path` a data directory that holds what comes, on databases where no host is. What a restore before this one
    /// left there is removed. Nothing opens it before [`Store::root_check_insert`].
    ///
    /// # Errors
    /// [`StoreError::AlreadyInitialised`] for databases of a host; [`StoreError::Version`] for a table or a column that is not
    /// known here; [`StoreError::Damaged`]; as [`Store::init_with`].
    pub async fn restore(
        path: &Path,
        options: &StoreOptions,
        mut stream: DumpStream,
        progress: &DumpProgress,
    ) -> Result<Restored, StoreError> {
        let store = Self::create(path, options).await?;
        if store.root_check().await?.is_some() {
            store.close().await;
            return Err(StoreError::AlreadyInitialised(path.to_owned()));
        }
        let mut all = tables(Part::Keys, store.key_db()).await?;
        all.extend(tables(Part::Data, store.reader()).await?);
        store.clear(&all).await?;
        let (mut check, mut files, mut counts) = (None, Vec::new(), DumpCounts::default());
        let mut filling: Option<Filling<'_>> = None;
        while let Some(record) = stream.next().await? {
            match record {
                DumpRecord::Row(row) => {
                    let filling = filling.as_mut().ok_or(StoreError::damaged(WHAT))?;
                    progress.add(1, row.iter().map(size).sum());
                    if filling.table.name == CHECK {
                        check = Some(check_of(&filling.columns, &row)?);
                    } else if filling.add(row)? {
                        store.fill(filling).await?;
                    }
                }
                DumpRecord::Table { name, columns } => {
                    if let Some(mut filled) = filling.take() {
                        store.fill(&mut filled).await?;
                    }
                    let table = all.iter().find(|table| table.name == name).ok_or(StoreError::Version(WHAT))?;
                    filling = Some(Filling::new(table, &columns)?);
                }
                DumpRecord::Blob { digest, bytes } => {
                    if let Some(mut filled) = filling.take() {
                        store.fill(&mut filled).await?;
                    }
                    progress.add(0, bytes.len());
                    store.blobs().put(&bytes)?;
                    store.blob_share(&digest).await?;
                }
                DumpRecord::File { name, bytes } => files.push((name, bytes)),
                DumpRecord::End(all) => counts = all,
            }
        }
        if let Some(mut filled) = filling.take() {
            store.fill(&mut filled).await?;
        }
        let check = check.ok_or(StoreError::damaged(WHAT))?;
        Ok(Restored { store, check, files, counts })
    }

    /// Removes every row, children first.
    async fn clear(&self, all: &[Table]) -> Result<(), StoreError> {
        for table in all.iter().rev() {
            self.write(table.part, vec![query(AssertSqlSafe(table.empty()))]).await?;
        }
        Ok(())
    }

    /// Writes the rows that were gathered.
    async fn fill(&self, filling: &mut Filling<'_>) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut filling.rows);
        filling.bytes = 0;
        let dialect = self.reader().dialect();
        let mut statements = Vec::new();
        let (mut from, mut bytes) = (0, 0);
        for (at, row) in rows.iter().enumerate() {
            bytes += row.iter().map(size).sum::<usize>();
            if at + 1 == rows.len() || at + 1 - from == BATCH || bytes >= BATCH_BYTES {
                statements.push(filling.insert(&rows[from..=at], dialect)?);
                (from, bytes) = (at + 1, 0);
            }
        }
        self.write(filling.table.part, statements).await
    }

    /// Runs statements in one transaction, whose changes nobody marks: the marks come along.
    async fn write(&self, part: Part, statements: Vec<Query<'_>>) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| StoreError::of(WHAT, &error);
        if part == Part::Keys {
            let mut tx = self.key_db().begin().await.map_err(failed)?;
            for statement in statements {
                statement.execute(&mut tx).await.map_err(failed)?;
            }
            return tx.commit().await.map_err(failed);
        }
        let mut tx = self.begin().await?;
        for statement in statements {
            tx.run(WHAT, statement).await?;
        }
        if tx.dialect() == Dialect::Sqlite && tx.has_begun() {
            tx.run(WHAT, query("DELETE FROM temp.touched")).await?;
        }
        tx.commit().await
    }
}

impl WriteTx<'_> {
    /// Ends every session and takes every invitation back, of all tenants: whichever were ended or used since a backup was made,
    /// nobody knows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn tokens_end(&mut self) -> Result<(), StoreError> {
        for end in ["DELETE FROM session_seen", "DELETE FROM user_session", "DELETE FROM invitation"] {
            self.run(WHAT, query(end)).await?;
        }
        Ok(())
    }
}

/// Rows of a table that are gathered.
struct Filling<'t> {
    table: &'t Table,
    columns: Vec<Column>,
    rows: Vec<Vec<DumpCell>>,
    bytes: usize,
}

impl<'t> Filling<'t> {
    fn new(table: &'t Table, names: &[String]) -> Result<Self, StoreError> {
        let known = |name: &String| table.columns.iter().find(|column| column.name == *name).cloned();
        let columns = names.iter().map(known).collect::<Option<_>>().ok_or(StoreError::Version(WHAT))?;
        Ok(Self { table, columns, rows: Vec::new(), bytes: 0 })
    }

    /// Takes a row; whether it is time to write.
    fn add(&mut self, row: Vec<DumpCell>) -> Result<bool, StoreError> {
        if row.len() != self.columns.len() {
            return Err(StoreError::damaged(WHAT));
        }
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
        Ok(self.rows.len() == TRANSACTION || self.bytes >= 8 * BATCH_BYTES)
    }

    fn insert(&self, rows: &[Vec<DumpCell>], dialect: Dialect) -> Result<Query<'static>, StoreError> {
        let kinds: Vec<_> = self.columns.iter().map(|column| column.kind).collect();
        let mut values = match dialect {
            Dialect::Sqlite => Rows::for_sqlite(),
            Dialect::Postgres => Rows::for_postgres(&kinds),
        };
        for (cell, kind) in rows.iter().flat_map(|row| row.iter().zip(&kinds)) {
            values.add_cell(*kind, cell).map_err(|_| StoreError::damaged(WHAT))?;
        }
        Ok(query(AssertSqlSafe(self.table.insert(&self.columns, rows.len(), dialect))).with(values))
    }
}

fn size(cell: &DumpCell) -> usize {
    match cell {
        DumpCell::Null | DumpCell::Number(_) => 8,
        DumpCell::Text(text) => text.len(),
        DumpCell::Bytes(bytes) => bytes.len(),
    }
}

fn check_of(columns: &[Column], row: &[DumpCell]) -> Result<(KeyCheck, i64), StoreError> {
    let of = |name: &str| columns.iter().zip(row).find(|(column, _)| column.name == name).map(|(_, cell)| cell);
    match (of("wrapped"), of("created_ms")) {
        (Some(DumpCell::Bytes(wrapped)), Some(DumpCell::Number(created_ms))) => {
            Ok((KeyCheck::from_stored(wrapped)?, *created_ms))
        }
        _ => Err(StoreError::damaged(WHAT)),
    }
}
