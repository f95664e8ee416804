use serde_json::{Value, json};

use super::{Schema, vocabulary::FORMATS};
use crate::CanonicalJson;

fn schema(source: Value) -> Schema {
    Schema::compile(source).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether `value` is valid under `source`.
fn valid(source: Value, value: &Value) -> bool {
    schema(source).check(value.to_string().as_bytes(), 64).is_ok()
}

#[test]
fn outside_the_subset_is_a_load_error() {
    let object = |properties: Value| json!({ "type": "object", "properties": properties });
    for (source, code, pointer) in [
        (json!(true), "schema.shape", ""),
        (json!({}), "schema.untyped", ""),
        (json!({ "type": "strin" }), "schema.type", "/type"),
        (json!({ "type": [] }), "schema.type", "/type"),
        (json!({ "type": "array" }), "schema.items", ""),
        (json!({ "type": "array", "items": true }), "schema.shape", "/items"),
        (json!({ "type": "string", "minimum": 1 }), "schema.no-effect", "/minimum"),
        (json!({ "type": "string", "format": "regex" }), "schema.format", "/format"),
        (json!({ "type": "string", "format": "uri-template" }), "schema.format", "/format"),
        (json!({ "type": "string", "format": 1 }), "schema.format", "/format"),
        (json!({ "type": "string", "minLength": -1 }), "schema.keyword-value", "/minLength"),
        (json!({ "type": "string", "default": "x" }), "schema.keyword", "/default"),
        (json!({ "type": "string", "contentEncoding": "base64" }), "schema.keyword", "/contentEncoding"),
        (json!({ "type": "object", "patternProperties": {} }), "schema.keyword", "/patternProperties"),
        (json!({ "allOf": [] , "type": "string" }), "schema.keyword", "/allOf"),
        (json!({ "not": {}, "type": "string" }), "schema.keyword", "/not"),
        (json!({ "$id": "https://x.com/a", "type": "string" }), "schema.keyword", "/$id"),
        (json!({ "$dynamicRef": "#a", "type": "string" }), "schema.keyword", "/$dynamicRef"),
        (json!({ "$ref": "https://x.com/a" }), "schema.ref", "/$ref"),
        (json!({ "$ref": "#" }), "schema.ref", "/$ref"),
        (json!({ "$ref": "#/$defs/none" }), "schema.ref", "/$ref"),
        (
            json!({ "$ref": "#/$defs/a", "type": "string", "$defs": { "a": { "type": "string" } } }),
            "schema.ref",
            "/$ref",
        ),
        (json!({ "type": "string", "$defs": { "a": { "type": "string" } } }), "schema.unused-def", "/$defs/a"),
        (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } }), "schema.cycle", "/$defs/a"),
        (
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } } }),
            "schema.cycle",
            "/$defs/a",
        ),
        (object(json!({ "a": {} })), "schema.untyped", "/properties/a"),
        (object(json!({ "a/b~": {} })), "schema.untyped", "/properties/a~1b~0"),
        (object(json!({ "a": { "type": "string", "$defs": {} } })), "schema.defs", "/properties/a/$defs"),
        (json!({ "type": "object", "required": ["a"] }), "schema.required", "/required"),
        (json!({ "anyOf": [] }), "schema.keyword-value", "/anyOf"),
        (json!({ "type": "string", "pattern": "(?=a)" }), "schema.pattern", "/pattern"),
        (json!({ "type": "string", "pattern": "(a)\\1" }), "schema.pattern", "/pattern"),
        (json!({ "type": "string", "pattern": "(?<!a)b" }), "schema.pattern", "/pattern"),
        (json!({ "type": "string", "pattern": "(" }), "schema.pattern", "/pattern"),
        (json!({ "type": "string", "pattern": "((a{1000}){1000}){1000}" }), "schema.pattern", "/pattern"),
        (json!({ "type": "integer", "maximum": 9_007_199_254_740_993_i64 }), "schema.number", "/maximum"),
        (json!({ "enum": [1e300] }), "schema.number", "/enum"),
        (json!({ "type": "string", "x-opsiq": "hidden" }), "schema.mark", "/x-opsiq"),
        (
            object(
                json!({ "a": { "type": "string", "x-opsiq": "subject" }, "b": { "type": "string", "x-opsiq": "subject" } }),
            ),
            "schema.subject",
            "",
        ),
        (object(json!({ "a": { "type": "boolean", "x-opsiq": "subject" } })), "schema.subject", "/properties/a"),
        (
            object(json!({ "a": { "type": ["string", "null"], "x-opsiq": "subject" } })),
            "schema.subject",
            "/properties/a",
        ),
        (json!({ "type": "string", "x-opsiq": "subject" }), "schema.subject", ""),
        (
            object(json!({ "a": { "type": "array", "items": { "type": "string", "x-opsiq": "subject" } } })),
            "schema.subject",
            "/properties/a/items",
        ),
        (
            json!({
                "$ref": "#/$defs/a",
                "$defs": { "a": object(json!({ "b": { "type": "string", "x-opsiq": "subject" } })) },
            }),
            "schema.subject",
            "/$defs/a/properties/b",
        ),
        (
            object(json!({ "a": { "anyOf": [{ "type": "string", "x-opsiq": "subject" }, { "type": "integer" }] } })),
            "schema.subject",
            "/properties/a/anyOf/0",
        ),
    ] {
        let errors = Schema::compile_all(source.clone()).expect_err(&source.to_string());
        assert!(errors.iter().any(|e| e.code == code && e.pointer == pointer), "{source}: {errors:#?}");
    }
    let mut deep = json!({ "type": "string" });
    for _ in 0..100 {
        deep = json!({ "type": "array", "items": deep });
    }
    assert_eq!(Schema::compile(deep).unwrap_err().code, "schema.nesting");
}

#[test]
fn objects_are_closed_wherever_they_stand() {
    let inner = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    let extra = json!({ "a": 1, "b": 2 });
    for (source, value) in [
        (inner.clone(), extra.clone()),
        (json!({ "type": "object", "properties": { "x": inner } }), json!({ "x": extra })),
        (json!({ "type": "array", "items": inner }), json!([extra])),
        (json!({ "type": "array", "prefixItems": [inner], "items": false }), json!([extra])),
        (json!({ "$ref": "#/$defs/x", "$defs": { "x": inner } }), extra.clone()),
        (json!({ "anyOf": [inner, { "type": "null" }] }), extra.clone()),
        (json!({ "type": "object", "additionalProperties": inner }), json!({ "any": extra })),
        (json!({ "type": ["object", "null"], "properties": { "a": { "type": "integer" } } }), extra.clone()),
    ] {
        assert!(!valid(source.clone(), &value), "{source}");
        let mut open = source.to_string();
        open = open.replace("\"properties\":{\"a\"", "\"additionalProperties\":true,\"properties\":{\"a\"");
        assert!(valid(serde_json::from_str(&open).unwrap(), &value), "{open}");
    }
}

/// Cases in the manner of JSON-Schema-Test-Suite (draft 2020-12), of the keywords in the subset.
#[test]
fn keywords_mean_what_the_standard_says() {
    let list = |more: Value| {
        let mut source = json!({ "type": "array", "items": { "type": ["integer", "string", "number", "boolean"] } });
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    for (source, good, bad) in [
        (json!({ "type": "integer" }), json!([1, 1.0, -5]), json!([1.1, "1", null, true])),
        (json!({ "type": "number" }), json!([1, 1.1]), json!(["1", null])),
        (json!({ "type": "string" }), json!(["", "1"]), json!([1, null, {}])),
        (json!({ "type": ["integer", "null"] }), json!([1, null]), json!(["1", 0.5])),
        (json!({ "type": "number", "minimum": 1.1 }), json!([1.1, 2.6]), json!([0.6])),
        (json!({ "type": "number", "exclusiveMaximum": 3 }), json!([2.2]), json!([3, 3.5])),
        (json!({ "type": "integer", "multipleOf": 2 }), json!([10, 0]), json!([7])),
        (json!({ "type": "number", "multipleOf": 0.01 }), json!([4.02, 0]), json!([0.007_51])),
        (json!({ "type": "string", "minLength": 2 }), json!(["fo", "💩💩"]), json!(["f", "💩"])),
        (json!({ "type": "string", "maxLength": 2 }), json!(["f", "💩💩"]), json!(["foo"])),
        (json!({ "type": "string", "pattern": "^a*$" }), json!(["aaa", ""]), json!(["abc"])),
        (json!({ "type": "string", "pattern": "a+" }), json!(["xxaayy"]), json!(["x"])),
        (json!({ "type": "string", "pattern": "^\\d+$" }), json!(["0123"]), json!(["a", "1a"])),
        (json!({ "enum": [1, "a", null, [1]] }), json!([1, 1.0, "a", null, [1]]), json!([2, "b", true, [2]])),
        (json!({ "const": 2 }), json!([2, 2.0]), json!([5, "2"])),
        (list(json!({ "minItems": 1 })), json!([[1]]), json!([[]])),
        (list(json!({ "maxItems": 2 })), json!([[1, 2]]), json!([[1, 2, 3]])),
        (list(json!({ "uniqueItems": true })), json!([[1, 2], [1, true], ["1", 1]]), json!([[1, 1], [1.0, 1]])),
        (list(json!({ "prefixItems": [{ "type": "string" }] })), json!([["a", 1], []]), json!([[1]])),
        (
            json!({ "type": "object", "additionalProperties": true, "minProperties": 1 }),
            json!([{ "a": 1 }]),
            json!([{}]),
        ),
        (
            json!({ "type": "object", "additionalProperties": true, "maxProperties": 1 }),
            json!([{}]),
            json!([{ "a": 1, "b": 1 }]),
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "boolean" } }),
            json!([{ "a": true }]),
            json!([{ "a": 1 }]),
        ),
        (
            json!({ "type": "object", "additionalProperties": true, "dependentRequired": { "a": ["b"] } }),
            json!([{}, { "a": 1, "b": 1 }]),
            json!([{ "a": 1 }]),
        ),
        (
            json!({ "anyOf": [{ "type": "integer" }, { "type": "number", "minimum": 2 }] }),
            json!([1, 2.5]),
            json!([1.5]),
        ),
        (
            json!({ "oneOf": [{ "type": "integer" }, { "type": "number", "minimum": 2 }] }),
            json!([1, 2.5]),
            json!([3, 1.5]),
        ),
        (json!({ "type": "string", "format": "date" }), json!(["2026-02-28"]), json!(["2026-02-30", "28.2.2026"])),
        (json!({ "type": "string", "format": "date-time" }), json!(["2026-01-01T00:00:00Z"]), json!(["2026-01-01"])),
        (json!({ "type": "string", "format": "time" }), json!(["12:00:00Z"]), json!(["25:00:00Z"])),
        (json!({ "type": "string", "format": "duration" }), json!(["P1D"]), json!(["1 day"])),
        (json!({ "type": "string", "format": "email" }), json!(["a@b.example"]), json!(["a"])),
        (json!({ "type": "string", "format": "hostname" }), json!(["a.example"]), json!(["-a"])),
        (json!({ "type": "string", "format": "ipv4" }), json!(["127.0.0.1"]), json!(["127.1", "256.0.0.1"])),
        (json!({ "type": "string", "format": "ipv6" }), json!(["::1"]), json!(["1"])),
        (json!({ "type": "string", "format": "uri" }), json!(["https://x.example/"]), json!(["/a"])),
        (json!({ "type": "string", "format": "uuid" }), json!(["01890a5d-ac96-774b-bcce-b302099a8057"]), json!(["1"])),
        (
            json!({ "$ref": "#/$defs/node", "$defs": { "node": { "type": "object", "properties": { "next": { "$ref": "#/$defs/node" } } } } }),
            json!([{}, { "next": { "next": {} } }]),
            json!([{ "next": { "next": 1 } }, { "other": 1 }]),
        ),
    ] {
        for value in good.as_array().unwrap() {
            assert!(valid(source.clone(), value), "{source} refuses {value}");
        }
        for value in bad.as_array().unwrap() {
            assert!(!valid(source.clone(), value), "{source} takes {value}");
        }
    }
    let options = jsonschema::options();
    for format in FORMATS {
        assert!(options.is_known_format(jsonschema::Draft::Draft202012, format), "{format} is not asserted");
    }
}

#[test]
fn violations_name_the_place_and_never_the_value() {
    let schema = schema(json!({
        "type": "object", "required": ["pin"],
        "properties": {
            "pin": { "type": "string", "maxLength": 3, "x-opsiq": "secret" },
            "list": { "type": "array", "items": { "enum": ["a", "b"] } },
        },
    }));
    let told =
        |text: &str| schema.check(text.as_bytes(), 64).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told("{}"), ["missing: `pin`"]);
    assert_eq!(told(r#"{"pin":"canary"}"#), ["/pin: must have at most 3 characters"]);
    assert_eq!(told(r#"{"pin":1,"x\u202ey":2}"#).len(), 2);
    assert!(told(r#"{"pin":"1","x\u202ey":"canary"}"#)[0].contains("unknown: `x\\u{202e}y`"));
    assert_eq!(told(r#"{"pin":"1","list":["a","canary"]}"#), [r#"/list/1: must be one of ["a","b"]"#]);
    assert_eq!(told("{\"pin\":\"1\",\"pin\":\"canary\"}").len(), 1);
    for text in [
        r#"{"pin":"canary"}"#,
        r#"{"pin":["canary"]}"#,
        r#""canary""#,
        "{\"pin\":\"canary\",\"pin\":1}",
        "{\"pin\":\"canary",
        r#"{"pin":"1","list":["canary"]}"#,
    ] {
        assert!(!told(text).join(" ").contains("canary"), "{text}");
    }
    let many = format!("{{\"pin\":\"1\",\"list\":[{}]}}", vec!["0"; 1_000].join(","));
    assert_eq!(schema.check(many.as_bytes(), 64).unwrap_err().len(), 20);
}

#[test]
fn what_is_checked_is_what_runs() {
    let schema =
        schema(json!({ "type": "object", "properties": { "b": { "type": "number" }, "a": { "type": "string" } } }));
    assert_eq!(schema.check(b" { \"b\" : 1.0 , \"a\":\"\\u0041\" } ", 64).unwrap().as_str(), r#"{"a":"A","b":1}"#);
}

#[test]
fn marks_are_redacted_wherever_they_stand() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "token": { "$ref": "#/$defs/token" },
            "person": { "type": "object", "properties": { "mail": { "type": "string", "x-opsiq": "pii" }, "age": { "type": "integer" } } },
            "list": { "type": "array", "items": { "$ref": "#/$defs/token" } },
            "pair": { "type": "array", "prefixItems": [{ "type": "string" }, { "$ref": "#/$defs/token" }], "items": false },
            "either": { "anyOf": [
                { "type": "object", "properties": { "card": { "type": "string", "x-opsiq": "secret" } } },
                { "type": "object", "properties": { "iban": { "type": "string", "x-opsiq": "pii" }, "bank": { "type": "string" } } },
                { "type": "integer" },
            ] },
            "map": { "type": "object", "additionalProperties": { "type": "string", "x-opsiq": "pii" } },
            "free": { "type": "object", "additionalProperties": true },
            "whole": { "type": "object", "additionalProperties": true, "x-opsiq": "secret" },
            "customer": { "type": "string", "x-opsiq": "subject" },
        },
        "$defs": { "token": { "type": "string", "x-opsiq": "secret" } },
    }));
    let value = json!({
        "token": "s", "person": { "mail": "m", "age": 3 }, "list": ["s", "s"], "pair": ["p", "s"],
        "either": { "iban": "i", "bank": "b" }, "map": { "k": "v" }, "free": { "k": "v" }, "whole": { "k": "v" }, "customer": "c-1",
    });
    assert!(schema.violations(&value).is_empty());
    assert_eq!(
        schema.redact(&value),
        json!({
            "token": "[secret]", "person": { "mail": "[pii]", "age": 3 }, "list": ["[secret]", "[secret]"], "pair": ["p", "[secret]"],
            "either": { "iban": "[pii]", "bank": "b" }, "map": { "k": "[pii]" }, "free": { "k": "v" }, "whole": "[secret]", "customer": "c-1",
        })
    );
    assert_eq!(schema.subject(&value).as_deref(), Some("c-1"));
    assert_eq!(schema.subject(&json!({})), None);
    assert_eq!(schema.redact(&json!({ "either": 7 })), json!({ "either": 7 }));
}

#[test]
fn values_that_failed_the_check_show_nothing_unknown() {
    let schema = schema(json!({ "type": "object", "properties": {
        "token": { "type": "object", "properties": { "v": { "type": "string", "x-opsiq": "secret" } } },
        "pin": { "type": "string", "x-opsiq": "secret" },
        "either": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
    } }));
    for bad in [
        json!({ "token": "canary" }),
        json!({ "pin": ["canary"] }),
        json!({ "tokn": "canary" }),
        json!("canary"),
        json!(["canary"]),
        json!({ "either": "canary" }),
        json!({ "token": { "w": "canary" } }),
    ] {
        assert!(!schema.violations(&bad).is_empty(), "{bad}");
        assert!(!schema.redact(&bad).to_string().contains("canary"), "{bad}");
        let bad = CanonicalJson::of(bad).unwrap();
        assert_eq!(schema.shown(&bad), schema.redact(bad.value()).to_string());
    }
}

#[test]
fn a_schema_without_marks_shows_the_text_of_what_it_takes_and_nothing_else() {
    let plain = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "number" } } });
    let of = |text: &str| CanonicalJson::parse(text.as_bytes(), 8).unwrap();
    let schema = schema(plain);
    for text in [r#"{"a":"x","b":1.5}"#, "{}"] {
        assert_eq!(schema.shown(&of(text)), text);
        assert_eq!(schema.redact(of(text).value()).to_string(), text);
    }
    assert_eq!(schema.shown(&of(r#"{"c":"canary"}"#)), r#"{"c":"[unknown]"}"#);
    assert_eq!(schema.shown(&of(r#"{"a":7}"#)), r#"{"a":"[invalid]"}"#);
}
