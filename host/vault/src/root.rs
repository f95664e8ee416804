//! The root key and its text form.

use zeroize::Zeroizing;

use crate::cipher::{KEY, KeyBytes, KeyWrap, derive_into, derive_key, random};
use crate::{KeyId, VaultError};

/// What the text form begins with; the number is its version.
const PREFIX: &str = "opsiq-root-1-";
/// Hex digits of the key in the text form.
const DIGITS: usize = 2 * KEY;
/// Hex digits of the checksum that follows.
const CHECK: usize = 8;

/// The installation's root key, 256 bits. It wraps the keys of tenants and of the host, and is stored by the operator,
/// never by this host's database.
pub struct RootKey(KeyBytes);

impl RootKey {
    /// A new random root key.
    pub fn generate() -> Self {
        Self(KeyBytes::filled(|key| random(key)))
    }

    /// Reads the text form: `opsiq-root-1-`, 64 hex digits, `-`, and 8 digits of checksum, so that a text cut off,
    /// mistyped or of another kind is named instead of silently being another key. Surrounding white space is ignored.
    ///
    /// # Errors
    /// [`VaultError::RootText`], which says what is wrong and repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let wrong = |why: &str| VaultError::RootText(why.to_owned());
        let text = text.trim();
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        let body = text.strip_prefix(PREFIX).ok_or_else(|| wrong("it does not begin with opsiq-root-1-"))?;
        let whole = DIGITS + 1 + CHECK;
        if body.len() != whole {
            let kind = if body.len() < whole { "cut off" } else { "too long" };
            return Err(VaultError::RootText(format!(
                "it is {kind}: {} characters instead of {}",
                text.len(),
                PREFIX.len() + whole
            )));
        }
        let (digits, check) = body.split_once('-').ok_or_else(|| wrong("its parts are not separated by -"))?;
        let mut decoded = Ok(());
        let key = KeyBytes::filled(|key| decoded = hex::decode_to_slice(digits, key));
        decoded.map_err(|_| wrong("it is not written in hex digits"))?;
        if check != checksum(&key) {
            return Err(wrong("its checksum does not match: a digit was changed"));
        }
        Ok(Self(key))
    }

    /// The text form, for a file with mode 0600 or the environment. Wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + DIGITS + 1 + CHECK));
        let digits = Zeroizing::new(hex::encode(self.0.as_slice()));
        text.push_str(PREFIX);
        text.push_str(&digits);
        text.push('-');
        text.push_str(&checksum(&self.0));
        text
    }

    /// The key's id, safe to show.
    pub fn id(&self) -> KeyId {
        KeyId::of("root", self.0.as_slice())
    }

    /// The cipher that wraps tenant keys and the host's own.
    pub(crate) fn wrap(&self) -> KeyWrap {
        KeyWrap::new(&derive_key(self.0.as_slice(), &["opsiq/1/root-wrap"]))
    }
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootKey({} [sealed])", self.id())
    }
}

/// The checksum of the text form, which guards against slips, not against forgery.
fn checksum(key: &[u8; KEY]) -> String {
    let mut check = [0; CHECK / 2];
    derive_into(key, &["opsiq/1/root-text"], &mut check);
    hex::encode(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let root = RootKey::generate();
        let again = RootKey::parse(&format!("  {}\n", *root.to_text())).unwrap();
        assert_eq!(again.id(), root.id());
        assert_ne!(RootKey::generate().id(), root.id());
    }

    #[test]
    fn every_shorter_or_changed_text_is_refused() {
        let text = RootKey::generate().to_text();
        for end in 0..text.len() {
            assert!(RootKey::parse(&text[..end]).is_err(), "{end} characters");
        }
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(RootKey::parse(&String::from_utf8(changed).unwrap()).is_err(), "character {at}");
        }
        assert!(RootKey::parse(&format!("{}0", *text)).is_err());
    }

    #[test]
    fn errors_name_the_fault_and_not_the_key() {
        let text = RootKey::generate().to_text();
        let cut = RootKey::parse(&text[..40]).unwrap_err().to_string();
        assert!(cut.contains("cut off: 40 characters instead of 86"), "{cut}");
        assert!(!cut.contains(&text[13..40]));
        assert!(!format!("{:?}", RootKey::parse(&text).unwrap()).contains(&text[13..77]));
    }
}
