//! From the contract's schemas to shapes that a language with structural types can write down.
//!
//! Objects with members become records with a name, since that is what an editor shows; everything else is written
//! where it stands. What a schema says beyond its shape (lengths, patterns, bounds) the host checks on every call, so it
//! is not said again.

use std::collections::BTreeMap;

use opsiq_contract::Contract;
use serde_json::{Map, Value};

use crate::plugin::names::pascal;

/// How deep definitions that only name one another are followed.
const DEEPEST: usize = 64;

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Any,
    Text,
    Number,
    Integer,
    Boolean,
    Null,
    /// One of these values.
    Values(Vec<Value>),
    List(Box<Shape>),
    /// An object whose members have names that nobody knows beforehand.
    Map(Box<Shape>),
    /// A record of this name.
    Record(String),
    /// One of several.
    OneOf(Vec<Shape>),
}

/// An object with members.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) fields: Vec<Field>,
    /// Whether it may have members that are not named.
    pub(super) open: bool,
}

/// A member of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) doc: String,
}

/// An action with the shapes of what it takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) params: Shape,
    pub(super) result: Shape,
}

/// All that a contract says about types.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    /// In an order in which each comes after those it is made of, as far as that is possible.
    pub(super) records: Vec<Record>,
    pub(super) config: Option<Shape>,
    pub(super) actions: Vec<Method>,
    pub(super) webhooks: Vec<String>,
    /// Names of records made of definitions, by the definition they stand for.
    definitions: BTreeMap<String, String>,
}

/// The schema whose definitions count.
#[derive(Clone, Copy)]
struct Root<'a> {
    schema: &'a Value,
    name: &'a str,
    depth: usize,
}

impl Shapes {
    /// The shapes of a contract.
    pub(super) fn of(contract: &Contract) -> Self {
        let mut shapes = Self::default();
        let config = contract.config.as_ref().map(|schema| shapes.whole(schema.source(), "Config"));
        shapes.config = config;
        for action in &contract.actions {
            let base = pascal(&action.name);
            let method = Method {
                name: action.name.clone(),
                doc: format!("{} ({}).", action.title, action.effect),
                params: shapes.whole(action.params.source(), &format!("{base}Params")),
                result: shapes.whole(action.result.source(), &format!("{base}Result")),
            };
            shapes.actions.push(method);
        }
        shapes.webhooks = contract.webhooks.iter().map(|webhook| webhook.name.clone()).collect();
        shapes
    }

    /// The shape of a whole schema; an object gets a record even when it has no members.
    fn whole(&mut self, schema: &Value, name: &str) -> Shape {
        let root = Root { schema, name, depth: 0 };
        match schema {
            Value::Object(map) if map.get("type").is_some_and(|kind| kind == "object") => self.record(map, name, root),
            _ => self.shape(schema, name, root),
        }
    }

    fn shape(&mut self, schema: &Value, name: &str, root: Root<'_>) -> Shape {
        let Value::Object(map) = schema else { return Shape::Any };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, root);
        }
        if let Some(one) = map.get("const") {
            return Shape::Values(vec![one.clone()]);
        }
        if let Some(Value::Array(values)) = map.get("enum") {
            return Shape::Values(values.clone());
        }
        if let Some(Value::Array(kinds)) = map.get("type") {
            let each = kinds.iter().map(|kind| {
                let mut one = map.clone();
                one.insert("type".into(), kind.clone());
                self.shape(&Value::Object(one), name, root)
            });
            return one_of(each.collect());
        }
        let Some(kind) = map.get("type").and_then(Value::as_str) else {
            let Some(Value::Array(branches)) = map.get("oneOf").or_else(|| map.get("anyOf")) else { return Shape::Any };
            let each = branches.iter().enumerate().map(|(at, branch)| {
                let said = branch.get("title").and_then(Value::as_str).map_or_else(|| (at + 1).to_string(), pascal);
                self.shape(branch, &format!("{name}{said}"), root)
            });
            return one_of(each.collect());
        };
        match kind {
            "string" => Shape::Text,
            "boolean" => Shape::Boolean,
            "number" => Shape::Number,
            "integer" => Shape::Integer,
            "null" => Shape::Null,
            "array" => Shape::List(Box::new(match map.get("items") {
                Some(items) if !map.contains_key("prefixItems") => self.shape(items, &format!("{name}Item"), root),
                _ => Shape::Any,
            })),
            "object" if map.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty) => {
                match map.get("additionalProperties") {
                    None | Some(Value::Bool(false)) => self.record(map, name, root),
                    Some(Value::Bool(true)) => Shape::Map(Box::new(Shape::Any)),
                    Some(value) => Shape::Map(Box::new(self.shape(value, &format!("{name}Value"), root))),
                }
            }
            "object" => self.record(map, name, root),
            _ => Shape::Any,
        }
    }

    fn reference(&mut self, reference: &str, root: Root<'_>) -> Shape {
        let definition = reference.strip_prefix("#/$defs/").map(|name| name.replace("~1", "/").replace("~0", "~"));
        let Some((name, definition)) =
            definition.and_then(|name| Some((name.clone(), root.schema.get("$defs")?.get(&name)?)))
        else {
            return Shape::Any;
        };
        // Equal definitions beside equal others are one type; the same name for another is told apart by its schema.
        let whole = format!("{definition} {}", root.schema["$defs"]);
        if let Some(known) = self.definitions.get(&whole) {
            return Shape::Record(known.clone());
        }
        if root.depth == DEEPEST {
            return Shape::Any;
        }
        let root = Root { depth: root.depth + 1, ..root };
        let is_object = definition.get("type").is_some_and(|kind| kind == "object")
            && definition.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
        if !is_object {
            return self.shape(definition, &pascal(&name), root);
        }
        let mut type_name = pascal(&name);
        if self.definitions.values().any(|taken| *taken == type_name) {
            type_name = format!("{}{type_name}", root.name);
        }
        self.definitions.insert(whole, type_name.clone());
        self.shape(definition, &type_name, root)
    }

    fn record(&mut self, map: &Map<String, Value>, name: &str, root: Root<'_>) -> Shape {
        let required = map.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let properties = map.get("properties").and_then(Value::as_object);
        let fields = properties.into_iter().flatten().map(|(property, schema)| Field {
            shape: self.shape(schema, &format!("{name}{}", pascal(property)), root),
            name: property.clone(),
            required: required.iter().any(|name| name == property),
            doc: schema.as_object().map(doc).unwrap_or_default(),
        });
        let fields = fields.collect();
        let open = map.get("additionalProperties").is_some_and(|rest| *rest != Value::Bool(false));
        let mut free = name.to_owned();
        while self.records.iter().any(|record| record.name == free) {
            free.push('_');
        }
        self.records.push(Record { name: free.clone(), doc: doc(map), fields, open });
        Shape::Record(free)
    }
}

/// One of several shapes, each said once.
fn one_of(shapes: Vec<Shape>) -> Shape {
    let mut each: Vec<Shape> = Vec::new();
    for shape in shapes {
        if shape == Shape::Any {
            return Shape::Any;
        }
        if !each.contains(&shape) {
            each.push(shape);
        }
    }
    if each.len() == 1 { each.remove(0) } else { Shape::OneOf(each) }
}

/// What a schema says of itself, on one line.
fn doc(map: &Map<String, Value>) -> String {
    let said = ["title", "description"].iter().filter_map(|key| map.get(*key).and_then(Value::as_str));
    said.collect::<Vec<_>>().join(". ").split_whitespace().collect::<Vec<_>>().join(" ")
}
