//! Whether the functions behind the names have the types of the WIT package.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;

use wasmparser::{Validator, WasmFeatures};
use wit_parser::{Resolve, SourceMap, WorldId};

use super::Problem;
use crate::model::Contract;
use crate::visible::visible;

const SOURCES: [(&str, &str); 3] = [
    ("types.wit", include_str!("../../../../wit/0.1.0/types.wit")),
    ("host.wit", include_str!("../../../../wit/0.1.0/host.wit")),
    ("worlds.wit", include_str!("../../../../wit/0.1.0/worlds.wit")),
];

/// What the engine runs. Threads, garbage collection, exceptions, 64-bit memories and asynchronous functions of components
/// are left out: nothing a plugin needs, and where engines are youngest.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .difference(WasmFeatures::GC_TYPES);

/// The package, with the widest world without and with webhooks. `None` would mean that our own WIT does not parse.
static PACKAGE: LazyLock<Option<(Resolve, WorldId, WorldId)>> = LazyLock::new(|| {
    let mut sources = SourceMap::new();
    for (name, text) in SOURCES {
        sources.push(Path::new(name), text);
    }
    let mut resolve = Resolve::new();
    let package = resolve.push_group(sources.parse().ok()?).ok()?;
    let world = |name| resolve.select_world(&[package], Some(name)).ok();
    let (plain, webhooks) = (world("connector")?, world("connector-with-webhooks")?);
    Some((resolve, plain, webhooks))
});

/// Checks that the component fits the world it is meant for, the widest in what it may import: which of those imports the
/// contract declares has been judged by name already. Of a component made for WASI, only that it is valid: the types of
/// WASI are the engine's, which holds them against it when it is linked, before it is registered.
pub(super) fn check(component: &[u8], contract: Option<&Contract>) -> Result<(), Problem> {
    let problem = |message: String| Problem::new("component.types", message, "build it against wit/0.1.0 of this host");
    let Some((resolve, plain, webhooks)) = &*PACKAGE else {
        return Err(problem("this host's WIT package cannot be read".to_owned()));
    };
    let world = if contract.is_some_and(|contract| !contract.webhooks.is_empty()) { webhooks } else { plain };
    if let Err(error) = Validator::new_with_features(FEATURES).validate_all(component) {
        let message = format!("the component is not valid WebAssembly 2.0: {}", visible(&error.to_string(), 300).text);
        let fix = "build it without threads, garbage collection, exceptions and asynchronous functions \
                   (QuickJS: `componentize-qjs --sync`)";
        return Err(Problem::new("component.features", message, fix));
    }
    if contract.is_some_and(|contract| contract.plugin.world.is_some()) {
        return Ok(());
    }
    // The validator is made for untrusted input; should it panic nevertheless, that is a refusal like any other.
    match catch_unwind(AssertUnwindSafe(|| wit_component::targets(resolve, *world, component))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let cause = error.root_cause().to_string();
            Err(problem(format!(
                "its functions do not have the types of the WIT package: {}",
                visible(&cause, 300).text
            )))
        }
        Err(_) => Err(problem("the component cannot be validated".to_owned())),
    }
}

#[cfg(test)]
pub(super) fn package() -> (&'static Resolve, WorldId, WorldId) {
    let (resolve, plain, webhooks) = PACKAGE.as_ref().unwrap();
    (resolve, *plain, *webhooks)
}
