//! Why a passkey is not believed.

use thiserror::Error;

/// What was wrong with what a browser brought.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PasskeyFault {
    /// The stable code of the rule, such as `passkey.origin`.
    pub rule: &'static str,
    /// What was wrong. It repeats nothing of what was sent.
    pub message: &'static str,
}

pub(super) const fn fault(rule: &'static str, message: &'static str) -> PasskeyFault {
    PasskeyFault { rule, message }
}

/// What is not in the form that the standard gives it.
pub(super) const fn malformed(message: &'static str) -> PasskeyFault {
    fault("passkey.malformed", message)
}
