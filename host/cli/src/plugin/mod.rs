//! `opsiq plugin`: build and inspect plugins, and keep the catalogue.

pub(crate) mod build;
mod catalogue;
mod inspect;
mod names;
mod new;
mod types;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a small plugin that works as it is.
    New(new::NewArgs),
    /// Build a plugin's directory to one component with its contract inside.
    Build(build::BuildArgs),
    /// Write the contract's types in the plugin's language, for an editor. `build` does so too.
    Types {
        /// The plugin's directory.
        dir: PathBuf,
    },
    /// Say what a component imports and exports, and why it is or is not acceptable.
    Inspect {
        /// Any WebAssembly component, made by any toolchain.
        file: PathBuf,
    },
    /// Put a built component into the catalogue, for all tenants.
    Register {
        /// A component that `plugin build` made.
        file: PathBuf,
    },
    /// List the catalogue.
    List,
}

/// Runs one of them.
pub(crate) async fn run(command: PluginCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        PluginCommand::New(args) => {
            new::run(&args, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Build(args) => {
            build::run(&args, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Types { dir } => {
            types::run(&dir, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Inspect { file } => inspect::run(&file, session.out),
        PluginCommand::Register { file } => catalogue::register(&file, session).await,
        PluginCommand::List => catalogue::list(session).await,
    }
}

/// The bytes of a component.
fn component(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file("read", file, &error))
}
