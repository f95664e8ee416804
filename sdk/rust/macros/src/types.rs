//! From a schema of the contract to Rust types.
//!
//! Objects become structs, sets of texts become enums, `null` becomes `Option`, alternatives become untagged enums. A
//! definition used by several schemas becomes one type. What has no narrower Rust shape becomes a JSON value, since
//! the host has checked it against the schema anyway.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use serde_json::{Map, Value};

use crate::names::{ident, pascal, snake};

/// Names that mean something else where the types are used.
const TAKEN: [&str; 13] = [
    "Actions", "Box", "Config", "Context", "Failure", "None", "Option", "Plugin", "Result", "Some", "String", "Vec",
    "Webhooks",
];

/// The types of all schemas of one contract.
#[derive(Debug, Default)]
pub(crate) struct Types {
    items: Vec<TokenStream>,
    named: BTreeSet<String>,
    /// Types made of definitions: the definition with all it refers to, and the type's name.
    definitions: BTreeMap<String, String>,
    unfinished: BTreeSet<String>,
}

/// The schema a type comes from: its definitions, and the type name it began with.
#[derive(Clone, Copy)]
struct Root<'a> {
    schema: &'a Value,
    name: &'a str,
}

impl Types {
    /// The Rust type of a whole schema, named `name` where it needs a name.
    ///
    /// # Errors
    /// Names that Rust cannot write or that would stand for two things, with their place in the schema.
    pub(crate) fn add(&mut self, schema: &Value, name: &str) -> Result<TokenStream, String> {
        self.shape(schema, name, Root { schema, name })
    }

    /// Everything made so far.
    pub(crate) fn into_items(self) -> Vec<TokenStream> {
        self.items
    }

    fn shape(&mut self, schema: &Value, name: &str, root: Root<'_>) -> Result<TokenStream, String> {
        let Value::Object(map) = schema else { return Ok(any()) };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, root);
        }
        if let Some(one) = map.get("const") {
            return self.values(std::slice::from_ref(one), name);
        }
        if let Some(Value::Array(values)) = map.get("enum") {
            return self.values(values, name);
        }
        if let Some(Value::Array(kinds)) = map.get("type") {
            if is_every_kind(kinds) {
                return Ok(any());
            }
            let each = kinds.iter().map(|kind| {
                let mut one = map.clone();
                one.insert("type".into(), kind.clone());
                Value::Object(one)
            });
            return self.alternatives(&each.collect::<Vec<_>>(), name, root);
        }
        let Some(kind) = map.get("type").and_then(Value::as_str) else {
            return match map.get("oneOf").or_else(|| map.get("anyOf")) {
                Some(Value::Array(branches)) => self.alternatives(branches, name, root),
                _ => Ok(any()),
            };
        };
        match kind {
            "string" => Ok(quote!(::std::string::String)),
            "boolean" => Ok(quote!(bool)),
            "number" => Ok(quote!(f64)),
            "null" => Ok(quote!(())),
            "integer" if never_negative(map) => Ok(quote!(u64)),
            "integer" => Ok(quote!(i64)),
            "array" => match map.get("items") {
                Some(items) if !map.contains_key("prefixItems") => {
                    let item = self.shape(items, &format!("{name}Item"), root)?;
                    Ok(quote!(::std::vec::Vec<#item>))
                }
                _ => Ok(quote!(::std::vec::Vec<::opsiq_sdk::serde_json::Value>)),
            },
            "object" => self.object(map, name, root),
            _ => Ok(any()),
        }
    }

    fn reference(&mut self, reference: &str, root: Root<'_>) -> Result<TokenStream, String> {
        let missing = || format!("{}: {reference} does not exist", root.name);
        let name = reference.strip_prefix("#/$defs/").ok_or_else(missing)?;
        let name = name.replace("~1", "/").replace("~0", "~");
        let definition = root.schema.get("$defs").and_then(|defs| defs.get(&name)).ok_or_else(missing)?;
        let whole = with_definitions(definition, root.schema);
        if let Some(known) = self.definitions.get(&whole) {
            let known_type = type_ident(known)?;
            return Ok(if self.unfinished.contains(known) {
                quote!(::std::boxed::Box<#known_type>)
            } else {
                quote!(#known_type)
            });
        }
        let mut type_name = pascal(&name);
        if self.named.contains(&type_name)
            || self.definitions.values().any(|used| *used == type_name)
            || is_taken(&type_name)
        {
            type_name = format!("{}{type_name}", root.name);
        }
        // A definition of a simple shape has no type of its own and is simply written out.
        self.definitions.insert(whole.clone(), type_name.clone());
        self.unfinished.insert(type_name.clone());
        let shape = self.shape(definition, &type_name, root)?;
        self.unfinished.remove(&type_name);
        if !self.named.contains(&type_name) {
            self.definitions.remove(&whole);
        }
        Ok(shape)
    }

    /// A fixed set of values: an enum where all are texts.
    fn values(&mut self, values: &[Value], name: &str) -> Result<TokenStream, String> {
        let texts = values.iter().filter_map(Value::as_str).collect::<Vec<_>>();
        let nullable = values.iter().any(Value::is_null);
        if texts.is_empty() || texts.len() + usize::from(nullable) != values.len() {
            let others = || values.iter().filter(|value| !value.is_null());
            let shape = if others().all(Value::is_boolean) {
                quote!(bool)
            } else if others().all(Value::is_u64) {
                quote!(u64)
            } else if others().all(Value::is_i64) {
                quote!(i64)
            } else {
                return Ok(any());
            };
            return Ok(if nullable { option(&shape) } else { shape });
        }
        let mut cases = BTreeMap::new();
        let mut items = Vec::new();
        let mut shown = Vec::new();
        for text in texts {
            let mut case = pascal(text);
            if case.is_empty() {
                case = format!("Value{}", items.len() + 1);
            }
            if let Some(other) = cases.insert(case.clone(), text) {
                return Err(format!("{name}: {other:?} and {text:?} would be the same Rust name"));
            }
            let case = ident(&case, text)?;
            items.push(quote! { #[serde(rename = #text)] #case, });
            shown.push(quote! { Self::#case => #text, });
        }
        let item = self.name(name)?;
        self.items.push(quote! {
            #[derive(
                ::std::fmt::Debug, ::std::clone::Clone, ::std::marker::Copy, ::std::cmp::PartialEq, ::std::cmp::Eq,
                ::opsiq_sdk::serde::Serialize, ::opsiq_sdk::serde::Deserialize,
            )]
            #[serde(crate = "::opsiq_sdk::serde")]
            #[allow(missing_docs, unreachable_pub, clippy::enum_variant_names)]
            pub enum #item { #(#items)* }

            /// The text as the contract has it.
            impl ::std::fmt::Display for #item {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    f.write_str(match self { #(#shown)* })
                }
            }
        });
        Ok(if nullable { option(&quote!(#item)) } else { quote!(#item) })
    }

    /// One of several shapes; `null` among them makes it optional.
    fn alternatives(&mut self, branches: &[Value], name: &str, root: Root<'_>) -> Result<TokenStream, String> {
        let is_null = |branch: &&Value| branch.get("type").is_some_and(|kind| kind == "null");
        let nullable = branches.iter().any(|branch| is_null(&branch));
        let others = branches.iter().filter(|branch| !is_null(branch)).collect::<Vec<_>>();
        let shape = match others[..] {
            [] => quote!(()),
            [one] => self.shape(one, name, root)?,
            _ => self.union(&others, name, root)?,
        };
        Ok(if nullable && !others.is_empty() { option(&shape) } else { shape })
    }

    fn union(&mut self, branches: &[&Value], name: &str, root: Root<'_>) -> Result<TokenStream, String> {
        let mut cases = BTreeSet::new();
        let mut items = Vec::new();
        for branch in branches {
            let mut case = case_name(branch);
            if case.is_empty() || !cases.insert(case.clone()) {
                case = format!("{case}{}", items.len() + 1);
                cases.insert(case.clone());
            }
            let shape = self.shape(branch, &format!("{name}{case}"), root)?;
            let case = ident(&case, name)?;
            items.push(quote! { #case(#shape), });
        }
        let item = self.name(name)?;
        self.items.push(quote! {
            #[derive(
                ::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq,
                ::opsiq_sdk::serde::Serialize, ::opsiq_sdk::serde::Deserialize,
            )]
            #[serde(crate = "::opsiq_sdk::serde", untagged)]
            #[allow(missing_docs, unreachable_pub)]
            pub enum #item { #(#items)* }
        });
        Ok(quote!(#item))
    }

    fn object(&mut self, map: &Map<String, Value>, name: &str, root: Root<'_>) -> Result<TokenStream, String> {
        let no_properties = Map::new();
        let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&no_properties);
        let rest = match map.get("additionalProperties") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(any()),
            Some(schema) => Some(self.shape(schema, &format!("{name}Value"), root)?),
        };
        if properties.is_empty()
            && let Some(rest) = rest
        {
            return Ok(quote!(::std::collections::BTreeMap<::std::string::String, #rest>));
        }
        let required = map.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut fields = Fields::default();
        for (property, schema) in properties {
            let here = format!("{name}{}", pascal(property));
            let shape = self.shape(schema, &here, root)?;
            let required = required.iter().any(|name| name == property);
            fields.push(property, schema, &shape, required, name)?;
        }
        if let Some(rest) = rest {
            fields.push_rest(&rest, name)?;
        }
        let item = self.name(name)?;
        let doc = doc(map);
        let Fields { declared, shown, all_optional, .. } = fields;
        let default = all_optional.then(|| quote!(::std::default::Default,));
        self.items.push(quote! {
            #doc
            #[derive(
                ::std::clone::Clone, ::std::cmp::PartialEq, #default
                ::opsiq_sdk::serde::Serialize, ::opsiq_sdk::serde::Deserialize,
            )]
            #[serde(crate = "::opsiq_sdk::serde")]
            #[allow(missing_docs, unreachable_pub, clippy::struct_excessive_bools)]
            pub struct #item { #(#declared)* }

            /// Shows what the contract marks as secret or personal only as marked.
            impl ::std::fmt::Debug for #item {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    f.debug_struct(::core::stringify!(#item)) #(#shown)* .finish()
                }
            }
        });
        Ok(quote!(#item))
    }

    /// Takes a name for a new type.
    fn name(&mut self, name: &str) -> Result<Ident, String> {
        if !self.named.insert(name.to_owned()) {
            return Err(format!("two schemas would both make the Rust type `{name}`; rename a property or definition"));
        }
        type_ident(name)
    }
}

/// The fields of one struct.
struct Fields {
    declared: Vec<TokenStream>,
    shown: Vec<TokenStream>,
    names: BTreeMap<String, String>,
    all_optional: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self { declared: Vec::new(), shown: Vec::new(), names: BTreeMap::new(), all_optional: true }
    }
}

impl Fields {
    fn push(
        &mut self,
        property: &str,
        schema: &Value,
        shape: &TokenStream,
        required: bool,
        of: &str,
    ) -> Result<(), String> {
        let field = self.field(property, of)?;
        let doc = schema.as_object().map(doc);
        let mark = schema.get("x-opsiq").and_then(Value::as_str).filter(|mark| matches!(*mark, "secret" | "pii"));
        let optional = !required;
        let shape = if optional && !is_option(shape) { option(shape) } else { shape.clone() };
        let skip = optional.then(|| quote!(#[serde(default, skip_serializing_if = "::std::option::Option::is_none")]));
        self.all_optional &= optional;
        self.declared.push(quote! { #doc #[serde(rename = #property)] #skip pub #field: #shape, });
        let shown = if let Some(mark) = mark {
            let mark = format!("[{mark}]");
            quote!(&::core::format_args!(#mark))
        } else {
            quote!(&self.#field)
        };
        self.shown.push(quote! { .field(#property, #shown) });
        Ok(())
    }

    /// What an open object may hold beside its properties.
    fn push_rest(&mut self, shape: &TokenStream, of: &str) -> Result<(), String> {
        let field = self.field("rest", of)?;
        let shape = quote!(::std::collections::BTreeMap<::std::string::String, #shape>);
        self.declared
            .push(quote! { #[doc = "Members that the schema does not name."] #[serde(flatten)] pub #field: #shape, });
        self.shown.push(quote! { .field("rest", &self.#field) });
        Ok(())
    }

    fn field(&mut self, property: &str, of: &str) -> Result<Ident, String> {
        let name = snake(property);
        if let Some(other) = self.names.insert(name.clone(), property.to_owned()) {
            return Err(format!("{of}: the properties {other:?} and {property:?} would be the same Rust field"));
        }
        ident(&name, property).map_err(|error| format!("{of}: {error}"))
    }
}

fn any() -> TokenStream {
    quote!(::opsiq_sdk::serde_json::Value)
}

fn option(shape: &TokenStream) -> TokenStream {
    quote!(::std::option::Option<#shape>)
}

fn is_option(shape: &TokenStream) -> bool {
    shape.to_string().starts_with(&quote!(::std::option::Option).to_string())
}

fn is_taken(name: &str) -> bool {
    TAKEN.contains(&name)
}

fn type_ident(name: &str) -> Result<Ident, String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` cannot be a Rust type; name the definition with a letter first"));
    }
    Ok(Ident::new(name, Span::call_site()))
}

/// Whether a `type` takes every kind of JSON value.
fn is_every_kind(kinds: &[Value]) -> bool {
    ["array", "boolean", "null", "number", "object", "string"]
        .iter()
        .all(|kind| kinds.iter().any(|given| given == kind))
}

/// Whether the schema's bounds leave only numbers from zero on.
fn never_negative(map: &Map<String, Value>) -> bool {
    let bound = |name: &str| map.get(name).and_then(Value::as_f64);
    bound("minimum").is_some_and(|least| least >= 0.0) || bound("exclusiveMinimum").is_some_and(|least| least >= -1.0)
}

/// What to call one of several shapes.
fn case_name(branch: &Value) -> String {
    let said = ["title", "$ref", "const", "type"].iter().find_map(|key| branch.get(key).and_then(Value::as_str));
    pascal(said.unwrap_or_default().trim_start_matches("#/$defs/"))
}

fn doc(map: &Map<String, Value>) -> TokenStream {
    let lines = ["title", "description"].iter().filter_map(|key| map.get(*key).and_then(Value::as_str));
    let lines = lines.map(|line| format!(" {line}")).collect::<Vec<_>>();
    quote!(#(#[doc = #lines])*)
}

/// A definition together with every definition it reaches, as one text: equal texts are the same type.
fn with_definitions(definition: &Value, root: &Value) -> String {
    let mut reached = BTreeMap::new();
    let mut open = vec![definition];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                let name = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/"));
                if let Some(name) = name
                    && let Some(next) = root.get("$defs").and_then(|defs| defs.get(name))
                    && reached.insert(name, next).is_none()
                {
                    open.push(next);
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    format!("{definition} {}", serde_json::json!(reached))
}

#[cfg(test)]
mod tests;
