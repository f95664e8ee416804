//! Which databases a store is on.

use crate::StoreError;
use crate::data_dir::{DATA, DataDir, KEYS};
use crate::db::postgres::Server;
use crate::db::sqlite::Files;
use crate::db::{Connection, Dialect, Pool};
use crate::folding::Folder;
use crate::rows::{POSTGRES_SESSION, SQLITE_SESSION, guard};

/// Where a store keeps everything but files: in the data directory, or on a server that nodes share.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    server: Option<Server>,
}

impl StoreOptions {
    /// On a `PostgreSQL` server: data and wrapped keys at urls of their own (`postgres://user@host/database`), so that their
    /// backups are apart. A url may name a schema, as `?options[search_path]=keys`. `password` is for both, where the urls have
    /// none.
    ///
    /// # Errors
    /// [`StoreError::Url`], which never repeats the url.
    pub fn server(data: &str, keys: &str, password: Option<&str>) -> Result<Self, StoreError> {
        Ok(Self { server: Some(Server::at(data, keys, password)?) })
    }

    /// Whether other nodes may write to the same databases.
    pub fn is_shared(&self) -> bool {
        self.server.is_some()
    }
}

/// Makes connections.
pub(crate) enum Engine {
    Sqlite(Box<Files>),
    Postgres { server: Server, node: String },
}

impl Engine {
    pub(crate) fn of(options: &StoreOptions, dir: &DataDir) -> Self {
        match (&options.server, dir.node()) {
            (Some(server), node) => {
                Self::Postgres { server: server.clone(), node: node.unwrap_or_default().to_owned() }
            }
            (None, _) => Self::Sqlite(Box::new(Files::at(&dir.path_of(DATA), &dir.path_of(KEYS)))),
        }
    }

    /// Which engine it is.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Brings the tables up to date.
    pub(crate) async fn migrate(&self, data: &'static str, keys: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(files) => Box::pin(files.migrate(data, keys)).await,
            Self::Postgres { server, .. } => {
                Box::pin(server.migrate(data, keys)).await?;
                Box::pin(guard(server)).await
            }
        }
    }

    /// Connections that read the data.
    pub(crate) fn readers(&self) -> Pool {
        match self {
            Self::Sqlite(files) => files.readers(),
            Self::Postgres { server, .. } => server.readers(),
        }
    }

    /// Connections to the keys.
    pub(crate) fn keys(&self) -> Pool {
        match self {
            Self::Sqlite(files) => files.keys(),
            Self::Postgres { server, .. } => server.keys(),
        }
    }

    /// Who folds the write-ahead log of the data; a server does that for itself.
    pub(crate) fn folder(&self) -> Option<Folder> {
        match self {
            Self::Sqlite(files) => Some(files.folder()),
            Self::Postgres { .. } => None,
        }
    }

    /// Connections to the data and to the keys for reading all of them, each of one moment.
    pub(crate) async fn still(&self) -> Result<(Connection, Connection), sqlx::Error> {
        match self {
            Self::Sqlite(files) => files.still().await,
            Self::Postgres { server, .. } => Box::pin(server.still()).await,
        }
    }

    /// A connection that writes to the data and notices which guarded rows it changes.
    pub(crate) async fn writer(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Sqlite(files) => files.writer(*SQLITE_SESSION).await,
            Self::Postgres { server, node } => Box::pin(server.writer(node, POSTGRES_SESSION)).await,
        }
    }
}
