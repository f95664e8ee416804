//! `opsiq plugin wit`: the WIT package of this host, for whoever writes a plugin without its SDKs.

use std::path::Path;

use serde_json::json;

use super::build::{read_contract_file, write_package};
use crate::failure::Failure;
use crate::output::Output;

/// Writes the package into `dir`, with the one world that the contract calls for where there is a contract.
pub(crate) fn run(dir: &Path, contract: Option<&Path>, out: &Output) -> Result<(), Failure> {
    let contract = contract.map(read_contract_file).transpose()?;
    let files = write_package(dir, contract.as_ref())?;
    out.data(&json!({ "files": files }), |_| {
        let names = files.iter().map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join("\n")
    })
}
