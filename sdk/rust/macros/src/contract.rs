//! The part of a contract that code is generated from.

use std::path::Path;

use serde_json::Value;

/// What the code must do.
#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) actions: Vec<Action>,
    pub(crate) webhooks: Vec<String>,
    pub(crate) config: Option<Value>,
}

/// One method to implement.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) effect: String,
    pub(crate) params: Value,
    pub(crate) result: Value,
}

/// Reads the contract.
///
/// # Errors
/// What is missing for code to be generated.
pub(crate) fn read(path: &Path) -> Result<Contract, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<Contract, String> {
    let value: Value = toml::from_str(text).map_err(|error| error.to_string())?;
    let list = |name: &str| value.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let actions = list("action").iter().map(action).collect::<Result<_, _>>()?;
    let webhooks =
        list("webhook").iter().map(|webhook| text_of(webhook, "webhook", "name")).collect::<Result<_, _>>()?;
    Ok(Contract { actions, webhooks, config: value.get("config").cloned() })
}

fn action(value: &Value) -> Result<Action, String> {
    let name = text_of(value, "action", "name")?;
    let schema =
        |field: &str| value.get(field).cloned().ok_or_else(|| format!("action `{name}` has no [action.{field}]"));
    Ok(Action {
        title: text_of(value, "action", "title").unwrap_or_default(),
        effect: text_of(value, "action", "effect").unwrap_or_default(),
        params: schema("params")?,
        result: schema("result")?,
        name,
    })
}

fn text_of(value: &Value, of: &str, field: &str) -> Result<String, String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("a [[{of}]] has no {field}"))
}
