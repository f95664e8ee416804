//! To whom a passkey is shown, and what for.

use std::fmt;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_vault::fresh;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// This host as browsers and authenticators know it. A passkey is bound to the id for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The name, without a port.
    pub id: String,
    /// Where its pages are: `https://`, the name, and the port unless it is 443.
    pub origin: String,
}

impl Party {
    /// The host that is called `name` or `name:port`. `None` for an address: browsers keep passkeys for names alone (Web
    /// Authentication section 5.1.3).
    pub fn of(authority: &str) -> Option<Self> {
        let authority = authority.to_ascii_lowercase();
        let (name, port) = authority.split_once(':').unwrap_or((&authority, "443"));
        let named = !name.is_empty()
            && name.parse::<Ipv4Addr>().is_err()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            && port.bytes().all(|byte| byte.is_ascii_digit());
        let at = if port == "443" { String::new() } else { format!(":{port}") };
        named.then(|| Self { id: name.to_owned(), origin: format!("https://{name}{at}") })
    }
}

/// 256 random bits that an authenticator signs, so that what it signs is good here, now and once.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// A new one.
    pub fn generate() -> Self {
        let mut random = [0; 32];
        fresh(&mut random);
        Self(random)
    }

    /// What is signed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is sent: base64url.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[challenge]")
    }
}

/// For the inside of a sealed state.
impl Serialize for Challenge {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Challenge {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| D::Error::custom("no challenge"))
    }
}
