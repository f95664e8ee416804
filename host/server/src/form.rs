//! The form of a request on its route: what it accepts, what it brings, and how much of it is heard.

use std::time::Duration;

use axum::RequestPartsExt as _;
use axum::body::Body;
use axum::extract::RawPathParams;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::routes::{Spec, Takes};

/// Bytes of a body that are heard and not read, at most, and for how long.
const DISCARDED: usize = 64 << 10;
const DISCARDING: Duration = Duration::from_secs(1);

/// Hears a client out whose request is refused before it is read, for a little. What still comes after an answer is an error of
/// the protocol, of which a connection bears few: without this, a client that is told to wait would lose all it asks for.
pub(crate) async fn discard(body: Body) {
    let mut body = Limited::new(body, DISCARDED);
    let _ = timeout(DISCARDING, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}

/// Refuses a client that takes nothing of what the route gives.
pub(crate) fn acceptable(spec: &Spec, headers: &HeaderMap) -> Result<(), Problem> {
    let mut said = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for range in value.split(',') {
            said = true;
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let none = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let given = spec.gives.iter().map(|gives| gives.media).filter(|media| !media.is_empty());
            if !none && given.into_iter().any(|media| matches_range(range, media)) {
                return Ok(());
            }
        }
    }
    if !said || spec.gives.iter().all(|gives| gives.media.is_empty()) {
        return Ok(());
    }
    let media: Vec<_> = spec.gives.iter().map(|gives| gives.media).filter(|media| !media.is_empty()).collect();
    let detail = format!("this is given as {}", media.join(" or "));
    Err(Problem::request(StatusCode::NOT_ACCEPTABLE, "request.accept", detail, "accept that"))
}

fn matches_range(range: &str, media: &str) -> bool {
    let bare = media.split(';').next().unwrap_or(media);
    range == "*/*"
        || range.eq_ignore_ascii_case(bare)
        || range
            .strip_suffix("/*")
            .is_some_and(|kind| bare.split('/').next().is_some_and(|k| k.eq_ignore_ascii_case(kind)))
}

/// Headers that bind what a request does. One that the route does not read is refused: it would be overlooked.
const BINDING: [&str; 3] = ["if-match", "if-none-match", "idempotency-key"];

pub(crate) fn read_here(spec: &Spec, headers: &HeaderMap) -> Result<(), Problem> {
    // Of something that is only read, it asks for no more than an answer that is not new (RFC 9110 section 13.1.2).
    let binds = |name: &str| name != "if-none-match" || !spec.method.is_safe();
    let reads = |name: &str| spec.headers.iter().any(|header| header.name == name);
    match BINDING.into_iter().find(|name| headers.contains_key(*name) && binds(name) && !reads(name)) {
        None => Ok(()),
        Some(name) => Err(Problem::malformed("request.header", format!("{name} means nothing here, so send none"))),
    }
}

/// How many bytes the route takes; refuses a body of another type.
pub(crate) fn taken(spec: &Spec, headers: &HeaderMap) -> Result<usize, Problem> {
    let Takes::Body { media, most, .. } = spec.takes else { return Ok(0) };
    let unsupported = |detail: String| {
        Err(Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "request.media", detail, "send it so"))
    };
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return unsupported("a body is taken as it is, not compressed".to_owned());
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(given), None) = (types.next(), types.next()) else {
        return unsupported(format!("the body is taken as {media}"));
    };
    let given = given.to_str().unwrap_or_default();
    let (bare, charset) = given.split_once(';').map_or((given, ""), |(bare, rest)| (bare.trim(), rest.trim()));
    let plain = charset.is_empty() || charset.eq_ignore_ascii_case("charset=utf-8");
    if bare.eq_ignore_ascii_case(media) && plain {
        return Ok(most);
    }
    unsupported(format!("the body is taken as {media}"))
}

/// The query, of names that the route knows, each once, and of the values it lists where it does.
pub(crate) fn query(spec: &Spec, text: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let Some(known) = spec.query.iter().find(|known| known.name == name) else {
            return Err(Problem::malformed("request.query", "the query has a name that is not known here"));
        };
        let allowed = known.values();
        if !allowed.is_empty() && !allowed.iter().any(|one| *one == value) {
            let detail = format!("`{}` is one of {}", known.name, allowed.join(", "));
            return Err(Problem::malformed("request.query", detail));
        }
        if all.iter().any(|(known, _)| *known == name) {
            return Err(Problem::malformed("request.query", "the query has a name twice"));
        }
        all.push((name.into_owned(), value.into_owned()));
    }
    Ok(all)
}

pub(crate) async fn path(parts: &mut Parts) -> Result<Vec<(String, String)>, Problem> {
    let params = parts.extract::<RawPathParams>().await;
    let params = params.map_err(|_| Problem::malformed("request.path", "the path is no UTF-8 text"))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
