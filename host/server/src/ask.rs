//! One request as a handler sees it, and what a handler answers. Reading is strict: what is not known, twice there or not
//! UTF-8 is refused, since a parameter that is overlooked is a rule that is not followed.

use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::stream::BoxStream;
use opsiq_gate::{Actor, Host};
use opsiq_shield::ClientIp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// JSON.
pub(crate) const JSON: &str = "application/json";
/// Items of one page, unless asked otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MOST: usize = 1000;

/// What a handler gives back.
pub(crate) type Done = Result<Reply, Problem>;

/// A request, its caller known.
pub(crate) struct Ask {
    pub(crate) host: Host,
    pub(crate) actor: Actor,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    /// What the request calls this host, if that is one of its names.
    pub(crate) authority: Option<String>,
    /// From where; `None` over the operator's socket.
    pub(crate) address: Option<ClientIp>,
}

/// The bytes of an answer.
pub(crate) enum Content {
    /// All of them.
    Whole(Bytes),
    /// Piece by piece; an error ends the connection, so that what was sent cannot be taken for the whole.
    Stream(BoxStream<'static, Result<Bytes, std::io::Error>>),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) media: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

/// One page of a list.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// Where to go on.
    next: Option<String>,
}

impl Ask {
    /// The part of the path called `name`.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, read.
    pub(crate) fn query_as<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| text.parse().map_err(|_| wrong(name));
        self.query(name).map(read).transpose()
    }

    /// A yes or no of the query; absent is no.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.query_as(name)?.unwrap_or(false))
    }

    /// The body, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        read_json(&self.body)
    }

    /// The revision that a change is bound to by `If-Match` (RFC 9110 section 13.1.1); `None` when it is bound to none.
    pub(crate) fn if_match(&self) -> Result<Option<u64>, Problem> {
        let mut values = self.headers.get_all(IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if self.headers.contains_key(IF_MATCH) { Err(not_a_tag()) } else { Ok(None) };
        };
        let text = value.to_str().map_err(|_| not_a_tag())?;
        if text == "*" {
            return Ok(None);
        }
        let revision = text.strip_prefix("\"r").and_then(|text| text.strip_suffix('"'));
        revision.and_then(|text| text.parse().ok()).map(Some).ok_or_else(not_a_tag)
    }

    /// Whether nothing may be replaced: `If-None-Match: *` (RFC 9110 section 13.1.2).
    pub(crate) fn if_none(&self) -> Result<bool, Problem> {
        let mut values = self.headers.get_all(IF_NONE_MATCH).iter();
        match (values.next().map(HeaderValue::as_bytes), values.next()) {
            (None, _) => Ok(false),
            (Some(b"*"), None) => Ok(true),
            _ => Err(Problem::malformed("request.if-none-match", "If-None-Match is `*` here, once")),
        }
    }

    /// The page of `items` that is asked for. `key` gives each item's place: items come in the order of their keys.
    pub(crate) fn page<T: Serialize>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Done {
        let limit = self.limit()?;
        items.sort_by_cached_key(|item| key(item));
        if let Some(cursor) = self.cursor()? {
            let first = items.partition_point(|item| key(item) <= cursor);
            items.drain(..first);
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Reply::json(&Page { items, next })
    }

    /// How many items are asked for.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.query_as::<usize>("limit")?.unwrap_or(PAGE);
        if (1..=PAGE_MOST).contains(&limit) { Ok(limit) } else { Err(wrong("limit")) }
    }

    /// The place after which to go on.
    pub(crate) fn cursor(&self) -> Result<Option<String>, Problem> {
        let Some(text) = self.query("cursor") else { return Ok(None) };
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.map(Some).ok_or_else(|| wrong("cursor"))
    }
}

/// A body, read as JSON.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // The text of an error of content may quote what was sent, which may be a secret.
        let what = match error.classify() {
            serde_json::error::Category::Data => "is not what is taken here",
            _ => "is no JSON",
        };
        let (line, column) = (error.line(), error.column());
        let told = error.to_string();
        let missing = if told.starts_with("missing field") { format!("; {told}") } else { String::new() };
        let detail = format!("the body {what}, at line {line}, column {column}{missing}");
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Problem::request(status, "request.body", detail, "see /docs for its form")
    })
}

/// The page after this place, as a cursor.
pub(crate) fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

fn not_a_tag() -> Problem {
    Problem::malformed("request.if-match", "If-Match must be the ETag of what is changed, as it was given")
}

/// A parameter of the query that makes no sense.
pub(crate) fn wrong(name: &str) -> Problem {
    Problem::malformed("request.query", format!("the value of `{name}` makes no sense here"))
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json<T: Serialize>(value: &T) -> Done {
        Self::json_as(StatusCode::OK, value)
    }

    /// JSON with another status.
    pub(crate) fn json_as<T: Serialize>(status: StatusCode, value: &T) -> Done {
        match serde_json::to_vec(value) {
            Ok(bytes) => Ok(Self { status, media: JSON, headers: Vec::new(), content: Content::Whole(bytes.into()) }),
            Err(_) => Err(Problem::request(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the answer has no form in JSON",
                "see opsiq doctor and report it",
            )),
        }
    }

    /// 201 with JSON and where what was made is found.
    pub(crate) fn created<T: Serialize>(value: &T, at: &str) -> Done {
        Ok(Self::json_as(StatusCode::CREATED, value)?.at(at))
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        Self { status: StatusCode::NO_CONTENT, media: "", headers: Vec::new(), content: Content::Whole(Bytes::new()) }
    }

    /// Bytes of another media type.
    pub(crate) fn bytes(media: &'static str, bytes: Bytes) -> Self {
        Self { status: StatusCode::OK, media, headers: Vec::new(), content: Content::Whole(bytes) }
    }

    /// Where it is found.
    pub(crate) fn at(self, path: &str) -> Self {
        self.header(LOCATION, path)
    }

    /// Which revision this is.
    pub(crate) fn revision(self, revision: u64) -> Self {
        self.header(ETAG, &format!("\"r{revision}\""))
    }

    /// One more header; left out when its value cannot be one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

/// A path segment, with everything escaped that means something in a path.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
