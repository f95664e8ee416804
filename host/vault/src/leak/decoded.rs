//! Texts with one layer of escapes taken off, whichever characters were escaped. What is no escape stays as it is. A
//! decoded text is never longer, so its memory is of its final size from the start, and it is wiped on drop.

use memchr::memchr;
use zeroize::Zeroizing;

use super::forms::Wiping;

/// Percent-encoding undone, in a form field also `+` for a space; `None` when there is none.
pub(super) fn percent(text: &[u8], plus: bool) -> Option<Wiping> {
    if memchr(b'%', text).is_none() && !(plus && memchr(b'+', text).is_some()) {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => match digit(*high).zip(digit(*low)) {
                Some((high, low)) => (byte(high << 4 | low), after),
                None => (first, rest.get(1..).unwrap_or_default()),
            },
            (b'+', after) if plus => (b' ', after),
            (first, after) => (first, after),
        };
        out.push(byte);
        rest = after;
    }
    Some(out)
}

/// Backslash escapes of JSON, JavaScript, Rust and this host's own logs undone; `None` when there is none.
pub(super) fn escapes(text: &[u8]) -> Option<Wiping> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    let mut any = false;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((&kind, after)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        let plain = match kind {
            b'"' | b'\\' | b'/' | b'\'' => Some(kind),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            b'f' => Some(12),
            b'0' => Some(0),
            _ => None,
        };
        if let Some(plain) = plain {
            out.push(plain);
            (rest, any) = (after, true);
        } else if let Some((value, after)) = hex(after, 2).filter(|_| kind == b'x') {
            out.push(byte(value));
            (rest, any) = (after, true);
        } else if let Some((c, after)) = unicode(after).filter(|_| kind == b'u') {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            (rest, any) = (after, true);
        } else {
            out.push(b'\\');
        }
    }
    out.extend_from_slice(rest);
    any.then_some(out)
}

/// What follows `\u`: four digits, twice for a pair of surrogates, or up to six in braces.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    if let Some(braced) = text.strip_prefix(b"{") {
        let end = memchr(b'}', braced).filter(|end| (1..=6).contains(end))?;
        let (value, _) = hex(braced, end)?;
        return Some((char::from_u32(value)?, &braced[end + 1..]));
    }
    let (high, after) = hex(text, 4)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, after));
    }
    let (low, after) = hex(after.strip_prefix(b"\\u")?, 4)?;
    let pair = char::decode_utf16([u16::try_from(high).ok()?, u16::try_from(low).ok()?]).next()?;
    Some((pair.ok()?, after))
}

/// The value of the first `digits` hex digits, and what follows.
fn hex(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (number, after) = text.split_at_checked(digits)?;
    let value = number.iter().try_fold(0, |value, c| Some(value << 4 | digit(*c)?))?;
    Some((value, after))
}

fn digit(c: u8) -> Option<u32> {
    char::from(c).to_digit(16)
}

/// A value of two hex digits.
fn byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}
