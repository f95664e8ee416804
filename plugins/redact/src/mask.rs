//! Writing masks in the place of what was found.

use std::collections::HashMap;

use opsiq_sdk::serde_json::map::Entry;
use opsiq_sdk::serde_json::{Map, Value};

use crate::json::text_of;
use crate::scan::Finders;
use crate::{Kind, Style};

/// The masking of one call.
pub(crate) struct Mask {
    style: Style,
    finders: Finders,
    total: u64,
    /// The number each value got, for [`Style::Numbered`].
    numbers: HashMap<(String, String), usize>,
    /// How many numbers each kind gave.
    given: HashMap<String, usize>,
}

impl Mask {
    pub(crate) fn new(style: Style, finders: Finders) -> Self {
        Self { style, finders, total: 0, numbers: HashMap::new(), given: HashMap::new() }
    }

    /// How many were masked so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A text with masks in it.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut done = 0;
        for span in self.finders.scan(text) {
            masked.push_str(&text[done..span.range.start]);
            masked.push_str(&self.one(span.kind, &text[span.range.clone()]));
            done = span.range.end;
        }
        masked.push_str(&text[done..]);
        masked
    }

    /// A value with masks in its texts, its names, and for its numbers.
    pub(crate) fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Number(number) => {
                let before = self.total;
                let masked = self.text(&text_of(&number));
                if self.total > before { Value::String(masked) } else { Value::Number(number) }
            }
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.value(item)).collect()),
            Value::Object(members) => {
                let mut masked = Map::new();
                let mut alike = HashMap::new();
                for (name, member) in members {
                    let name = self.text(&name);
                    let member = self.value(member);
                    put(&mut masked, &mut alike, &name, member);
                }
                Value::Object(masked)
            }
            other => other,
        }
    }

    fn one(&mut self, kind: Kind, found: &str) -> String {
        self.total += 1;
        match self.style {
            Style::Label => format!("[{kind}]"),
            Style::Last4 => last4(kind, found),
            Style::Numbered => {
                let plain = found.chars().filter(|c| c.is_alphanumeric() || "@.:+".contains(*c));
                let plain = plain.flat_map(char::to_lowercase).collect::<String>();
                let given = self.given.entry(kind.to_string()).or_default();
                let number = *self.numbers.entry((kind.to_string(), plain)).or_insert_with(|| {
                    *given += 1;
                    *given
                });
                format!("[{kind} {number}]")
            }
        }
    }
}

/// The mask that keeps the last four digits of what is long enough to keep the rest.
pub(crate) fn last4(kind: Kind, found: &str) -> String {
    if !matches!(kind, Kind::Card | Kind::Iban | Kind::Phone) {
        return format!("[{kind}]");
    }
    let mut last: Vec<char> = found.chars().rev().filter(char::is_ascii_alphanumeric).take(4).collect();
    last.reverse();
    format!("[{kind} …{}]", last.into_iter().collect::<String>())
}

/// Adds a member; of those whose names are masked alike all stay. `alike`: the last number each name was given.
fn put(members: &mut Map<String, Value>, alike: &mut HashMap<String, usize>, name: &str, member: Value) {
    let mut other = match alike.get(name) {
        Some(number) => format!("{name} ({number})"),
        None => name.to_owned(),
    };
    loop {
        match members.entry(other) {
            Entry::Vacant(free) => {
                free.insert(member);
                return;
            }
            Entry::Occupied(_) => {
                let number = alike.entry(name.to_owned()).or_insert(1);
                *number += 1;
                other = format!("{name} ({number})");
            }
        }
    }
}
