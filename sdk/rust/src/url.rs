//! URLs whose variable parts cannot become anything but what they were meant to be.

use core::fmt::Display;

use crate::encode::percent;
use crate::{Failure, Result};

/// A URL for a request; made by [`url!`](crate::url!), or from a text that is taken as it is.
#[derive(Debug, Clone, Default)]
pub struct Url {
    text: String,
    /// A segment that no encoding makes harmless.
    refused: bool,
}

impl Url {
    #[doc(hidden)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with a base URL, such as a tenant's config; a slash at its end is dropped.
    #[must_use]
    pub fn base(mut self, base: &impl Display) -> Self {
        self.text = base.to_string();
        self.text.truncate(self.text.trim_end_matches('/').len());
        self
    }

    /// Continues with text of the plugin's own, taken as it is.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Continues with a value inside a path segment, percent-encoded whatever it holds.
    ///
    /// `.` and `..` mean another path even when encoded (WHATWG URL §4.4, "double-dot path segment"), and an empty
    /// segment is easily taken for a collection; none of them is ever sent.
    #[must_use]
    pub fn segment(mut self, value: &impl Display) -> Self {
        let value = value.to_string();
        self.refused |= value.is_empty() || value == "." || value == "..";
        percent(&value, &mut self.text);
        self
    }

    /// Adds a name and value to the query, both percent-encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &impl Display) -> Self {
        self.text.push(if self.text.contains('?') { '&' } else { '?' });
        percent(name, &mut self.text);
        self.text.push('=');
        percent(&value.to_string(), &mut self.text);
        self
    }

    /// The URL's text.
    ///
    /// # Errors
    /// `invalid`, when a segment was empty, `.` or `..`.
    pub fn finish(self) -> Result<String> {
        if self.refused {
            return Err(Failure::invalid("an empty value, `.` or `..` cannot be part of a path"));
        }
        Ok(self.text)
    }
}

impl From<&str> for Url {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Url {
    fn from(text: String) -> Self {
        Self { text, refused: false }
    }
}

impl From<&String> for Url {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_segment() {
        let url = |id: &str| Url::new().base(&"https://shop.example/api/").text("/orders/").segment(&id).finish();
        assert!(matches!(url("7"), Ok(text) if text == "https://shop.example/api/orders/7"));
        assert!(
            matches!(url("../admin?x#y"), Ok(text) if text == "https://shop.example/api/orders/..%2Fadmin%3Fx%23y")
        );
        assert!(matches!(url("%2e%2e"), Ok(text) if text == "https://shop.example/api/orders/%252e%252e"));
        for harmful in ["", ".", ".."] {
            assert!(matches!(url(harmful), Err(Failure::Invalid(_))), "{harmful:?}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        let url = Url::from("https://a.example/x").query("q", &"a&b=c").query("n", &3).finish();
        assert!(matches!(url, Ok(text) if text == "https://a.example/x?q=a%26b%3Dc&n=3"));
    }
}
