//! `opsiq plugin`: build and inspect plugins, and keep the catalogue.

pub(crate) mod build;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Build a plugin's directory to one component with its contract inside.
    Build(build::BuildArgs),
}

/// Runs one of them.
pub(crate) async fn run(command: PluginCommand, out: &Output) -> Result<Exit, Failure> {
    match command {
        PluginCommand::Build(args) => {
            build::run(&args, out)?;
            Ok(Exit::Done)
        }
    }
}
