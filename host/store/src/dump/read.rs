//! Reading the stream. Nothing is believed of it: lengths are not made room for before their bytes have come.

use opsiq_contract::Digest;
use tokio::sync::mpsc::Receiver;

use super::{BLOB, BYTES, DumpCounts, END, FILE, NULL, NUMBER, ROW, TABLE, TEXT, WHAT};
use crate::StoreError;

/// Bytes of one value, at most: four times what a plugin's file may have.
const MOST: u64 = 1 << 30;
/// Columns of a table, at most.
const COLUMNS: u16 = 1024;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpCell {
    /// None.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpRecord {
    /// A file beside the databases.
    File {
        /// What it is called.
        name: String,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// A table begins.
    Table {
        /// What it is called.
        name: String,
        /// Its columns, in the order of the cells of its rows.
        columns: Vec<String>,
    },
    /// A row of the table that began last.
    Row(Vec<DumpCell>),
    /// A plugin's file, which is what its digest says.
    Blob {
        /// Its digest.
        digest: Digest,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// All has come.
    End(DumpCounts),
}

/// A stream that comes in pieces.
pub struct DumpStream {
    from: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    columns: usize,
    counts: DumpCounts,
    ended: bool,
}

impl DumpStream {
    /// The stream whose pieces come here.
    pub fn new(from: Receiver<Vec<u8>>) -> Self {
        Self { from, piece: Vec::new(), at: 0, columns: 0, counts: DumpCounts::default(), ended: false }
    }

    /// The next record; `None` after the end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is cut off, or not what a host writes.
    pub async fn next(&mut self) -> Result<Option<DumpRecord>, StoreError> {
        let damaged = || StoreError::damaged(WHAT);
        if self.ended {
            return if self.more().await { Err(damaged()) } else { Ok(None) };
        }
        let record = match self.byte().await? {
            FILE => DumpRecord::File { name: self.text().await?, bytes: self.long().await? },
            TABLE => {
                let name = self.text().await?;
                let count = u16::from_be_bytes(self.array().await?);
                if count == 0 || count > COLUMNS {
                    return Err(damaged());
                }
                let mut columns = Vec::new();
                for _ in 0..count {
                    columns.push(self.text().await?);
                }
                self.columns = columns.len();
                DumpRecord::Table { name, columns }
            }
            ROW if self.columns > 0 => {
                let mut row = Vec::with_capacity(self.columns);
                for _ in 0..self.columns {
                    row.push(self.cell().await?);
                }
                self.counts.rows += 1;
                DumpRecord::Row(row)
            }
            BLOB => {
                let digest = Digest::from_bytes(self.array().await?);
                let bytes = self.long().await?;
                if Digest::of(&bytes) != digest {
                    return Err(StoreError::BlobChanged(digest));
                }
                self.counts.blobs += 1;
                DumpRecord::Blob { digest, bytes }
            }
            END => {
                let mut counts = [0; 3];
                for count in &mut counts {
                    *count = u64::from_be_bytes(self.array().await?);
                }
                let [rows, blobs, missing] = counts;
                let counts = DumpCounts { rows, blobs, missing };
                if (counts.rows, counts.blobs) != (self.counts.rows, self.counts.blobs) {
                    return Err(damaged());
                }
                self.ended = true;
                DumpRecord::End(counts)
            }
            _ => return Err(damaged()),
        };
        Ok(Some(record))
    }

    async fn cell(&mut self) -> Result<DumpCell, StoreError> {
        Ok(match self.byte().await? {
            NULL => DumpCell::Null,
            NUMBER => DumpCell::Number(i64::from_be_bytes(self.array().await?)),
            TEXT => DumpCell::Text(self.text().await?),
            BYTES => DumpCell::Bytes(self.long().await?),
            _ => return Err(StoreError::damaged(WHAT)),
        })
    }

    async fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.long().await?).map_err(|_| StoreError::damaged(WHAT))
    }

    async fn long(&mut self) -> Result<Vec<u8>, StoreError> {
        let length = u64::from_be_bytes(self.array().await?);
        if length > MOST {
            return Err(StoreError::damaged(WHAT));
        }
        let mut left = usize::try_from(length).map_err(|_| StoreError::damaged(WHAT))?;
        let mut bytes = Vec::new();
        while left > 0 {
            let part = self.part(left).await?;
            bytes.extend_from_slice(part);
            left -= part.len();
        }
        Ok(bytes)
    }

    async fn byte(&mut self) -> Result<u8, StoreError> {
        self.array::<1>().await.map(|[byte]| byte)
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (mut bytes, mut filled) = ([0; N], 0);
        while filled < N {
            let part = self.part(N - filled).await?;
            bytes[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        Ok(bytes)
    }

    /// The next bytes: one at least, so many at most.
    async fn part(&mut self, most: usize) -> Result<&[u8], StoreError> {
        if !self.more().await {
            return Err(StoreError::damaged(WHAT));
        }
        let end = (self.at + most).min(self.piece.len());
        let part = &self.piece[self.at..end];
        self.at = end;
        Ok(part)
    }

    /// Whether there are more bytes.
    async fn more(&mut self) -> bool {
        while self.at == self.piece.len() {
            match self.from.recv().await {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return false,
            }
        }
        true
    }
}

impl std::fmt::Debug for DumpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DumpStream").field("counts", &self.counts).finish_non_exhaustive()
    }
}
