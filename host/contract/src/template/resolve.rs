//! A template and a tenant's config give the URLs that a rule covers.
//!
//! A config value never reaches further than its place: a label holds no dot, a segment no slash, and a base URL no
//! credentials, query or fragment. A value that does not fit makes the rule unavailable, it is never repaired.

use serde_json::Value;
use url::Url;

use super::matching::{Pattern, ResolvedUrl, safe_segments};
use super::parse::is_label;
use super::{Base, Origin, Part, Segment, TemplateError, UrlTemplate};

impl UrlTemplate {
    /// Puts the values of `config`, a JSON object, into the template.
    ///
    /// # Errors
    /// A config value is missing or does not fit its place. Names the value, never shows it.
    pub fn resolve(&self, config: &Value) -> Result<ResolvedUrl, TemplateError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let (origin, mut path) = match &self.base {
            Base::Config(name) => base_url(name, config)?,
            Base::Written { scheme, host, port } => (written_origin(scheme, host, port.as_ref(), config)?, Vec::new()),
        };
        for segment in &self.path {
            path.push(match segment {
                Segment::Literal(text) => Pattern::Literal(text.clone()),
                Segment::Config(name) => Pattern::Literal(segment_value(name, config)?),
                Segment::Any { prefix, suffix, .. } => Pattern::Any { prefix: prefix.clone(), suffix: suffix.clone() },
                Segment::Rest { .. } => Pattern::Rest,
            });
        }
        Ok(ResolvedUrl::new(origin, path, self.trailing_slash))
    }
}

fn misfit(name: &str, must: &str) -> TemplateError {
    TemplateError::new(
        "config.url-value",
        format!("the config value `{name}` does not fit into the URL: {must}"),
        format!("set `{name}` to {must}"),
    )
}

fn text(name: &str, config: &Value, must: &str) -> Result<String, TemplateError> {
    match config.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
        Some(_) => Err(misfit(name, must)),
        None => Err(TemplateError::new(
            "config.missing",
            format!("the config value `{name}` is not set"),
            format!("set `{name}` in the installation's config"),
        )),
    }
}

fn value(part: &Part, config: &Value, fits: impl Fn(&str) -> bool, must: &str) -> Result<String, TemplateError> {
    match part {
        Part::Literal(text) => Ok(text.clone()),
        Part::Config(name) => {
            let text = text(name, config, must)?;
            if fits(&text) { Ok(text) } else { Err(misfit(name, must)) }
        }
    }
}

fn written_origin(scheme: &Part, host: &[Part], port: Option<&Part>, config: &Value) -> Result<Origin, TemplateError> {
    let scheme = value(scheme, config, |s| matches!(s, "http" | "https"), "http or https")?;
    let labels = host
        .iter()
        .map(|label| value(label, config, is_label, "one lower-case host label without a dot"))
        .collect::<Result<Vec<_>, _>>()?;
    let host = labels.join(".");
    let port = port
        .map(|port| {
            value(
                port,
                config,
                |p| p.parse::<u16>().is_ok_and(|n| n != 0 && n.to_string() == p),
                "a port from 1 to 65535",
            )
        })
        .transpose()?;
    let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let odd = || {
        TemplateError::new(
            "config.url-value",
            "the config values make no host",
            "set them to labels of an ordinary host name",
        )
    };
    let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| odd())?;
    let origin = Origin::of(&url).ok_or_else(odd)?;
    // A label such as 0x7f would be read as an address: the host must come back as written.
    if origin.host == host { Ok(origin) } else { Err(odd()) }
}

fn base_url(name: &str, config: &Value) -> Result<(Origin, Vec<Pattern>), TemplateError> {
    const MUST: &str = "an http or https URL such as https://shop.example.com/api, without user, query or fragment";
    let text = text(name, config, MUST)?;
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['\\', '?', '#', '@', '{', '}']);
    let url = Url::parse(&text).ok().filter(|_| plain).ok_or_else(|| misfit(name, MUST))?;
    let origin = Origin::of(&url).ok_or_else(|| misfit(name, MUST))?;
    if origin.host.ends_with('.') || text.contains("/../") || text.contains("/./") {
        return Err(misfit(name, MUST));
    }
    let (segments, _) = safe_segments(&url).ok_or_else(|| misfit(name, MUST))?;
    Ok((origin, segments.into_iter().map(|segment| Pattern::Literal(segment.to_owned())).collect()))
}

fn segment_value(name: &str, config: &Value) -> Result<String, TemplateError> {
    const MUST: &str = "one path segment without a slash";
    let text = text(name, config, MUST)?;
    let unfit = || misfit(name, MUST);
    if text.is_empty()
        || matches!(text.as_str(), "." | "..")
        || text.contains(['/', '\\', '%'])
        || text.chars().any(char::is_control)
    {
        return Err(unfit());
    }
    let mut url = Url::parse("https://x/").map_err(|_| unfit())?;
    url.path_segments_mut().map_err(|()| unfit())?.clear().push(&text);
    url.path().strip_prefix('/').map(str::to_owned).filter(|s| !s.is_empty()).ok_or_else(unfit)
}
