//! Names and ids that cross every room.
//!
//! Each is a type of its own, checked where text becomes a value, so that a tenant's name can never be passed where an
//! installation's id is meant and no later room has to check the form again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {must}")]
pub struct IdError {
    what: &'static str,
    must: &'static str,
}

impl IdError {
    pub(crate) const fn new(what: &'static str, must: &'static str) -> Self {
        Self { what, must }
    }
}

/// Whether `text` is a slug: `[a-z0-9][a-z0-9-]{0,62}`. The form of tenants, publishers, plugins, actions, keys and
/// rules: it fits a DNS label, a path segment and a table column, and has one spelling only.
pub fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Whether `text` is a scope: `resource:action`, both slugs. What an action asks for, and what a program or a role holds.
pub fn is_scope(text: &str) -> bool {
    text.split_once(':').is_some_and(|(resource, action)| is_slug(resource) && is_slug(action))
}

/// Whether `text` is a UUID in its one canonical spelling: 8-4-4-4-12 lower-case hex digits (RFC 9562 §4).
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $must:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(IdError::new($what, $must)) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A tenant's name, a [slug](is_slug), unique on the host and never reused.
    TenantId, "a tenant", "1 to 63 of a-z, 0-9 and -, not beginning with -", is_slug
}
text_id! {
    /// The id of one installation: a UUID.
    InstallationId, "an installation id", "a UUID in lower case", is_uuid
}
text_id! {
    /// The id of one invocation: a UUID of version 7, so that ids sort by time.
    InvocationId, "an invocation id", "a version 7 UUID in lower case", |text| {
        is_uuid(text) && text.as_bytes()[14] == b'7'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_have_one_spelling() {
        for good in ["a", "acme", "0x", "a-b-c", "a-", &"a".repeat(63)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "ä", "a b", "a/b", "..", "a\0", &"a".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_canonical_uuids() {
        let v7 = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(v7.parse::<InvocationId>().unwrap().as_str(), v7);
        assert!(v7.parse::<InstallationId>().is_ok());
        assert!(v7.to_uppercase().parse::<InstallationId>().is_err());
        assert!("01890a5d-ac96-474b-bcce-b302099a8057".parse::<InvocationId>().is_err());
        assert!("01890a5dac96774bbcceb302099a8057".parse::<InvocationId>().is_err());
    }

    #[test]
    fn deserialising_checks_the_form() {
        assert!(serde_json::from_str::<TenantId>("\"acme\"").is_ok());
        assert!(serde_json::from_str::<TenantId>("\"../acme\"").is_err());
    }
}
