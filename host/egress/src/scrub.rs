//! Injected values taken out of what comes back.
//!
//! A destination that echoes its request (an error page, a debug header) would hand the plugin the secret the host put
//! there. So every value injected in an invocation is looked for in every later answer of that invocation, in all the
//! forms that [`SecretScan`] knows. Bodies come in pieces, so the tail that could be the beginning of a trace is held
//! back until it is known not to be. An upstream that means to leak can still encode otherwise: the destination was
//! granted the secret, and this guards against accidents, not against it. What it lets by is looked for again, with all
//! other secrets of the tenant, wherever the plugin could pass it on.

use std::sync::Arc;

use opsiq_vault::{Secret, SecretScan};

/// What stands where a secret stood.
const MASK: &[u8] = b"[sealed]";

/// Finds the given secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrub {
    scan: Arc<SecretScan>,
}

impl Scrub {
    /// A scrub for these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self { scan: Arc::new(SecretScan::new(secrets)) }
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.scan.is_empty()
    }

    /// A whole value with every secret masked.
    pub fn whole(&self, value: &[u8]) -> Vec<u8> {
        if self.is_empty() {
            return value.to_vec();
        }
        let mut pieces = self.pieces();
        let mut clean = Vec::with_capacity(value.len());
        pieces.push(value, &mut clean);
        pieces.finish(&mut clean);
        clean
    }

    /// A scrub of one body.
    pub(crate) fn pieces(&self) -> Pieces {
        Pieces { scrub: self.clone(), held: Vec::new(), masked: 0 }
    }
}

/// One body on its way through, piece by piece.
pub(crate) struct Pieces {
    scrub: Scrub,
    /// Input not yet decided: shorter than the longest form.
    held: Vec<u8>,
    /// Bytes at its beginning that stand behind a mask already.
    masked: usize,
}

impl Pieces {
    /// Takes a piece and appends to `out` what can no longer be part of a secret.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.scrub.is_empty() {
            out.extend_from_slice(piece);
            return;
        }
        self.held.extend_from_slice(piece);
        let undecided = self.scrub.scan.longest() - 1;
        self.release(self.held.len().saturating_sub(undecided), out);
    }

    /// The end of the body: appends the rest.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.held.len(), out);
    }

    /// Releases up to `decided`, where every trace that begins before it lies whole in what is held. Traces that overlap
    /// become one mask.
    fn release(&mut self, decided: usize, out: &mut Vec<u8>) {
        let mut done = self.masked;
        for trace in self.scrub.scan.traces(&self.held).iter().take_while(|trace| trace.at.start < decided) {
            if trace.at.start >= done {
                out.extend_from_slice(&self.held[done..trace.at.start]);
                out.extend_from_slice(MASK);
            }
            done = done.max(trace.at.end);
        }
        if done < decided {
            out.extend_from_slice(&self.held[done..decided]);
            done = decided;
        }
        self.held.drain(..decided);
        self.masked = done - decided;
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }

    fn scrubbed(secrets: &[&str], body: &[u8], piece: usize) -> Vec<u8> {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        let mut pieces = Scrub::new(&secrets).pieces();
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
        let encoded = percent_encode(token.as_bytes(), NON_ALPHANUMERIC).to_string();
        let mut bodies: Vec<Vec<u8>> = vec![
            token.as_bytes().to_vec(),
            hex::encode(token).into_bytes(),
            hex::encode_upper(token).into_bytes(),
            encoded.replace("%20", "+").into_bytes(),
            encoded.into_bytes(),
            serde_json::to_string(token).unwrap().into_bytes(),
        ];
        for lead in ["", "a", "ab", "Bearer ", "user:"] {
            bodies.push(STANDARD.encode(format!("{lead}{token}")).into_bytes());
            bodies.push(URL_SAFE_NO_PAD.encode(format!("{lead}{token}tail")).into_bytes());
        }
        for body in bodies {
            let whole = [b"before ", body.as_slice(), b" after"].concat();
            let expected = scrubbed(&[token], &whole, whole.len());
            assert!(expected.starts_with(b"before ") && expected.ends_with(b" after"));
            let text = String::from_utf8_lossy(&expected).into_owned();
            assert!(text.contains("[sealed]"), "{text}");
            for piece in 1..20 {
                assert_eq!(scrubbed(&[token], &whole, piece), expected);
            }
        }
    }

    #[test]
    fn what_is_no_secret_passes_unchanged() {
        let body = b"sk_live_ sk_liv sk_live_4f9Q".repeat(50);
        for piece in [1, 7, 4096] {
            assert_eq!(scrubbed(&["sk_live_9999"], &body, piece), body);
        }
        assert!(Scrub::new([&secret("")]).is_empty());
        assert_eq!(Scrub::default().whole(b"abc"), b"abc");
    }

    /// Nothing of a secret is left beside the mask of another that overlaps it.
    #[test]
    fn adjacent_and_overlapping_secrets_are_all_masked() {
        let secrets = ["key-number-one", "one-and-more"];
        let body = b"key-number-one key-number-one-and-more key-number-onekey-number-one-and-more.";
        for piece in 1..body.len() {
            let clean = scrubbed(&secrets, body, piece);
            assert_eq!(String::from_utf8_lossy(&clean), "[sealed] [sealed] [sealed][sealed].", "{piece}");
        }
        // One that overlaps itself, without end: one mask, and no more is held than the longest form.
        for piece in [1, 5, 4096] {
            let mut pieces = Scrub::new([&secret("abababab")]).pieces();
            let mut out = b"x".to_vec();
            for chunk in b"ab".repeat(5000).chunks(piece) {
                pieces.push(chunk, &mut out);
                assert!(pieces.held.len() < 40 && pieces.masked <= pieces.held.len());
            }
            pieces.push(b"x", &mut out);
            pieces.finish(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), "x[sealed]x");
        }
    }
}
