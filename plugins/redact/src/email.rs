//! E-mail addresses: a local part of RFC 5321 §4.1.2 as people write it, also quoted and internationalised (RFC 6531),
//! and a domain name with a top-level domain.
//!
//! From each `@` at most 64 bytes are looked at to the left and 255 to the right (RFC 5321 §4.5.3.1).

use crate::Kind;
use crate::scan::Text;

const LOCAL_BYTES: usize = 64;
const DOMAIN_BYTES: usize = 255;
/// An address as a whole (RFC 5321 §4.5.3.1.3, less the angle brackets).
const ADDRESS_BYTES: usize = 254;

/// Ends of file names such as `icon@2x.png`, none of which is a top-level domain.
const FILE_ENDS: [&str; 12] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "json", "html"];

pub(crate) fn find(text: &mut Text<'_>) {
    let mut from = 0;
    while let Some(at) = text.next(from, |byte| byte == b'@') {
        from = at + 1;
        if let Some(start) = local(text, at)
            && let Some(end) = domain(text, at + 1)
            && end - start <= ADDRESS_BYTES
        {
            text.take(Kind::Email, start..end);
        }
    }
}

/// Where the local part before the `@` at `at` begins.
fn local(text: &Text<'_>, at: usize) -> Option<usize> {
    let start = if text.bytes[..at].ends_with(b"\"") { quoted(text, at)? } else { plain(text, at)? };
    match text.before(start) {
        // Two @ are no address, and what stands between // and @ is who logs in.
        Some('@') => None,
        Some('/') if text.bytes[..start].ends_with(b"//") => None,
        Some(':') if logs_in(text, start) => None,
        _ => Some(start),
    }
}

fn plain(text: &Text<'_>, at: usize) -> Option<usize> {
    let mut start = at;
    for c in text.source[..at].chars().rev() {
        if !(c.is_alphanumeric() || "._%+-~'".contains(c)) || text.bytes[start - 1] == 0 {
            break;
        }
        start -= c.len_utf8();
        if at - start > LOCAL_BYTES {
            return None;
        }
    }
    let local = &text.source[start..at];
    let trimmed = local.trim_start_matches(['\'', '-', '~']);
    let sound = trimmed.contains(|c: char| c.is_alphanumeric() || c == '_')
        && !trimmed.starts_with('.')
        && !trimmed.ends_with('.')
        && !trimmed.contains("..");
    sound.then_some(before_mark(text, at - trimmed.len()))
}

/// Where a local part begins that goes on before `start` with one of the marks that are rare in it, as in
/// `name/surname@`; a path or a URL ends there instead.
fn before_mark(text: &Text<'_>, start: usize) -> usize {
    if !matches!(text.before(start), Some('/' | '!')) {
        return start;
    }
    let word: usize = text.source[..start - 1]
        .chars()
        .rev()
        .take(LOCAL_BYTES)
        .take_while(|c| c.is_alphanumeric())
        .map(char::len_utf8)
        .sum();
    let first = start - 1 - word;
    let alone = text.before(first).is_none_or(|c| !"/.:@-_~%#?=&+!\\".contains(c));
    if word > 0 && word < LOCAL_BYTES && alone && !text.bytes[first..start].contains(&0) { first } else { start }
}

/// A quoted local part, such as `"john doe"`.
fn quoted(text: &Text<'_>, at: usize) -> Option<usize> {
    let floor = at.saturating_sub(LOCAL_BYTES);
    let mut from = at - 1;
    while from > floor {
        from -= 1;
        match text.bytes[from] {
            b'"' if from > 0 && text.bytes[from - 1] == b'\\' => {}
            b'"' => {
                let alone = text.before(from).is_none_or(|c| !c.is_alphanumeric() && c != '.');
                return (from + 2 < at && alone).then_some(from);
            }
            byte if byte < b' ' => return None,
            _ => {}
        }
    }
    None
}

/// Whether what ends at `at` is the password of a URL, as in `https://user:password@host`.
fn logs_in(text: &Text<'_>, at: usize) -> bool {
    let floor = at.saturating_sub(128);
    let token = text.bytes[floor..at].rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    token.windows(2).any(|two| two == b"//")
}

/// Where the domain that begins at `from` ends.
fn domain(text: &Text<'_>, from: usize) -> Option<usize> {
    let mut end = from;
    for c in text.source[from..].chars() {
        if !(c.is_alphanumeric() || c == '-' || c == '.') || text.bytes[end] == 0 {
            break;
        }
        end += c.len_utf8();
        if end - from > DOMAIN_BYTES {
            return None;
        }
    }
    // Two @ are no address, except where the first is quoted: then it is not this one.
    if text.after(end) == Some('@') || text.source[end..].starts_with("\"@") {
        return None;
    }
    let domain = text.source[from..end].trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    // A top-level domain is ASCII or not; where a text without spaces goes on in another script, it ends.
    let ascii = top.bytes().take_while(u8::is_ascii).count();
    let (top, cut) = if ascii == 0 { (top, 0) } else { (&top[..ascii], top.len() - ascii) };
    let domain = &domain[..domain.len() - cut];
    let named = top.chars().count() >= 2 && (top.chars().all(char::is_alphabetic) || top.starts_with("xn--"));
    let labels = domain
        .split('.')
        .all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'));
    let file = FILE_ENDS.iter().any(|end| top.eq_ignore_ascii_case(end));
    (named && labels && !file).then(|| from + domain.len())
}
