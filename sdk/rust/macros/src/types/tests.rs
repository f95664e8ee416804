use serde_json::json;

use super::*;

/// The type of a schema and everything made for it, short enough to compare.
fn made(schema: &Value) -> (String, String) {
    let mut types = Types::default();
    let shape = types.add(schema, "T").unwrap();
    let items = types.into_items().into_iter().collect::<TokenStream>();
    (short(&shape), short(&items))
}

fn short(tokens: &TokenStream) -> String {
    let text = tokens.to_string().replace(' ', "");
    [
        "::std::option::",
        "::std::string::",
        "::std::vec::",
        "::std::boxed::",
        "::std::collections::",
        "::opsiq_sdk::serde_json::",
    ]
    .iter()
    .fold(text, |text, path| text.replace(path, ""))
}

fn shape(schema: &Value) -> String {
    made(schema).0
}

#[test]
fn plain_shapes() {
    for (schema, expected) in [
        (json!({ "type": "string" }), "String"),
        (json!({ "type": "boolean" }), "bool"),
        (json!({ "type": "number" }), "f64"),
        (json!({ "type": "integer" }), "i64"),
        (json!({ "type": "integer", "minimum": -1 }), "i64"),
        (json!({ "type": "integer", "minimum": 0 }), "u64"),
        (json!({ "type": "integer", "exclusiveMinimum": 0 }), "u64"),
        (json!({ "type": "null" }), "()"),
        (json!({ "type": ["string", "null"] }), "Option<String>"),
        (json!({ "anyOf": [{ "type": "null" }, { "type": "integer" }] }), "Option<i64>"),
        (json!({ "type": "array", "items": { "type": "string" } }), "Vec<String>"),
        (json!({ "type": "object", "additionalProperties": { "type": "integer" } }), "BTreeMap<String,i64>"),
        (json!({ "type": ["object", "array", "string", "number", "boolean", "null"] }), "Value"),
        (json!({ "enum": [1, 2] }), "u64"),
        (json!({ "enum": [1, -2, null] }), "Option<i64>"),
        (json!({ "const": true }), "bool"),
        (json!({ "enum": [1, "a"] }), "Value"),
        (json!({ "type": "array", "items": false, "prefixItems": [{ "type": "string" }] }), "Vec<Value>"),
    ] {
        assert_eq!(shape(&schema), expected, "{schema}");
    }
}

#[test]
fn an_object_is_a_struct_with_its_names_kept() {
    let (shape, items) = made(&json!({
        "type": "object",
        "required": ["order-id", "type", "note"],
        "properties": {
            "order-id": { "type": "string", "description": "Which." },
            "type": { "enum": ["full", "part-paid"] },
            "note": { "type": ["string", "null"] },
            "amount": { "type": "integer", "minimum": 1 },
        },
    }));
    assert_eq!(shape, "T");
    for part in [
        r#"#[doc="Which."]#[serde(rename="order-id")]puborder_id:String,"#,
        r#"#[serde(rename="type")]pubr#type:TType,"#,
        // Required and nullable: written as null, never left out.
        r#"#[serde(rename="note")]pubnote:Option<String>,"#,
        r#"#[serde(rename="amount")]#[serde(default,skip_serializing_if="Option::is_none")]pubamount:Option<u64>,"#,
        r#"pubenumTType{#[serde(rename="full")]Full,#[serde(rename="part-paid")]PartPaid,}"#,
    ] {
        assert!(items.contains(part), "{part} is not in {items}");
    }
    assert!(!items.contains("Default,"), "{items}");
}

#[test]
fn an_object_of_optional_fields_has_a_default() {
    let (_, items) = made(&json!({ "type": "object", "properties": { "a": { "type": "string" } } }));
    assert!(items.contains("::std::default::Default,"), "{items}");
}

#[test]
fn marked_fields_are_not_shown_by_debug() {
    let (_, items) = made(&json!({
        "type": "object",
        "properties": {
            "email": { "type": "string", "x-opsiq": "pii" },
            "token": { "type": "string", "x-opsiq": "secret" },
            "id": { "type": "string", "x-opsiq": "subject" },
        },
    }));
    assert!(items.contains(r#".field("email",&::core::format_args!("[pii]"))"#), "{items}");
    assert!(items.contains(r#".field("token",&::core::format_args!("[secret]"))"#), "{items}");
    assert!(items.contains(r#".field("id",&self.id)"#), "{items}");
}

#[test]
fn an_open_object_keeps_what_it_does_not_name() {
    let (_, items) =
        made(&json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": true }));
    assert!(items.contains("#[serde(flatten)]pubrest:BTreeMap<String,Value>"), "{items}");
}

#[test]
fn one_definition_is_one_type_wherever_it_is_used() {
    let order = json!({ "type": "object", "properties": { "id": { "type": "string" } } });
    let mut types = Types::default();
    let one = json!({ "$ref": "#/$defs/order", "$defs": { "order": order } });
    let many = json!({ "type": "array", "items": { "$ref": "#/$defs/order" }, "$defs": { "order": order } });
    assert_eq!(short(&types.add(&one, "One").unwrap()), "Order");
    assert_eq!(short(&types.add(&many, "Many").unwrap()), "Vec<Order>");
    let other = json!({ "$ref": "#/$defs/order", "$defs": { "order": { "type": "object" } } });
    assert_eq!(short(&types.add(&other, "Other").unwrap()), "OtherOrder");
    assert_eq!(types.into_items().len(), 2);
}

#[test]
fn a_definition_that_reaches_itself_is_boxed() {
    let (shape, items) = made(&json!({
        "$ref": "#/$defs/tree",
        "$defs": { "tree": { "type": "object", "properties": { "left": { "$ref": "#/$defs/tree" } } } },
    }));
    assert_eq!(shape, "Tree");
    assert!(items.contains("publeft:Option<Box<Tree>>"), "{items}");
}

#[test]
fn a_definition_named_like_a_name_in_use_is_named_after_its_schema() {
    let (shape, _) = made(&json!({ "$ref": "#/$defs/result", "$defs": { "result": { "type": "object" } } }));
    assert_eq!(shape, "TResult");
}

#[test]
fn alternatives_are_an_untagged_enum() {
    let (shape, items) = made(&json!({
        "oneOf": [
            { "type": "string" },
            { "$ref": "#/$defs/card" },
            { "type": "object", "title": "Bank transfer", "properties": { "iban": { "type": "string" } } },
            { "type": "null" },
        ],
        "$defs": { "card": { "type": "object", "properties": { "last4": { "type": "string" } } } },
    }));
    assert_eq!(shape, "Option<T>");
    assert!(items.contains("pubenumT{String(String),Card(Card),BankTransfer(TBankTransfer),}"), "{items}");
    assert!(items.contains("untagged"), "{items}");
}

#[test]
fn what_rust_cannot_name_is_told_with_its_place() {
    let failed = |schema: Value| Types::default().add(&schema, "T").unwrap_err();
    let twins =
        failed(json!({ "type": "object", "properties": { "a-b": { "type": "string" }, "a_b": { "type": "string" } } }));
    assert!(twins.contains("\"a-b\"") && twins.contains("\"a_b\"") && twins.starts_with('T'), "{twins}");
    assert!(failed(json!({ "enum": ["a b", "a-b"] })).contains("\"a b\""));
    assert!(failed(json!({ "type": "object", "properties": { "--": { "type": "string" } } })).contains("--"));
    assert!(failed(json!({ "$ref": "#/$defs/none" })).contains("#/$defs/none"));
}
