//! What every command works with: the data directory, opened once and only when needed, who acts, and the output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use opsiq_gate::{Actor, Host, HostOptions, Refusal, Rollback, RootSource};
use opsiq_vault::Secret;
use tokio::sync::OnceCell;

use crate::acting::Acting;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The environment variable that may hold the root key itself.
const ROOT_KEY: &str = "OPSIQ_ROOT_KEY";
/// The one that may hold the next root key, while it rotates.
const NEXT_ROOT_KEY: &str = "OPSIQ_ROOT_KEY_NEXT";
/// The gate's code for a data directory that another process has.
const LOCKED: &str = "data.locked";
/// How often to look whether it is free.
const LOOK: Duration = Duration::from_millis(25);

/// Options that say where the host lives.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The data directory.
    #[arg(long, global = true, env = "OPSIQ_DATA", value_name = "DIR", default_value = "opsiq-data")]
    pub(crate) data: PathBuf,

    /// The root key's file, by default `root.key` in the data directory. The environment may hold the key itself instead,
    /// in `OPSIQ_ROOT_KEY`.
    #[arg(long, global = true, env = "OPSIQ_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<PathBuf>,

    /// The next root key's file, while the root key rotates and is not in a file that the host may replace. The environment
    /// may hold the key itself instead, in `OPSIQ_ROOT_KEY_NEXT`.
    #[arg(long, global = true, env = "OPSIQ_ROOT_KEY_NEXT_FILE", value_name = "FILE", hide_short_help = true)]
    next_root_key_file: Option<PathBuf>,

    /// How many seconds to wait while another command uses the data directory.
    #[arg(long, global = true, env = "OPSIQ_WAIT", value_name = "SECONDS", default_value_t = 5)]
    wait: u16,
}

impl Place {
    /// How to open it.
    pub(crate) fn options(&self) -> Result<HostOptions, Failure> {
        let mut options = HostOptions::new(&self.data);
        if let Some(file) = &self.root_key_file {
            options.root = RootSource::File(file.clone());
        } else if let Some(text) = from_environment(ROOT_KEY)? {
            options.root = text;
        }
        options.next_root = match &self.next_root_key_file {
            Some(file) => Some(RootSource::File(file.clone())),
            None => from_environment(NEXT_ROOT_KEY)?,
        };
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
    host: OnceCell<Host>,
}

impl<'a> Session<'a> {
    /// Nothing is opened yet.
    pub(crate) fn new(place: Place, acting: Acting, out: &'a Output) -> Self {
        Self { place, acting, out, host: OnceCell::new() }
    }

    /// The host, opened and locked by this process.
    pub(crate) async fn host(&self) -> Result<&Host, Failure> {
        self.host_with(Rollback::Refuse).await
    }

    /// The host, opened in another way than usual; nothing may have opened it before.
    pub(crate) async fn host_with(&self, rollback: Rollback) -> Result<&Host, Failure> {
        self.host
            .get_or_try_init(async || {
                let options = HostOptions { rollback, ..self.place.options()? };
                self.place.turn(async || Host::open(options.clone()).await).await
            })
            .await
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
            Some(host) => Ok(host.close().await?),
            None => Ok(()),
        }
    }
}
