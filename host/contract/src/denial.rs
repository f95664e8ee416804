//! A refusal: what was refused, by which rule, and what would allow it.

use std::fmt;

use serde::Serialize;

/// Why something was refused. Never holds a secret, a parameter or a query; a refused
/// request is named by method and path, so the audit log keeps it sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// Stable code of the rule, such as `role.not-allowed`.
    pub code: &'static str,
    /// What was refused, in one sentence.
    pub message: String,
    /// The exact line or command that would allow it, and who may.
    pub fix: String,
}

impl Denial {
    /// A refusal by the rule `code`.
    pub fn new(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; to allow it: {}", self.fix) }
    }
}

impl std::error::Error for Denial {}
