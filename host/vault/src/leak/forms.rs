//! The forms in which a secret is searched for: the one list for what is masked in answers and what is withheld.
//!
//! Each is made in memory of its final size and wiped on drop, because growing would leave copies behind.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::scan::SECRET_MIN;

/// Bytes that wipe themselves.
pub(super) type Wiping = Zeroizing<Vec<u8>>;

/// What JavaScript's `encodeURIComponent` leaves alone is left alone here too.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// What a URL cannot carry, and no more.
const LOOSE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'&').add(b'+');

/// Every form of a secret, each once; none of one that is too short to be told from ordinary text.
pub(super) fn forms(secret: &[u8]) -> Vec<Wiping> {
    let mut forms: Vec<Wiping> = Vec::new();
    if secret.len() < SECRET_MIN {
        return forms;
    }
    let mut add = |form: Wiping| {
        if form.len() >= SECRET_MIN && !forms.contains(&form) {
            forms.push(form);
        }
    };
    add(Zeroizing::new(secret.to_vec()));
    for alphabet in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        add(hex(secret, alphabet));
    }
    for lead in 0..3 {
        add(within_base64(&STANDARD_NO_PAD, secret, lead));
        add(within_base64(&URL_SAFE_NO_PAD, secret, lead));
    }
    for set in [NON_ALPHANUMERIC, COMPONENT, LOOSE] {
        let encoded = percent(secret, set);
        add(lower_hex(&encoded));
        add(plus_for_space(&encoded));
        add(encoded);
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        add(json(text, false));
        add(json(text, true));
    }
    forms
}

fn hex(secret: &[u8], digits: &[u8; 16]) -> Wiping {
    let mut out = Zeroizing::new(Vec::with_capacity(2 * secret.len()));
    out.extend(secret.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]));
    out
}

/// The characters that `secret` alone decides when it follows `lead` other bytes in a text that is base64-encoded as a
/// whole.
fn within_base64(engine: &GeneralPurpose, secret: &[u8], lead: usize) -> Wiping {
    let mut text = Zeroizing::new(Vec::with_capacity(lead + secret.len()));
    text.resize(lead, 0);
    text.extend_from_slice(secret);
    let mut encoded = Zeroizing::new(vec![0; text.len() * 4 / 3 + 4]);
    // There is room for one group more than it takes.
    let length = engine.encode_slice(&*text, &mut encoded).unwrap_or(0);
    // The first character whose six bits lie wholly in the secret, and the last.
    let (first, last) = ((lead * 8).div_ceil(6), (text.len() * 8 / 6).min(length));
    Zeroizing::new(encoded[first..last].to_vec())
}

fn percent(secret: &[u8], set: &'static AsciiSet) -> Wiping {
    let mut out = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    percent_encode(secret, set).for_each(|part| out.extend_from_slice(part.as_bytes()));
    out
}

/// A percent-encoded text with its hex digits in lower case.
fn lower_hex(encoded: &[u8]) -> Wiping {
    let mut out = Zeroizing::new(encoded.to_vec());
    let mut digits = 0;
    for byte in out.iter_mut() {
        if *byte == b'%' {
            digits = 2;
        } else if digits > 0 {
            digits -= 1;
            byte.make_ascii_lowercase();
        }
    }
    out
}

/// A percent-encoded text as a form field has it.
fn plus_for_space(encoded: &[u8]) -> Wiping {
    let mut out = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = rest.strip_prefix(b"%20").map_or((byte, after), |after| (b'+', after));
        out.push(byte);
        rest = after;
    }
    out
}

/// As JSON writes it within quotes; some writers escape `/` as well.
fn json(text: &str, slash: bool) -> Wiping {
    let mut out = Zeroizing::new(Vec::with_capacity(6 * text.len()));
    for c in text.chars() {
        match c {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '/' if slash => out.extend(b"\\/"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{8}' => out.extend(b"\\b"),
            '\u{c}' => out.extend(b"\\f"),
            c if c < ' ' => {
                out.extend(b"\\u00");
                let digit = |value: u32| char::from_digit(value, 16).map_or(b'0', |digit| digit as u8);
                out.extend([digit(u32::from(c) >> 4), digit(u32::from(c) & 15)]);
            }
            c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out
}
