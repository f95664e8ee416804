use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::testing::{Host, Level};

#[derive(Deserialize)]
struct Config {
    factor: u64,
}

fn times(ctx: &Context<Config>, number: u64) -> Result<u64> {
    crate::info!("times {number}");
    Ok(ctx.config()?.factor * number)
}

#[test]
fn an_action_runs_from_json_to_json() {
    let host = Host::new().config(json!({ "factor": 3 }));
    assert!(matches!(host.run(|| run("14", times)), Ok(text) if text == "42"));
    assert_eq!(host.logs(), [(Level::Info, "times 14".to_owned())]);
}

#[test]
fn types_that_disagree_with_the_contract_are_the_plugins_defect() {
    let host = Host::new().config(json!({}));
    let failure = |params| match host.run(|| run(params, times)) {
        Err(Failure::Internal(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(failure("\"text\"").starts_with("params: "));
    assert!(failure("1").starts_with("config: "));
    assert!(matches!(unknown("action", "gone"), Failure::Internal(m) if m.contains("`gone`")));
}
