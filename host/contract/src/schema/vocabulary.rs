//! Which keywords exist, and what an object without `additionalProperties` means.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::SchemaError;
use crate::json::MAX_NUMBER;

/// Formats that are asserted, not merely noted.
pub(super) const FORMATS: &[&str] =
    &["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

/// Keywords accepted. `not`, `allOf`, `if` and their kin are left out: closed objects and annotations have no clear meaning
/// under them.
const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "dependentRequired",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
    "x-opsiq",
];

const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];
const SUBJECT: &str = "subject";
const MARKS: &[&str] = &["secret", "pii", SUBJECT];
/// Keywords that may stand beside `$ref`.
const BESIDE_REF: &[&str] = &["$ref", "$defs", "title", "description", "examples", "x-opsiq"];
const MAX_NESTING: usize = 32;

/// Checks `source` against the subset and returns it with every object closed that does not say otherwise.
pub(super) fn close(source: &Value) -> Result<Value, Vec<SchemaError>> {
    let mut walk = Walk { errors: Vec::new(), defs: BTreeSet::new(), used: BTreeSet::new(), subjects: Vec::new() };
    if let Some(Value::Object(defs)) = source.get("$defs") {
        walk.defs = defs.keys().cloned().collect();
    }
    let mut closed = source.clone();
    walk.schema(&mut closed, "", 0, true);
    for unused in walk.defs.difference(&walk.used.clone()) {
        let pointer = format!("/$defs/{}", escape(unused));
        walk.errors.push(error("schema.unused-def", &pointer, "no $ref uses this definition", "remove it"));
    }
    if walk.subjects.len() > 1 {
        walk.errors.push(error("schema.subject", "", "more than one field is marked as the subject", "mark one field"));
    }
    for pointer in &walk.subjects {
        if let Err(message) = subject_path(pointer, source) {
            let fix = "mark a member of type string or integer, reached by properties alone; what a list says about many \
                       people is marked \"pii\"";
            walk.errors.push(error("schema.subject", pointer, message, fix));
        }
    }
    if walk.errors.is_empty() {
        walk.errors.extend(empty_cycle(source));
    }
    if walk.errors.is_empty() { Ok(closed) } else { Err(walk.errors) }
}

/// Names of the members that lead to the one marked as the subject, in a schema that [`close`] took.
pub(super) fn subject(closed: &Value) -> Option<Vec<String>> {
    fn find(schema: &Value, path: &mut Vec<String>) -> bool {
        if schema.get("x-opsiq").is_some_and(|mark| mark == SUBJECT) {
            return true;
        }
        schema.get("properties").and_then(Value::as_object).is_some_and(|members| {
            members.iter().any(|(name, member)| {
                path.push(name.clone());
                let found = find(member, path);
                if !found {
                    path.pop();
                }
                found
            })
        })
    }
    let mut path = Vec::new();
    find(closed, &mut path).then_some(path)
}

/// Whether a value has exactly one subject where the mark stands, so that nothing about one person is ever sealed under
/// another's key.
fn subject_path(pointer: &str, source: &Value) -> Result<(), &'static str> {
    let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
    let members = tokens.chunks(2).all(|pair| pair.len() == 2 && pair[0] == "properties");
    if tokens.is_empty() || !members {
        return Err("the subject is not one named member: it stands in a list, an alternative or a definition");
    }
    let kind = source.pointer(pointer).and_then(|schema| schema.get("type"));
    if kind.is_some_and(|kind| kind == "string" || kind == "integer") {
        Ok(())
    } else {
        Err("the subject is neither a string nor an integer")
    }
}

pub(super) fn error(
    code: &'static str,
    pointer: &str,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> SchemaError {
    SchemaError { code, pointer: pointer.to_owned(), message: message.into(), fix: fix.into() }
}

/// A name as one token of a JSON pointer (RFC 6901 §3).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

struct Walk {
    errors: Vec<SchemaError>,
    defs: BTreeSet<String>,
    used: BTreeSet<String>,
    /// Where the mark of a subject stands.
    subjects: Vec<String>,
}

impl Walk {
    fn refuse(&mut self, code: &'static str, pointer: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.errors.push(error(code, pointer, message, fix));
    }

    /// `must_type`: whether this place has to say what kind of value it takes.
    fn schema(&mut self, schema: &mut Value, at: &str, nesting: usize, must_type: bool) {
        if nesting > MAX_NESTING {
            return self.refuse("schema.nesting", at, "nested more than 32 deep", "use $defs");
        }
        let Value::Object(map) = schema else {
            return self.refuse("schema.shape", at, "a schema is an object here", "write { type = \"...\" }");
        };
        self.keywords(map, at, nesting);
        self.kinds(map, at, must_type);
        self.children(map, at, nesting);
        let object = says_type(map, "object") || map.contains_key("properties");
        if object && !map.contains_key("additionalProperties") {
            map.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }

    fn keywords(&mut self, map: &Map<String, Value>, at: &str, nesting: usize) {
        for (key, value) in map {
            let here = format!("{at}/{}", escape(key));
            match key.as_str() {
                "$defs" if nesting > 0 => {
                    self.refuse("schema.defs", &here, "$defs stands only at the top of a schema", "move it there");
                }
                "x-opsiq" if value == SUBJECT => self.subjects.push(at.to_owned()),
                "x-opsiq" if MARKS.iter().any(|mark| value == mark) => {}
                "x-opsiq" => {
                    self.refuse("schema.mark", &here, "not a mark", "write \"secret\", \"pii\" or \"subject\"");
                }
                "format" if !FORMATS.iter().any(|format| value == format) => {
                    self.refuse(
                        "schema.format",
                        &here,
                        "a format that is not enforced",
                        format!("use one of {}, or a pattern", FORMATS.join(", ")),
                    );
                }
                "$ref" => self.reference(map, value, &here),
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "const" | "enum" => {
                    if beyond_exact(value) {
                        self.refuse("schema.number", &here, "a number beyond ±2^53", "use a string");
                    }
                }
                "title" | "description" if !value.is_string() => {
                    self.refuse("schema.keyword-value", &here, "not a text", "write a text");
                }
                "examples" if !value.is_array() => {
                    self.refuse("schema.keyword-value", &here, "not a list", "write a list");
                }
                key if KEYWORDS.contains(&key) => {}
                key => {
                    let near = KEYWORDS.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
                    let fix = near.filter(|near| strsim::jaro(near, key) > 0.85).map_or_else(
                        || format!("use only {}", KEYWORDS.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    );
                    self.refuse(
                        "schema.keyword",
                        &here,
                        format!("the keyword `{}` is not enforced here", key.escape_debug()),
                        fix,
                    );
                }
            }
        }
    }

    fn reference(&mut self, map: &Map<String, Value>, value: &Value, here: &str) {
        let name = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        match name {
            Some(name) if self.defs.contains(name) => {
                self.used.insert(name.to_owned());
            }
            Some(_) => self.refuse("schema.ref", here, "the definition does not exist", "add it to $defs"),
            None => {
                self.refuse("schema.ref", here, "only local definitions can be referred to", "write \"#/$defs/NAME\"");
            }
        }
        if let Some(other) = map.keys().find(|key| !BESIDE_REF.contains(&key.as_str())) {
            self.refuse("schema.ref", here, format!("`{other}` beside $ref"), "move it into the definition");
        }
    }

    fn kinds(&mut self, map: &Map<String, Value>, at: &str, must_type: bool) {
        let names = match map.get("type") {
            None => {
                let says = ["$ref", "enum", "const", "anyOf", "oneOf"].iter().any(|key| map.contains_key(*key));
                if must_type && !says {
                    self.refuse("schema.untyped", at, "nothing says what kind of value this is", "add type = \"...\"");
                }
                return;
            }
            Some(Value::Array(names)) if !names.is_empty() => names.clone(),
            Some(one) => vec![one.clone()],
        };
        if !names.iter().all(|name| TYPES.iter().any(|kind| name == kind)) {
            return self.refuse(
                "schema.type",
                &format!("{at}/type"),
                "not a type",
                format!("use {}", TYPES.join(", ")),
            );
        }
        if says_type(map, "array") && !map.contains_key("items") {
            self.refuse(
                "schema.items",
                at,
                "an array that does not say what it holds",
                "add items = { type = \"...\" }",
            );
        }
        let needs: [(&str, &[&str]); 4] = [
            ("array", &["items", "prefixItems", "minItems", "maxItems", "uniqueItems"]),
            (
                "object",
                &[
                    "properties",
                    "required",
                    "additionalProperties",
                    "minProperties",
                    "maxProperties",
                    "dependentRequired",
                ],
            ),
            ("string", &["minLength", "maxLength", "pattern", "format"]),
            ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
        ];
        for (kind, keywords) in needs {
            let applies = says_type(map, kind) || (kind == "number" && says_type(map, "integer"));
            if let Some(keyword) = keywords.iter().find(|keyword| !applies && map.contains_key(**keyword)) {
                self.refuse(
                    "schema.no-effect",
                    &format!("{at}/{keyword}"),
                    format!("`{keyword}` says nothing about the type given"),
                    format!("remove it, or add \"{kind}\" to the type"),
                );
            }
        }
    }

    fn children(&mut self, map: &mut Map<String, Value>, at: &str, nesting: usize) {
        let typed = map.contains_key("type");
        for key in ["properties", "$defs"] {
            match map.get_mut(key) {
                Some(Value::Object(entries)) => {
                    for (name, child) in entries {
                        self.schema(child, &format!("{at}/{key}/{}", escape(name)), nesting + 1, true);
                    }
                }
                Some(_) => self.refuse(
                    "schema.keyword-value",
                    &format!("{at}/{key}"),
                    "not a table of schemas",
                    "write a table",
                ),
                None => {}
            }
        }
        for key in ["anyOf", "oneOf", "prefixItems"] {
            match map.get_mut(key) {
                Some(Value::Array(entries)) if !entries.is_empty() => {
                    for (index, child) in entries.iter_mut().enumerate() {
                        self.schema(child, &format!("{at}/{key}/{index}"), nesting + 1, !typed || key == "prefixItems");
                    }
                }
                Some(_) => self.refuse(
                    "schema.keyword-value",
                    &format!("{at}/{key}"),
                    "not a list of schemas",
                    "write a list of at least one",
                ),
                None => {}
            }
        }
        for key in ["items", "additionalProperties"] {
            match map.get_mut(key) {
                Some(Value::Bool(open)) if key == "additionalProperties" || !*open => {}
                Some(child) => self.schema(child, &format!("{at}/{key}"), nesting + 1, true),
                None => {}
            }
        }
        if let Some(Value::Array(required)) = map.get("required")
            && map.get("additionalProperties").is_none_or(|more| more == false)
            && (typed || map.contains_key("properties"))
        {
            for name in required.iter().filter_map(Value::as_str) {
                if map.get("properties").and_then(|p| p.get(name)).is_none() {
                    let message = format!("`{}` is required but is no property", name.escape_debug());
                    self.errors.push(error(
                        "schema.required",
                        &format!("{at}/required"),
                        message,
                        "add it to properties",
                    ));
                }
            }
        }
    }
}

pub(super) fn says_type(map: &Map<String, Value>, kind: &str) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(many)) => many.iter().any(|one| one == kind),
        _ => false,
    }
}

#[allow(clippy::cast_precision_loss, reason = "2^53 is exact")]
fn beyond_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.as_f64().is_none_or(|n| n.abs() > MAX_NUMBER as f64)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() > MAX_NUMBER)
                || number.as_u64().is_some_and(|n| n > MAX_NUMBER)
        }
        Value::Array(items) => items.iter().any(beyond_exact),
        Value::Object(map) => map.values().any(beyond_exact),
        _ => false,
    }
}

/// A definition that refers to itself without a property or item between: it says nothing and would be followed forever.
fn empty_cycle(source: &Value) -> Option<SchemaError> {
    let defs = source.get("$defs").and_then(Value::as_object)?;
    let mut direct: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, def) in defs {
        direct_refs(def, direct.entry(name).or_default());
    }
    defs.keys().find_map(|start| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = direct.get(start.as_str())?.iter().copied().collect();
        while let Some(name) = open.pop() {
            if name == start {
                let pointer = format!("/$defs/{}", escape(start));
                return Some(error(
                    "schema.cycle",
                    &pointer,
                    "the definition refers to itself directly",
                    "put a property or items between",
                ));
            }
            if seen.insert(name) {
                open.extend(direct.get(name).into_iter().flatten());
            }
        }
        None
    })
}

fn direct_refs<'a>(schema: &'a Value, into: &mut BTreeSet<&'a str>) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/")) {
        into.insert(name);
    }
    for key in ["anyOf", "oneOf"] {
        for branch in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            direct_refs(branch, into);
        }
    }
}
