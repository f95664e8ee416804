//! Why a build stopped, said so that the next step is clear.

use std::path::{Path, PathBuf};

use opsiq_contract::ContractErrors;
use opsiq_contract::component::Problem;

use crate::failure::{Exit, Failure};

/// Why there is no component.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// There is no `contract.toml` at this path.
    NoContract(PathBuf),
    /// The contract has mistakes.
    Contract(PathBuf, ContractErrors),
    /// The directory is nothing that can become a plugin.
    Project {
        /// The directory or manifest.
        path: PathBuf,
        /// What is missing.
        why: String,
        /// What to add.
        fix: String,
    },
    /// What builds the plugin's language is not here and was not fetched.
    NoKit {
        /// The programs, in words.
        what: &'static str,
        /// Why not.
        why: String,
        /// How to get them.
        fix: String,
    },
    /// No compiler for `wasm32-unknown-unknown` was found in any of these ways.
    NoToolchain(Vec<Tried>),
    /// A program of the toolchain failed.
    Program {
        /// What was being done.
        what: String,
        /// How it ended.
        status: String,
        /// What it said, as it said it.
        output: String,
    },
    /// The code needs something that no plugin gets.
    Import {
        /// Module and name of the import.
        import: String,
        /// Where such an import usually comes from, and what to use instead.
        why: String,
    },
    /// The core module cannot be made a component of the world that the contract calls for.
    Component {
        /// The world's name in the WIT package.
        world: &'static str,
        /// What does not fit.
        why: String,
    },
    /// The component does not keep to its contract.
    Refused(Vec<Problem>),
    /// A file could not be read or written, or a program not be run.
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

/// One way to a compiler that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tried {
    /// The way, in words.
    pub(crate) way: &'static str,
    /// Why it does not serve.
    pub(crate) why: String,
}

/// What to install; any one line is enough.
const INSTALL: &str = "any one of these is enough:
rustup target add wasm32-unknown-unknown        (rustup, from https://rustup.rs)
apt-get install rustc-web cargo-web rust-web-src lld        (Debian, Ubuntu)";

impl BuildError {
    /// A failure of the file system.
    pub(crate) fn io(verb: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), error }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let invalid = |code: &str, title: String| Self::new(Exit::Invalid, code, title);
        match error {
            BuildError::NoContract(path) => {
                Self::new(Exit::NotFound, "build.no-contract", format!("no contract at {}", path.display()))
                    .detail("every plugin declares there what it does and needs, before any code")
            }
            BuildError::Contract(path, errors) => {
                invalid("build.contract", format!("{} is not valid", path.display())).detail(errors.to_string())
            }
            BuildError::Project { path, why, fix } => {
                invalid("build.project", format!("{}: {why}", path.display())).fix(fix)
            }
            BuildError::NoKit { what, why, fix } => {
                Self::new(Exit::Unavailable, "build.toolchain", format!("{what} cannot be used")).detail(why).fix(fix)
            }
            BuildError::NoToolchain(tried) => {
                let tried = tried.iter().map(|Tried { way, why }| format!("{way}: {why}")).collect::<Vec<_>>();
                Self::new(Exit::Unavailable, "build.toolchain", "no compiler for wasm32-unknown-unknown was found")
                    .detail(tried.join("\n"))
                    .fix(INSTALL)
            }
            BuildError::Program { what, status, output } => {
                invalid("build.compile", format!("{what} failed ({status})")).detail(output)
            }
            BuildError::Import { import, why } => {
                invalid("build.import", format!("the code imports {import}, which no plugin is given")).fix(why)
            }
            BuildError::Component { world, why } => {
                invalid("build.component", format!("the compiled module does not fit the world `{world}`")).detail(why)
            }
            BuildError::Refused(problems) => {
                let problems = problems.iter().map(|problem| match &problem.subject {
                    Some(subject) => format!("{subject}: {problem}"),
                    None => problem.to_string(),
                });
                let problems = problems.collect::<Vec<_>>();
                invalid("build.refused", "the component does not keep to its contract".to_owned())
                    .detail(problems.join("\n"))
            }
            BuildError::Io { verb, path, error } => Self::file(verb, &path, &error),
        }
    }
}
