//! From a Rust crate to a component.
//!
//! The steps, each able to stop with a sentence that says what to do: find a compiler for `wasm32-unknown-unknown`
//! ([`toolchain`]), ask cargo what the crate is ([`project`]), compile it under settings that do not depend on the user's
//! own ([`compile`](super::compile)), and turn the core module into a component of the one world that the contract calls
//! for ([`component`]).

use std::path::Path;

use opsiq_contract::Contract;

use super::compile::compile;
use super::error::BuildError;
use super::{Made, Options, component, project, toolchain};

/// Builds the crate in `dir`.
///
/// # Errors
/// Whatever stops a step.
pub(super) fn build(
    dir: &Path,
    contract: &Contract,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let toolchain = toolchain::find(dir, options.toolchain, options.offline, progress)?;
    let project = project::inspect(dir, &toolchain)?;
    progress(&format!("Compiling {} with {toolchain}", project.package));
    let compiled = compile(&project, &toolchain, options)?;
    let module = std::fs::read(&compiled.module).map_err(|error| BuildError::io("read", &compiled.module, error))?;
    Ok(Made {
        component: component::encode(&module, contract)?,
        out: project.target_dir.join("plugins").join(format!("{}.wasm", contract.plugin.id)),
        toolchain: toolchain.to_string(),
        remarks: compiled.remarks,
    })
}
