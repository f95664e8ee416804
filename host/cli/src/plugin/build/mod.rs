//! `opsiq plugin build`: a Rust crate with a `contract.toml` beside it becomes one component that carries its contract.
//!
//! The steps, each able to stop with a sentence that says what to do: find a compiler for
//! `wasm32-unknown-unknown` ([`toolchain`]), ask cargo what the crate is ([`project`]), compile it under settings that
//! do not depend on the user's own ([`compile`]), and turn the core module into a component of the one world that
//! the contract calls for ([`component`]). What imports anything else is refused here, before a host ever sees it.

mod command;
mod compile;
mod component;
mod error;
mod project;
mod toolchain;

use std::path::{Path, PathBuf};

use opsiq_contract::component::embed;
use opsiq_contract::{Contract, Digest};

pub(crate) use command::{BuildArgs, run};
pub(crate) use error::BuildError;
pub(crate) use toolchain::Choice;

/// What the caller may decide about a build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Where the component goes; by default `<target>/plugins/<id>.wasm`.
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

/// Builds the crate in `dir` into a component. `progress` is told of each step that may take a while.
///
/// # Errors
/// Whatever stops a step; nothing is written then. The contract is read first, so that a mistake in it is told before
/// minutes of compiling.
pub(crate) fn build(dir: &Path, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let contract = read_contract(dir)?;
    let toolchain = toolchain::find(dir, options.toolchain, options.offline, progress)?;
    let project = project::inspect(dir, &toolchain)?;
    progress(&format!("Compiling {} with {toolchain}", project.package));
    let compiled = compile::compile(&project, &toolchain, options)?;
    let module = std::fs::read(&compiled.module).map_err(|error| BuildError::io("read", &compiled.module, error))?;

    let component = component::encode(&module, &contract)?;
    let component = embed(&component, &contract).map_err(BuildError::Refused)?;
    let path = match &options.out {
        Some(path) => path.clone(),
        None => project.target_dir.join("plugins").join(format!("{}.wasm", contract.plugin.id)),
    };
    write_whole(&path, &component)?;
    Ok(Built {
        digest: Digest::of(&component),
        bytes: component.len(),
        toolchain: toolchain.to_string(),
        remarks: compiled.remarks,
        contract,
        path,
    })
}

/// Reads and checks `contract.toml`.
fn read_contract(dir: &Path) -> Result<Contract, BuildError> {
    let path = dir.join("contract.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(BuildError::NoContract(path)),
        Err(error) => return Err(BuildError::io("read", &path, error)),
    };
    Contract::parse_toml(&text).map_err(|errors| BuildError::Contract(path, errors))
}

/// Writes beside the target and renames, so that a reader never sees half a component.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| BuildError::io("create", parent, error))?;
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&draft, bytes).map_err(|error| BuildError::io("write", &draft, error))?;
    std::fs::rename(&draft, path).map_err(|error| BuildError::io("write", path, error))
}
