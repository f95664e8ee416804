//! IP addresses: IPv6 as RFC 4291 §2.2 writes it, with a zone where there is one, and IPv4 in four decimal parts.
//!
//! What looks like one and is another thing: versions (`1.2.3.4.5`, `v1.2.3.4`), times, hardware addresses of eight
//! bytes, and paths of programming languages (`a::b`).

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::Kind;
use crate::scan::Text;

/// The longest IPv6 address in text: six groups and an IPv4 address.
const LONGEST: usize = 45;

/// Bytes more that punctuation may add.
const PUNCTUATION: usize = 4;

pub(crate) fn find(text: &mut Text<'_>) {
    let mut at = 0;
    while let Some(colon) = text.next(at, |byte| byte == b':') {
        let class = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        let before = text.bytes[at..colon].iter().rev().take(LONGEST + PUNCTUATION).take_while(|byte| class(**byte));
        let from = colon - before.count();
        at = colon + text.run(colon, class);
        if at - from <= LONGEST + PUNCTUATION {
            v6(text, from, at);
        }
    }
    at = 0;
    while let Some(from) = text.next(at, |byte| byte.is_ascii_digit()) {
        at = from + text.run(from, |byte| byte.is_ascii_digit() || byte == b'.');
        if (7..=15 + PUNCTUATION).contains(&(at - from)) {
            v4(text, from, at);
        }
    }
}

fn v6(text: &mut Text<'_>, mut from: usize, mut to: usize) {
    let run = |from: usize, to: usize| &text.source[from..to];
    // A colon or full stop of the sentence.
    if run(from, to).starts_with(':') && !run(from, to).starts_with("::") {
        from += 1;
    }
    to = from + run(from, to).trim_end_matches('.').len();
    if run(from, to).ends_with(':') && !run(from, to).ends_with("::") {
        to -= 1;
    }
    let address = run(from, to);
    let colons = address.bytes().filter(|byte| *byte == b':').count();
    if colons < 2 || address.parse::<Ipv6Addr>().is_err() {
        return;
    }
    let hardware = colons == 7 && address.split(':').all(|group| group.len() == 2);
    let word = colons < 3 && !address.bytes().any(|byte| byte.is_ascii_digit());
    if hardware || word || text.glued_before(from) {
        return;
    }
    if text.after(to) == Some('%') {
        let zone = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let length = text.bytes[to + 1..].iter().take(32).take_while(zone).count();
        let trimmed = text.source[to + 1..to + 1 + length].trim_end_matches(['.', '-']).len();
        if trimmed > 0 {
            to += 1 + trimmed;
        }
    }
    if !text.glued_after(to) {
        text.take(Kind::Ipv6, from..to);
    }
}

fn v4(text: &mut Text<'_>, from: usize, to: usize) {
    let to = from + text.source[from..to].trim_end_matches('.').len();
    let dotted = text.before(from) == Some('.') || text.glued_before(from) || text.glued_after(to);
    if dotted || text.source[from..to].parse::<Ipv4Addr>().is_err() {
        return;
    }
    // 1.2.3.4-beta
    if text.after(to) == Some('-') && text.after(to + 1).is_some_and(char::is_alphabetic) || is_version(text, from) {
        return;
    }
    text.take(Kind::Ipv4, from..to);
}

/// Whether the word before says that this is a version.
fn is_version(text: &Text<'_>, at: usize) -> bool {
    let before = text.source[..at].trim_end_matches([' ', ':', '=']);
    let word = before.len() - before.bytes().rev().take(8).take_while(u8::is_ascii_alphabetic).count();
    let word = &before[word..];
    before.len() < at && ["v", "ver", "version", "release", "build", "rev"].iter().any(|v| word.eq_ignore_ascii_case(v))
}
