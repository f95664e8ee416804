//! What a human reads before approving: rendered by the host from the very parameters that will run.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::Schema;
use crate::visible::visible;

/// Characters of one value shown in a preview sentence, at most.
const MAX_IN_SENTENCE: usize = 200;
/// Characters of one argument shown in the list beside it, at most.
const MAX_ARGUMENT: usize = 2_000;

/// A preview sentence with placeholders, such as `Refund {amount} {currency} of charge {charge}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
}

/// A rendered preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The sentence. Every invisible character shows as `\u{..}`.
    pub sentence: String,
    /// Every argument, by JSON pointer, in canonical order.
    pub arguments: Vec<Argument>,
}

/// One argument as a human sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// JSON pointer (RFC 6901) into the parameters.
    pub path: String,
    /// Its value; `[secret]` or `[pii]` where the schema marks it so.
    pub value: String,
    /// Characters of the value that are not shown.
    pub cut: usize,
}

impl Preview {
    /// Parses a sentence: text and `{param}`.
    ///
    /// # Errors
    /// What is wrong with a placeholder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let inside = rest[open..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
            match inside {
                Some((name, after)) if !name.is_empty() && !name.contains('{') => {
                    pieces.push(Piece::Param(name.to_owned()));
                    rest = after;
                }
                _ => return Err("a brace that is no {param}".to_owned()),
            }
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The parameters it names.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    fn sentence(&self, shown: &Value) -> String {
        let mut sentence = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => sentence += &visible(text, usize::MAX).text,
                Piece::Param(name) => {
                    let value = shown.get(name).map_or_else(|| "(not given)".to_owned(), plain);
                    let value = visible(&value, MAX_IN_SENTENCE);
                    sentence += &value.text;
                    if value.cut > 0 {
                        let _ = write!(sentence, "… ({} more characters)", value.cut);
                    }
                }
            }
        }
        sentence
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Param(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Renders what is shown for an action: its preview sentence, or its title when it has none, and every argument.
pub fn render(preview: Option<&Preview>, title: &str, schema: &Schema, params: &Value) -> Rendered {
    let shown = schema.redact(params);
    let sentence = preview.map_or_else(|| visible(title, MAX_IN_SENTENCE).text, |preview| preview.sentence(&shown));
    let mut arguments = Vec::new();
    flatten(&shown, &mut String::new(), &mut arguments);
    Rendered { sentence, arguments }
}

/// A value as text: a text as it is, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn flatten(value: &Value, path: &mut String, into: &mut Vec<Argument>) {
    let length = path.len();
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                path.push('/');
                path.push_str(&crate::schema::pointer_token(name));
                flatten(member, path, into);
                path.truncate(length);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                let _ = write!(path, "/{at}");
                flatten(item, path, into);
                path.truncate(length);
            }
        }
        leaf => {
            let value = visible(&plain(leaf), MAX_ARGUMENT);
            into.push(Argument { path: visible(path, MAX_IN_SENTENCE).text, value: value.text, cut: value.cut });
        }
    }
}
