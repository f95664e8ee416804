//! `opsiq plugin types`: the contract's types in the language of the plugin, so that an editor knows them.
//!
//! Rust needs none: its SDK makes them while it compiles.

mod python;
mod shape;
#[cfg(test)]
mod tests;
mod typescript;

use std::path::{Path, PathBuf};

use opsiq_contract::Contract;
use serde_json::json;

use super::build::{BuildError, Language, read_contract};
use crate::failure::Failure;
use crate::output::Output;
use shape::Shapes;

/// What the SDK for JavaScript declares; beside the contract's types, so that an editor needs nothing installed.
const SDK: &str = include_str!("../../../../../sdk/js/index.d.ts");

/// Writes the types of the plugin in `dir`, and says where they are.
pub(crate) fn run(dir: &Path, out: &Output) -> Result<(), Failure> {
    let contract = read_contract(dir)?;
    let language = Language::of(dir)?;
    let files = write(dir, language, &contract)?;
    let data = json!({ "language": language.to_string(), "files": files });
    out.data(&data, |_| {
        if files.is_empty() {
            return format!("{language} makes them while it compiles; nothing is written");
        }
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n")
    })?;
    Ok(())
}

/// Writes what changed, and answers every file there is.
///
/// # Errors
/// [`BuildError::Io`].
pub(super) fn write(dir: &Path, language: Language, contract: &Contract) -> Result<Vec<PathBuf>, BuildError> {
    let shapes = Shapes::of(contract);
    let files = match language {
        Language::Rust => Vec::new(),
        Language::JavaScript => vec![
            (dir.join("types/contract.d.ts"), typescript::write(&shapes)),
            (dir.join("types/sdk.d.ts"), ambient(SDK)),
        ],
        Language::Python => vec![(dir.join("contract.py"), python::write(&shapes))],
    };
    for (path, text) in &files {
        if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| BuildError::io("create", parent, error))?;
        }
        std::fs::write(path, text).map_err(|error| BuildError::io("write", path, error))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The SDK's declarations as those of a module that need not be installed.
fn ambient(declarations: &str) -> String {
    let (globals, module) = declarations.split_once("// --- module ---\n").unwrap_or(("", declarations));
    format!("{globals}declare module '@opsiq/sdk' {{\n{module}}}\n")
}
