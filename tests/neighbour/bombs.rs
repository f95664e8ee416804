//! Components that do harm when they are registered.

use serde_json::Value;

use crate::compile_bombs as bombs;
use crate::opsiq::guest;
use crate::rewritten::with_contract;
use crate::written::component_of;

/// The component of that name.
pub(crate) fn component(name: &str) -> Vec<u8> {
    match name {
        "memory-declared" => component_of(name, false),
        "functions" => bombs::with(&bombs::functions(1_000_000)),
        "branch-table" => bombs::with(&bombs::branch_table(500_000)),
        "tangle" => bombs::with(&bombs::tangle(100, 2_000, 2_000)),
        "plain" => bombs::with(&bombs::plain(12 << 20)),
        "undeclared" => with_contract(&std::fs::read(guest("hostile")).unwrap(), |contract| {
            contract.as_object_mut().and_then(|contract| contract.remove("kv")).unwrap_or(Value::Null);
        }),
        other => panic!("there is no component {other}"),
    }
}
