//! Injected values taken out of what comes back.
//!
//! A destination that echoes its request (an error page, a debug header) would hand the plugin the secret the host put
//! there. So every value injected in an invocation is looked for in every later answer of that invocation, as it is and
//! in the encodings an echo commonly has: base64 (also inside a longer encoded text, at each of the three alignments),
//! hex, percent-encoding, JSON escapes. Bodies come in pieces, so the tail that could be the beginning of a match is
//! held back until it is known not to be. An upstream that means to leak can still encode otherwise: the destination
//! was granted the secret, and this guards against accidents, not against it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use opsiq_vault::Secret;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};

/// What stands where a secret stood.
const MASK: &[u8] = b"[sealed]";
/// Encoded forms shorter than this would match by chance; the plain form is looked for at any length.
const MIN_ENCODED: usize = 6;
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
const LOOSE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'&').add(b'+');

/// Finds the given secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrub {
    finder: Option<(AhoCorasick, usize)>,
}

impl Scrub {
    /// A scrub for these secrets; empty ones are skipped.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut patterns = BTreeSet::new();
        for secret in secrets {
            patterns.extend(forms(secret.expose()));
        }
        if patterns.is_empty() {
            return Self::default();
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        // Building fails only beyond 2^31 patterns or bytes; a scrub that cannot be made must not pass anything.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Unanchored)
            .build(&patterns)
            .unwrap_or_else(|_| unreachable!("a few patterns of bounded length"));
        Self { finder: Some((finder, longest)) }
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.finder.is_none()
    }

    /// A whole value with every secret masked.
    pub fn whole(&self, value: &[u8]) -> Vec<u8> {
        let mut pieces = self.pieces();
        let mut clean = Vec::with_capacity(value.len());
        pieces.push(value, &mut clean);
        pieces.finish(&mut clean);
        clean
    }

    /// A scrub of one body.
    pub(crate) fn pieces(&self) -> Pieces {
        Pieces { scrub: self.clone(), held: Vec::new() }
    }
}

/// One body on its way through, piece by piece.
pub(crate) struct Pieces {
    scrub: Scrub,
    /// Input not yet decided: shorter than the longest pattern.
    held: Vec<u8>,
}

impl Pieces {
    /// Takes a piece and appends to `out` what can no longer be part of a secret.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &self.scrub.finder {
            None => out.extend_from_slice(piece),
            Some((_, longest)) => {
                let undecided = longest - 1;
                self.held.extend_from_slice(piece);
                let decided = self.held.len().saturating_sub(undecided);
                self.release(decided, out);
            }
        }
    }

    /// The end of the body: appends the rest.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.held.len(), out);
    }

    /// Masks every match that begins before `decided` (it lies whole in what is held) and releases up to there.
    fn release(&mut self, decided: usize, out: &mut Vec<u8>) {
        let Some((finder, _)) = &self.scrub.finder else { return };
        let mut done = 0;
        while done < decided {
            let input = Input::new(&self.held).range(done..).anchored(Anchored::No);
            match finder.find(input) {
                Some(found) if found.start() < decided => {
                    out.extend_from_slice(&self.held[done..found.start()]);
                    out.extend_from_slice(MASK);
                    done = found.end();
                }
                _ => {
                    out.extend_from_slice(&self.held[done..decided]);
                    done = decided;
                }
            }
        }
        self.held.drain(..done);
    }
}

/// Every form of a secret that is looked for.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    if secret.is_empty() {
        return Vec::new();
    }
    let mut encoded: Vec<String> = vec![
        hex::encode(secret),
        hex::encode_upper(secret),
        percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        percent_encode(secret, COMPONENT).to_string(),
        percent_encode(secret, LOOSE).to_string(),
    ];
    encoded.push(encoded[2].to_ascii_lowercase_hex());
    encoded.push(encoded[3].to_ascii_lowercase_hex());
    encoded.push(encoded[3].replace("%20", "+"));
    encoded.push(json_escaped(secret, false));
    encoded.push(json_escaped(secret, true));
    for lead in 0..3 {
        encoded.push(within_base64(&STANDARD_NO_PAD, secret, lead));
        encoded.push(within_base64(&URL_SAFE_NO_PAD, secret, lead));
    }
    let mut forms = vec![secret.to_vec()];
    forms.extend(encoded.into_iter().filter(|form| form.len() >= MIN_ENCODED).map(String::into_bytes));
    forms
}

/// The characters that stand for `secret`, and for nothing else, when it follows `lead` (mod 3) other bytes in a text
/// that is base64-encoded as a whole.
fn within_base64(engine: &impl base64::Engine, secret: &[u8], lead: usize) -> String {
    let mut text = vec![0; lead];
    text.extend_from_slice(secret);
    let encoded = engine.encode(&text);
    // The first character whose six bits lie wholly in the secret, and the last.
    let first = (lead * 8).div_ceil(6);
    let last = (text.len() * 8) / 6;
    encoded.get(first..last).unwrap_or_default().to_owned()
}

fn json_escaped(secret: &[u8], slash: bool) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(secret).chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '/' if slash => text.push_str("\\/"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}

trait LowerHex {
    /// A percent-encoded text with its hex digits in lower case.
    fn to_ascii_lowercase_hex(&self) -> String;
}

impl LowerHex for String {
    fn to_ascii_lowercase_hex(&self) -> String {
        let mut after = 3;
        self.chars()
            .map(|c| {
                after = if c == '%' { 0 } else { after + 1 };
                if after <= 2 { c.to_ascii_lowercase() } else { c }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }

    fn scrubbed(secret_text: &str, body: &[u8], piece: usize) -> Vec<u8> {
        let secret = secret(secret_text);
        let mut pieces = Scrub::new([&secret]).pieces();
        let mut out = Vec::new();
        for chunk in body.chunks(piece) {
            pieces.push(chunk, &mut out);
        }
        pieces.finish(&mut out);
        out
    }

    #[test]
    fn every_form_is_masked_at_every_cut() {
        let token = "sk_live/+4f\"9Q==z 7";
        let mut bodies: Vec<Vec<u8>> = vec![
            token.as_bytes().to_vec(),
            hex::encode(token).into_bytes(),
            hex::encode_upper(token).into_bytes(),
            percent_encode(token.as_bytes(), NON_ALPHANUMERIC).to_string().into_bytes(),
            percent_encode(token.as_bytes(), COMPONENT).to_string().into_bytes(),
            percent_encode(token.as_bytes(), COMPONENT).to_string().replace("%20", "+").into_bytes(),
            serde_json::to_string(token).unwrap().into_bytes(),
        ];
        for lead in ["", "a", "ab", "Bearer ", "user:"] {
            bodies.push(STANDARD.encode(format!("{lead}{token}")).into_bytes());
            bodies.push(URL_SAFE_NO_PAD.encode(format!("{lead}{token}tail")).into_bytes());
        }
        for body in bodies {
            let whole = [b"before ", body.as_slice(), b" after"].concat();
            let expected = scrubbed(token, &whole, whole.len());
            assert!(expected.starts_with(b"before ") && expected.ends_with(b" after"));
            let text = String::from_utf8_lossy(&expected).into_owned();
            assert!(text.contains("[sealed]"), "{text}");
            for piece in 1..20 {
                assert_eq!(scrubbed(token, &whole, piece), expected);
            }
        }
    }

    #[test]
    fn what_is_no_secret_passes_unchanged() {
        let body = b"sk_live_ sk_liv sk_live_4f9Q".repeat(50);
        for piece in [1, 7, 4096] {
            assert_eq!(scrubbed("sk_live_9999", &body, piece), body);
        }
        assert!(Scrub::new([&secret("")]).is_empty());
        assert_eq!(Scrub::default().whole(b"abc"), b"abc");
    }

    #[test]
    fn adjacent_and_overlapping_secrets_are_all_masked() {
        assert_eq!(scrubbed("abab", b"xabababx", 1), b"x[sealed]abx");
        let (a, b) = (secret("key-one"), secret("one-more"));
        let clean = Scrub::new([&a, &b]).whole(b"key-one key-one-more key-oneone-more");
        assert_eq!(clean, b"[sealed] [sealed]-more [sealed][sealed]");
    }
}
