//! Whether a URL is one that a rule covers.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use super::Origin;
use crate::denial::Denial;

/// Longest URL a plugin may ask for, in bytes.
const MAX_URL: usize = 8_192;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Literal(String),
    Any { prefix: String, suffix: String },
    Rest,
}

/// A template with the tenant's config in it: exactly one origin, and a pattern of paths.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUrl(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    origin: Origin,
    path: Vec<Pattern>,
    trailing_slash: bool,
}

impl ResolvedUrl {
    pub(super) fn new(origin: Origin, path: Vec<Pattern>, trailing_slash: bool) -> Self {
        Self(Arc::new(Parts { origin, path, trailing_slash }))
    }

    /// The one origin that matching URLs have.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Whether `url` is covered: same scheme, host and port, no user information, no fragment, and a path that fits
    /// segment by segment. The query is the rule's own matter.
    pub fn matches(&self, url: &Url) -> bool {
        self.same_origin(url) && plain(url) && self.matches_path(url)
    }

    /// Whether `url` has this origin.
    pub fn same_origin(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|origin| origin == self.0.origin)
    }

    fn matches_path(&self, url: &Url) -> bool {
        let Some((segments, trailing_slash)) = safe_segments(url) else { return false };
        if trailing_slash != self.0.trailing_slash {
            return false;
        }
        match self.0.path.split_last() {
            Some((Pattern::Rest, first)) => {
                segments.len() > first.len() && first.iter().zip(&segments).all(|(pattern, text)| pattern.fits(text))
            }
            _ => segments.len() == self.0.path.len() && self.0.path.iter().zip(&segments).all(|(p, text)| p.fits(text)),
        }
    }

    /// How many leading path segments of `url` fit, to find the rule that came nearest.
    pub(crate) fn shared_segments(&self, url: &Url) -> usize {
        safe_segments(url).map_or(0, |(segments, _)| {
            self.0.path.iter().zip(segments).take_while(|(pattern, text)| pattern.fits(text)).count()
        })
    }

    /// How many segments stand as written. Of two rules that match, the one with more is chosen.
    pub(crate) fn literal_segments(&self) -> usize {
        self.0.path.iter().filter(|pattern| matches!(pattern, Pattern::Literal(_))).count()
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Any { prefix, suffix } => between(text, prefix, suffix),
            Self::Rest => true,
        }
    }
}

/// Whether `text` begins with `prefix`, ends with `suffix` and has something between.
pub(super) fn between(text: &str, prefix: &str, suffix: &str) -> bool {
    text.len() > prefix.len() + suffix.len() && text.starts_with(prefix) && text.ends_with(suffix)
}

fn plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// The path segments as the URL parser left them, still encoded, and whether a slash ends them. `None` when a segment
/// is empty, or when it, decoded any number of times, is a dot segment or contains a slash, a backslash or a control
/// character, because upstreams differ in how often they decode.
pub(super) fn safe_segments(url: &Url) -> Option<(Vec<&str>, bool)> {
    let inner = url.path().strip_prefix('/')?;
    if inner.is_empty() {
        return Some((Vec::new(), false));
    }
    let (inner, trailing_slash) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
    let segments: Vec<&str> = inner.split('/').collect();
    segments.iter().all(|segment| is_safe(segment)).then_some((segments, trailing_slash))
}

fn is_safe(segment: &str) -> bool {
    /// Layers of encoding beyond which a segment is refused, whatever it says.
    const LAYERS: usize = 4;
    let mut bytes = std::borrow::Cow::Borrowed(segment.as_bytes());
    for _ in 0..LAYERS {
        let hidden = bytes.iter().any(|b| matches!(b, b'/' | b'\\') || b.is_ascii_control());
        if hidden || matches!(bytes.as_ref(), b"" | b"." | b"..") {
            return false;
        }
        if !bytes.contains(&b'%') {
            return true;
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode(&bytes).collect();
        if decoded.len() == bytes.len() {
            return true;
        }
        bytes = decoded.into();
    }
    false
}

/// Parses the URL a plugin asks for. Stricter than the URL standard, whose repairs (backslashes to slashes, dropped tabs,
/// resolved dot segments) would make what was asked differ from what is sent.
///
/// # Errors
/// A denial with the code `http.url-invalid`.
pub fn request_url(text: &str) -> Result<Url, Denial> {
    let refuse = |message: &str, fix: &str| Err(Denial::new("http.url-invalid", message, fix));
    if text.len() > MAX_URL {
        return refuse("the URL is longer than 8,192 bytes", "send a shorter URL");
    }
    if text.contains('\\') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse(
            "the URL contains a backslash, a space or a control character",
            "percent-encode it in the query; a path cannot hold it",
        );
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("the text is no absolute URL", "write https://host/path");
    };
    // The parser takes `https:x` and `https:///x` for `https://x`; nobody who writes them means it.
    let after_scheme = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
    if !matches!(url.scheme(), "http" | "https") || after_scheme.is_none_or(|rest| rest.starts_with('/')) {
        return refuse("only http:// and https:// URLs can be requested", "write https://host/path");
    }
    // The parser drops empty user information, `https://@host/`.
    let authority = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    if !plain(&url) || text.contains('#') || authority.contains('@') {
        return refuse(
            "the URL contains user information or a fragment",
            "remove it; credentials are injected by the rule",
        );
    }
    let written = text.split(['?']).next().unwrap_or(text);
    let dots = |segment: &str| {
        let decoded = percent_decode_str(segment).collect::<Vec<u8>>();
        decoded == b"." || decoded == b".."
    };
    if written.split('/').any(dots) || safe_segments(&url).is_none() {
        return refuse(
            "the path contains an empty segment, a dot segment or an encoded slash",
            "write the path plainly",
        );
    }
    Ok(url)
}
