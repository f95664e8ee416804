use serde_json::json;

use crate::{Preview, Schema, render};

fn schema() -> Schema {
    Schema::compile(json!({
        "type": "object", "required": ["charge"],
        "properties": {
            "charge": { "type": "string" }, "amount": { "type": "integer" }, "note": { "type": "string", "x-opsiq": "pii" },
            "items": { "type": "array", "items": { "type": "object", "properties": { "sku": { "type": "string" } } } },
        },
    }))
    .unwrap()
}

#[test]
fn a_human_sees_true_values_and_nothing_hidden() {
    let preview = Preview::parse("Refund {amount} of {charge} ({note})").unwrap();
    let shown = |params: serde_json::Value| render(Some(&preview), "Refund", &schema(), &params);
    assert_eq!(shown(json!({ "charge": "ch_1", "amount": 7 })).sentence, "Refund 7 of ch_1 ((not given))");
    let tricky = shown(json!({ "charge": "ch_\u{202e}1\n\u{200b}**approve**", "note": "canary" }));
    assert_eq!(tricky.sentence, "Refund (not given) of ch_\\u{202e}1\\u{a}\\u{200b}**approve** ([pii])");
    assert!(!format!("{tricky:?}").contains("canary"));
    // A value cannot bring placeholders of its own.
    assert_eq!(shown(json!({ "charge": "{amount}", "amount": 7 })).sentence, "Refund 7 of {amount} ((not given))");
}

#[test]
fn long_values_are_cut_and_the_cut_is_told() {
    let preview = Preview::parse("{charge}").unwrap();
    let rendered = render(Some(&preview), "Refund", &schema(), &json!({ "charge": "x".repeat(10_000) }));
    assert!(rendered.sentence.ends_with("x… (9800 more characters)"), "{}", rendered.sentence);
    assert_eq!((rendered.arguments[0].value.len(), rendered.arguments[0].cut), (2_000, 8_000));
}

#[test]
fn every_argument_is_listed() {
    let params = json!({ "charge": "c", "items": [{ "sku": "a" }, { "sku": "b" }, {}] });
    let rendered = render(None, "Refund a charge", &schema(), &params);
    assert_eq!(rendered.sentence, "Refund a charge");
    let told: Vec<_> = rendered.arguments.iter().map(|a| (a.path.as_str(), a.value.as_str())).collect();
    assert_eq!(told, [("/charge", "c"), ("/items/0/sku", "a"), ("/items/1/sku", "b"), ("/items/2", "{}")]);
}

#[test]
fn only_whole_placeholders() {
    for bad in ["{", "}", "{}", "{a", "a}", "{a{b}}", "{{a}}"] {
        assert!(Preview::parse(bad).is_err(), "{bad}");
    }
    let preview = Preview::parse("{a}{b} and {c}").unwrap();
    assert_eq!(preview.params().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(preview.to_string(), "{a}{b} and {c}");
}
