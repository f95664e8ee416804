//! Payment cards (ISO/IEC 7812): digits in one piece or in the groups that are printed on cards, with an issuer's
//! prefix, a length of that issuer, and the Luhn check digit.
//!
//! Issuers that also give out numbers without a check digit (one in China) are found only where it fits; a number
//! without it cannot be told from any other.

use crate::Kind;
use crate::scan::{Text, separator};

/// Digits of a card, at most and at least.
const MOST: usize = 19;
const LEAST: usize = 12;

/// The groups people write cards in. Longer ones first: what fits whole is not cut.
const GROUPS: [&[usize]; 13] = [
    &[4, 4, 4, 4, 3],
    &[6, 13],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4],
    &[8, 8],
    &[4, 6, 5],
    &[4, 5, 6],
    &[4, 4, 4, 3],
    &[4, 6, 4],
    &[4, 4, 4, 2],
    &[4, 4, 4, 1],
    &[4, 4, 4],
];

/// First six digits, from and to, and the lengths given out, from the public BIN tables.
const ISSUERS: [(u32, u32, &[usize]); 26] = [
    (180_000, 180_099, &[15]),                     // JCB
    (213_100, 213_199, &[15]),                     // JCB
    (220_000, 220_499, &[16, 17, 18, 19]),         // Mir
    (222_100, 272_099, &[16]),                     // Mastercard
    (300_000, 305_999, &[14, 16, 19]),             // Diners Club
    (309_500, 309_599, &[14, 16, 19]),             // Diners Club
    (340_000, 349_999, &[15]),                     // American Express
    (350_000, 352_799, &[16]),                     // JCB
    (352_800, 358_999, &[16, 17, 18, 19]),         // JCB
    (359_000, 359_999, &[16]),                     // JCB
    (360_000, 369_999, &[14, 16, 19]),             // Diners Club
    (370_000, 379_999, &[15]),                     // American Express
    (380_000, 399_999, &[14, 16, 19]),             // Diners Club
    (400_000, 499_999, &[13, 16, 18, 19]),         // Visa
    (500_000, 509_999, &[12, 13, 15, 16, 18, 19]), // Maestro, Elo, Verve
    (510_000, 559_999, &[16]),                     // Mastercard
    (560_000, 589_999, &[12, 13, 15, 16, 18, 19]), // Maestro
    (600_000, 601_999, &[16, 17, 18, 19]),         // RuPay, Discover
    (606_000, 606_999, &[16]),                     // Hipercard
    (620_000, 629_999, &[14, 15, 16, 17, 18, 19]), // UnionPay
    (630_000, 639_999, &[12, 13, 15, 16, 18, 19]), // Maestro, InstaPayment, Elo
    (644_000, 659_999, &[16, 17, 18, 19]),         // Discover, RuPay
    (670_000, 679_999, &[12, 13, 15, 16, 18, 19]), // Maestro
    (810_000, 829_999, &[16, 17, 18, 19]),         // UnionPay, RuPay
    (860_000, 860_099, &[16]),                     // Uzcard
    (979_200, 979_299, &[16]),                     // Troy
];

pub(crate) fn find(text: &mut Text<'_>) {
    let mut at = 0;
    while let Some(start) = text.next(at, |byte| byte.is_ascii_digit()) {
        let length = text.run(start, |byte| byte.is_ascii_digit());
        let end = card(text, start, length).filter(|end| text.take(Kind::Card, start..*end));
        at = end.unwrap_or(start + length);
    }
}

/// Where the card ends that begins with the `length` digits at `at`.
fn card(text: &Text<'_>, at: usize, length: usize) -> Option<usize> {
    if length > MOST || matches!(text.bytes[at], b'0' | b'7') {
        return None;
    }
    if length >= LEAST {
        let end = at + length;
        return (!cut_before(text, at) && !cut_after(text, end) && is_card(&text.bytes[at..end])).then_some(end);
    }
    if !matches!(length, 4 | 6 | 8) {
        return None;
    }
    let (lengths, ends, count) = groups(text, at, length);
    if count < 2 || cut_before(text, at) {
        return None;
    }
    GROUPS.iter().find_map(|layout| {
        if layout.len() > count || **layout != lengths[..layout.len()] {
            return None;
        }
        // Three groups of four among more of them are rather a piece of a longer number.
        if **layout == [4, 4, 4] && (count > 3 || among_groups(text, at)) {
            return None;
        }
        let end = ends[layout.len() - 1];
        let mut number = [0; MOST];
        let mut digits = 0;
        for byte in text.bytes[at..end].iter().filter(|byte| byte.is_ascii_digit()) {
            *number.get_mut(digits)? = *byte;
            digits += 1;
        }
        (!cut_after(text, end) && is_card(&number[..digits])).then_some(end)
    })
}

/// The first groups of digits with one and the same separator between them: how long, where each ends, how many.
fn groups(text: &Text<'_>, at: usize, length: usize) -> ([usize; 5], [usize; 5], usize) {
    let (mut lengths, mut ends, mut count) = ([length, 0, 0, 0, 0], [at + length, 0, 0, 0, 0], 1);
    let Some(width) = separator(&text.bytes, at + length) else { return (lengths, ends, count) };
    let between = &text.bytes[at + length..at + length + width];
    while count < 5 && text.bytes[ends[count - 1]..].starts_with(between) {
        let from = ends[count - 1] + width;
        // No group that counts is longer than 13; what is longer ends the number.
        let length = text.digits(from, 14);
        if !(1..=13).contains(&length) {
            break;
        }
        lengths[count] = length;
        ends[count] = from + length;
        count += 1;
    }
    (lengths, ends, count)
}

/// Whether a space and a digit stand before `at`.
fn among_groups(text: &Text<'_>, at: usize) -> bool {
    text.before(at) == Some(' ') && text.before(at - 1).is_some_and(|c| c.is_ascii_digit())
}

/// Whether the digits go on before `at`: in a word, a decimal, a version, or something joined by dashes.
fn cut_before(text: &Text<'_>, at: usize) -> bool {
    match text.before(at) {
        Some('.' | '-') => text.glued_before(at - 1),
        Some(c) => c.is_alphanumeric(),
        None => false,
    }
}

fn cut_after(text: &Text<'_>, at: usize) -> bool {
    match text.after(at) {
        Some('.') => text.after(at + 1).is_some_and(|c| c.is_ascii_digit()),
        Some('-') => text.glued_after(at + 1),
        Some(c) => c.is_alphanumeric(),
        None => false,
    }
}

/// Whether these digits are an issuer's, with the right length and check digit.
fn is_card(digits: &[u8]) -> bool {
    let first = digits.iter().take(6).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let issued =
        |(from, to, lengths): &(u32, u32, &[usize])| (*from..=*to).contains(&first) && lengths.contains(&digits.len());
    luhn(digits) && ISSUERS.iter().any(issued)
}

/// ISO/IEC 7812-1 annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') << (place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}
