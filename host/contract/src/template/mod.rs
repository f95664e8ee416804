//! URL templates: which URLs a rule covers.
//!
//! Templates instead of regular expressions, because a reviewer must see at a glance where a credential may go. A template
//! names one scheme, one host and one port; placeholders stand for one path segment (`{id}`), for all the rest
//! (`{rest*}`, at the end), or for something the tenant sets (`{config.name}`). Matching compares the URL as the WHATWG
//! parser leaves it, segment by segment and byte by byte; what could be read differently by an upstream (encoded slashes,
//! empty or dot segments, however often encoded) matches nothing.

mod matching;
mod origin;
mod parse;
mod resolve;
#[cfg(test)]
mod tests;

use std::fmt;

pub use matching::{ResolvedUrl, request_url};
pub use origin::Origin;

/// Why a text is no URL template, or a config value does not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Stable code, such as `template.host`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl TemplateError {
    fn new(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: fix.into() }
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    base: Base,
    path: Vec<Segment>,
    trailing_slash: bool,
    /// What it resolves to when no config value is in it.
    fixed: Option<ResolvedUrl>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Base {
    /// A config value that is a whole base URL.
    Config(String),
    /// Scheme, host labels (a literal address is one label) and port.
    Written { scheme: Part, host: Vec<Part>, port: Option<Part> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Config(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Config(String),
    /// One segment beginning and ending so, with something between.
    Any {
        prefix: String,
        name: String,
        suffix: String,
    },
    /// One or more segments; only at the end.
    Rest {
        name: String,
    },
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl UrlTemplate {
    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The config names that decide scheme, host or port. Their values are part of a grant, because injected
    /// credentials follow the origin.
    pub fn origin_config(&self) -> Vec<&str> {
        match &self.base {
            Base::Config(name) => vec![name],
            Base::Written { scheme, host, port } => [scheme]
                .into_iter()
                .chain(host)
                .chain(port)
                .filter_map(|part| match part {
                    Part::Config(name) => Some(name.as_str()),
                    Part::Literal(_) => None,
                })
                .collect(),
        }
    }

    /// Every config name used, in the order they stand.
    pub fn config_names(&self) -> Vec<&str> {
        let in_path = self.path.iter().filter_map(|segment| match segment {
            Segment::Config(name) => Some(name.as_str()),
            _ => None,
        });
        self.origin_config().into_iter().chain(in_path).collect()
    }

    /// Whether some URL could match both templates, as far as can be told without config values: different config
    /// names are taken to be different places.
    pub fn overlaps(&self, other: &Self) -> bool {
        let rest = |path: &[Segment]| matches!(path.last(), Some(Segment::Rest { .. }));
        let (a, b) = (&self.path, &other.path);
        let (a_rest, b_rest) = (rest(a), rest(b));
        let lengths_meet = match (a_rest, b_rest) {
            (false, false) => a.len() == b.len() && self.trailing_slash == other.trailing_slash,
            (true, false) => b.len() >= a.len() && !other.trailing_slash,
            (false, true) => a.len() >= b.len() && !self.trailing_slash,
            (true, true) => true,
        };
        self.base == other.base && lengths_meet && a.iter().zip(b).all(|(a, b)| a.meets(b))
    }

    /// Whether every URL that `other` matches is matched by this template, whatever the config says. May answer `false`
    /// where a cleverer comparison would answer `true`, never the reverse.
    pub fn includes(&self, other: &Self) -> bool {
        if self.base != other.base || self.trailing_slash != other.trailing_slash {
            return false;
        }
        let mut theirs = other.path.iter();
        for (at, mine) in self.path.iter().enumerate() {
            if let Segment::Rest { .. } = mine {
                return other.path.len() > at;
            }
            match theirs.next() {
                Some(theirs) if mine.includes(theirs) => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }
}

impl Segment {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) | (Self::Config(a), Self::Config(b)) => a == b,
            (Self::Any { prefix, suffix, .. }, Self::Literal(text))
            | (Self::Literal(text), Self::Any { prefix, suffix, .. }) => matching::between(text, prefix, suffix),
            _ => true,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) | (Self::Config(a), Self::Config(b)) => a == b,
            (Self::Any { prefix, suffix, .. }, Self::Literal(text)) => matching::between(text, prefix, suffix),
            (Self::Any { prefix, suffix, .. }, Self::Any { prefix: p, suffix: s, .. }) => {
                p.starts_with(prefix.as_str()) && s.ends_with(suffix.as_str())
            }
            (Self::Any { prefix, suffix, .. }, Self::Config(_)) => prefix.is_empty() && suffix.is_empty(),
            _ => false,
        }
    }
}
