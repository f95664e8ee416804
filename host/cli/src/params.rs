//! The parameters of a call: one JSON text, given whole or name by name.
//!
//! Nothing is decided here. A value that does not fit its schema, a name nobody declared or one given twice is passed on
//! as it stands, so that the gate refuses it, says why, and records that it did.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::failure::{Exit, Failure};

/// Bytes read of parameters, at most: more than any ceiling lets in, so that the gate is the one to refuse.
const MAX: u64 = 64 << 20;

/// Options that give parameters.
#[derive(Debug, Args)]
pub(crate) struct Params {
    /// One parameter, typed by the action's schema; may be repeated.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", conflicts_with_all = ["whole", "file"])]
    named: Vec<String>,

    /// All parameters as one JSON object. Other users of the machine can see it: for what is confidential use
    /// --params-file.
    #[arg(long = "params", value_name = "JSON", conflicts_with = "file")]
    whole: Option<String>,

    /// All parameters as one JSON object in a file, or on standard input with `-`.
    #[arg(long = "params-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Params {
    /// Whether typing the parameters takes the action's schema.
    pub(crate) fn need_schema(&self) -> bool {
        !self.named.is_empty()
    }

    /// The JSON text, exactly as given, or put together from the named ones.
    pub(crate) fn text(&self, schema: Option<&Value>) -> Result<Vec<u8>, Failure> {
        if let Some(text) = &self.whole {
            return Ok(text.clone().into_bytes());
        }
        match &self.file {
            Some(path) if path == Path::new("-") => bounded(io::stdin().lock(), path),
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
                bounded(file, path)
            }
            None => self.named(schema),
        }
    }

    fn named(&self, schema: Option<&Value>) -> Result<Vec<u8>, Failure> {
        let members = self.named.iter().map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("`{pair}` is no parameter")).fix("--param NAME=VALUE"))?;
            Ok(format!("{}:{}", quoted(name), typed(value, schema.and_then(|schema| property(schema, name)))))
        });
        let members: Vec<String> = members.collect::<Result<_, Failure>>()?;
        Ok(format!("{{{}}}", members.join(",")).into_bytes())
    }
}

/// Reads options such as `--config base-url=…`, typed by a schema.
pub(crate) fn object(pairs: &[String], schema: Option<&Value>) -> Result<Value, Failure> {
    let given = Params { named: pairs.to_vec(), whole: None, file: None };
    serde_json::from_slice(&given.named(schema)?).map_err(|error| {
        Failure::new(Exit::Invalid, "cli.config", "the values do not make one object").detail(error.to_string())
    })
}

fn bounded(source: impl Read, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    source.take(MAX).read_to_end(&mut text).map_err(|error| Failure::file("read", path, &error))?;
    Ok(text)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The subschema of one property, through a local `$ref`.
fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let found = schema.get("properties")?.get(name)?;
    match found.get("$ref").and_then(Value::as_str) {
        Some(local) => schema.pointer(local.strip_prefix('#')?),
        None => Some(found),
    }
}

/// The value as JSON: as it stands where the schema takes something other than text and the value is JSON of that kind, and
/// as a string otherwise. Numbers keep every digit.
fn typed(value: &str, schema: Option<&Value>) -> String {
    let kinds: Vec<&str> = match schema.and_then(|schema| schema.get("type")) {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_json = serde_json::from_str::<IgnoredAny>(value).is_ok();
    let kind = match value.trim_start().bytes().next() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => "string",
    };
    let wanted = kinds.iter().any(|wanted| *wanted == kind || (kind == "number" && *wanted == "integer"));
    if is_json && wanted && !(kind == "null" && kinds.contains(&"string")) { value.to_owned() } else { quoted(value) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Params, object};

    fn text(named: &[&str]) -> String {
        let schema = json!({
            "$defs": { "money": { "type": "integer" } },
            "properties": {
                "amount": { "$ref": "#/$defs/money" }, "note": { "type": "string" }, "tags": { "type": "array" },
                "loud": { "type": "boolean" }, "until": { "type": ["string", "null"] }, "at": { "type": ["integer", "null"] },
            },
        });
        let params = Params { named: named.iter().map(ToString::to_string).collect(), whole: None, file: None };
        String::from_utf8(params.text(Some(&schema)).unwrap()).unwrap()
    }

    #[test]
    fn the_schema_says_which_kind_a_value_is() {
        assert_eq!(text(&["amount=12", "note=12", "loud=true"]), r#"{"amount":12,"note":"12","loud":true}"#);
        assert_eq!(text(&["tags=[1,2]", "until=null", "at=null"]), r#"{"tags":[1,2],"until":"null","at":null}"#);
        assert_eq!(text(&["amount=90071992547409931"]), r#"{"amount":90071992547409931}"#);
        assert_eq!(text(&["note=a=b \"c\""]), r#"{"note":"a=b \"c\""}"#);
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_gate_to_refuse() {
        assert_eq!(text(&["amount=ten"]), r#"{"amount":"ten"}"#);
        assert_eq!(text(&["amount=1}"]), r#"{"amount":"1}"}"#);
        assert_eq!(text(&["color=3"]), r#"{"color":"3"}"#);
        assert_eq!(text(&["note=a", "note=b"]), r#"{"note":"a","note":"b"}"#);
        assert_eq!(text(&[]), "{}");
    }

    #[test]
    fn settings_become_one_object() {
        assert_eq!(object(&["base-url=http://x".to_owned()], None).unwrap(), json!({ "base-url": "http://x" }));
        assert!(object(&["base-url".to_owned()], None).is_err());
    }
}
