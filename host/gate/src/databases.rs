//! Where the databases of a host are: in its data directory, or on a server that several nodes share.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use opsiq_store::{Store, StoreOptions};
use opsiq_vault::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config;
use crate::errors;
use crate::host::HostOptions;
use crate::refusal::{Class, Refusal, Stage};

/// Longer files hold no password.
const MOST: u64 = 4096;

/// The databases of a server, as `[store]` of the operator's file names them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Databases {
    /// Where data is: `postgres://user@host/database`, with `?sslmode=verify-full` over a network.
    pub url: String,
    /// Where wrapped keys are: another database, or another schema (`?options[search_path]=keys`).
    pub keys: String,
    /// A file that holds the password for both, where neither says one.
    pub password_file: Option<PathBuf>,
}

/// Says no more than that they are named: a url may hold a password.
impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databases").finish_non_exhaustive()
    }
}

impl Databases {
    /// As a section of the operator's file. Refused where a url holds a password: that belongs into a file of its own or the
    /// environment.
    pub(crate) fn section(&self) -> Result<String, Refusal> {
        if [&self.url, &self.keys].into_iter().any(|url| holds_password(url)) {
            return Err(Refusal::new(
                Class::Invalid,
                Stage::Admin,
                "store.url",
                "a url of a database holds a password",
                "give it as OPSIQ_STORE_PASSWORD, or in a file named by OPSIQ_STORE_PASSWORD_FILE",
            ));
        }
        let text = |text: &str| toml::Value::from(text).to_string();
        let mut section = format!("[store]\nurl = {}\nkeys = {}\n", text(&self.url), text(&self.keys));
        if let Some(file) = &self.password_file {
            // Writing to a string does not fail.
            let _ = writeln!(section, "password-file = {}", text(&file.to_string_lossy()));
        }
        Ok(section)
    }
}

fn holds_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// What the caller gave, or else the operator's file says.
pub(crate) fn store_options(options: &HostOptions) -> Result<StoreOptions, Refusal> {
    let named = match &options.store {
        Some(databases) => Some(databases.clone()),
        None => config::databases(&options.data)?,
    };
    let Some(Databases { url, keys, password_file }) = named else { return Ok(StoreOptions::default()) };
    let from_file = password_file.map(|file| read(&file)).transpose()?;
    let given = options.store_password.as_deref().map(Secret::expose);
    let password = given.or(from_file.as_ref().map(|bytes| bytes.as_slice()));
    let password = password.map(|bytes| std::str::from_utf8(bytes).unwrap_or_default().trim_end_matches(['\r', '\n']));
    StoreOptions::server(&url, &keys, password).map_err(|error| errors::store(Stage::Admin, &error))
}

/// Opens the store of a data directory, wherever its databases are.
pub(crate) async fn open_store(options: &HostOptions) -> Result<Store, Refusal> {
    let databases = store_options(options)?;
    Store::open_with(&options.data, &databases).await.map_err(|error| errors::store(Stage::Admin, &error))
}

fn read(file: &PathBuf) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    use std::io::Read as _;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::fs::File::open(file).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map_err(|error| {
        Refusal::new(
            Class::Unavailable,
            Stage::Admin,
            "store.password",
            format!("{} cannot be read: {}", file.display(), error.kind()),
            "let the host read the file that [store] password-file names",
        )
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn databases(url: &str) -> Databases {
        Databases { url: url.to_owned(), keys: "postgres://h@db/keys".to_owned(), password_file: Some("/run/p".into()) }
    }

    #[test]
    fn what_is_written_is_what_is_read_and_never_a_password() {
        let plain = databases("postgres://h@db/opsiq?sslmode=verify-full");
        let section = plain.section().unwrap();
        assert_eq!(config::named_databases(&section).unwrap(), Some(plain));
        let with = databases("postgres://h:hunter2@db/opsiq");
        assert_eq!(with.section().unwrap_err().code, "store.url");
        assert!(!format!("{with:?}").contains("hunter2"));
        for (url, holds) in
            [("postgres://db:5432/x", false), ("postgres://h:p@db", true), ("postgres:///x?y=a:b@c", false)]
        {
            assert_eq!(holds_password(url), holds, "{url}");
        }
    }
}
