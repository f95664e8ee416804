//! Says what it is told about somebody wherever it can: in its log, in an event, in its answer or its failure.

use opsiq_sdk::bindings::opsiq::plugin::{audit, log};
use opsiq_sdk::serde_json::Value;
use opsiq_sdk::{Failure, json};

/// Answers about whom it is told to, which need not be whom it was asked about.
pub(crate) fn answer(params: &Value) -> Result<Value, Failure> {
    let text = params["text"].as_str().unwrap_or_default();
    log::write(log::Level::Info, &format!("logged: {text}"));
    audit::emit("hostile.declared", &json!({ "recorded": text }).to_string())?;
    if params["fail"] == true {
        return Err(Failure::invalid(format!("failed: {text}")));
    }
    let mut answer = json!({ "text": format!("answered: {text}") });
    if let Some(whom) = params["answer-about"].as_str() {
        answer["customer"] = whom.into();
    }
    Ok(answer)
}
