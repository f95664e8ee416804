//! What every command works with: the data directory, opened once and only when needed, who acts, and the output.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use opsiq_gate::{Actor, Databases, Host, HostOptions, Refusal, Rollback, RootSource, Token};
use opsiq_vault::Secret;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::acting::Acting;
use crate::control::client;
use crate::control::protocol::{Ask, Request};
use crate::control::server::Server;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::reach::{self, Reach};
use crate::remote::{self, Api, Proof};

/// The environment variable that may hold the root key itself.
const ROOT_KEY: &str = "OPSIQ_ROOT_KEY";
/// The one that may hold the next root key, while it rotates.
const NEXT_ROOT_KEY: &str = "OPSIQ_ROOT_KEY_NEXT";
/// The one that may hold the password of databases on a server.
const STORE_PASSWORD: &str = "OPSIQ_STORE_PASSWORD";
/// The one that may hold the PIN of the token that opens the root key.
const TOKEN_PIN: &str = "OPSIQ_ROOT_PKCS11_PIN";
/// The gate's code for a data directory that another process has.
const LOCKED: &str = "data.locked";
/// How often to look whether it is free.
const LOOK: Duration = Duration::from_millis(25);

/// Options that say where the host lives.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The data directory, by default `opsiq-data`.
    #[arg(long, global = true, env = "OPSIQ_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// A running server to ask, in place of opening a data directory: <https://HOST:PORT>, or unix:FILE for the operator's
    /// socket in a data directory. What only a data directory can tell is refused then.
    #[arg(long, global = true, env = "OPSIQ_ADDR", value_name = "ADDRESS")]
    addr: Option<String>,

    /// A file of roots to trust for that server besides the public ones, as PEM.
    #[arg(long, global = true, env = "OPSIQ_CA", value_name = "FILE", hide_short_help = true)]
    ca: Option<PathBuf>,

    /// The file of an API client's key, which signs what is asked of that server: its id on the first line and its secret on
    /// the second, or what `client create -o json` printed; `-` for standard input. Otherwise it is `OPSIQ_KEY_ID` and
    /// `OPSIQ_CLIENT_SECRET`, or the session that `opsiq login` began.
    #[arg(long, global = true, env = "OPSIQ_KEY_FILE", value_name = "FILE", hide_short_help = true)]
    key_file: Option<PathBuf>,

    /// The root key's file, by default `root.key` in the data directory. The environment may hold the key itself instead,
    /// in `OPSIQ_ROOT_KEY`.
    #[arg(long, global = true, env = "OPSIQ_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<PathBuf>,

    /// The next root key's file, while the root key rotates and is not in a file that the host may replace. The environment
    /// may hold the key itself instead, in `OPSIQ_ROOT_KEY_NEXT`.
    #[arg(long, global = true, env = "OPSIQ_ROOT_KEY_NEXT_FILE", value_name = "FILE", hide_short_help = true)]
    next_root_key_file: Option<PathBuf>,

    /// A token that opens the root key's file: the PKCS #11 library of its maker.
    #[arg(
        long,
        global = true,
        env = "OPSIQ_ROOT_PKCS11_MODULE",
        value_name = "FILE",
        requires_all = ["root_pkcs11_token", "root_pkcs11_key"],
        hide_short_help = true
    )]
    root_pkcs11_module: Option<PathBuf>,

    /// The token's label.
    #[arg(
        long,
        global = true,
        env = "OPSIQ_ROOT_PKCS11_TOKEN",
        value_name = "LABEL",
        requires = "root_pkcs11_module",
        hide_short_help = true
    )]
    root_pkcs11_token: Option<String>,

    /// The label of its AES key, which `opsiq init` makes when it is missing. The PIN comes from `OPSIQ_ROOT_PKCS11_PIN` or a
    /// file.
    #[arg(
        long,
        global = true,
        env = "OPSIQ_ROOT_PKCS11_KEY",
        value_name = "LABEL",
        requires = "root_pkcs11_module",
        hide_short_help = true
    )]
    root_pkcs11_key: Option<String>,

    /// A file that holds the token's PIN.
    #[arg(long, global = true, env = "OPSIQ_ROOT_PKCS11_PIN_FILE", value_name = "FILE", hide_short_help = true)]
    root_pkcs11_pin_file: Option<PathBuf>,

    /// The database of a `PostgreSQL` server to keep data in, as a url; by default it is in the data directory.
    #[arg(
        long,
        global = true,
        env = "OPSIQ_STORE_URL",
        value_name = "URL",
        requires = "store_keys",
        hide_short_help = true,
        hide_env_values = true
    )]
    store_url: Option<String>,

    /// The one to keep wrapped keys in. The password for both comes from `OPSIQ_STORE_PASSWORD` or a file.
    #[arg(
        long,
        global = true,
        env = "OPSIQ_STORE_KEYS",
        value_name = "URL",
        requires = "store_url",
        hide_short_help = true,
        hide_env_values = true
    )]
    store_keys: Option<String>,

    /// A file that holds the password of the databases.
    #[arg(long, global = true, env = "OPSIQ_STORE_PASSWORD_FILE", value_name = "FILE", hide_short_help = true)]
    store_password_file: Option<PathBuf>,

    /// How many seconds to wait while another command uses the data directory.
    #[arg(long, global = true, env = "OPSIQ_WAIT", value_name = "SECONDS", default_value_t = 5)]
    wait: u16,
}

/// The data directory, unless another is named.
const DATA: &str = "opsiq-data";
/// The one that `opsiq dev` makes.
const DEV_DATA: &str = "opsiq-dev";

impl Place {
    /// The address of the server to ask, if one is named.
    pub(crate) fn addr(&self) -> Option<&str> {
        self.addr.as_deref().filter(|addr| !addr.is_empty())
    }

    /// Refuses what needs the data directory itself while a server is named: it would be done elsewhere than where it is
    /// meant.
    fn is_here(&self) -> Result<(), Failure> {
        let Some(addr) = self.addr() else { return Ok(()) };
        let title = "this is done in a data directory, and a server is named to ask instead";
        Err(Failure::new(Exit::Refused, "addr.local-only", title)
            .detail(format!("the server is {addr}"))
            .fix("run it where the data directory is, without --addr and OPSIQ_ADDR"))
    }

    /// The data directory.
    ///
    /// # Errors
    /// `addr.local-only` while a server is named.
    pub(crate) fn data(&self) -> Result<&Path, Failure> {
        self.is_here()?;
        Ok(self.data.as_deref().unwrap_or(Path::new(DATA)))
    }

    /// The same for trying out: in a directory of its own, unless one is named.
    pub(crate) fn for_dev(mut self) -> Self {
        self.data.get_or_insert_with(|| DEV_DATA.into());
        self
    }

    /// Whether the databases are on a server, and so others' as well.
    pub(crate) fn is_shared(&self) -> bool {
        self.store_url.is_some()
    }

    /// How to open it.
    ///
    /// # Errors
    /// As [`Place::data`]; what the environment holds and is no key.
    pub(crate) fn options(&self) -> Result<HostOptions, Failure> {
        let mut options = HostOptions::new(self.data()?);
        if let Some(file) = &self.root_key_file {
            options.root = RootSource::File(file.clone());
        } else if let Some(text) = from_environment(ROOT_KEY)? {
            options.root = text;
        }
        options.next_root = match &self.next_root_key_file {
            Some(file) => Some(RootSource::File(file.clone())),
            None => from_environment(NEXT_ROOT_KEY)?,
        };
        if let (Some(url), Some(keys)) = (&self.store_url, &self.store_keys) {
            let (url, keys, password_file) = (url.clone(), keys.clone(), self.store_password_file.clone());
            options.store = Some(Databases { url, keys, password_file });
        }
        options.store_password = secret_from_environment(STORE_PASSWORD)?;
        if let (Some(module), Some(token), Some(key)) =
            (&self.root_pkcs11_module, &self.root_pkcs11_token, &self.root_pkcs11_key)
        {
            options.token = Some(Token {
                pkcs11_module: module.clone(),
                pkcs11_token: token.clone(),
                pkcs11_key: key.clone(),
                pkcs11_pin_file: self.root_pkcs11_pin_file.clone(),
            });
        }
        options.token_pin = secret_from_environment(TOKEN_PIN)?;
        Ok(options)
    }

    /// Does what needs the data directory for itself, once nobody else has it, or refuses when the time is up.
    pub(crate) async fn turn<T>(&self, work: impl AsyncFn() -> Result<T, Refusal>) -> Result<T, Failure> {
        let until = Instant::now() + Duration::from_secs(self.wait.into());
        loop {
            match work().await {
                Err(refusal) if refusal.code == LOCKED && Instant::now() < until => tokio::time::sleep(LOOK).await,
                done => return Ok(done?),
            }
        }
    }
}

/// Another secret in a variable, if it is set.
fn secret_from_environment(name: &str) -> Result<Option<Arc<Secret>>, Failure> {
    Ok(match from_environment(name)? {
        Some(RootSource::Text(secret)) => Some(secret),
        _ => None,
    })
}

/// A root key's text in a variable, if it is set.
fn from_environment(name: &str) -> Result<Option<RootSource>, Failure> {
    let Some(text) = std::env::var_os(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let secret = text
        .to_str()
        .and_then(|text| Secret::verbatim(text).ok())
        .ok_or_else(|| Failure::new(Exit::Invalid, "vault.root", format!("{name} holds no root key")))?;
    Ok(Some(RootSource::Text(Arc::new(secret))))
}

/// One command's surroundings.
pub(crate) struct Session<'a> {
    pub(crate) place: Place,
    pub(crate) acting: Acting,
    pub(crate) out: &'a Output,
    /// Whether the command runs plugins.
    runs: bool,
    host: OnceCell<Opened>,
}

/// The host, and whoever else asks it for something meanwhile.
struct Opened {
    host: Host,
    /// Missing when the socket could not be made.
    server: Option<Server>,
}

impl Opened {
    fn new(host: Host) -> Self {
        let server = Server::start(&host);
        let server = server.inspect_err(|error| {
            tracing::warn!(%error, "what runs here cannot be seen or stopped from outside: no socket in the data directory");
        });
        Self { host, server: server.ok() }
    }
}

/// How a request was answered.
enum Way {
    /// By the process that has the directory.
    Asked(Result<Value, Failure>),
    /// Not yet: nobody had the directory, and this process has it now.
    Opened(Host),
}

impl<'a> Session<'a> {
    /// Nothing is opened yet.
    pub(crate) fn new(place: Place, acting: Acting, out: &'a Output, runs: bool) -> Self {
        Self { place, acting, out, runs, host: OnceCell::new() }
    }

    /// The host, opened and locked by this process.
    pub(crate) async fn host(&self) -> Result<&Host, Failure> {
        self.host_with(Rollback::Refuse).await
    }

    /// The host, opened in another way than usual; nothing may have opened it before.
    pub(crate) async fn host_with(&self, rollback: Rollback) -> Result<&Host, Failure> {
        self.host
            .get_or_try_init(async || {
                let options = HostOptions { rollback, runs: self.runs, ..self.place.options()? };
                self.place.turn(async || Host::open(options.clone()).await).await.map(Opened::new)
            })
            .await
            .map(|opened| &opened.host)
    }

    /// Asks the process that has the data directory, whatever it does; without one, does it here.
    pub(crate) async fn control(&self, ask: Ask) -> Result<Value, Failure> {
        if self.place.addr().is_some() {
            return reach::control(&self.server(None)?, &ask).await;
        }
        let request = Request::new(&self.acting, ask)?;
        let data = self.place.data()?;
        let options = self.place.options();
        let way = self.place.turn(async || match client::ask(data, &request).await.transpose() {
            Some(answer) => Ok(Way::Asked(answer)),
            None => match &options {
                Ok(options) => Host::open(options.clone()).await.map(Way::Opened),
                Err(failure) => Ok(Way::Asked(Err(failure.clone()))),
            },
        });
        match way.await? {
            Way::Asked(answer) => answer,
            Way::Opened(host) => {
                let opened = self.host.get_or_init(async || Opened::new(host)).await;
                request.answer(&opened.host).await
            }
        }
    }

    /// The server that is named. `proof` says who asks; otherwise it is found where it is kept.
    pub(crate) fn server(&self, proof: Option<Proof>) -> Result<Api, Failure> {
        let Some(addr) = self.place.addr() else {
            return Err(Failure::usage("which server?").fix("--addr https://HOST:PORT, or set OPSIQ_ADDR"));
        };
        let set = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        let (ca, key_file) = (set(&self.place.ca), set(&self.place.key_file));
        remote::server(addr, ca.as_deref(), |address| match proof {
            Some(proof) => Ok(proof),
            None => Proof::find(address, &self.acting, key_file.as_deref()),
        })
    }

    /// Where a user of a tenant acts: at the server that is named, or in the data directory.
    pub(crate) async fn user_reach(&self) -> Result<Reach<'_>, Failure> {
        if self.place.addr().is_none() {
            let (host, actor) = self.as_user().await?;
            return Ok(Reach::Here(host, actor));
        }
        let api = self.server(None)?;
        if api.proof.tenant().is_none() {
            // As in a data directory: an act of a tenant needs a user.
            self.acting.user()?;
        }
        Ok(Reach::There(api))
    }

    /// Where anyone acts: the user named, or the operator.
    pub(crate) async fn reach(&self) -> Result<Reach<'_>, Failure> {
        if self.place.addr().is_none() {
            let (host, actor) = self.as_anyone().await?;
            return Ok(Reach::Here(host, actor));
        }
        self.server(None).map(Reach::There)
    }

    /// The host and the user that acts.
    pub(crate) async fn as_user(&self) -> Result<(&Host, Actor), Failure> {
        let actor = self.acting.user()?;
        Ok((self.host().await?, actor))
    }

    /// The host and whoever acts: the user named, or the operator.
    pub(crate) async fn as_anyone(&self) -> Result<(&Host, Actor), Failure> {
        let actor = self.acting.anyone()?;
        Ok((self.host().await?, actor))
    }

    /// Lets go of the data directory, if it was opened.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self.host.into_inner() {
            Some(Opened { host, server }) => {
                if let Some(server) = server {
                    server.end().await;
                }
                Ok(host.close().await?)
            }
            None => Ok(()),
        }
    }
}
