//! Writing the stream.

use opsiq_contract::Digest;
use sqlx::AssertSqlSafe;
use tokio::sync::mpsc::Sender;

use super::catalogue::{Part, Table, tables};
use super::{BLOB, BYTES, DumpCounts, DumpProgress, END, FILE, NULL, NUMBER, PIECE, ROW, TABLE, TEXT, WHAT};
use crate::db::{Cell, Connection, Row, query, query_scalar};
use crate::error::Trouble;
use crate::{Store, StoreError};

/// How often two databases are looked at until both are of one moment.
const TRIES: usize = 16;

impl Store {
    /// Sends everything that is kept, and `files` before it, as it was at one moment of this call, piece by piece: whoever
    /// takes them slowly is waited for, and memory stays bounded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when nobody takes the pieces any more; [`StoreError::Damaged`] for columns that hold
    /// what no host writes.
    pub async fn dump(
        &self,
        files: &[(&str, Vec<u8>)],
        to: Sender<Vec<u8>>,
        progress: &DumpProgress,
    ) -> Result<DumpCounts, StoreError> {
        let mut out = Out { to, piece: Vec::with_capacity(PIECE), progress };
        for (name, bytes) in files {
            out.piece.push(FILE);
            out.text(name);
            out.long(bytes);
        }
        let (mut data, mut keys) = self.moment().await?;
        let mut counts = DumpCounts::default();
        let mut all = tables(Part::Keys, self.key_db()).await?;
        all.extend(tables(Part::Data, self.reader()).await?);
        for table in &all {
            let from = if table.part == Part::Keys { &mut keys } else { &mut data };
            counts.rows += out.table(table, from).await?;
        }
        let digests = query_scalar::<String>("SELECT digest FROM plugin ORDER BY digest").fetch_all(&mut data).await;
        for connection in [data, keys] {
            // It only read, so there is nothing to lose.
            let _ = connection.close().await;
        }
        for digest in digests.map_err(|error| StoreError::of(WHAT, &error))? {
            let digest: Digest = digest.parse().map_err(|_| StoreError::damaged("digest of a plugin"))?;
            match self.blob_bytes(&digest).await {
                Ok(bytes) => {
                    out.piece.push(BLOB);
                    out.piece.extend_from_slice(digest.as_bytes());
                    out.long(&bytes);
                    out.send_full().await?;
                    counts.blobs += 1;
                }
                Err(StoreError::NotFound { .. } | StoreError::BlobChanged(_)) => counts.missing += 1,
                Err(error) => return Err(error),
            }
        }
        out.piece.push(END);
        for count in [counts.rows, counts.blobs, counts.missing] {
            out.piece.extend_from_slice(&count.to_be_bytes());
        }
        out.send().await?;
        Ok(counts)
    }

    /// A transaction on the data and one on the keys that see what belongs together: every key that something of the data
    /// is sealed under. A key is kept before anything is sealed under it, so those that are read last have them all, unless
    /// one was destroyed in between; then it is tried again. A subject's key may be: that is known for what it is.
    async fn moment(&self) -> Result<(Connection, Connection), StoreError> {
        const ALL: &str = "SELECT tenant || ' ' || generation FROM tenant_key ORDER BY 1";
        let failed = |error: sqlx::Error| StoreError::of(WHAT, &error);
        for _ in 0..TRIES {
            let before: Vec<String> = query_scalar(ALL).fetch_all(self.key_db()).await.map_err(failed)?;
            let (mut data, mut keys) = self.writer().engine().still().await.map_err(failed)?;
            let _: i64 = query_scalar("SELECT COUNT(*) FROM tenant").fetch_one(&mut data).await.map_err(failed)?;
            let after: Vec<String> = query_scalar(ALL).fetch_all(&mut keys).await.map_err(failed)?;
            if before.iter().all(|key| after.contains(key)) {
                return Ok((data, keys));
            }
        }
        Err(StoreError::unavailable(Trouble::Busy))
    }
}

/// Pieces on their way.
struct Out<'p> {
    to: Sender<Vec<u8>>,
    piece: Vec<u8>,
    progress: &'p DumpProgress,
}

impl Out<'_> {
    async fn table(&mut self, table: &Table, from: &mut Connection) -> Result<u64, StoreError> {
        self.piece.push(TABLE);
        self.text(&table.name);
        let columns = u16::try_from(table.columns.len()).map_err(|_| StoreError::damaged(WHAT))?;
        self.piece.extend_from_slice(&columns.to_be_bytes());
        for column in &table.columns {
            self.text(&column.name);
        }
        let failed = |error: sqlx::Error| StoreError::of(WHAT, &error);
        let mut rows = query(AssertSqlSafe(table.select())).stream(from).map_err(failed)?;
        let mut count = 0;
        while let Some(row) = futures::TryStreamExt::try_next(&mut rows).await.map_err(failed)? {
            self.row(&row, table.columns.len()).map_err(failed)?;
            count += 1;
            self.progress.add(1, 0);
            self.send_full().await?;
        }
        Ok(count)
    }

    fn row(&mut self, row: &Row, columns: usize) -> Result<(), sqlx::Error> {
        self.piece.push(ROW);
        for at in 0..columns {
            match row.cell(at)? {
                Cell::Null => self.piece.push(NULL),
                Cell::Number(number) => {
                    self.piece.push(NUMBER);
                    self.piece.extend_from_slice(&number.to_be_bytes());
                }
                Cell::Text(text) => {
                    self.piece.push(TEXT);
                    self.long(text.as_bytes());
                }
                Cell::Bytes(bytes) => {
                    self.piece.push(BYTES);
                    self.long(bytes);
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.long(text.as_bytes());
    }

    fn long(&mut self, bytes: &[u8]) {
        self.piece.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.piece.extend_from_slice(bytes);
    }

    async fn send_full(&mut self) -> Result<(), StoreError> {
        if self.piece.len() < PIECE { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<(), StoreError> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.progress.add(0, piece.len());
        self.to.send(piece).await.map_err(|_| StoreError::unavailable(Trouble::Ended))
    }
}
