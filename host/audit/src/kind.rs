//! What an entry is about, in clear.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of an entry. Part of the clear header and of the leaf; the numbers are part of the format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// A call that may have an effect is about to run; durable before it does.
    Intent = 1,
    /// A call ended.
    Outcome = 2,
    /// A call was refused before it ran.
    Refused = 3,
    /// A call began and its end is not known: the process died, the caller left, or the log could not be written.
    Interrupted = 4,
    /// An act of an administrator or the operator.
    Admin = 5,
    /// An event that a plugin emitted.
    Event = 6,
    /// A capability denied inside a run.
    Denial = 7,
    /// A confirmation was asked for, given, denied, or expired.
    Confirmation = 8,
    /// The audit log was read or exported.
    Read = 9,
    /// A run would have passed on the value of a tenant's key, and was kept from it.
    Leak = 10,
    /// An account is used in a way that may not be its user's.
    Signal = 11,
}

impl Kind {
    /// Every kind, in order of number.
    pub const ALL: [Self; 11] = [
        Self::Intent,
        Self::Outcome,
        Self::Refused,
        Self::Interrupted,
        Self::Admin,
        Self::Event,
        Self::Denial,
        Self::Confirmation,
        Self::Read,
        Self::Leak,
        Self::Signal,
    ];

    /// The number in leaves and rows.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a number; `None` for one that no version has written.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The word in exports and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Admin => "admin",
            Self::Event => "event",
            Self::Denial => "denial",
            Self::Confirmation => "confirmation",
            Self::Read => "read",
            Self::Leak => "leak",
            Self::Signal => "signal",
        }
    }

    /// Whether an entry of this kind ends an invocation.
    pub const fn ends(self) -> bool {
        matches!(self, Self::Outcome | Self::Refused | Self::Interrupted)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no kind of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a kind is one of intent, outcome, refused, interrupted, admin, event, denial, confirmation, read, leak, signal"
)]
pub struct NotAKind;

impl FromStr for Kind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, NotAKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(NotAKind)
    }
}
