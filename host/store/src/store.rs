//! Opening and closing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::data_dir::{DATA, DataDir, KEYS};
use crate::folding::{Folder, Folding, Sizes};
use crate::tx::{WriteTx, Writer};
use crate::{Blobs, StoreError};

static DATA_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/data");
static KEY_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/keys");

/// How long a statement waits for a lock another connection holds.
const BUSY: Duration = Duration::from_secs(1);
/// How long a read waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS: u32 = 4;
/// Page cache of a connection: a negative number is KiB (<https://sqlite.org/pragma.html#pragma_cache_size>).
const PAGE_CACHE: &str = "-16384";
/// Pages in the write-ahead log of the keys before a commit folds them into their database.
const CHECKPOINT_PAGES: &str = "1000";
/// No commit folds the log of the data: see [`Folder`].
const NO_CHECKPOINT: &str = "0";
/// Bytes of a page of a new database of data. An audit entry takes about 1,400, of which 4 KiB hold two and 8 KiB five,
/// and each page written costs two calls of the kernel.
const DATA_PAGE: u32 = 8 << 10;
/// Distinct statements kept prepared on a connection; more than this crate has.
const STATEMENTS: usize = 200;

/// The store of one data directory, which it locks until it is dropped.
pub struct Store {
    read: SqlitePool,
    keys: SqlitePool,
    writer: Arc<Writer>,
    folder: Arc<Folder>,
    folding: Folding,
    blobs: Blobs,
    data_dir: DataDir,
}

impl Store {
    /// Makes `path` a data directory: mode 0700, databases of mode 0600 with their tables. A run that was cut short can
    /// be repeated.
    ///
    /// # Errors
    /// [`StoreError::AlreadyInitialised`] once a root check is stored; [`StoreError::Locked`];
    /// [`StoreError::Unavailable`]; [`StoreError::File`], also for a directory that holds other files.
    pub async fn init(path: &Path) -> Result<(), StoreError> {
        let store = Self::with(DataDir::create(path)?).await?;
        let taken = store.root_check().await?.is_some();
        store.close().await;
        if taken { Err(StoreError::AlreadyInitialised(path.to_owned())) } else { Ok(()) }
    }

    /// Opens the data directory at `path`, bringing its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::Locked`] naming the process that has it, [`StoreError::Exposed`]
    /// when others may read it, [`StoreError::Version`] when a newer host wrote it, [`StoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(DataDir::open(path)?).await
    }

    async fn with(data_dir: DataDir) -> Result<Self, StoreError> {
        let data = options(&data_dir.path_of(DATA)).page_size(DATA_PAGE).pragma("wal_autocheckpoint", NO_CHECKPOINT);
        let keys = options(&data_dir.path_of(KEYS));
        migrate(DATA, &data, &DATA_MIGRATIONS).await?;
        migrate(KEYS, &keys, &KEY_MIGRATIONS).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(data.clone().read_only(true));
        let keys = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(keys);
        let (writer, folder) = (Arc::new(Writer::new(data.clone())), Arc::new(Folder::new(data, Sizes::default())));
        let folding = Folding::start(folder.clone(), writer.clone());
        Ok(Self { read, keys, writer, folder, folding, blobs: data_dir.blobs()?, data_dir })
    }

    /// Begins a write transaction, waiting for the one in progress to end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<WriteTx<'_>, StoreError> {
        self.writer.begin().await
    }

    /// Plugin files.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The data directory itself, for the operator's configuration file.
    pub fn dir(&self) -> &Dir {
        self.data_dir.dir()
    }

    /// The directory of compiled code, mode 0700.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn compiled(&self) -> Result<Dir, StoreError> {
        self.data_dir.compiled()
    }

    /// Ends all connections, rolling back what was not committed, and folds the write-ahead logs into the databases.
    /// Dropping the store without it loses nothing that was committed.
    pub async fn close(mut self) {
        self.read.close().await;
        self.folder.close(&mut self.folding).await;
        // The last one out folds the log, which those that only read cannot.
        self.writer.close().await;
        self.keys.close().await;
    }

    /// Where reads run.
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.read
    }

    /// The one writer.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Who folds the log of the data.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    #[cfg(test)]
    pub(crate) fn folding(&mut self) -> &mut Folding {
        &mut self.folding
    }

    /// Where wrapped keys are.
    pub(crate) fn key_db(&self) -> &SqlitePool {
        &self.keys
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.data_dir.path_of("")).finish_non_exhaustive()
    }
}

/// A commit is on disk when it answers (`synchronous=FULL`), references are enforced, sorting needs no files, and what is
/// deleted or written over is overwritten in the file: a wrapped key, or a value as it was under an older key.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", PAGE_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("secure_delete", "ON")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn migrate(name: &'static str, options: &SqliteConnectOptions, migrator: &Migrator) -> Result<(), StoreError> {
    let of = |error: sqlx::Error| StoreError::of(name, &error);
    let mut connection = options.connect().await.map_err(of)?;
    migrator.run(&mut connection).await.map_err(|error| StoreError::of_migration(name, &error))?;
    sqlx::Connection::close(connection).await.map_err(of)
}
