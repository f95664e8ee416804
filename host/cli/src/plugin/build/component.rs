//! From core module to component.
//!
//! The bindings in the SDK leave descriptions of more than a given plugin uses. They are taken out, and the one world
//! that the contract calls for is put in; the encoder then keeps only the imports that the code reaches.

use opsiq_contract::{Contract, PluginKind};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, WorldId, WorldKey};

use super::error::BuildError;
use super::world::WIT;

/// Makes a component out of the core module of a plugin with this contract.
///
/// # Errors
/// [`BuildError::Import`] names the first import that no plugin of this kind is given; [`BuildError::Component`] says
/// what else does not fit the world.
pub(super) fn encode(module: &[u8], contract: &Contract) -> Result<Vec<u8>, BuildError> {
    let world = world_for(contract);
    let wrong = |why: String| BuildError::Component { world, why };
    let (resolve, id) = resolve(world)?;
    let mut module = without_descriptions(module).map_err(|error| wrong(error.to_string()))?;
    check_imports(&module, &resolve, id, world)?;
    embed_component_metadata(&mut module, &resolve, id, StringEncoding::UTF8)
        .map_err(|error| wrong(format!("{error:#}")))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| wrong(format!("{error:#}")))
}

/// The world that a contract calls for.
fn world_for(contract: &Contract) -> &'static str {
    match contract.plugin.kind {
        PluginKind::Action => "action",
        PluginKind::Connector if contract.webhooks.is_empty() => "connector",
        PluginKind::Connector => "connector-with-webhooks",
    }
}

/// Reads the WIT package and picks one of its worlds.
fn resolve(world: &'static str) -> Result<(Resolve, WorldId), BuildError> {
    let wrong = |why: String| BuildError::Component { world, why };
    let mut sources = SourceMap::default();
    for (name, text) in WIT {
        sources.push_str(name, text);
    }
    let mut resolve = Resolve::default();
    let group = sources.parse().map_err(|(_, error)| wrong(error.to_string()))?;
    let package = resolve.push_group(group).map_err(|error| wrong(error.to_string()))?;
    let id = resolve.select_world(&[package], Some(world)).map_err(|error| wrong(format!("{error:#}")))?;
    Ok((resolve, id))
}

/// The module without its `component-type` sections.
fn without_descriptions(module: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut kept = Vec::with_capacity(module.len());
    let mut from = 0;
    let mut section_start = 8; // after magic number and version
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && section.name().starts_with("component-type")
        {
            kept.extend_from_slice(&module[from..section_start]);
            from = section.range().end;
        }
        if let Some((_, range)) = payload.as_section() {
            section_start = range.end;
        }
    }
    kept.extend_from_slice(&module[from..]);
    Ok(kept)
}

/// Refuses the first import that the world does not have, and says where such imports come from.
fn check_imports(module: &[u8], resolve: &Resolve, id: WorldId, world: &'static str) -> Result<(), BuildError> {
    let given = resolve.worlds[id].imports.keys().map(|key| match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(id) => resolve.id_of(*id).unwrap_or_default(),
    });
    let given = given.collect::<Vec<_>>();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| BuildError::Component { world, why: error.to_string() })?;
        let Payload::ImportSection(imports) = payload else { continue };
        for import in imports.into_imports() {
            let import = import.map_err(|error| BuildError::Component { world, why: error.to_string() })?;
            if !given.iter().any(|name| name == import.module) {
                return Err(BuildError::Import {
                    import: format!("{}#{}", import.module, import.name),
                    why: origin(import.module, world),
                });
            }
        }
    }
    Ok(())
}

/// Where an import that no plugin is given usually comes from.
fn origin(module: &str, world: &str) -> String {
    if module.starts_with("wasi") {
        "a plugin sees no WASI; use the SDK's http, kv, clock and random instead of files, sockets, system time and \
         environment variables"
            .into()
    } else if module.starts_with("__wbindgen") || module == "wbg" {
        "a dependency was built for a browser; switch off its `js` or `wasmbind` feature".into()
    } else if module == "env" {
        "an undefined symbol, mostly of a C library that is not there; use a pure Rust crate".into()
    } else if module.starts_with("opsiq:plugin/") {
        format!("the world `{world}` does not have it; http and kv belong to `kind = \"connector\"` in [plugin]")
    } else {
        "it is not part of opsiq:plugin".into()
    }
}

#[cfg(test)]
mod tests;
