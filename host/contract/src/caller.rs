//! Who calls, and how far an action reaches.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::custom_role::CustomRole;

macro_rules! words {
    ($type:ident, $what:literal, $must:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in contracts, tables and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::id::IdError;

            fn from_str(text: &str) -> Result<Self, $crate::id::IdError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::id::IdError::new($what, $must)),
                }
            }
        }
    };
}
pub(crate) use words;

/// What an action may do to the world. Ordered: each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something; recorded before it can.
    Write,
    /// Changes something a human must approve each time.
    RiskyWrite,
}

words!(Effect, "an effect", "read, write or risky-write", Read = "read", Write = "write", RiskyWrite = "risky-write");

/// The role of a principal in its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Decides everything of the tenant; alone reads the audit log.
    Owner,
    /// Installs, grants, sets keys, confirms.
    Admin,
    /// Calls the actions whose contracts allow it.
    Support,
}

words!(Role, "a role", "owner, admin or support", Owner = "owner", Admin = "admin", Support = "support");

/// Who calls. Shown as `user:alice`, `client:till` or `operator`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Principal {
    /// A person of the tenant.
    User {
        /// The name the tenant knows them by.
        name: String,
    },
    /// A program of the tenant, which signs what it asks for. It has a role as a ceiling and scopes that it holds, never
    /// does what is for a person, and never confirms.
    Client {
        /// The name the tenant gave it.
        name: String,
    },
    /// Whoever runs the host.
    Operator,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name } => write!(f, "user:{name}"),
            Self::Client { name } => write!(f, "client:{name}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// A principal as it stands at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// With which role.
    pub role: Role,
    /// Limited to these scopes; `None` for a person, whom the role alone limits.
    pub scopes: Option<BTreeSet<String>>,
    /// The custom role that narrows the built-in one, if they have one.
    pub custom: Option<Arc<CustomRole>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_ordered_by_reach() {
        assert!(Effect::Read < Effect::Write && Effect::Write < Effect::RiskyWrite);
    }

    #[test]
    fn words_round_trip_and_agree_with_serde() {
        for effect in Effect::ALL {
            assert_eq!(effect.as_str().parse::<Effect>().unwrap(), *effect);
            assert_eq!(serde_json::to_value(effect).unwrap(), effect.as_str());
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), *role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("Owner".parse::<Role>().is_err());
    }

    #[test]
    fn a_client_and_a_user_of_one_name_are_two() {
        let (user, client) = (Principal::User { name: "till".into() }, Principal::Client { name: "till".into() });
        assert_eq!((user.to_string(), client.to_string()), ("user:till".to_owned(), "client:till".to_owned()));
        for principal in [user, client, Principal::Operator] {
            let text = serde_json::to_string(&principal).unwrap();
            assert_eq!(serde_json::from_str::<Principal>(&text).unwrap(), principal);
        }
    }
}
