//! `"x-opsiq"`: which members of a value are secret, personal, or name whose data it is.
//!
//! Which alternative of an `anyOf` a value took is not asked: what any fitting one marks is redacted.

use serde_json::{Map, Value};

use super::{Schema, vocabulary::says_type};
use crate::json::CanonicalJson;

type Node = Map<String, Value>;

impl Schema {
    /// `value` as it may be shown: `"[secret]"` and `"[pii]"` in place of marked members. Also safe for a value that failed
    /// the check: what the schema does not know shows as `"[unknown]"`, what has the wrong type as `"[invalid]"`.
    #[must_use]
    pub fn redact(&self, value: &Value) -> Value {
        self.redacted(&[&self.0.closed], value)
    }

    /// The text of `json` as it may be shown; see [`Schema::redact`]. For a schema that marks nothing and a value that it
    /// takes, that is its own text.
    pub fn shown(&self, json: &CanonicalJson) -> String {
        if !self.0.hides && self.0.validator.is_valid(json.value()) {
            return json.as_str().to_owned();
        }
        self.redact(json.value()).to_string()
    }

    /// The value of the member marked `subject`, when the value has it: whose data this is.
    pub fn subject(&self, value: &Value) -> Option<String> {
        let path = self.0.subject.as_ref()?;
        match path.iter().try_fold(value, |value, name| value.get(name))? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn redacted(&self, schemas: &[&Value], value: &Value) -> Value {
        let nodes = self.nodes(schemas, value);
        let marked = |mark| nodes.iter().any(|node| node.get("x-opsiq").is_some_and(|m| m == mark));
        if nodes.is_empty() {
            return "[invalid]".into();
        }
        if marked("secret") {
            return "[secret]".into();
        }
        if marked("pii") {
            return "[pii]".into();
        }
        match value {
            Value::Object(members) if nodes.iter().any(|node| speaks_of_members(node)) => members
                .iter()
                .map(|(name, member)| {
                    let schemas = member_schemas(&nodes, name);
                    let open =
                        nodes.iter().any(|node| node.get("additionalProperties").is_some_and(|more| *more == true));
                    let shown = match (schemas.is_empty(), open) {
                        (false, _) => self.redacted(&schemas, member),
                        (true, true) => member.clone(),
                        (true, false) => "[unknown]".into(),
                    };
                    (name.clone(), shown)
                })
                .collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(at, item)| self.redacted(&item_schemas(&nodes, at), item)).collect()
            }
            other => other.clone(),
        }
    }

    /// Every schema object that speaks about `value`: those given, what they refer to, and their alternatives, as far as
    /// they admit its type. Ends because the vocabulary refuses references that lead nowhere but back.
    fn nodes<'a>(&'a self, schemas: &[&'a Value], value: &Value) -> Vec<&'a Node> {
        let mut found = Vec::new();
        for schema in schemas {
            self.collect(schema, value, &mut found);
        }
        found
    }

    fn collect<'a>(&'a self, schema: &'a Value, value: &Value, found: &mut Vec<&'a Node>) -> bool {
        let Value::Object(node) = schema else { return false };
        if !admits(node, value) {
            return false;
        }
        let before = found.len();
        let definition =
            node.get("$ref").and_then(Value::as_str).and_then(|name| self.0.closed.pointer(name.strip_prefix('#')?));
        let alternatives = ["anyOf", "oneOf"].into_iter().filter_map(|key| node.get(key)?.as_array()).flatten();
        let mut asked = false;
        for inner in definition.into_iter().chain(alternatives) {
            asked = true;
            self.collect(inner, value, found);
        }
        if asked && found.len() == before {
            return false;
        }
        found.push(node);
        true
    }
}

/// Whether anything in a schema may be marked secret or personal.
pub(super) fn hides(schema: &Value) -> bool {
    match schema {
        Value::Object(node) => node.get("x-opsiq").is_some_and(|mark| mark != "subject") || node.values().any(hides),
        Value::Array(items) => items.iter().any(hides),
        _ => false,
    }
}

fn speaks_of_members(node: &Node) -> bool {
    node.contains_key("properties") || node.contains_key("additionalProperties")
}

fn member_schemas<'a>(nodes: &[&'a Node], name: &str) -> Vec<&'a Value> {
    let own = |node: &&'a Node| {
        let named = node.get("properties").and_then(|all| all.get(name));
        named.or_else(|| node.get("additionalProperties").filter(|more| more.is_object()))
    };
    nodes.iter().filter_map(own).collect()
}

fn item_schemas<'a>(nodes: &[&'a Node], at: usize) -> Vec<&'a Value> {
    let own = |node: &&'a Node| {
        let first = node.get("prefixItems").and_then(|first| first.get(at));
        first.or_else(|| node.get("items").filter(|items| items.is_object()))
    };
    nodes.iter().filter_map(own).collect()
}

fn admits(node: &Node, value: &Value) -> bool {
    let says = |kind| says_type(node, kind);
    !node.contains_key("type")
        || match value {
            Value::Null => says("null"),
            Value::Bool(_) => says("boolean"),
            Value::Number(number) => {
                says("number") || (says("integer") && number.as_f64().is_some_and(|n| n.fract() == 0.0))
            }
            Value::String(_) => says("string"),
            Value::Array(_) => says("array"),
            Value::Object(_) => says("object"),
        }
}
