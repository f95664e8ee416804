//! A case as it stands in its file. Every field is named, and one that is not is an error that names its line.

use std::collections::BTreeMap;
use std::fmt;

use opsiq_contract::Role;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CaseFile {
    pub(crate) summary: Option<String>,
    pub(crate) action: String,
    pub(crate) params: Option<Json>,
    pub(crate) role: Option<Role>,
    pub(crate) now: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) config: Option<Json>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    #[serde(default)]
    pub(crate) private_target: Vec<Target>,
    #[serde(default)]
    pub(crate) kv: BTreeMap<String, Stored>,
    #[serde(default)]
    pub(crate) http: Vec<HttpPart>,
    pub(crate) expect: Option<ExpectPart>,
    #[serde(default)]
    pub(crate) faults: BTreeMap<Fault, FaultPart>,
}

/// A private destination, as the ceiling names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) cidr: String,
    pub(crate) port: u16,
    #[serde(default = "yes")]
    pub(crate) tls: bool,
}

fn yes() -> bool {
    true
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpPart {
    pub(crate) request: RequestPart,
    pub(crate) answer: AnswerPart,
}

/// What is to be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RequestPart {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<String>,
    pub(crate) json: Option<Json>,
    pub(crate) base64: Option<String>,
    pub(crate) body_file: Option<String>,
}

/// What was answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AnswerPart {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    pub(crate) body: Option<String>,
    pub(crate) json: Option<Json>,
    pub(crate) base64: Option<String>,
    pub(crate) body_file: Option<String>,
}

/// What is to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectPart {
    pub(crate) result: Option<Json>,
    pub(crate) failure: Option<FailurePart>,
    #[serde(default)]
    pub(crate) events: Vec<EventPart>,
    #[serde(default)]
    pub(crate) denials: Vec<String>,
    pub(crate) kv: Option<BTreeMap<String, Stored>>,
}

/// How it is to fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FailurePart {
    /// The case of `failure` in `wit/`, such as `not-found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The host's code, such as `params.invalid` or `cpu_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The upstream's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether an effect may have happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_sent: Option<bool>,
    /// Seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// Words that the message holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventPart {
    pub(crate) event: String,
    pub(crate) detail: Json,
}

/// What is to come of a fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultPart {
    /// Why the fault is left out.
    pub(crate) skip: Option<String>,
    pub(crate) result: Option<Json>,
    pub(crate) failure: Option<FailurePart>,
}

/// A JSON value: as TOML, or, since TOML has no null, as a text of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json(pub(crate) Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => serde_json::from_str(&text)
                .map(Self)
                .map_err(|error| D::Error::custom(format!("a text here is JSON, and this is none: {error}"))),
            other => json(other).map(Self).map_err(D::Error::custom),
        }
    }
}

fn json(value: toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).map(Value::Number).ok_or("JSON has no infinity and no NaN")?
        }
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(_) => return Err("JSON has no dates: put it into quotes"),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(members) => Value::Object(
            members.into_iter().map(|(name, member)| Ok((name, json(member)?))).collect::<Result<_, &'static str>>()?,
        ),
    })
}

/// One header value, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Values(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value: toml::Value| match value {
            toml::Value::String(text) => Ok(text),
            _ => Err(D::Error::custom("a header's value is a text, or a list of texts")),
        };
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(values) => Ok(Self(values.into_iter().map(text).collect::<Result<_, _>>()?)),
            value => Ok(Self(vec![text(value)?])),
        }
    }
}

/// Bytes in storage: a text, or `{ base64 = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Stored(pub(crate) Vec<u8>);

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom("a stored value is a text, or { base64 = \"…\" }");
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text.into_bytes())),
            toml::Value::Table(members) if members.len() == 1 => {
                let coded = members.get("base64").and_then(toml::Value::as_str).ok_or_else(wrong)?;
                unbase64(coded).map(Self).map_err(D::Error::custom)
            }
            _ => Err(wrong()),
        }
    }
}

pub(crate) fn unbase64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("no base64: {error}"))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
