//! `opsiq plugin`: build and inspect plugins, and keep the catalogue.

pub(crate) mod build;
mod catalogue;
mod inspect;
mod names;
mod new;
pub(crate) mod rehearse;
mod run;
mod test;
mod types;

use std::path::{Path, PathBuf};

use clap::Subcommand;

pub(crate) use self::run::stand_ins;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::session::Session;

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a small plugin that works as it is.
    New(new::NewArgs),
    /// Build a plugin's directory to one component with its contract inside.
    Build(build::BuildArgs),
    /// Run a plugin's cases offline, in the real sandbox, and each once more with everything that goes wrong outside.
    Test(test::TestArgs),
    /// Run one action offline and show what it would ask of the outside, without installing anything.
    Run(run::RunArgs),
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
        PluginCommand::Test(args) => test::run(args, session.out).await,
        PluginCommand::Run(args) => run::run(args, session.out).await,
        PluginCommand::Types { dir } => {
            types::run(&dir, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Inspect { file } => inspect::run(&file, session.out),
        PluginCommand::Register { file } => catalogue::register(&file, session).await,
        PluginCommand::List => catalogue::list(session).await,
    }
}

/// A component, and the folder of its cases: built from a plugin's directory, or as it stands in a file.
fn subject(target: &Path, how: &build::How, out: &Output) -> Result<(Vec<u8>, PathBuf), Failure> {
    if target.is_dir() {
        let built = how.build(target, None, out)?;
        return Ok((component(&built.path)?, target.join(CASES)));
    }
    Ok((component(target)?, target.parent().unwrap_or(Path::new(".")).join(CASES)))
}

/// The folder of a plugin's cases, in its directory.
const CASES: &str = "tests";

/// The bytes of a component.
fn component(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file("read", file, &error))
}
