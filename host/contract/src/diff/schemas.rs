//! Two schemas compared: what they accept, apart from words about it and from marks.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::schema::pointer_token;

/// The schema without titles, descriptions, examples and marks: two with the same shape accept the same values.
pub(super) fn shape(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut kept = Map::new();
    for (key, value) in map {
        let value = match key.as_str() {
            "title" | "description" | "examples" | "x-opsiq" => continue,
            "properties" | "$defs" => match value {
                Value::Object(all) => all.iter().map(|(name, inner)| (name.clone(), shape(inner))).collect(),
                other => other.clone(),
            },
            "anyOf" | "oneOf" | "prefixItems" => match value {
                Value::Array(all) => all.iter().map(shape).collect(),
                other => other.clone(),
            },
            "items" | "additionalProperties" => shape(value),
            _ => value.clone(),
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

/// Every mark in the schema, with the JSON pointer of the schema that has it.
pub(super) fn marks(schema: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    collect(schema, "", &mut found);
    found
}

fn collect(schema: &Value, at: &str, found: &mut BTreeSet<(String, String)>) {
    let Value::Object(map) = schema else { return };
    if let Some(mark) = map.get("x-opsiq").and_then(Value::as_str) {
        found.insert((at.to_owned(), mark.to_owned()));
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(all)) => {
                for (name, inner) in all {
                    collect(inner, &format!("{at}/{key}/{}", pointer_token(name)), found);
                }
            }
            ("anyOf" | "oneOf" | "prefixItems", Value::Array(all)) => {
                for (index, inner) in all.iter().enumerate() {
                    collect(inner, &format!("{at}/{key}/{index}"), found);
                }
            }
            ("items" | "additionalProperties", inner) => collect(inner, &format!("{at}/{key}"), found),
            _ => {}
        }
    }
}
