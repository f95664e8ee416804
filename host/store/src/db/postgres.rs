//! `PostgreSQL`: the databases of a server that several nodes share.
//!
//! Sessions keep state between transactions (the list of changed rows, settings), so a pooler between host and server must
//! give each of them a server's session of its own.
//!
//! Fails closed: a server that may lose what it has committed is refused, as is one that is reached over a network without
//! TLS 1.3 and a certificate that is checked.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use url::Url;

use super::migrations::POSTGRES;
use super::{Connection, Pool};
use crate::StoreError;

/// The oldest version that is served: 14, which replaces triggers in one statement.
const VERSION: i32 = 140_000;
/// Connections that read at the same time.
const READERS: u32 = 8;
/// Connections to the keys.
const KEY_CONNECTIONS: u32 = 2;
/// How long a statement waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(2);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// Distinct statements kept prepared on a connection; more than this crate has.
const STATEMENTS: usize = 200;
/// What a url may say besides where the server is. Anything else is a mistake, and may be a secret.
const PARAMETERS: [&str; 7] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options[search_path]"];

/// Settings of every session. A session whose host is gone ends and lets go of what it holds.
const SESSION: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("client_min_messages", "warning"),
];
/// Of the one that writes: nobody waits for the audit longer than 2 s.
const WRITER: [(&str, &str); 3] =
    [("statement_timeout", "2s"), ("lock_timeout", "1500ms"), ("default_transaction_isolation", "read committed")];
/// Of those that read.
const READER: [(&str, &str); 2] = [("statement_timeout", "30s"), ("default_transaction_read_only", "on")];
/// Of those that reach the keys, which are few: transactions on them are as if one came after the other.
const KEYS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("default_transaction_isolation", "serializable")];

/// A server's two databases: of data, and of wrapped keys, which are apart so that their backups are.
#[derive(Clone)]
pub(crate) struct Server {
    data: Box<PgConnectOptions>,
    keys: Box<PgConnectOptions>,
    local: bool,
}

impl Server {
    /// The databases at these urls.
    ///
    /// # Errors
    /// [`StoreError::Url`] for one that is none, that holds a password which `password` gives as well, that reaches over a
    /// network without `sslmode=verify-full`, or when both are the same.
    pub(crate) fn at(data: &str, keys: &str, password: Option<&str>) -> Result<Self, StoreError> {
        let ((data, data_local), (keys, keys_local)) = (parse(data, password)?, parse(keys, password)?);
        if place(&data) == place(&keys) {
            return Err(StoreError::Url("wrapped keys need a database or a schema of their own"));
        }
        Ok(Self { data: Box::new(data), keys: Box::new(keys), local: data_local && keys_local })
    }

    /// Checks the server, and brings the tables up to date. Of several nodes that do so at once, one does it.
    pub(crate) async fn migrate(&self, data: &'static str, keys: &'static str) -> Result<(), StoreError> {
        for (name, options, migrator) in [(data, &self.data, &POSTGRES.data), (keys, &self.keys, &POSTGRES.keys)] {
            let of = |error: sqlx::Error| StoreError::of(name, &error);
            let mut connection = connect(&with(options, &SESSION)).await.map_err(of)?;
            if let Some(why) = unfit(&mut connection, self.local).await.map_err(of)? {
                return Err(StoreError::Unfit(why));
            }
            migrator.run(&mut connection).await.map_err(|error| StoreError::of_migration(name, &error))?;
            connection.close().await.map_err(of)?;
        }
        Ok(())
    }

    /// Connections that read the data.
    pub(crate) fn readers(&self) -> Pool {
        self.pool(READERS, with(&with(&self.data, &SESSION), &READER))
    }

    /// Connections to the keys.
    pub(crate) fn keys(&self) -> Pool {
        self.pool(KEY_CONNECTIONS, with(&with(&self.keys, &SESSION), &KEYS))
    }

    /// A connection that writes to the data for the node called `node`, prepared by `first`.
    pub(crate) async fn writer(&self, node: &str, first: &'static str) -> Result<Connection, sqlx::Error> {
        let options = with(&with(&self.data, &SESSION), &WRITER).options([("opsiq.node", node)]);
        let mut connection = connect(&options).await?;
        ready(&mut connection, self.local).await?;
        sqlx::raw_sql(first).execute(&mut connection).await?;
        Ok(Connection::Postgres(connection))
    }

    /// Connections to the data and to the keys, each in a transaction that sees the moment of its first statement.
    pub(crate) async fn still(&self) -> Result<(Connection, Connection), sqlx::Error> {
        const STILL: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = '10min'";
        let mut both = Vec::with_capacity(2);
        for options in [&self.data, &self.keys] {
            let mut connection = connect(&with(options, &SESSION)).await?;
            ready(&mut connection, self.local).await?;
            sqlx::raw_sql(STILL).execute(&mut connection).await?;
            both.push(Connection::Postgres(connection));
        }
        match (both.pop(), both.pop()) {
            (Some(keys), Some(data)) => Ok((data, keys)),
            _ => Err(sqlx::Error::PoolClosed),
        }
    }

    /// A connection that may change tables.
    pub(crate) async fn owner(&self) -> Result<PgConnection, sqlx::Error> {
        connect(&with(&self.data, &SESSION)).await
    }

    fn pool(&self, connections: u32, options: PgConnectOptions) -> Pool {
        let local = self.local;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(true)
            .after_connect(move |connection, _| Box::pin(ready(connection, local)));
        Pool::Postgres(pool.connect_lazy_with(options))
    }
}

/// Names where the data is, without secrets.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("data", &place(&self.data))
            .field("keys", &place(&self.keys))
            .finish_non_exhaustive()
    }
}

/// Host or socket, port, database and schema.
fn place(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{host}:{}/{database} {}", options.get_port(), options.get_options().unwrap_or(""))
}

/// What a url says, and whether the server is on this machine.
fn parse(url: &str, password: Option<&str>) -> Result<(PgConnectOptions, bool), StoreError> {
    let parsed = Url::parse(url).map_err(|_| StoreError::Url("it is no url"))?;
    if !["postgres", "postgresql"].contains(&parsed.scheme()) {
        return Err(StoreError::Url("it must begin with postgres://"));
    }
    if parsed.query_pairs().any(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
        return Err(StoreError::Url("it has a parameter that is not known"));
    }
    let mut options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Url("it does not parse"))?;
    match (parsed.password(), password) {
        (Some(_), Some(_)) => return Err(StoreError::Url("the password is given twice")),
        (None, Some(password)) => options = options.password(password),
        _ => {}
    }
    let host = options.get_host();
    let loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let local = options.get_socket().is_some() || host == "localhost" || host.starts_with('/') || loopback;
    if !local && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        return Err(StoreError::Url("over a network it needs sslmode=verify-full"));
    }
    Ok((options.statement_cache_capacity(STATEMENTS).disable_statement_logging(), local))
}

fn with(options: &PgConnectOptions, settings: &[(&str, &str)]) -> PgConnectOptions {
    options.clone().options(settings.iter().copied())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(CONNECT, Box::pin(options.connect())).await.unwrap_or_else(late)
}

/// Refuses a connection that must not be used.
async fn ready(connection: &mut PgConnection, local: bool) -> Result<(), sqlx::Error> {
    match unfit(connection, local).await? {
        None => Ok(()),
        Some(why) => Err(sqlx::Error::Configuration(why.into())),
    }
}

/// Why a connection must not be used, if so.
async fn unfit(connection: &mut PgConnection, local: bool) -> Result<Option<&'static str>, sqlx::Error> {
    let (version, fsync, pages, commit, encoding, tls): (i32, String, String, String, String, Option<String>) =
        sqlx::query_as(
            "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
             current_setting('full_page_writes'), current_setting('synchronous_commit'), \
             current_setting('server_encoding'), (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)",
        )
        .fetch_one(connection)
        .await?;
    Ok(if version < VERSION {
        Some("it is older than PostgreSQL 14")
    } else if fsync != "on" {
        Some("fsync is off, so what it commits may be lost")
    } else if pages != "on" {
        Some("full_page_writes is off, so a crash may tear its pages")
    } else if commit == "off" || commit == "local" {
        // With `local` a standby that takes over may not have what was answered.
        Some("synchronous_commit is off or local, so what it commits may be lost")
    } else if encoding != "UTF8" {
        Some("the encoding of the database is not UTF8")
    } else if !local && tls.as_deref() != Some("TLSv1.3") {
        Some("the connection to it is not TLS 1.3")
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "postgres://host@127.0.0.1:5432/opsiq";
    const LOCAL_KEYS: &str = "postgres://host@127.0.0.1:5432/opsiq_keys";

    fn why(data: &str, keys: &str, password: Option<&str>) -> &'static str {
        match Server::at(data, keys, password) {
            Err(StoreError::Url(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_url_is_taken_or_refused_by_its_mistake() {
        Server::at(LOCAL, LOCAL_KEYS, Some("secret")).unwrap();
        Server::at(LOCAL, "postgres://host@127.0.0.1/opsiq?options[search_path]=keys", None).unwrap();
        Server::at("postgres:///opsiq?host=/var/run/postgresql", LOCAL_KEYS, None).unwrap();
        let far = "postgres://host@db.example.com/opsiq";
        let far_keys = "postgres://host@db.example.com/keys?sslmode=verify-full";
        Server::at(&format!("{far}?sslmode=verify-full"), far_keys, None).unwrap();
        assert!(why(far, far_keys, None).contains("verify-full"));
        assert!(why(&format!("{far}?sslmode=require"), far_keys, None).contains("verify-full"));
        assert!(why(LOCAL, LOCAL, None).contains("of their own"));
        assert!(why("mysql://127.0.0.1/opsiq", LOCAL_KEYS, None).contains("postgres://"));
        assert!(why("opsiq", LOCAL_KEYS, None).contains("no url"));
        assert!(why("postgres://host@127.0.0.1/opsiq?passwrod=secret", LOCAL_KEYS, None).contains("not known"));
        let given = "postgres://host:secret@127.0.0.1/opsiq";
        assert!(why(given, LOCAL_KEYS, Some("secret")).contains("twice"));
    }

    #[test]
    fn what_is_shown_holds_no_password() {
        let server = Server::at("postgres://host:hunter2@127.0.0.1/opsiq", LOCAL_KEYS, None).unwrap();
        let shown = format!("{server:?}");
        assert!(shown.contains("127.0.0.1:5432/opsiq") && !shown.contains("hunter2"), "{shown}");
    }
}
