//! Schemas: a fixed subset of JSON Schema 2020-12.
//!
//! A schema is what stands between a model's output and an endpoint, so it says only what is enforced: unknown keywords
//! and formats, remote references, patterns that need backtracking, and values left untyped are load errors, and objects
//! are closed unless they say otherwise. Compiled once, shared, and checked in one pass over strictly parsed JSON.

mod check;
mod mark;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

pub use check::Violation;
pub(crate) use vocabulary::escape as pointer_token;

/// Why a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {pointer:?})")]
pub struct SchemaError {
    /// Stable code, such as `schema.keyword`.
    pub code: &'static str,
    /// JSON pointer (RFC 6901) into the schema.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// A compiled schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Compiled>);

struct Compiled {
    source: Value,
    closed: Value,
    /// Whether it marks anything secret or personal.
    hides: bool,
    /// Where a value names whose data it is.
    subject: Option<Vec<String>>,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The first thing that lies outside the subset; [`Schema::compile_all`] tells them all.
    pub fn compile(source: Value) -> Result<Self, SchemaError> {
        Self::compile_all(source).map_err(|mut errors| errors.swap_remove(0))
    }

    /// Compiles a schema.
    ///
    /// # Errors
    /// Everything that lies outside the subset; never an empty list.
    pub fn compile_all(source: Value) -> Result<Self, Vec<SchemaError>> {
        let closed = vocabulary::close(&source)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20))
            .offline()
            .build(&closed)
            .map_err(|error| vec![check::build_error(&error)])?;
        let (hides, subject) = (mark::hides(&closed), vocabulary::subject(&closed));
        Ok(Self(Arc::new(Compiled { source, closed, hides, subject, validator })))
    }

    /// The schema of an object without members.
    pub fn empty_object() -> Self {
        let source = serde_json::json!({ "type": "object" });
        // A constant of the subset; a test compiles it.
        Self::compile(source).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The schema as written.
    pub fn source(&self) -> &Value {
        &self.0.source
    }

    /// The schemas of an object's own members, by name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.source.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v))
    }

    /// Whether `name` must be present in the object.
    pub fn requires(&self, name: &str) -> bool {
        self.0.source.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name))
    }

    /// Whether the root says `"type": "object"` and nothing else.
    pub fn is_object(&self) -> bool {
        self.0.source.get("type").is_some_and(|kind| kind == "object")
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.0.source)
    }
}
