//! A plugin without the SDK: `wit-bindgen` makes the bindings, and the code does what the WIT package says.

use exports::opsiq::plugin::actions::Guest;
use opsiq::plugin::log::{Level, write};
use opsiq::plugin::types::Failure;
use serde_json::{Value, json};

// A component imports only what its code reaches, so the whole world serves every contract.
wit_bindgen::generate!({ path: "../../wit/0.1.0", world: "opsiq:plugin/action" });

struct Plugin;

impl Guest for Plugin {
    fn invoke(action: String, params: String) -> Result<String, Failure> {
        let params: Value = serde_json::from_str(&params).map_err(|error| Failure::Internal(error.to_string()))?;
        match action.as_str() {
            "count-words" => count_words(&params),
            // The host asks only for actions of the contract.
            other => Err(Failure::Internal(format!("there is no code for `{other}`"))),
        }
    }
}

fn count_words(params: &Value) -> Result<String, Failure> {
    let text = params["text"].as_str().unwrap_or_default();
    if text.contains('\0') {
        return Err(Failure::Invalid("a text has no zero characters".into()));
    }
    let words = text.split_whitespace().count();
    write(Level::Info, &format!("{words} words"));
    Ok(json!({ "words": words }).to_string())
}

export!(Plugin);
