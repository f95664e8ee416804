//! Codes of an authenticator app: RFC 6238 with what every app can do (SHA-1, six digits, thirty seconds) and seeds of 160
//! bits (RFC 4226 §4).

use std::fmt;

use opsiq_vault::fresh;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Seconds of a step.
const STEP: u64 = 30;
/// Steps that a code may be early or late (RFC 6238 §5.2 recommends one).
const SKEW: u64 = 1;
/// Bytes of a seed.
const BYTES: usize = 20;

/// How a code compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It is that of no step that counts now, or of one at or before the last that was used.
    Wrong,
    /// It is that of this step, which is used up by being taken.
    Right(u64),
}

/// What an authenticator and the host share. Wiped on drop, printed as `[sealed]`.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; BYTES]>);

impl Seed {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; BYTES]);
        fresh(bytes.as_mut_slice());
        Self(bytes)
    }

    /// Compares a code at `now`, in seconds since 1970, when `last` is the last step used. Every step is tried, so that the
    /// time does not tell which one matched.
    pub fn check(&self, code: &str, now: u64, last: Option<u64>) -> Code {
        let digits: Zeroizing<String> = Zeroizing::new(code.chars().filter(|letter| *letter != ' ').collect());
        let Ok(totp) = self.totp("", "") else { return Code::Wrong };
        let at = now / STEP;
        let mut right = Code::Wrong;
        for step in at.saturating_sub(SKEW)..=at + SKEW {
            let same = totp.check(&digits, step * STEP).is_some();
            if same && last.is_none_or(|last| step > last) {
                right = Code::Right(step);
            }
        }
        right
    }

    /// The text that is typed into an authenticator that cannot see: base32.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(Secret::new_stack(*self.0).to_base32())
    }

    /// What an authenticator scans, an `otpauth` URI: shown once, to whoever enrols.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        // Colons separate in that form.
        let plain = |text: &str| text.replace(':', " ");
        let uri = self.totp(&plain(issuer), &plain(account)).ok().and_then(|totp| totp.to_url().ok());
        Zeroizing::new(uri.unwrap_or_default())
    }

    fn totp(&self, issuer: &str, account: &str) -> Result<Totp, totp_rs::TotpError> {
        let account = if account.is_empty() { "account" } else { account };
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(0)
            .with_step_duration(STEP)
            .with_secret(Secret::new_stack(*self.0))
            .with_account_name(account)
            .with_issuer(Some(issuer).filter(|issuer| !issuer.is_empty()))
            .build()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

/// For the inside of a sealed document.
impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let secret = Secret::try_from_base32(text.as_str()).map_err(|_| D::Error::custom("not a seed"))?;
        let bytes: [u8; BYTES] = secret.as_bytes().try_into().map_err(|_| D::Error::custom("not a seed"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed and the SHA-1 rows of RFC 6238, appendix B, with the last six of their eight digits.
    const RFC: [(u64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    fn rfc() -> Seed {
        Seed(Zeroizing::new(*b"12345678901234567890"))
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (now, code) in RFC {
            assert_eq!(rfc().check(code, now, None), Code::Right(now / STEP), "{now}");
        }
    }

    #[test]
    fn a_code_is_good_one_step_early_or_late_and_once() {
        let (now, code) = RFC[3];
        for (shift, right) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let then = now.checked_add_signed(shift * 30).unwrap();
            assert_eq!(rfc().check(code, then, None) == Code::Right(now / STEP), right, "{shift}");
        }
        assert_eq!(rfc().check(code, now, Some(now / STEP - 1)), Code::Right(now / STEP));
        assert_eq!(rfc().check(code, now, Some(now / STEP)), Code::Wrong, "it was used");
        assert_eq!(rfc().check(code, now, Some(now / STEP + 1)), Code::Wrong, "a later one was used");
    }

    #[test]
    fn nothing_else_is_a_code() {
        let (now, code) = RFC[3];
        for other in ["", "005925", "5924", "0005924", "00592a", "\u{660}05924", "-05924", "+05924"] {
            assert_eq!(rfc().check(other, now, None), Code::Wrong, "{other}");
        }
        assert_eq!(rfc().check(&format!("{} {}", &code[..3], &code[3..]), now, None), Code::Right(now / STEP));
    }

    #[test]
    fn what_is_scanned_says_whose_it_is() {
        let uri = rfc().uri("OpsIQ", "acme/olga@example.com");
        assert!(
            uri.starts_with("otpauth://totp/OpsIQ:acme%2Folga%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{}",
            uri.as_str()
        );
        assert!(uri.contains("issuer=OpsIQ"));
        let stored = serde_json::to_string(&rfc()).unwrap();
        let read: Seed = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.0, rfc().0);
        assert_ne!(Seed::generate().0, Seed::generate().0);
        assert_eq!(format!("{read:?}"), "[sealed]");
    }
}
