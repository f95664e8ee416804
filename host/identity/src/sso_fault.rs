//! Why somebody is not signed in by a provider.

use std::borrow::Cow;

/// A rule that refused, and why. For the audit log: whoever knocks is told one thing, whatever it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SsoFault {
    /// The stable code, such as `sso.signature`.
    pub rule: &'static str,
    /// What is wrong, in a sentence. Nothing that was received is quoted.
    pub message: Cow<'static, str>,
}

impl SsoFault {
    /// A fault by this rule.
    pub fn new(rule: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { rule, message: message.into() }
    }
}

/// Nothing is there, or it is something else.
pub(crate) fn refuse<T>(rule: &'static str, message: &'static str) -> Result<T, SsoFault> {
    Err(SsoFault::new(rule, message))
}
