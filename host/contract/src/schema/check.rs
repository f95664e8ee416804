//! Checking a JSON text: strict parse, validation and canonical form in one go.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde::Serialize;
use serde_json::Value;

use super::{Schema, SchemaError, vocabulary};
use crate::json::{CanonicalJson, parse_strict};
use crate::visible::visible;

/// Violations told at once, at most.
const MAX_VIOLATIONS: usize = 20;
/// Characters of a property name shown, at most.
const MAX_NAME: usize = 64;

/// One place where a value is not what its schema says. Names properties, never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the value; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl Schema {
    /// Reads `bytes` strictly, checks the value and returns its canonical form. The caller bounds the size; nesting is
    /// bounded by `max_depth`.
    ///
    /// # Errors
    /// At most 20 violations, never an empty list. None of them shows a value.
    pub fn check(&self, bytes: &[u8], max_depth: usize) -> Result<CanonicalJson, Vec<Violation>> {
        let whole = |message: String| vec![Violation { path: String::new(), message }];
        let value = parse_strict(bytes, max_depth).map_err(|error| whole(error.to_string()))?;
        if !self.0.validator.is_valid(&value) {
            return Err(self.violations(&value));
        }
        CanonicalJson::of(value).map_err(|error| whole(error.to_string()))
    }

    /// Every violation of a value already parsed, at most 20; empty when it is valid.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        self.0
            .validator
            .iter_errors(value)
            .take(MAX_VIOLATIONS)
            .map(|error| Violation {
                path: visible(error.instance_path().as_str(), 4 * MAX_NAME).text,
                message: message(error.kind()),
            })
            .collect()
    }
}

/// Why the validator would not take a schema of the subset, such as a pattern that needs backtracking.
pub(super) fn build_error(error: &ValidationError<'_>) -> SchemaError {
    let pointer = error.instance_path().as_str().to_owned();
    match error.kind() {
        Kind::Format { format } if format == "regex" => vocabulary::error(
            "schema.pattern",
            &pointer,
            "the pattern is too large, malformed, or needs backtracking",
            "write it without lookaround and backreferences",
        ),
        kind if pointer.ends_with("/pattern") => vocabulary::error(
            "schema.pattern",
            &pointer,
            message(kind),
            "write it without lookaround and backreferences",
        ),
        kind => vocabulary::error(
            "schema.keyword-value",
            &pointer,
            message(kind),
            "write what JSON Schema 2020-12 takes here",
        ),
    }
}

fn names(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", visible(name, MAX_NAME).text))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}

fn message(kind: &Kind) -> String {
    match kind {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("unknown: {}", names(unexpected))
        }
        Kind::Required { property } => {
            format!("missing: {}", names(&[property.as_str().unwrap_or_default().to_owned()]))
        }
        Kind::Type { kind: TypeKind::Single(kind) } => format!("must be of type {kind}"),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds = kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>();
            format!("must be of type {}", kinds.join(" or "))
        }
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} members"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} members"),
        Kind::UniqueItems => "must not hold the same item twice".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern {pattern}"),
        Kind::Format { format } => format!("must be in the format {format}"),
        Kind::Enum { options } => format!("must be one of {options}"),
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "matches none of the alternatives".to_owned(),
        Kind::OneOfMultipleValid { .. } => "matches more than one of the alternatives".to_owned(),
        Kind::FalseSchema => "must not be there".to_owned(),
        other => format!("does not satisfy `{}`", other.keyword()),
    }
}
