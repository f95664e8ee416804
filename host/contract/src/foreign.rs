//! Components made elsewhere: the worlds they may have been made for, and how an action becomes a call of one.
//!
//! Such a component knows no actions. So the contract says of each what it is there: a request to a web service, or a run
//! of a program. All of it is checked when the contract is read: what a template names is a required scalar, so filling it
//! cannot fail for params and config that are valid.

use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::caller::words;
use crate::preview::plain;

/// A world other than this host's own, run in compatibility mode where the operator allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub enum World {
    /// A web service: exports `wasi:http/incoming-handler`.
    #[serde(rename = "wasi:http/proxy@0.2")]
    Proxy,
    /// A program: exports `wasi:cli/run`.
    #[serde(rename = "wasi:cli/command@0.2")]
    Command,
}

words!(
    World,
    "a world that runs in compatibility mode",
    "wasi:http/proxy@0.2 or wasi:cli/command@0.2; leave it out for a plugin written against wit/",
    Proxy = "wasi:http/proxy@0.2",
    Command = "wasi:cli/command@0.2"
);

impl World {
    /// What a component of this world is, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Proxy => "a web service made for wasi:http",
            Self::Command => "a program made for wasi:cli",
        }
    }
}

/// How an action calls a component made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A request to the web service.
    Request(RequestCall),
    /// A run of the program.
    Command(CommandCall),
}

/// An action as a request. What stands neither in the path nor in the query is the body, a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestCall {
    /// An upper-case method.
    pub method: String,
    /// The path, each value in it percent-encoded.
    pub path: CallTemplate,
    /// Params that go into the query, when they are given.
    pub query: Vec<String>,
}

/// An action as a run of a program, which gets the params as JSON on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCall {
    /// The arguments after the program's name.
    pub args: Vec<CallTemplate>,
}

/// A request as it goes to the web service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledRequest {
    /// An upper-case method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body, JSON, where the method has one.
    pub body: Option<String>,
}

/// What of a value may stand in a path segment or query as it is (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');

/// Whether requests of this method carry a body.
pub(crate) fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

impl RequestCall {
    /// The request for these params and config, both valid against the contract's schemas.
    pub fn fill(&self, params: &Value, config: &Value) -> FilledRequest {
        let encoded = |value: &str| match value {
            // These would be no names but steps up and down (RFC 3986 section 5.2.4).
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            value => utf8_percent_encode(value, ENCODED).to_string(),
        };
        let mut target = self.path.fill(params, config, encoded);
        let mut separator = '?';
        for name in &self.query {
            if let Some(value) = params.get(name) {
                let value = plain(value);
                let (name, value) = (utf8_percent_encode(name, ENCODED), utf8_percent_encode(&value, ENCODED));
                let _ = write!(target, "{separator}{name}={value}");
                separator = '&';
            }
        }
        let body = has_body(&self.method).then(|| {
            let rest = params.as_object().into_iter().flatten().filter(|(name, _)| !self.names(name));
            Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()).to_string()
        });
        FilledRequest { method: self.method.clone(), target, body }
    }

    /// Whether the param stands in the path or the query.
    pub(crate) fn names(&self, param: &str) -> bool {
        self.query.iter().any(|name| name == param) || self.path.params().any(|name| name == param)
    }
}

/// A text with `{param}` and `{config.name}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
    Config(String),
}

impl CallTemplate {
    /// Parses a text.
    ///
    /// # Errors
    /// What is wrong with a placeholder.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let inside = rest[open..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let (name, after) = inside
                .filter(|(name, _)| !name.is_empty() && !name.contains('{'))
                .ok_or("a brace that is no {param}")?;
            pieces.push(match name.strip_prefix("config.") {
                Some(name) => Piece::Config(name.to_owned()),
                None => Piece::Param(name.to_owned()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The params it names.
    pub(crate) fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| if let Piece::Param(name) = piece { Some(name.as_str()) } else { None })
    }

    /// The config values it names.
    pub(crate) fn config(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| if let Piece::Config(name) = piece { Some(name.as_str()) } else { None })
    }

    /// The text for these params and config, each value put in by `how`.
    pub fn fill(&self, params: &Value, config: &Value, how: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            let value = match piece {
                Piece::Text(piece) => {
                    text += piece;
                    continue;
                }
                Piece::Param(name) => params.get(name),
                Piece::Config(name) => config.get(name),
            };
            text += &how(&value.map(plain).unwrap_or_default());
        }
        text
    }
}

impl fmt::Display for CallTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Param(name) => write!(f, "{{{name}}}"),
            Piece::Config(name) => write!(f, "{{config.{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(method: &str, path: &str, query: &[&str]) -> RequestCall {
        let query = query.iter().map(|&name| name.to_owned()).collect();
        RequestCall { method: method.to_owned(), path: CallTemplate::parse(path).unwrap(), query }
    }

    #[test]
    fn params_go_where_the_mapping_says() {
        let params = json!({ "id": "a/b c", "limit": 5, "note": { "text": "x" } });
        let config = json!({ "region": "eu" });
        let filled = request("POST", "/{config.region}/items/{id}", &["limit", "absent"]).fill(&params, &config);
        assert_eq!(filled.target, "/eu/items/a%2Fb%20c?limit=5");
        assert_eq!(filled.body.as_deref(), Some(r#"{"note":{"text":"x"}}"#));
        assert_eq!(request("GET", "/items", &[]).fill(&params, &config).body, None);
    }

    #[test]
    fn a_value_adds_no_segment_and_no_step() {
        for (value, path) in
            [("..", "/a/%2E%2E/b"), (".", "/a/%2E/b"), ("?x#y", "/a/%3Fx%23y/b"), ("%2e", "/a/%252e/b")]
        {
            let filled = request("GET", "/a/{id}/b", &[]).fill(&json!({ "id": value }), &json!({}));
            assert_eq!(filled.target, path);
        }
    }

    #[test]
    fn braces_are_placeholders() {
        for text in ["{", "}", "a{}", "{a{b}", "{a"] {
            assert!(CallTemplate::parse(text).is_err(), "{text}");
        }
        let template = CallTemplate::parse("--unit={unit}:{config.a}").unwrap();
        assert_eq!(template.to_string(), "--unit={unit}:{config.a}");
        assert_eq!((template.params().next(), template.config().next()), (Some("unit"), Some("a")));
    }

    #[test]
    fn words_agree_with_serde() {
        for world in World::ALL {
            assert_eq!(serde_json::to_value(world).unwrap(), world.as_str());
        }
    }
}
