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
mod wit;

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
    /// Put a contract into a component that other tools made.
    Wrap {
        /// The component, made by any toolchain, or a core module made with wit-bindgen.
        file: PathBuf,
        /// Its contract.
        #[arg(long, value_name = "FILE", default_value = "contract.toml")]
        contract: PathBuf,
        /// Where the plugin goes; by default `ID.wasm` beside the contract.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the WIT package that plugins are written against, for tools of your own.
    Wit {
        /// The folder it goes into.
        dir: PathBuf,
        /// Add the world `plugin`, which has what this contract gives and no more.
        #[arg(long, value_name = "FILE")]
        contract: Option<PathBuf>,
    },
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
        PluginCommand::Wrap { file, contract, out } => {
            build::told(&build::wrap(&file, &contract, out)?, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Wit { dir, contract } => {
            wit::run(&dir, contract.as_deref(), session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Types { dir } => {
            types::run(&dir, session.out)?;
            Ok(Exit::Done)
        }
        PluginCommand::Inspect { file } => inspect::run(&file, session).await,
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
pub(crate) fn component(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file("read", file, &error))
}
