//! Text to template. Everything has one spelling, so that two rules that look different are different.

use url::Url;

use super::{Base, Part, Segment, TemplateError, UrlTemplate};
use crate::id::is_slug;

/// Longest template accepted, in bytes.
const MAX_LENGTH: usize = 2_048;

impl UrlTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::new("template.length", "longer than 2,048 bytes", "write a shorter template"));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || "\\?#@\"<>`|^%".contains(*c)) {
            let (message, fix) = match bad {
                '?' => ("the query is not part of a URL template", "list the query names allowed in `query = [...]`"),
                '#' => ("a fragment is never sent", "remove it"),
                '@' => ("user information is not part of a URL template", "use a key with `inject`"),
                '%' => ("percent-encoding has no place in a template", "use a placeholder for this segment"),
                c if !c.is_ascii() => {
                    ("a template is ASCII", "write the host in punycode (xn--...) and use a placeholder in the path")
                }
                _ => ("a character that no URL contains as it stands", "remove it"),
            };
            return Err(TemplateError::new("template.character", format!("{message} ({})", bad.escape_default()), fix));
        }
        let (base, path) = parse_base(text)?;
        let (path, trailing_slash) = parse_path(path)?;
        let mut template = Self { text: text.to_owned(), base, path, trailing_slash, fixed: None };
        if template.config_names().is_empty() {
            template.fixed = Some(template.resolve(&serde_json::Value::Null)?);
        }
        Ok(template)
    }
}

/// The config name of `{config.name}`.
fn config_name(text: &str) -> Option<Result<String, TemplateError>> {
    let name = text.strip_prefix("{config.")?.strip_suffix('}')?;
    Some(if is_slug(name) {
        Ok(name.to_owned())
    } else {
        Err(TemplateError::new(
            "template.config",
            format!("`{name}` is no name of a config value"),
            "write {config.name}, the name in a-z, 0-9 and -",
        ))
    })
}

fn part(text: &str, literal: impl Fn(&str) -> bool, error: impl Fn() -> TemplateError) -> Result<Part, TemplateError> {
    match config_name(text) {
        Some(name) => name.map(Part::Config),
        None if literal(text) => Ok(Part::Literal(text.to_owned())),
        None => Err(error()),
    }
}

fn parse_base(text: &str) -> Result<(Base, &str), TemplateError> {
    let scheme_error = || {
        TemplateError::new(
            "template.scheme",
            "a template begins with https://, http:// or {config.name}",
            "write https://host/path, or {config.base-url}/path where the tenant sets the whole base URL",
        )
    };
    if text.starts_with("{config.") {
        let end = text.find('}').ok_or_else(scheme_error)? + 1;
        let (first, rest) = text.split_at(end);
        if !rest.starts_with("://") {
            if !(rest.is_empty() || rest.starts_with('/')) {
                return Err(TemplateError::new(
                    "template.base",
                    "a base URL from the config is followed by / or nothing",
                    "write {config.base-url}/path",
                ));
            }
            let name = config_name(first).ok_or_else(scheme_error)??;
            return Ok((Base::Config(name), rest));
        }
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(scheme_error)?;
    let scheme = part(scheme, |s| matches!(s, "https" | "http"), scheme_error)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split_port(authority);
    let port = port
        .map(|port| {
            part(port, is_port, || {
                TemplateError::new(
                    "template.port",
                    format!("`{port}` is no port"),
                    "write a number from 1 to 65535 without leading zeros, or {config.name}",
                )
            })
        })
        .transpose()?;
    Ok((Base::Written { scheme, host: parse_host(host)?, port }, path))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0 && port.to_string() == text)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_address..].find(':') {
        Some(at) => (&authority[..after_address + at], Some(&authority[after_address + at + 1..])),
        None => (authority, None),
    }
}

fn parse_host(host: &str) -> Result<Vec<Part>, TemplateError> {
    let error = || {
        TemplateError::new(
            "template.host",
            format!("`{host}` is no host a template can name"),
            "write a lower-case host such as api.example.com, an address, or {config.name} in place of a whole label",
        )
    };
    if !host.contains('{') {
        // Only the spelling that the URL parser itself would write: no upper case, no 0x7f.1, no empty label.
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| error())?;
        let written = url.host_str().ok_or_else(error)?;
        if written != host {
            return Err(TemplateError::new(
                "template.host",
                format!("`{host}` has another spelling that URLs are compared by"),
                format!("write {written}"),
            ));
        }
        if host.ends_with('.') || host.split('.').any(str::is_empty) {
            return Err(error());
        }
        return Ok(vec![Part::Literal(host.to_owned())]);
    }
    // The dots inside {config.name} are not label separators.
    let mut labels = Vec::new();
    let mut rest = host;
    loop {
        let from = if rest.starts_with('{') { rest.find('}').ok_or_else(error)? } else { 0 };
        let end = rest[from..].find('.').map_or(rest.len(), |at| from + at);
        labels.push(part(&rest[..end], is_label, error)?);
        if end == rest.len() {
            return Ok(labels);
        }
        rest = &rest[end + 1..];
    }
}

/// Whether `text` is one host label: 1 to 63 of a-z, 0-9 and -, not at the ends (RFC 1123 §2.1, lower case).
pub(super) fn is_label(text: &str) -> bool {
    is_slug(text) && !text.ends_with('-')
}

fn parse_path(path: &str) -> Result<(Vec<Segment>, bool), TemplateError> {
    let Some(inner) = path.strip_prefix('/') else { return Ok((Vec::new(), false)) };
    if inner.is_empty() {
        return Ok((Vec::new(), false));
    }
    let (inner, trailing_slash) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
    let texts: Vec<&str> = inner.split('/').collect();
    let mut segments = Vec::with_capacity(texts.len());
    let mut names = std::collections::BTreeSet::new();
    for (at, text) in texts.iter().enumerate() {
        let segment = parse_segment(text)?;
        if let Segment::Rest { .. } = segment
            && (at + 1 != texts.len() || trailing_slash)
        {
            return Err(TemplateError::new(
                "template.rest",
                format!("{text} is not at the end"),
                "write it last, without a slash after it",
            ));
        }
        if let Segment::Any { name, .. } | Segment::Rest { name } = &segment
            && !names.insert(name.clone())
        {
            return Err(TemplateError::new(
                "template.duplicate",
                format!("{{{name}}} stands twice"),
                "give each placeholder its own name",
            ));
        }
        segments.push(segment);
    }
    Ok((segments, trailing_slash))
}

fn parse_segment(text: &str) -> Result<Segment, TemplateError> {
    if let Some(name) = config_name(text) {
        return name.map(Segment::Config);
    }
    let error = |message: String| {
        TemplateError::new(
            "template.segment",
            message,
            "write a literal, {name}, {name} with a literal before or after it, {config.name}, or {rest*} at the end",
        )
    };
    let Some(open) = text.find('{') else {
        return match text {
            "" => Err(error("an empty path segment".to_owned())),
            "." | ".." => Err(error(format!("the dot segment `{text}`"))),
            text if text.contains('}') => Err(error(format!("`{text}` closes a placeholder it never opened"))),
            text => Ok(Segment::Literal(text.to_owned())),
        };
    };
    let close = text
        .find('}')
        .filter(|close| *close > open)
        .ok_or_else(|| error(format!("`{text}` never closes its placeholder")))?;
    let (prefix, inner, suffix) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
    if prefix.contains('}') || suffix.contains(['{', '}']) {
        return Err(error(format!("`{text}` has more than one placeholder in a segment")));
    }
    if let Some(name) = inner.strip_suffix('*') {
        return if is_placeholder(name) && prefix.is_empty() && suffix.is_empty() {
            Ok(Segment::Rest { name: name.to_owned() })
        } else {
            Err(error(format!("`{text}` is no rest placeholder")))
        };
    }
    if !is_placeholder(inner) {
        return Err(error(format!("`{inner}` is no name of a placeholder")));
    }
    Ok(Segment::Any { prefix: prefix.to_owned(), name: inner.to_owned(), suffix: suffix.to_owned() })
}

fn is_placeholder(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
