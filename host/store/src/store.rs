//! Opening and closing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use tokio::task::JoinHandle;

use crate::data_dir::{DATA, DataDir, KEYS};
use crate::db::Pool;
use crate::engine::{Engine, StoreOptions};
use crate::folding::{Folder, Folding};
use crate::tx::{WriteTx, Writer};
use crate::{Blobs, StoreError};

/// How long closing waits for the database to take this node's leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The store of one data directory, which it locks until it is dropped.
pub struct Store {
    read: Pool,
    keys: Pool,
    writer: Arc<Writer>,
    /// Connects the writer while the store is read to be opened.
    connecting: JoinHandle<()>,
    /// What a server does for itself.
    folder: Option<Arc<Folder>>,
    folding: Option<Folding>,
    blobs: Blobs,
    data_dir: DataDir,
}

impl Store {
    /// Makes `path` a data directory with databases of its own. As [`Store::init_with`].
    ///
    /// # Errors
    /// As [`Store::init_with`].
    pub async fn init(path: &Path) -> Result<(), StoreError> {
        Self::init_with(path, &StoreOptions::default()).await.map(drop)
    }

    /// Makes `path` a data directory: mode 0700, databases with their tables, those in the directory of mode 0600. A run that
    /// was cut short can be repeated. Answers whether it is now the directory of one more node of databases that were in use.
    ///
    /// # Errors
    /// [`StoreError::AlreadyInitialised`] once a root check is stored, unless the directory is a new node's;
    /// [`StoreError::Locked`]; [`StoreError::Unavailable`]; [`StoreError::Unfit`]; [`StoreError::File`], also for a directory
    /// that holds other files.
    pub async fn init_with(path: &Path, options: &StoreOptions) -> Result<bool, StoreError> {
        let dir = DataDir::create(path, options.is_shared())?;
        let new_node = dir.is_new_node();
        let store = Self::with(dir, options).await?;
        let taken = store.root_check().await?.is_some();
        store.close().await;
        if taken && !new_node { Err(StoreError::AlreadyInitialised(path.to_owned())) } else { Ok(taken) }
    }

    /// Makes the directory and its databases, if they are not there, and opens them.
    pub(crate) async fn create(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::with(DataDir::create(path, options.is_shared())?, options).await
    }

    /// Opens the data directory at `path` with its own databases. As [`Store::open_with`].
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &StoreOptions::default()).await
    }

    /// Opens the data directory at `path`, bringing the tables up to date.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::Locked`] naming the process that has it, [`StoreError::Exposed`]
    /// when others may read it, [`StoreError::Version`] when a newer host wrote the tables, [`StoreError::Unfit`] for a server
    /// that may lose what it commits, [`StoreError::Unavailable`].
    pub async fn open_with(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::with(DataDir::open(path, options.is_shared())?, options).await
    }

    async fn with(data_dir: DataDir, options: &StoreOptions) -> Result<Self, StoreError> {
        let engine = Engine::of(options, &data_dir);
        engine.migrate(DATA, KEYS).await?;
        let (read, keys, blobs) = (engine.readers(), engine.keys(), data_dir.blobs()?);
        let folder = engine.folder().map(Arc::new);
        let writer = Arc::new(Writer::new(engine));
        let folding = folder.clone().map(|folder| Folding::start(folder, writer.clone()));
        let early = writer.clone();
        let connecting = tokio::spawn(async move { early.connect_early().await });
        let store = Self { read, keys, writer, connecting, folder, folding, blobs, data_dir };
        store.node_register().await?;
        Ok(store)
    }

    /// Begins a write transaction, waiting for the one in progress to end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<WriteTx<'_>, StoreError> {
        self.writer.begin().await
    }

    /// Undoes a transaction that was dropped now, rather than when the next begins: other nodes may wait for what it holds.
    pub async fn let_go(&self) {
        if self.is_shared() {
            self.writer.let_go().await;
        }
    }

    /// Plugin files that this node has.
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

    /// Whether other nodes may write to the same databases.
    pub fn is_shared(&self) -> bool {
        self.data_dir.node().is_some()
    }

    /// Ends all connections, rolling back what was not committed, and folds the write-ahead logs into the databases.
    /// Dropping the store without it loses nothing that was committed.
    pub async fn close(mut self) {
        // A connection made after all are closed would be the last one out.
        let _ = (&mut self.connecting).await;
        // Without it others only wait until the lease is over.
        let _ = tokio::time::timeout(LEAVE_WITHIN, self.node_leave()).await;
        self.read.close().await;
        if let (Some(folder), Some(folding)) = (&self.folder, &mut self.folding) {
            folder.close(folding).await;
        }
        // The last one out folds the log, which those that only read cannot.
        self.writer.close().await;
        self.keys.close().await;
    }

    /// Where reads run.
    pub(crate) fn reader(&self) -> &Pool {
        &self.read
    }

    /// The one writer.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Who folds the log of the data, where a server does not.
    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.folder.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn folding(&mut self) -> Option<&mut Folding> {
        self.folding.as_mut()
    }

    /// Where wrapped keys are.
    pub(crate) fn key_db(&self) -> &Pool {
        &self.keys
    }

    /// What this node is called among those that share the databases; empty when it is alone.
    pub(crate) fn node(&self) -> &str {
        self.data_dir.node().unwrap_or("")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.data_dir.path_of("")).finish_non_exhaustive()
    }
}
