//! TOML to a JSON value that remembers where everything stood.
//!
//! Contracts reach the host twice: as `contract.toml` and as the canonical JSON in a component. Both become one value that
//! one reader checks, so that neither form can say what the other cannot; this module adds the line numbers of the first.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use crate::error::ContractError;
use crate::json::{MAX_NUMBER, number_of};
use crate::schema::pointer_token;

/// Largest document read, in bytes.
pub(super) const MAX_LENGTH: usize = 256 << 10;
/// Syntax errors told at once, at most.
const MAX_SYNTAX: usize = 10;

/// A document with the places of its keys and values, by JSON pointer.
#[derive(Default)]
pub(super) struct Document {
    text: String,
    pub(super) value: Value,
    keys: HashMap<String, usize>,
    values: HashMap<String, usize>,
}

impl Document {
    /// Reads TOML.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<ContractError>> {
        let mut document = Self { text: text.to_owned(), ..Self::default() };
        if text.len() > MAX_LENGTH {
            let fault = Fault::new("", "toml.length", "longer than 256 KiB", "make it shorter");
            return Err(vec![document.locate(fault)]);
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().take(MAX_SYNTAX).map(|error| document.syntax(error)).collect());
        }
        let mut faults = Vec::new();
        document.value = document.table(table.get_ref(), "", &mut faults);
        if faults.is_empty() {
            Ok(document)
        } else {
            Err(faults.into_iter().map(|fault| document.locate(fault)).collect())
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> ContractError {
        let (line, column) = self.position(error.span().map_or(0, |span| span.start));
        ContractError {
            line: Some(line),
            column: Some(column),
            path: String::new(),
            code: "toml.syntax",
            message: error.message().to_owned(),
            fix: "correct the TOML (https://toml.io/en/v1.0.0)".to_owned(),
        }
    }

    fn table(&mut self, table: &DeTable<'_>, at: &str, faults: &mut Vec<Fault>) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let here = format!("{at}/{}", pointer_token(key.get_ref()));
            self.keys.insert(here.clone(), key.span().start);
            let value = self.value(value, &here, faults);
            map.insert(key.get_ref().to_string(), value);
        }
        Value::Object(map)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, at: &str, faults: &mut Vec<Fault>) -> Value {
        let Range { start, .. } = value.span();
        self.values.insert(at.to_owned(), start);
        let mut refuse = |message: &str, fix: &str| {
            faults.push(Fault::new(at, "toml.value", message, fix));
            Value::Null
        };
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if number.unsigned_abs() <= MAX_NUMBER => number.into(),
                _ => refuse("an integer beyond ±2^53", "use a smaller number"),
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(number_of) {
                Some(number) => Value::Number(number),
                None => refuse("not a finite number within ±2^53", "use a smaller number"),
            },
            DeValue::Datetime(_) => refuse("a date of TOML has no form in JSON", "write it in quotes"),
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.value(item, &format!("{at}/{index}"), faults))
                .collect(),
            DeValue::Table(table) => self.table(table, at, faults),
        }
    }

    /// Adds the place to a fault: its own, or the nearest around it.
    pub(super) fn locate(&self, fault: Fault) -> ContractError {
        let mut pointer = fault.pointer.as_str();
        let offset = loop {
            let (first, second) = if fault.at_key { (&self.keys, &self.values) } else { (&self.values, &self.keys) };
            if let Some(offset) = first.get(pointer).or_else(|| second.get(pointer)) {
                break *offset;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => break 0,
            }
        };
        let (line, column) = self.position(offset);
        ContractError { line: Some(line), column: Some(column), ..fault.into_error() }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
