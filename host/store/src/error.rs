//! What can go wrong, in the words of a caller. No message of the database is carried on: it may quote a value.

use std::io;
use std::path::PathBuf;

use opsiq_contract::Digest;
use opsiq_vault::VaultError;
use sqlx::error::ErrorKind;
use sqlx::postgres::PgDatabaseError;

/// Why storage cannot be used right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// Reading or writing failed.
    #[error("the disk reports errors")]
    Io,
    /// It can be read and not written.
    #[error("the disk is read-only")]
    ReadOnly,
    /// Someone else held it for too long.
    #[error("the database is busy")]
    Busy,
    /// The database server does not answer, or ended the connection.
    #[error("the database server cannot be reached")]
    Away,
    /// The database server does not let this host in, or is not set up as it must be.
    #[error("the database server refuses this host, or is not set up for it")]
    Refused,
    /// The transaction failed earlier, or the store is closing.
    #[error("the connection or its transaction has ended")]
    Ended,
}

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such row.
    #[error("there is no such {what}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
    },
    /// It exists already, changed since it was read, or is still in use.
    #[error("the {what} exists already, changed meanwhile, or is in use")]
    Conflict {
        /// What kind of thing.
        what: &'static str,
    },
    /// Nothing was written. Worth trying again once the trouble is over.
    #[error("storage is unavailable: {trouble}")]
    Unavailable {
        /// Which trouble.
        trouble: Trouble,
    },
    /// This node was given up: others end the calls that it had begun. It writes nothing more until it has registered anew.
    #[error("this node did not renew its lease in time, and others end its calls")]
    Fenced,
    /// Another process uses the data directory.
    #[error("the data directory is in use by {}", holder(*.pid))]
    Locked {
        /// Its process id, when it could be read.
        pid: Option<u32>,
    },
    /// The data directory, or a file in it, may be read by others.
    #[error("{} has mode {mode:o}: others may read it; run: chmod go-rwx {}", path.display(), path.display())]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory holds no data of this host.
    #[error("{} is not a data directory of this host; run: opsiq init", .0.display())]
    NotInitialised(PathBuf),
    /// The directory is in use already.
    #[error("{} is initialised already", .0.display())]
    AlreadyInitialised(PathBuf),
    /// A newer or changed host wrote the database.
    #[error("the database {0} was made by another version of this host")]
    Version(&'static str),
    /// The url of a database is wrong. It is not repeated: it may hold a secret.
    #[error("the url of the database is not usable: {0}")]
    Url(&'static str),
    /// The database server must not be used.
    #[error("the database server is not used: {0}")]
    Unfit(&'static str),
    /// The data directory holds databases of its own, and is told to use a server's.
    #[error("{} holds databases of its own; a host on a server needs a data directory without", .0.display())]
    OtherEngine(PathBuf),
    /// What is stored is not what this host writes.
    #[error("the stored {what} is damaged")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
    /// A plugin's file is not what its digest says. It is not used.
    #[error("the stored file of plugin {0} was changed")]
    BlobChanged(Digest),
    /// A stored wrapped key is not in a known form.
    #[error(transparent)]
    Key(#[from] VaultError),
    /// A file operation failed.
    #[error("{what}: {kind}")]
    File {
        /// What was tried.
        what: &'static str,
        /// How it failed.
        kind: io::ErrorKind,
    },
    /// A bug here or in the database library.
    #[error("the database refused a statement (code {0})")]
    Internal(String),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StoreError {
    /// Whether storage is in trouble, as opposed to the request being wrong.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The error for a column that does not hold what was written there.
    pub(crate) const fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }

    pub(crate) const fn unavailable(trouble: Trouble) -> Self {
        Self::Unavailable { trouble }
    }

    /// The error for a failed statement about `what`.
    pub(crate) fn of(what: &'static str, error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NotFound { what },
            sqlx::Error::Database(error) => match error.kind() {
                ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => Self::Conflict { what },
                _ if error.try_downcast_ref::<PgDatabaseError>().is_some() => {
                    Self::of_state(what, error.code().as_deref().unwrap_or_default())
                }
                _ => Self::of_code(what, error.code().as_deref()),
            },
            sqlx::Error::Io(error) => Self::of_reach(error),
            sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::unavailable(Trouble::Away),
            sqlx::Error::Configuration(_) => Self::unavailable(Trouble::Refused),
            sqlx::Error::PoolTimedOut => Self::unavailable(Trouble::Busy),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::unavailable(Trouble::Ended),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::damaged(what),
            sqlx::Error::Migrate(error) => Self::of_migration(what, error),
            _ => Self::Internal("none".to_owned()),
        }
    }

    /// By `SQLite`'s extended result code, whose low byte is the class (<https://sqlite.org/rescode.html>).
    fn of_code(what: &'static str, code: Option<&str>) -> Self {
        let class = code.and_then(|code| code.parse::<u32>().ok()).map_or(0, |code| code & 0xff);
        match class {
            5 | 6 => Self::unavailable(Trouble::Busy),
            8 => Self::unavailable(Trouble::ReadOnly),
            10 | 14 => Self::unavailable(Trouble::Io),
            13 => Self::unavailable(Trouble::Full),
            11 | 26 => Self::damaged(what),
            _ => Self::Internal(code.unwrap_or("none").to_owned()),
        }
    }

    /// By the `SQLSTATE` of a server (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    fn of_state(what: &'static str, state: &str) -> Self {
        match state {
            "53100" => Self::unavailable(Trouble::Full),
            "58030" => Self::unavailable(Trouble::Io),
            "25006" => Self::unavailable(Trouble::ReadOnly),
            // A wait that took too long, and transactions that got in one another's way.
            "55P03" | "57014" | "40001" | "40P01" => Self::unavailable(Trouble::Busy),
            "25P02" => Self::unavailable(Trouble::Ended),
            "3D000" | "3F000" | "42501" => Self::unavailable(Trouble::Refused),
            "XX001" | "XX002" => Self::damaged(what),
            _ => match &state.as_bytes()[..state.len().min(2)] {
                b"08" | b"57" | b"25" => Self::unavailable(Trouble::Away),
                b"53" | b"40" => Self::unavailable(Trouble::Busy),
                b"28" => Self::unavailable(Trouble::Refused),
                _ => Self::Internal(state.to_owned()),
            },
        }
    }

    /// The error for a database that was not reached.
    fn of_reach(error: &io::Error) -> Self {
        match Self::of_io("reaching the database", error) {
            Self::File { .. } => Self::unavailable(Trouble::Away),
            error => error,
        }
    }

    /// The error for a failed file operation.
    pub(crate) fn of_io(what: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::unavailable(Trouble::Full),
            io::ErrorKind::ReadOnlyFilesystem => Self::unavailable(Trouble::ReadOnly),
            kind => Self::File { what, kind },
        }
    }

    /// The error for a failed migration of database `name`.
    pub(crate) fn of_migration(name: &'static str, error: &sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::of(name, error),
            _ => Self::Version(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_become_troubles() {
        let trouble = |code| match StoreError::of_code("row", Some(code)) {
            StoreError::Unavailable { trouble } => Some(trouble),
            _ => None,
        };
        assert_eq!(trouble("13"), Some(Trouble::Full));
        assert_eq!(trouble("778"), Some(Trouble::Io)); // SQLITE_IOERR_WRITE
        assert_eq!(trouble("4874"), Some(Trouble::Io)); // SQLITE_IOERR_SHMSIZE
        assert_eq!(trouble("1544"), Some(Trouble::ReadOnly)); // SQLITE_READONLY_CANTINIT
        assert_eq!(trouble("517"), Some(Trouble::Busy)); // SQLITE_BUSY_SNAPSHOT
        assert_eq!(trouble("1"), None);
        assert!(matches!(StoreError::of_code("row", Some("267")), StoreError::Damaged { what: "row" }));
    }

    #[test]
    fn states_of_a_server_become_troubles() {
        let trouble = |state| match StoreError::of_state("row", state) {
            StoreError::Unavailable { trouble } => Some(trouble),
            _ => None,
        };
        assert_eq!(trouble("53100"), Some(Trouble::Full));
        assert_eq!(trouble("57P01"), Some(Trouble::Away)); // admin_shutdown
        assert_eq!(trouble("08006"), Some(Trouble::Away));
        assert_eq!(trouble("40P01"), Some(Trouble::Busy)); // deadlock_detected
        assert_eq!(trouble("57014"), Some(Trouble::Busy)); // query_canceled
        assert_eq!(trouble("53300"), Some(Trouble::Busy)); // too_many_connections
        assert_eq!(trouble("25006"), Some(Trouble::ReadOnly));
        assert_eq!(trouble("28P01"), Some(Trouble::Refused)); // invalid_password
        assert_eq!(trouble("42601"), None); // syntax_error
        assert_eq!(trouble(""), None);
        assert!(matches!(StoreError::of_state("row", "XX001"), StoreError::Damaged { what: "row" }));
    }

    #[test]
    fn a_full_disk_is_a_trouble_also_for_files() {
        let full = StoreError::of_io("writing", &io::ErrorKind::StorageFull.into());
        assert!(matches!(full, StoreError::Unavailable { trouble: Trouble::Full }));
        assert!(!StoreError::of_io("writing", &io::ErrorKind::NotFound.into()).is_unavailable());
    }
}
