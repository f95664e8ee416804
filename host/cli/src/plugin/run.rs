//! `opsiq plugin run`: one action of a plugin that is installed nowhere, without any effect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use opsiq_gate::{Part, Props};
use opsiq_sandbox::{MemoryKv, Moment};
use opsiq_testkit::{Case, Kit, Script};
use serde_json::json;

use super::build::How;
use super::rehearse;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::params::{Params, object};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plugin's directory, which is built first, or a component as it is.
    #[arg(value_name = "FOLDER|FILE.wasm")]
    target: PathBuf,

    /// The action.
    action: String,

    #[command(flatten)]
    params: Params,

    /// A config value, typed by the contract; may be repeated.
    #[arg(long = "config", value_name = "NAME=VALUE")]
    config: Vec<String>,

    /// A case whose recorded answers, stored values and time stand in for the outside; its config too, where --config
    /// says nothing.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    #[command(flatten)]
    how: How,
}

/// Rehearses the call and tells of it.
pub(crate) async fn run(args: RunArgs, out: &Output) -> Result<Exit, Failure> {
    let case = args.replay.as_deref().map(Case::read).transpose()?;
    let (component, _) = super::subject(&args.target, &args.how, out)?;
    let compiling = out.progress("Compiling the component");
    let kit = Kit::load(component).await?;
    drop(compiling);
    let contract = kit.rig().contract();
    let action = contract.action(&args.action).map(|action| action.params.source());
    let recorded = case.as_ref().map(|case| case.part.clone());
    let config = if args.config.is_empty() {
        recorded.as_ref().map_or_else(|| json!({}), |part| part.config.clone())
    } else {
        object(&args.config, contract.config.as_ref().map(opsiq_contract::Schema::source))?
    };
    let part = Part {
        action: args.action.clone(),
        params: args.params.text(action)?,
        config,
        without: recorded.as_ref().map(|part| part.without.clone()).unwrap_or_default(),
        role: recorded.as_ref().and_then(|part| part.role),
        private_targets: recorded.map(|part| part.private_targets).unwrap_or_default(),
    };
    let (script, props) = stand_ins(case.as_ref());
    let played = kit.rig().play(&part, props).await?;
    rehearse::told(&played, &script, out)
}

/// What stands in for everything: what a case recorded, or nothing at all.
pub(crate) fn stand_ins(case: Option<&Case>) -> (Arc<Script>, Props) {
    let script = Arc::new(Script::by_method(case.map(|case| case.exchanges.clone()).unwrap_or_default()));
    let props = Props {
        upstream: script.clone(),
        kv: Arc::new(MemoryKv::holding(case.map(|case| case.kv.clone()).unwrap_or_default())),
        moment: Moment::new(case.map_or(Case::NOW_MS, |case| case.now_ms), "rehearsal"),
        idempotency_key: case.map_or_else(|| Case::IDEMPOTENCY_KEY.to_owned(), |case| case.idempotency_key.clone()),
        keys: BTreeMap::new(),
    };
    (script, props)
}
