//! Shapes as TypeScript declarations, `types/contract.d.ts`.

use std::fmt::Write as _;

use serde_json::Value;

use super::shape::{Record, Shape, Shapes};
use crate::plugin::names::{camel, is_identifier};

/// The whole file.
pub(super) fn write(shapes: &Shapes) -> String {
    let mut text = String::from(
        "// Written by `opsiq plugin types` and `opsiq plugin build` from contract.toml. Changes here are overwritten.\n\n\
         import type { Context as AnyContext, Delivery } from '@opsiq/sdk';\n",
    );
    for record in &shapes.records {
        text.push_str(&declared(record));
    }
    let config = shapes.config.as_ref().map_or_else(|| "Record<string, never>".to_owned(), shown);
    let _ = write!(
        text,
        "\n/** What an action is given: the tenant's config, and the means the contract grants. */\n\
         export type Context = AnyContext<{config}>;\n\n\
         /** One method for each action of the contract: the default export of the plugin. */\n\
         export interface Actions {{\n"
    );
    for action in &shapes.actions {
        let (params, result) = (shown(&action.params), shown(&action.result));
        let _ = writeln!(
            text,
            "  /** {} */\n  {}(ctx: Context, params: {params}): {result} | Promise<{result}>;",
            comment(&action.doc),
            member(&camel(&action.name))
        );
    }
    text.push_str("}\n");
    if !shapes.webhooks.is_empty() {
        text.push_str("\n/** One method for each webhook of the contract: the export `webhooks` of the plugin. */\n");
        text.push_str("export interface Webhooks {\n");
        for webhook in &shapes.webhooks {
            let name = member(&camel(webhook));
            let _ = writeln!(text, "  {name}(ctx: Context, delivery: Delivery): void | Promise<void>;");
        }
        text.push_str("}\n");
    }
    text
}

fn declared(record: &Record) -> String {
    let mut text = String::from("\n");
    if !record.doc.is_empty() {
        let _ = writeln!(text, "/** {} */", comment(&record.doc));
    }
    let _ = writeln!(text, "export interface {} {{", record.name);
    for field in &record.fields {
        if !field.doc.is_empty() {
            let _ = writeln!(text, "  /** {} */", comment(&field.doc));
        }
        let optional = if field.required { "" } else { "?" };
        let _ = writeln!(text, "  {}{optional}: {};", member(&field.name), shown(&field.shape));
    }
    if record.open {
        text.push_str("  [name: string]: unknown;\n");
    }
    text.push_str("}\n");
    text
}

fn shown(shape: &Shape) -> String {
    match shape {
        Shape::Any => "unknown".into(),
        Shape::Text => "string".into(),
        Shape::Number | Shape::Integer => "number".into(),
        Shape::Boolean => "boolean".into(),
        Shape::Null => "null".into(),
        Shape::Values(values) => values.iter().map(literal).collect::<Vec<_>>().join(" | "),
        Shape::List(item) => format!("Array<{}>", shown(item)),
        Shape::Map(value) => format!("Record<string, {}>", shown(value)),
        Shape::Record(name) => name.clone(),
        Shape::OneOf(shapes) => shapes.iter().map(shown).collect::<Vec<_>>().join(" | "),
    }
}

/// A value as a type; objects and lists are not narrowed.
fn literal(value: &Value) -> String {
    if value.is_object() || value.is_array() { "unknown".into() } else { value.to_string() }
}

fn member(name: &str) -> String {
    if is_identifier(name) { name.to_owned() } else { Value::from(name).to_string() }
}

/// A text that cannot end the comment it stands in.
fn comment(text: &str) -> String {
    text.replace("*/", "* /")
}
