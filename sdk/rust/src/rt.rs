//! What the code made by `plugin!` calls.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Failure, Result};

/// Begins a call: from here on a panic is told in the log before it traps.
pub fn begin() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}

/// Runs one action: from JSON, through the method, to JSON.
///
/// # Errors
/// The method's own failure, or `internal` where the contract and the generated types disagree.
pub fn run<C, P, R>(params: &str, action: fn(&Context<C>, P) -> Result<R>) -> Result<String>
where
    P: DeserializeOwned,
    R: Serialize,
{
    let params = serde_json::from_str(params).map_err(|error| Failure::internal(format!("params: {error}")))?;
    let result = action(&Context::new(), params)?;
    serde_json::to_string(&result).map_err(|error| Failure::internal(format!("result: {error}")))
}

/// The answer to a name that the contract does not have. The host asks only for names of the contract, so this tells
/// of a contract that was changed after the build.
pub fn unknown(what: &str, name: &str) -> Failure {
    Failure::internal(format!("the plugin was built without the {what} `{name}`"))
}

#[cfg(test)]
mod tests;
