//! Reading a contract: one reader for both of its forms, that tells everything wrong at once.

mod action;
mod ceiling;
mod cross;
mod fairness;
mod foreign;
#[cfg(test)]
mod foreign_tests;
mod http;
mod key;
mod plugin;
#[cfg(test)]
mod tests;
mod toml;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::toml::Document;
use crate::error::{ContractError, ContractErrors};
use crate::id::is_slug;
use crate::json::{MAX_DEPTH, parse_strict};
use crate::limits::{Axis, LimitSet, Unit};
use crate::model::{CONTRACT_VERSION, Contract, PluginKind, nearest};
use crate::schema::{Schema, pointer_token};
use crate::visible::{has_hidden, visible};

/// Entries of one list, such as `[[action]]`, at most.
const MAX_ENTRIES: usize = 256;

/// Something wrong, before its line is known.
#[derive(Debug)]
struct Fault {
    /// JSON pointer.
    pointer: String,
    /// Whether the key rather than the value is at fault.
    at_key: bool,
    code: &'static str,
    message: String,
    fix: String,
}

impl Fault {
    fn new(pointer: &str, code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), at_key: false, code, message: message.into(), fix: fix.into() }
    }

    fn into_error(self) -> ContractError {
        let path = readable(&self.pointer);
        ContractError { line: None, column: None, path, code: self.code, message: self.message, fix: self.fix }
    }
}

/// `/action/0/effect` as `action[0].effect`.
fn readable(pointer: &str) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        if token.bytes().all(|b| b.is_ascii_digit()) && !token.is_empty() {
            let _ = write!(path, "[{token}]");
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path += &visible(&token.replace("~1", "/").replace("~0", "~"), 64).text;
        }
    }
    path
}

impl Contract {
    /// Reads a `contract.toml`.
    ///
    /// # Errors
    /// Everything wrong with it, with line and column.
    pub fn parse_toml(text: &str) -> Result<Self, ContractErrors> {
        let document = Document::parse(text).map_err(ContractErrors)?;
        read(&document.value).map_err(|faults| located(&document, faults))
    }

    /// Reads the canonical JSON that [`Contract::canonical_json`] writes.
    ///
    /// # Errors
    /// Everything wrong with it; also when it is not canonical, so that one contract has one text.
    pub fn from_canonical_json(bytes: &[u8]) -> Result<Self, ContractErrors> {
        let one = |code, message: String| {
            let fix = "build the plugin again with `opsiq plugin build`";
            ContractErrors(vec![Fault::new("", code, message, fix).into_error()])
        };
        if bytes.len() > toml::MAX_LENGTH {
            return Err(one("json.length", "longer than 256 KiB".to_owned()));
        }
        let value = parse_strict(bytes, MAX_DEPTH).map_err(|error| one("json.syntax", error.to_string()))?;
        let contract =
            read(&value).map_err(|faults| ContractErrors(faults.into_iter().map(Fault::into_error).collect()))?;
        if contract.canonical_json() == bytes {
            Ok(contract)
        } else {
            Err(one("json.not-canonical", "the contract is not in canonical form".to_owned()))
        }
    }
}

fn located(document: &Document, faults: Vec<Fault>) -> ContractErrors {
    let mut errors: Vec<ContractError> = faults.into_iter().map(|fault| document.locate(fault)).collect();
    errors.sort_by_key(|error| (error.line, error.column));
    errors.dedup();
    ContractErrors(errors)
}

fn read(value: &Value) -> Result<Contract, Vec<Fault>> {
    const KNOWN: &[&str] =
        &["contract", "plugin", "key", "http", "action", "webhook", "audit", "kv", "config", "limits"];
    let mut reader = Reader::default();
    let contract = (|| {
        let top = reader.table(value, "", KNOWN)?;
        match top.get("contract") {
            Some(version) if *version == CONTRACT_VERSION => {}
            Some(_) => reader.fault(
                "/contract",
                "contract.version",
                "this host reads version 1 of the contract format",
                "write contract = 1",
            ),
            None => reader.missing("", "contract", "write contract = 1 as the first line"),
        }
        let plugin = reader.plugin(top);
        let kind = plugin.as_ref().map(|plugin| plugin.kind);
        let limits = top.get("limits").map(|value| reader.limits(value, "/limits")).unwrap_or_default();
        let keys = reader.entries(top, "key", Reader::key);
        let http = reader.entries(top, "http", Reader::http_rule).into_iter().map(Arc::new).collect();
        let actions = reader.entries(top, "action", Reader::action);
        let webhooks = reader.entries(top, "webhook", Reader::webhook);
        let audit = reader.entries(top, "audit", Reader::audit_event);
        let kv = top.get("kv").and_then(|value| reader.kv(value));
        let config = top.get("config").and_then(|value| reader.object_schema(value, "/config"));
        if top.get("action").is_none() {
            reader.missing("", "action", "declare at least one [[action]]");
        }
        if kind == Some(PluginKind::Action) {
            for (key, what) in [("http", "makes no request"), ("kv", "keeps nothing"), ("webhook", "takes no webhook")]
            {
                if top.contains_key(key) {
                    let message = format!("a plugin of kind \"action\" {what}");
                    reader.fault_at_key(
                        &format!("/{key}"),
                        "plugin.kind",
                        message,
                        "remove it, or write kind = \"connector\"",
                    );
                }
            }
        }
        Some(Contract { plugin: plugin?, keys, http, actions, webhooks, audit, kv, config, limits })
    })();
    // Names are compared only once everything could be read, lest one mistake be told as many.
    match contract {
        Some(contract) if reader.faults.is_empty() => {
            reader.cross(&contract);
            if reader.faults.is_empty() { Ok(contract) } else { Err(reader.faults) }
        }
        _ => Err(reader.faults),
    }
}

/// Reads tables field by field and collects what is wrong.
#[derive(Default)]
struct Reader {
    faults: Vec<Fault>,
}

type Table = Map<String, Value>;

impl Reader {
    fn fault(&mut self, at: &str, code: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault::new(at, code, message, fix));
    }

    fn fault_at_key(&mut self, at: &str, code: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault { at_key: true, ..Fault::new(at, code, message, fix) });
    }

    fn missing(&mut self, at: &str, key: &str, fix: &str) {
        self.fault(at, "field.missing", format!("`{key}` is missing"), fix);
    }

    /// The table, with every key it must not have refused.
    fn table<'v>(&mut self, value: &'v Value, at: &str, known: &[&str]) -> Option<&'v Table> {
        let Value::Object(table) = value else {
            self.fault(at, "field.type", "not a table", "write a table");
            return None;
        };
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let shown = visible(key, 64).text;
            let fix = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it; known are {}", known.join(", ")),
            };
            self.fault_at_key(
                &format!("{at}/{}", pointer_token(key)),
                "field.unknown",
                format!("unknown field `{shown}`"),
                fix,
            );
        }
        Some(table)
    }

    /// Reads every entry of a list of tables; names stand once.
    fn entries<T>(
        &mut self,
        top: &Table,
        key: &str,
        read: fn(&mut Self, &Value, &str) -> Option<(String, T)>,
    ) -> Vec<T> {
        let at = format!("/{key}");
        let Some(value) = top.get(key) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.fault(&at, "field.type", "not a list of tables", format!("write [[{key}]]"));
            return Vec::new();
        };
        if items.is_empty() || items.len() > MAX_ENTRIES {
            self.fault(&at, "field.count", format!("{} entries", items.len()), "write 1 to 256, or leave it out");
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let here = format!("{at}/{index}");
            if let Some((name, entry)) = read(self, item, &here) {
                if names.contains(&name) {
                    let field = if key == "audit" { "event" } else { "name" };
                    self.fault(
                        &format!("{here}/{field}"),
                        "name.duplicate",
                        format!("`{name}` stands twice"),
                        "give it another name",
                    );
                }
                names.insert(name);
                entries.push(entry);
            }
        }
        entries
    }

    fn text<'v>(&mut self, table: &'v Table, at: &str, key: &str, example: &str) -> Option<&'v str> {
        match table.get(key) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fault(&format!("{at}/{key}"), "field.type", "not a text", format!("write {key} = {example}"));
                None
            }
            None => {
                self.missing(at, key, &format!("write {key} = {example}"));
                None
            }
        }
    }

    /// A text for people: 1 to `max` characters, none of them hidden.
    fn prose(&mut self, table: &Table, at: &str, key: &str, max: usize) -> Option<String> {
        let text = self.text(table, at, key, "\"...\"")?;
        let length = text.chars().count();
        if length == 0 || length > max || text.trim().is_empty() {
            self.fault(
                &format!("{at}/{key}"),
                "text.length",
                format!("{length} characters"),
                format!("write 1 to {max}"),
            );
            return None;
        }
        if has_hidden(text) {
            self.fault(&format!("{at}/{key}"), "text.hidden", "contains characters that cannot be seen", "remove them");
            return None;
        }
        Some(text.to_owned())
    }

    fn slug(&mut self, table: &Table, at: &str, key: &str) -> Option<String> {
        let text = self.text(table, at, key, "\"a-name\"")?;
        if is_slug(text) {
            return Some(text.to_owned());
        }
        self.fault(
            &format!("{at}/{key}"),
            "name.form",
            "not a name",
            "use 1 to 63 of a-z, 0-9 and -, not beginning with -",
        );
        None
    }

    /// A word of a fixed set.
    fn word<T: std::str::FromStr<Err = crate::id::IdError>>(
        &mut self,
        table: &Table,
        at: &str,
        key: &str,
    ) -> Option<T> {
        let text = self.text(table, at, key, "\"...\"")?;
        text.parse()
            .map_err(|error: T::Err| {
                self.fault(&format!("{at}/{key}"), "field.value", error.to_string(), "write one of these");
            })
            .ok()
    }

    /// A list of texts without repetition. `None` when absent or wrong.
    fn texts<'v>(&mut self, table: &'v Table, at: &str, key: &str, may_be_empty: bool) -> Option<Vec<&'v str>> {
        let here = format!("{at}/{key}");
        let Value::Array(items) = table.get(key)? else {
            self.fault(&here, "field.type", "not a list", format!("write {key} = [\"...\"]"));
            return None;
        };
        if items.len() > MAX_ENTRIES || (items.is_empty() && !may_be_empty) {
            let fix = if items.is_empty() { "name at least one, or leave the field out" } else { "write at most 256" };
            self.fault(&here, "field.count", format!("{} entries", items.len()), fix);
            return None;
        }
        let mut texts: Vec<&str> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Value::String(text) = item else {
                self.fault(&format!("{here}/{index}"), "field.type", "not a text", "write it in quotes");
                return None;
            };
            if texts.contains(&text.as_str()) {
                self.fault(
                    &format!("{here}/{index}"),
                    "name.duplicate",
                    format!("`{}` stands twice", visible(text, 64).text),
                    "remove one",
                );
                return None;
            }
            texts.push(text);
        }
        Some(texts)
    }

    fn flag(&mut self, table: &Table, at: &str, key: &str) -> Option<bool> {
        if let Value::Bool(flag) = table.get(key)? {
            Some(*flag)
        } else {
            self.fault(&format!("{at}/{key}"), "field.type", "neither true nor false", format!("write {key} = true"));
            None
        }
    }

    /// A whole number from `min` to `max`.
    fn number(&mut self, table: &Table, at: &str, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = table.get(key)?;
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.fault(
                &format!("{at}/{key}"),
                "field.range",
                "out of range",
                format!("write a whole number from {min} to {max}"),
            );
        }
        number
    }

    /// An amount of `unit`, more than zero: a text such as `"64KiB"` or a bare number.
    fn amount(&mut self, value: &Value, at: &str, unit: Unit) -> Option<u64> {
        let amount = match value {
            Value::String(text) => unit.parse(text),
            value => value.as_u64(),
        };
        match amount {
            Some(0) => {
                self.fault(at, "limit.zero", "a limit of zero allows nothing", "write more, or remove what it limits");
            }
            Some(amount) if amount > crate::json::MAX_NUMBER => {
                self.fault(at, "field.range", "too large", "write less than 2^53");
            }
            Some(amount) => return Some(amount),
            None => self.fault(at, "limit.form", "not an amount", format!("write {}", unit.example())),
        }
        None
    }

    fn size(&mut self, table: &Table, at: &str, key: &str) -> Option<u64> {
        let value = table.get(key)?;
        self.amount(value, &format!("{at}/{key}"), Unit::Bytes)
    }

    fn limits(&mut self, value: &Value, at: &str) -> LimitSet {
        let known: Vec<&str> = crate::limits::AXES.iter().map(|axis| axis.key).collect();
        let mut limits = LimitSet::default();
        let Some(table) = self.table(value, at, &known) else { return limits };
        if table.is_empty() {
            self.fault(at, "field.count", "limits nothing", "remove it, or name a limit");
        }
        for (key, value) in table {
            if let Some(axis) = Axis::named(key)
                && let Some(amount) = self.amount(value, &format!("{at}/{key}"), axis.unit)
            {
                limits.set(axis, amount);
            }
        }
        limits
    }

    /// A schema; its errors point into it.
    fn schema(&mut self, value: &Value, at: &str) -> Option<Schema> {
        Schema::compile_all(value.clone())
            .map_err(|errors| {
                for error in errors {
                    self.fault(&format!("{at}{}", error.pointer), error.code, error.message, error.fix);
                }
            })
            .ok()
    }

    /// A schema of an object.
    fn object_schema(&mut self, value: &Value, at: &str) -> Option<Schema> {
        let schema = self.schema(value, at)?;
        if schema.is_object() {
            return Some(schema);
        }
        self.fault(at, "schema.not-object", "not the schema of an object", "write type = \"object\"");
        None
    }
}

/// A contract from a value that a test made, which has to be sound.
#[cfg(test)]
pub(crate) fn read_value(value: &Value) -> Contract {
    read(value).unwrap_or_else(|faults| panic!("{faults:#?}"))
}
