//! Shapes as Python, `contract.py`: a `TypedDict` for each record and the class to implement. Annotations only, which
//! cost a running plugin nothing.

use std::fmt::Write as _;

use serde_json::Value;

use super::shape::{Record, Shape, Shapes};
use crate::plugin::names::{is_identifier, snake};

/// Words that no member of a class-form `TypedDict` may be called.
const WORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The whole file.
pub(super) fn write(shapes: &Shapes) -> String {
    let mut text = String::from(
        "# Written by `opsiq plugin types` and `opsiq plugin build` from contract.toml. Changes here are overwritten.\n\
         \"\"\"What contract.toml says, as types.\"\"\"\n\n\
         from typing import Any, Literal, NotRequired, TypedDict\n\n\
         from opsiq_sdk import Context as AnyContext\n\
         from opsiq_sdk import Delivery as Delivery\n",
    );
    for record in &shapes.records {
        text.push_str(&declared(record));
    }
    let config = shapes.config.as_ref().map_or_else(|| "dict[str, Any]".to_owned(), shown);
    let _ = write!(text, "\n\nContext = AnyContext[{config}]\n");
    text.push_str("\n\nclass Actions:\n    \"\"\"One method for each action of the contract.\"\"\"\n");
    for action in &shapes.actions {
        let _ = write!(
            text,
            "\n    def {}(self, ctx: Context, params: {}) -> {}:\n        {}\n        raise NotImplementedError\n",
            word(&snake(&action.name)),
            quoted_type(&action.params),
            quoted_type(&action.result),
            docstring(&action.doc),
        );
    }
    if !shapes.webhooks.is_empty() {
        text.push_str("\n\nclass Webhooks:\n    \"\"\"One method for each webhook of the contract.\"\"\"\n");
        for webhook in &shapes.webhooks {
            let name = word(&snake(webhook));
            let _ = write!(
                text,
                "\n    def {name}(self, ctx: Context, delivery: Delivery) -> None:\n        raise NotImplementedError\n"
            );
        }
    }
    text
}

fn declared(record: &Record) -> String {
    let mut text = String::from("\n\n");
    let plain = record.fields.iter().all(|field| is_identifier(&field.name) && !WORDS.contains(&field.name.as_str()));
    let shape = |required: bool, shape: &Shape| {
        let shown = shown(shape);
        Value::from(if required { shown } else { format!("NotRequired[{shown}]") }).to_string()
    };
    if plain {
        let _ = writeln!(text, "class {}(TypedDict):", record.name);
        let doc = if record.doc.is_empty() { "See contract.toml." } else { &record.doc };
        let _ = writeln!(text, "    {}\n", docstring(doc));
        for field in &record.fields {
            let doc = if field.doc.is_empty() { String::new() } else { format!("  # {}", field.doc) };
            let _ = writeln!(text, "    {}: {}{doc}", field.name, shape(field.required, &field.shape));
        }
        if record.fields.is_empty() {
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    } else {
        let _ = writeln!(text, "{} = TypedDict(\"{}\", {{", record.name, record.name);
        for field in &record.fields {
            let _ =
                writeln!(text, "    {}: {},", Value::from(field.name.as_str()), shape(field.required, &field.shape));
        }
        text.push_str("})\n");
    }
    text
}

fn shown(shape: &Shape) -> String {
    match shape {
        Shape::Any => "Any".into(),
        Shape::Text => "str".into(),
        Shape::Number => "float".into(),
        Shape::Integer => "int".into(),
        Shape::Boolean => "bool".into(),
        Shape::Null => "None".into(),
        Shape::Values(values) => match values.iter().map(literal).collect::<Option<Vec<_>>>() {
            Some(values) => format!("Literal[{}]", values.join(", ")),
            None => "Any".into(),
        },
        Shape::List(item) => format!("list[{}]", shown(item)),
        Shape::Map(value) => format!("dict[str, {}]", shown(value)),
        Shape::Record(name) => name.clone(),
        Shape::OneOf(shapes) => shapes.iter().map(shown).collect::<Vec<_>>().join(" | "),
    }
}

/// A type as an annotation that is not evaluated, so that the order of declarations does not matter.
fn quoted_type(shape: &Shape) -> String {
    Value::from(shown(shape)).to_string()
}

/// A value as a literal type; Python has none for fractions, objects and lists.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("None".into()),
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        // The escapes of JSON are escapes of Python.
        Value::String(_) => Some(value.to_string()),
        _ => None,
    }
}

fn docstring(text: &str) -> String {
    format!("\"\"\"{}\"\"\"", text.replace('\\', "\\\\").replace("\"\"\"", "'''").trim_end_matches('"'))
}

/// A method's name, with an underscore after a word of the language.
fn word(name: &str) -> String {
    if WORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}
