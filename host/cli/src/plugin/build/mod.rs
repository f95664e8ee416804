//! `opsiq plugin build`: a plugin's directory becomes one component with its contract inside.

use std::path::PathBuf;

use clap::Args;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What to build and where to put it.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The plugin's directory, with `contract.toml` and `Cargo.toml`.
    pub(crate) dir: PathBuf,

    /// Where the component goes; by default beside the other build output, named after the plugin.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Fail if `Cargo.lock` would change.
    #[arg(long)]
    pub(crate) locked: bool,

    /// Use only what is already on this machine.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Builds the plugin.
pub(crate) fn run(args: &BuildArgs, _out: &Output) -> Result<(), Failure> {
    Err(Failure::new(Exit::Unavailable, "build.toolchain", format!("cannot build {}", args.dir.display())))
}
