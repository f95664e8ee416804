//! Core modules made into plugins, as `opsiq plugin build` makes them.

use std::path::Path;

use opsiq_contract::{Contract, component};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component of any core module; an error for one that is no plugin.
pub(crate) fn encoded(module: &[u8], encoding: StringEncoding, contract: &str) -> Result<Vec<u8>, String> {
    let told = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let mut module = module.to_vec();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.1.0");
    let (package, _) = resolve.push_dir(wit).map_err(|error| told(&error))?;
    let world = resolve.select_world(&[package], Some("connector")).map_err(|error| told(&error))?;
    embed_component_metadata(&mut module, &resolve, world, encoding).map_err(|error| told(&error))?;
    let encoded = ComponentEncoder::default().validate(true).module(&module).and_then(|mut encoder| encoder.encode());
    let contract = Contract::parse_toml(contract).map_err(|error| told(&error))?;
    component::embed(&encoded.map_err(|error| told(&error))?, &contract).map_err(|error| told(&error))
}
