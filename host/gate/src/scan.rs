//! Finds a tenant's live secrets in what leaves a run: plain, as JSON escapes them, percent-encoded, in hex, and in
//! base64 at any alignment. A plugin never holds a secret's bytes, but an outside system may echo them.
//!
//! Needles live in wiping memory, which is why this is a search per needle and not one automaton over all of them: an
//! automaton would copy the secrets into tables that nobody wipes. An installation has a handful of keys, so the cost
//! is a few memory scans of a small text.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use opsiq_vault::Secret;
use zeroize::Zeroizing;

/// Shorter secrets can neither be kept secret nor be told apart from ordinary text, so none is accepted.
pub(crate) const SECRET_MIN: usize = 8;

/// What is put in the place of a text that held a secret.
pub(crate) const WITHHELD: &str = "[withheld: it held the value of a key]";

struct Needle {
    key: Arc<str>,
    form: Zeroizing<Vec<u8>>,
}

/// The searchable forms of an installation's live secrets.
#[derive(Default)]
pub struct SecretScan {
    needles: Vec<Needle>,
}

impl SecretScan {
    /// Adds every form of `secret`, to be reported as `key`.
    pub fn add(&mut self, key: &Arc<str>, secret: &Secret) {
        let bytes = secret.expose();
        if bytes.len() < SECRET_MIN {
            return;
        }
        let mut push = |form: Zeroizing<Vec<u8>>| {
            if form.len() >= SECRET_MIN && !self.needles.iter().any(|n| n.form == form) {
                self.needles.push(Needle { key: key.clone(), form });
            }
        };
        push(Zeroizing::new(bytes.to_vec()));
        if let Ok(text) = std::str::from_utf8(bytes)
            && let Ok(quoted) = serde_json::to_string(text)
        {
            let quoted = Zeroizing::new(quoted.into_bytes());
            push(Zeroizing::new(quoted[1..quoted.len() - 1].to_vec()));
        }
        push(Zeroizing::new(hex::encode(bytes).into_bytes()));
        push(Zeroizing::new(hex::encode_upper(bytes).into_bytes()));
        for offset in 0..3 {
            push(base64_core(&STANDARD_NO_PAD, bytes, offset));
            push(base64_core(&URL_SAFE_NO_PAD, bytes, offset));
        }
    }

    /// The key whose value `text` holds in any form, if one does.
    pub fn find(&self, text: &str) -> Option<&Arc<str>> {
        if self.needles.is_empty() {
            return None;
        }
        if let Some(key) = self.find_in(text.as_bytes()) {
            return Some(key);
        }
        if !text.contains('%') {
            return None;
        }
        let decoded = Zeroizing::new(percent_encoding::percent_decode_str(text).collect::<Vec<u8>>());
        self.find_in(&decoded)
    }

    /// `text`, or [`WITHHELD`] when it holds a secret.
    pub(crate) fn clean(&self, text: String) -> String {
        if self.find(&text).is_some() { WITHHELD.to_owned() } else { text }
    }

    fn find_in(&self, hay: &[u8]) -> Option<&Arc<str>> {
        self.needles.iter().find(|n| memmem::find(hay, &n.form).is_some()).map(|n| &n.key)
    }
}

/// The base64 characters that `bytes` alone decide when `offset` unknown bytes come before them and any after.
fn base64_core(engine: &base64::engine::GeneralPurpose, bytes: &[u8], offset: usize) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(vec![0; offset]);
    padded.extend_from_slice(bytes);
    let text = Zeroizing::new(engine.encode(&*padded).into_bytes());
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    Zeroizing::new(text[first..last].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "s3cr\"et/+canary\u{e9}-0123";

    fn scan() -> SecretScan {
        let mut scan = SecretScan::default();
        scan.add(&Arc::from("api-key"), &Secret::from(CANARY.as_bytes().to_vec()));
        scan
    }

    #[test]
    fn every_form_is_found_at_every_alignment() {
        let scan = scan();
        let json = serde_json::to_string(&serde_json::json!({ "echo": CANARY })).unwrap();
        let mut forms = vec![CANARY.to_owned(), json, hex::encode(CANARY), hex::encode_upper(CANARY)];
        forms.push(percent_encoding::utf8_percent_encode(CANARY, percent_encoding::NON_ALPHANUMERIC).to_string());
        forms
            .push(percent_encoding::utf8_percent_encode(CANARY, percent_encoding::CONTROLS).to_string().to_lowercase());
        for before in ["", "u", "u:", "us:"] {
            for after in ["", "x", "xy"] {
                let text = format!("{before}{CANARY}{after}");
                forms.push(STANDARD_NO_PAD.encode(&text));
                forms.push(URL_SAFE_NO_PAD.encode(&text));
            }
        }
        for form in forms {
            let text = format!("{{\"a\":\"{form}\"}}");
            assert_eq!(scan.find(&text).map(AsRef::as_ref), Some("api-key"), "{form}");
        }
    }

    #[test]
    fn other_texts_pass() {
        let scan = scan();
        for text in ["", "{}", "s3cr", "100%", "%zz", &"a".repeat(10_000)] {
            assert!(scan.find(text).is_none(), "{text}");
        }
        assert_eq!(scan.clean("fine".to_owned()), "fine");
        assert_eq!(scan.clean(format!("oh {CANARY}")), WITHHELD);
    }
}
