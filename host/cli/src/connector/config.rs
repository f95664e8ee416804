//! `opsiq connector config`: what a tenant sets for an installation. A value that decides where requests go is part of
//! the grant, so changing it is a change of the grant.

use std::path::PathBuf;

use clap::Args;
use opsiq_contract::{MAX_DEPTH, Schema, parse_strict};
use serde_json::Value;

use super::show;
use crate::failure::{Exit, Failure};
use crate::params;
use crate::session::Session;

/// Options that give a config.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// One value of the config, typed by its schema; may be repeated. What is not given is not set.
    #[arg(long = "config", visible_alias = "set", value_name = "NAME=VALUE", conflicts_with_all = ["json", "file"])]
    named: Vec<String>,

    /// The whole config as one JSON object.
    #[arg(long = "config-json", value_name = "JSON", conflicts_with = "file")]
    json: Option<String>,

    /// The whole config as one JSON object in a file.
    #[arg(long = "config-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Settings {
    /// Whether anything was given.
    pub(crate) fn given(&self) -> bool {
        !self.named.is_empty() || self.json.is_some() || self.file.is_some()
    }

    /// The object given, if any was.
    pub(crate) fn read(&self, schema: Option<&Value>) -> Result<Option<Value>, Failure> {
        let text = match (&self.json, &self.file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?,
            (None, None) if self.named.is_empty() => return Ok(None),
            (None, None) => return params::object(&self.named, schema).map(Some),
        };
        parse_strict(text.as_bytes(), MAX_DEPTH).map(Some).map_err(|error| {
            Failure::new(Exit::Invalid, "cli.config", "the config is no JSON object").detail(error.to_string())
        })
    }
}

/// Which installation, and its config.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The installation's name.
    name: String,

    #[command(flatten)]
    settings: Settings,
}

/// Replaces the whole config: what is not given is not set any more.
pub(crate) async fn run(args: ConfigArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let digest = reach.installation(&args.name).await?.digest;
    let contract = reach.contract(&digest).await?;
    let Some(given) = args.settings.read(contract.config.as_ref().map(Schema::source))? else {
        let fix = "--config NAME=VALUE, --config-json JSON or --config-file FILE";
        return Err(Failure::usage("what shall the config be?").fix(fix));
    };
    show::card(&reach.set_config(&args.name, &given).await?, session)
}
