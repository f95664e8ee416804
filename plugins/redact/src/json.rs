//! What is found where: in a text, or in the texts, names and numbers of a JSON value.

use core::ops::Range;

use opsiq_sdk::serde_json::{Number, Value};

use crate::Found;
use crate::mask::last4;
use crate::scan::{Finders, Span};

/// Something found, and where.
pub(crate) struct Finding<'a> {
    span: &'a Span,
    text: &'a str,
    /// Characters, as the contract counts.
    chars: Range<u64>,
    place: Option<Place<'a>>,
}

/// Where in a JSON value a text stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pointer: &'a str,
    is_name: bool,
}

impl Finding<'_> {
    /// As the contract tells it.
    pub(crate) fn told(&self) -> Found {
        Found {
            kind: self.span.kind,
            path: self.place.map(|place| place.pointer.to_owned()),
            name: self.place.map(|place| place.is_name),
            start: self.chars.start,
            end: self.chars.end,
            shown: last4(self.span.kind, &self.text[self.span.range.clone()]),
        }
    }
}

/// Tells everything found in one text.
pub(crate) fn each(text: &str, finders: &Finders, place: Option<Place<'_>>, note: &mut impl FnMut(Finding<'_>)) {
    let (mut bytes, mut chars) = (0, 0);
    let mut count = |to: usize| {
        chars += text[bytes..to].chars().count() as u64;
        bytes = to;
        chars
    };
    for span in &finders.scan(text) {
        let chars = count(span.range.start)..count(span.range.end);
        note(Finding { span, text, chars, place });
    }
}

/// Tells everything found in a value.
pub(crate) fn walk(value: &Value, finders: &Finders, note: &mut impl FnMut(Finding<'_>)) {
    inside(value, finders, &mut String::new(), note);
}

fn inside(value: &Value, finders: &Finders, pointer: &mut String, note: &mut impl FnMut(Finding<'_>)) {
    let length = pointer.len();
    match value {
        Value::String(text) => each(text, finders, Some(Place { pointer, is_name: false }), note),
        Value::Number(number) => {
            each(&text_of(number), finders, Some(Place { pointer, is_name: false }), note);
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&place.to_string());
                inside(item, finders, pointer, note);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                each(name, finders, Some(Place { pointer, is_name: true }), note);
                inside(member, finders, pointer, note);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The least number with the digits of a card.
const LEAST_CARD: u64 = 1_000_000_000_000;

/// A number as digits, where it has enough. Of the finders here only a card is ever a number, and only a whole one.
pub(crate) fn text_of(number: &Number) -> String {
    number.as_u64().filter(|number| *number >= LEAST_CARD).map(|number| number.to_string()).unwrap_or_default()
}
