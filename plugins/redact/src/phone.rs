//! Phone numbers that can be told from other numbers: international ones (ITU-T E.164) with `+`, or with `00` and
//! separators; and national ones in a form that is theirs alone, North American (`(415) 555-2671`) or with a trunk zero
//! and an area (`030 1234567`, `0171/1234567`, `01 23 45 67 89`).

use core::ops::Range;

use crate::Kind;
use crate::scan::{Text, separator};

/// Digits of a number, country code included (E.164 §6).
const MOST: usize = 15;

/// Digits from `00` on, at least: fewer are more likely a number with leading zeros.
const LEAST_AFTER_00: usize = 12;

/// Country codes that are given out, from the ITU's list.
const CODES: &str = "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 \
    65 66 81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 \
    234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 \
    263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 \
    376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 \
    593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 \
    800 808 850 852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 \
    974 975 976 977 979 992 993 994 995 996 998";

/// The country codes, by number.
pub(crate) struct Codes(Vec<bool>);

/// Groups of digits that are read, at most.
const GROUPS: usize = 8;

/// A number being read: its digits, and where each group of them lies.
#[derive(Default)]
struct Number {
    digits: [u8; MOST + 2],
    length: usize,
    groups: [Range<usize>; GROUPS],
    count: usize,
}

pub(crate) fn find(text: &mut Text<'_>, codes: &Codes) {
    let mut at = 0;
    while let Some(start) = text.next(at, |byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'(')) {
        let end = number(text, start, codes).filter(|end| text.take(Kind::Phone, start..*end));
        at = end.unwrap_or_else(|| start + text.run(start, |byte| byte.is_ascii_digit()).max(1));
    }
}

/// Where the phone number ends that begins at `at`.
fn number(text: &Text<'_>, at: usize, codes: &Codes) -> Option<usize> {
    let first = at + usize::from(!text.bytes[at].is_ascii_digit());
    let area = text.digits(first, MOST + 1);
    // What cannot become a number is not read further.
    let begins = match text.bytes[at] {
        b'+' => area > 0 || text.byte(first) == b'(',
        b'(' => (2..=6).contains(&area) && text.byte(first + area) == b')',
        b'0' => (2..=6).contains(&area),
        b'1' => area == 1 && text.digits(gap(text, first + 1), 4) == 3,
        _ => area == 3 && text.digits(gap(text, first + 3), 4) == 3,
    };
    if !begins || cut_before(text, at) {
        return None;
    }
    if text.bytes[at] == b'+' {
        return Number::read(text, first, MOST).shorten(text, |number| codes.reach(number.digits()));
    }
    let number = Number::read(text, first, MOST + 2);
    if number.digits().starts_with(b"00") {
        let least =
            |number: &Number| number.count > 1 && number.length >= LEAST_AFTER_00 && !number.continues_fours(text);
        number.shorten(text, |number| least(number) && codes.reach(&number.digits()[2..]))
    } else if number.digits().starts_with(b"0") {
        number.shorten(text, |number| number.has_trunk(text))
    } else {
        number.shorten(text, |number| number.is_north_american(text))
    }
}

/// Whether `at` is inside a word, a decimal, a path or something joined by dashes.
fn cut_before(text: &Text<'_>, at: usize) -> bool {
    match text.before(at) {
        Some('.' | '-' | '/') => text.glued_before(at - 1),
        Some(c) => c.is_alphanumeric() || c == '+',
        None => false,
    }
}

impl Codes {
    pub(crate) fn new() -> Self {
        let mut codes = vec![false; 1000];
        for code in CODES.split_ascii_whitespace().filter_map(|code| code.parse::<usize>().ok()) {
            codes[code] = true;
        }
        Self(codes)
    }

    /// Whether somebody could be reached by these digits, the country code first.
    fn reach(&self, digits: &[u8]) -> bool {
        let code = |length: usize| {
            let value = digits.iter().take(length).fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
            self.0[value]
        };
        match digits {
            [b'0', ..] => false,
            [b'1', rest @ ..] => is_north_american(rest),
            [b'7', ..] => digits.len() == 11,
            // Islands whose numbers have four digits.
            [_, _, _, _, _, _, _] => [b"290", b"683", b"690"].iter().any(|code| digits.starts_with(*code)),
            _ => (8..=MOST).contains(&digits.len()) && (code(2) || code(3)),
        }
    }
}

/// NANP: three digits of area, three of exchange, neither beginning with 0 or 1, and four.
fn is_north_american(digits: &[u8]) -> bool {
    digits.len() == 10 && digits[0] >= b'2' && digits[3] >= b'2' && digits[1..3] != *b"11" && digits[4..6] != *b"11"
}

impl Number {
    /// Reads groups of digits from `at`, of `most` digits together. Between them stand at most three of space, dash, dot,
    /// slash and parentheses.
    fn read(text: &Text<'_>, at: usize, most: usize) -> Self {
        let mut number = Self::default();
        let mut from = at + usize::from(text.byte(at) == b'(');
        while number.count < GROUPS {
            let length = text.digits(from, most + 1);
            if length == 0 || number.length + length > most {
                break;
            }
            number.digits[number.length..number.length + length].copy_from_slice(&text.bytes[from..from + length]);
            number.length += length;
            number.groups[number.count] = from..from + length;
            number.count += 1;
            from = gap(text, from + length);
            if number.groups[number.count - 1].end == from {
                break;
            }
        }
        number
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    fn groups(&self) -> &[Range<usize>] {
        &self.groups[..self.count]
    }

    /// What stands between the groups.
    fn between<'t>(&self, text: &'t Text<'_>) -> impl Iterator<Item = &'t [u8]> {
        self.groups().windows(2).map(|two| &text.bytes[two[0].end..two[1].start])
    }

    fn has_lengths(&self, lengths: &[usize]) -> bool {
        self.groups().iter().map(Range::len).eq(lengths.iter().copied())
    }

    /// Drops groups from the end until the rest is a number and ends where it may.
    fn shorten(mut self, text: &Text<'_>, fits: impl Fn(&Self) -> bool) -> Option<usize> {
        while let Some(last) = self.groups().last().cloned() {
            let ends = !text.glued_after(last.end) && !begins_date(text, last.start) && !is_joined(text, last.end);
            if ends && fits(&self) {
                return Some(last.end);
            }
            self.count -= 1;
            self.length -= last.len();
        }
        None
    }

    /// `(415) 555-2671`, `415-555-2671`, `1.415.555.2671`.
    fn is_north_american(&self, text: &Text<'_>) -> bool {
        let digits = self.digits();
        let fits = match digits.strip_prefix(b"1") {
            Some(rest) => self.has_lengths(&[1, 3, 3, 4]) && is_north_american(rest),
            None => self.has_lengths(&[3, 3, 4]) && is_north_american(digits),
        };
        if !fits {
            return false;
        }
        // Three groups between spaces among others are a table of numbers.
        let (first, last) = (self.groups[0].start, self.groups[self.count - 1].end);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let after = text.after(last) == Some(' ') && digit(text.after(last + 1));
        let before = text.before(first) == Some(' ') && digit(text.before(first - 1));
        !((before || after) && self.between(text).all(|between| between == b" "))
    }

    /// Whether it goes on what is written in groups of four digits, as the number of a card is.
    fn continues_fours(&self, text: &Text<'_>) -> bool {
        let first = &self.groups[0];
        let four = |end: usize| end >= 4 && text.digits(end - 4, 4) == 4 && !text.glued_before(end - 4);
        first.len() == 4 && first.start > 0 && text.byte(first.start - 1) == b' ' && four(first.start - 1)
    }

    /// A trunk zero with an area, 9 to 12 digits in all; not a date with a time.
    fn has_trunk(&self, text: &Text<'_>) -> bool {
        if !(9..=12).contains(&self.length) || !(2..=6).contains(&self.count) || self.digits[1] == b'0' {
            return false;
        }
        let area = self.groups[0].len();
        let date = self.count > 2 && self.groups[..3].iter().map(Range::len).eq([2, 2, 4]);
        // Nine digits are also a ZIP code with its suffix, or a number of social security.
        let short = self.length == 9 && (area > 3 || self.has_lengths(&[3, 2, 4]));
        let with = |mark: u8| self.between(text).filter(|between| between.contains(&mark)).count();
        let (dots, slashes) = (with(b'.'), with(b'/'));
        let slash_first = self.between(text).next().is_some_and(|between| between.contains(&b'/'));
        (2..=6).contains(&area)
            && !date
            && !self.continues_fours(text)
            && !short
            && (dots == 0 || dots == 4 && self.has_lengths(&[2; 5]))
            && (slashes == 0 || slashes == 1 && slash_first)
    }
}

/// Where what may stand between two groups ends.
fn gap(text: &Text<'_>, from: usize) -> usize {
    let mark = |at: usize| match text.byte(at) {
        b'.' | b'/' | b'(' | b')' => 1,
        _ => separator(&text.bytes, at).unwrap_or(0),
    };
    (0..3).fold(from, |at, _| at + mark(at))
}

/// Whether a dash or a dot joins more digits to what ends at `end`.
fn is_joined(text: &Text<'_>, end: usize) -> bool {
    matches!(text.byte(end), b'-' | b'.' | b':') && text.byte(end + 1).is_ascii_digit()
}

/// Whether a date of ISO 8601 begins at `at`.
fn begins_date(text: &Text<'_>, at: usize) -> bool {
    let Some(date) = text.bytes.get(at..at + 10) else { return false };
    date.iter()
        .enumerate()
        .all(|(place, byte)| if matches!(place, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() })
}
