//! One text, the finders over it, and who takes which part.

use core::ops::Range;

use crate::iban::Forms;
use crate::phone::Codes;
use crate::{Kind, card, email, iban, ip, phone};

/// What is taken ends what is beside it, so a second look may find more: the card in `4111111111111111-10.0.0.1`. What
/// only a further look would find is a text made for it.
const PASSES: usize = 3;

/// Something found: bytes `range` of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// The finders, for the kinds asked for. Made once, used for every text of a call.
pub(crate) struct Finders {
    kinds: u8,
    forms: Forms,
    codes: Codes,
}

impl Finders {
    /// For the kinds of a list; for all without one.
    pub(crate) fn of(kinds: Option<&[Kind]>) -> Self {
        let kinds = kinds.map_or(u8::MAX, |list| list.iter().fold(0, |all, kind| all | 1 << *kind as u8));
        Self { kinds, forms: Forms::new(), codes: Codes::new() }
    }

    /// Everything of these kinds in `text`, in order. Other kinds are looked for as well, lest a card be taken for a
    /// phone number where only those are asked for.
    pub(crate) fn scan(&self, text: &str) -> Vec<Span> {
        // Everything that can be found has one of these.
        if !text.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b':')) {
            return Vec::new();
        }
        let mut state = Text { source: text, bytes: text.as_bytes().to_vec(), spans: Vec::new(), touched: false };
        for _ in 0..PASSES {
            state.touched = false;
            email::find(&mut state);
            iban::find(&mut state, &self.forms);
            card::find(&mut state);
            ip::find(&mut state);
            phone::find(&mut state, &self.codes);
            if !state.touched {
                break;
            }
        }
        let mut spans = state.spans;
        spans.retain(|span| self.kinds & 1 << span.kind as u8 != 0);
        spans.sort_unstable_by_key(|span| span.range.start);
        spans
    }
}

/// A text and what is taken of it.
pub(crate) struct Text<'a> {
    pub(crate) source: &'a str,
    /// The text's bytes, 0 where they are taken.
    pub(crate) bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Whether something was taken that another finding may have been cut by.
    touched: bool,
}

impl Text<'_> {
    /// The character that ends before `at`; what is taken is an end like the text's.
    pub(crate) fn before(&self, at: usize) -> Option<char> {
        match *self.bytes.get(at.checked_sub(1)?)? {
            0 => None,
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.source.get(..at)?.chars().next_back(),
        }
    }

    /// The character that begins at `at`; what is taken is an end like the text's.
    pub(crate) fn after(&self, at: usize) -> Option<char> {
        match *self.bytes.get(at)? {
            0 => None,
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.source.get(at..)?.chars().next(),
        }
    }

    /// The byte at `at`; 0 where it is taken and beyond the end.
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Whether a word or number would be cut by beginning at `at`.
    pub(crate) fn glued_before(&self, at: usize) -> bool {
        self.before(at).is_some_and(char::is_alphanumeric)
    }

    /// Whether a word or number would be cut by ending at `at`.
    pub(crate) fn glued_after(&self, at: usize) -> bool {
        self.after(at).is_some_and(char::is_alphanumeric)
    }

    /// The next place of a byte from `at` on.
    pub(crate) fn next(&self, at: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
        self.bytes.get(at..)?.iter().position(|byte| wanted(*byte)).map(|place| at + place)
    }

    /// How many bytes of a class begin at `at`.
    pub(crate) fn run(&self, at: usize, class: impl Fn(u8) -> bool) -> usize {
        self.bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|byte| class(**byte)).count())
    }

    /// How many digits begin at `at`, as far as `most`.
    pub(crate) fn digits(&self, at: usize, most: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// Takes a part for a kind, if none of it is taken.
    pub(crate) fn take(&mut self, kind: Kind, range: Range<usize>) -> bool {
        let free = !self.bytes[range.clone()].contains(&0);
        if free {
            let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "+-./:@_".contains(c));
            self.touched |= joins(self.before(range.start)) || joins(self.after(range.end));
            self.bytes[range.clone()].fill(0);
            self.spans.push(Span { kind, range });
        }
        free
    }
}

/// Bytes of the separator at `at` within a grouped number: a space or a dash, also those that do not break a line.
pub(crate) fn separator(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b' ' | b'-' => Some(1),
        // U+00A0
        0xc2 if bytes.get(at + 1) == Some(&0xa0) => Some(2),
        // U+2009, U+2010, U+2011, U+2012, U+2013, U+202F
        0xe2 if bytes.get(at + 1) == Some(&0x80) && matches!(bytes.get(at + 2), Some(0x89 | 0x90..=0x93 | 0xaf)) => {
            Some(3)
        }
        _ => None,
    }
}
