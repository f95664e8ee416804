//! Codes that stand in for a lost authenticator: ten, shown once, each good once.

use std::fmt;

use opsiq_vault::fresh;
use zeroize::Zeroizing;

/// How many are made at a time.
pub const RECOVERY_CODES: usize = 10;
/// Characters of one: 80 random bits, so that a keyed hash keeps it as well as a slow one would.
const LENGTH: usize = 16;
/// Characters between two dashes.
const GROUP: usize = 4;
/// Without what is taken for something else (RFC 4648 §6 leaves out 0, 1, 8 and 9).
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// One recovery code. Wiped on drop, printed as `[sealed]`.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// A new set.
    pub fn generate() -> Vec<Self> {
        (0..RECOVERY_CODES).map(|_| Self::new()).collect()
    }

    fn new() -> Self {
        let mut random = Zeroizing::new([0; LENGTH]);
        fresh(random.as_mut_slice());
        // A byte has eight times as many values as there are letters, so all are as likely.
        Self(Zeroizing::new(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()))
    }

    /// What was typed, if it has the form of one: dashes, spaces and case do not matter.
    pub fn typed(text: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(LENGTH));
        for letter in text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-') {
            let letter = letter.to_ascii_uppercase();
            if code.len() == LENGTH || !u8::try_from(letter).is_ok_and(|byte| LETTERS.contains(&byte)) {
                return None;
            }
            code.push(letter);
        }
        (code.len() == LENGTH).then_some(Self(code))
    }

    /// As it is shown, in groups.
    pub fn shown(&self) -> Zeroizing<String> {
        let mut shown = Zeroizing::new(String::with_capacity(2 * LENGTH));
        for (at, letter) in self.0.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                shown.push('-');
            }
            shown.push(letter);
        }
        shown
    }

    /// What a keyed hash is made of.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let codes = RecoveryCode::generate();
        assert_eq!(codes.len(), RECOVERY_CODES);
        let code = &codes[0];
        let shown = code.shown();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
        for typed in [shown.to_string(), shown.to_lowercase(), shown.replace('-', " "), shown.replace('-', "")] {
            assert_eq!(RecoveryCode::typed(&typed).unwrap().bytes(), code.bytes(), "{typed}");
        }
        for other in ["", "123456", &shown[1..], &format!("{}A", shown.as_str()), "0000-0000-0000-0000"] {
            assert!(RecoveryCode::typed(other).is_none(), "{other}");
        }
        let mut all: Vec<_> = codes.iter().map(RecoveryCode::bytes).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), RECOVERY_CODES);
        assert_eq!(format!("{code:?}"), "[sealed]");
    }
}
