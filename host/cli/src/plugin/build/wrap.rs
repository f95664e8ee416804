//! A contract for what other tools compiled: the same end of a build, without its beginning.

use std::path::{Path, PathBuf};

use wasmparser::Parser;

use super::component::encode;
use super::error::BuildError;
use super::{Built, Made, finish, read_contract_file};

/// Puts the contract at `contract` into the component in `file`, and writes it to `out`, by default `ID.wasm` beside the
/// contract. A core module for which `wit-bindgen` made the bindings is made a component first.
///
/// # Errors
/// Whatever registration would refuse; no file is written then.
pub(crate) fn wrap(file: &Path, contract: &Path, out: Option<PathBuf>) -> Result<Built, BuildError> {
    let declared = read_contract_file(contract)?;
    let bytes = std::fs::read(file).map_err(|error| BuildError::io("read", file, error))?;
    // What runs in compatibility mode is a component already.
    let core = Parser::is_core_wasm(&bytes) && declared.plugin.world.is_none();
    let component = if core { encode(&bytes, &declared)? } else { bytes };
    let beside = contract.with_file_name(format!("{}.wasm", declared.plugin.id));
    if out.as_ref().unwrap_or(&beside) == file {
        return Err(BuildError::Project {
            path: file.to_owned(),
            why: "it would be written over by what is made of it".into(),
            fix: "say where the plugin goes: --out FILE".into(),
        });
    }
    let toolchain = format!("wrapped from {}", file.display());
    finish(declared, Made { component, out: beside, toolchain, remarks: String::new() }, out)
}
