//! `opsiq plugin build`: a directory with a `contract.toml` becomes one component that carries its contract.
//!
//! What the directory holds says which language it is ([`language`]). A Rust crate is compiled by [`rust`]; JavaScript
//! and Python are loaded into an interpreter by [`javascript`] and [`python`], whose programs come from a [`kit`]. Whatever
//! made the component, what it imports beyond its contract is refused here, before a host ever sees it.

mod command;
mod compile;
mod component;
mod error;
mod javascript;
mod kit;
mod language;
mod project;
mod python;
mod requirements;
mod rust;
mod toolchain;
mod world;
mod wrap;

use std::path::{Path, PathBuf};

use opsiq_contract::component::embed;
use opsiq_contract::{Contract, Digest};

pub(crate) use command::{BuildArgs, How, run, told};
pub(crate) use error::BuildError;
pub(crate) use language::Language;
pub(crate) use toolchain::Choice;
pub(crate) use world::write_package;
pub(crate) use wrap::wrap;

use super::types;

/// What the caller may decide about a build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Where the component goes; by default `<target>/plugins/<id>.wasm` of a crate, else `build/<id>.wasm`
    /// in the directory.
    pub(crate) out: Option<PathBuf>,
    /// Which compiler; by default the first that serves.
    pub(crate) toolchain: Choice,
    /// Reach no network: passed on to cargo, and no toolchain part is downloaded.
    pub(crate) offline: bool,
    /// Use `Cargo.lock` as it stands: passed on to cargo.
    pub(crate) locked: bool,
    /// Keep function names, so that a trap's backtrace names them.
    pub(crate) names: bool,
}

/// A finished plugin.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// The contract now embedded in the component.
    pub(crate) contract: Contract,
    /// Where the component is.
    pub(crate) path: PathBuf,
    /// SHA-256 of the file.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) bytes: usize,
    /// The compiler that was used, in words.
    pub(crate) toolchain: String,
    /// The compiler's warnings; empty when it had none.
    pub(crate) remarks: String,
}

/// What a language makes of a plugin's code.
struct Made {
    /// The component, without its contract.
    component: Vec<u8>,
    /// Where it goes when nobody says otherwise.
    out: PathBuf,
    /// What made it, in words.
    toolchain: String,
    /// Warnings.
    remarks: String,
}

/// Builds the plugin in `dir` into a component. `progress` is told of each step that may take a while.
///
/// # Errors
/// Whatever stops a step; no component is written then. The contract is read first, so that a mistake in it is told
/// before minutes of compiling.
pub(crate) fn build(dir: &Path, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let contract = read_contract(dir)?;
    let language = Language::of(dir)?;
    let dir = &dir.canonicalize().map_err(|error| BuildError::io("find", dir, error))?;
    types::write(dir, language, &contract)?;
    let made = match language {
        Language::Rust => rust::build(dir, &contract, options, progress)?,
        Language::JavaScript => javascript::build(dir, &contract, options, progress)?,
        Language::Python => python::build(dir, &contract, options, progress)?,
    };
    finish(contract, made, options.out.clone())
}

/// Puts the contract into what was made, under the judgement of registration, and writes the file.
fn finish(contract: Contract, made: Made, out: Option<PathBuf>) -> Result<Built, BuildError> {
    let component = embed(&made.component, &contract).map_err(BuildError::Refused)?;
    let path = out.unwrap_or(made.out);
    write_whole(&path, &component)?;
    Ok(Built {
        digest: Digest::of(&component),
        bytes: component.len(),
        toolchain: made.toolchain,
        remarks: made.remarks,
        contract,
        path,
    })
}

/// Reads and checks the `contract.toml` of a directory.
pub(crate) fn read_contract(dir: &Path) -> Result<Contract, BuildError> {
    read_contract_file(&dir.join("contract.toml"))
}

/// Reads and checks a contract.
pub(crate) fn read_contract_file(path: &Path) -> Result<Contract, BuildError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BuildError::NoContract(path.to_owned()));
        }
        Err(error) => return Err(BuildError::io("read", path, error)),
    };
    Contract::parse_toml(&text).map_err(|errors| BuildError::Contract(path.to_owned(), errors))
}

/// Writes beside the target and renames, so that a reader never sees half a component.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| BuildError::io("create", parent, error))?;
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&draft, bytes).map_err(|error| BuildError::io("write", &draft, error))?;
    std::fs::rename(&draft, path).map_err(|error| BuildError::io("write", path, error))
}
