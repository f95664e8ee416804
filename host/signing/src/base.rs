//! The signature base: the text that is signed (RFC 9421 §2.5).

use std::fmt::Write as _;

/// One line for each covered component, and the parameters last.
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn new() -> Self {
        Self(String::with_capacity(512))
    }

    /// Adds a component of this message.
    pub(crate) fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "\"{name}\": {value}");
    }

    /// Adds a component of the request that the message answers (RFC 9421 §2.4).
    pub(crate) fn line_of_request(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "\"{name}\";req: {value}");
    }

    /// Ends it; `params` is the inner list as it stands in `Signature-Input`.
    pub(crate) fn end(mut self, params: &str) -> String {
        let _ = write!(self.0, "\"@signature-params\": {params}");
        self.0
    }
}
