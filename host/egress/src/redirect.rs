//! Following a redirect: only when the rule says so, and as a request of less trust than the one before.

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RANGE, USER_AGENT,
};
use http::{Method, StatusCode};
use opsiq_contract::request_url;

use crate::request::Outgoing;

/// Headers a plugin set that may follow to another origin. All others may be credentials or signatures made for the
/// first one.
const ACROSS_ORIGINS: &[HeaderName] = &[ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, RANGE, USER_AGENT];

/// The request a redirect asks for, with method and body as RFC 9110 section 15.4 has them. `None` when the answer is no
/// redirect, or not one that can be followed: no `Location` or several, no usable URL, or from https to http.
pub(crate) fn next(status: StatusCode, answer: &HeaderMap, before: &Outgoing) -> Option<Outgoing> {
    let keeps = match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        // Only a POST becomes a GET (RFC 9110 sections 15.4.2 and 15.4.3); other methods stay what the rule allowed.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => before.method != Method::POST,
        StatusCode::SEE_OTHER => matches!(before.method, Method::GET | Method::HEAD),
        _ => return None,
    };
    let mut locations = answer.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return None };
    let mut url = before.url.join(location.to_str().ok()?).ok()?;
    url.set_fragment(None);
    // As strict as for a URL the plugin wrote itself.
    let url = request_url(url.as_str()).ok()?;
    let target = crate::request::target(&url)?;
    if before.url.scheme() == "https" && url.scheme() != "https" {
        return None;
    }
    let mut headers = before.headers.clone();
    if url.origin() != before.url.origin() {
        headers = headers_across(&headers);
    }
    let body = if keeps { before.body.clone() } else { None };
    if body.is_none() {
        for name in [CONTENT_TYPE, CONTENT_LANGUAGE, http::header::CONTENT_ENCODING] {
            headers.remove(name);
        }
    }
    let method = if keeps { before.method.clone() } else { Method::GET };
    Some(Outgoing { method, url, target, headers, body })
}

fn headers_across(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| ACROSS_ORIGINS.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn before(method: &str) -> Outgoing {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-api-key", "accept", "content-type"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        Outgoing {
            method: method.parse().unwrap(),
            url: "https://a.example/x/y?q=1".parse().unwrap(),
            target: "/x/y?q=1".parse().unwrap(),
            headers,
            body: Some(bytes::Bytes::from_static(b"body")),
        }
    }

    fn follow(status: u16, location: &str, method: &str) -> Option<Outgoing> {
        let mut answer = HeaderMap::new();
        answer.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        next(StatusCode::from_u16(status).unwrap(), &answer, &before(method))
    }

    #[test]
    fn methods_follow_the_standard() {
        for (status, method, then, body) in [
            (301, "POST", "GET", false),
            (302, "POST", "GET", false),
            (302, "PUT", "PUT", true),
            (303, "POST", "GET", false),
            (303, "DELETE", "GET", false),
            (303, "HEAD", "HEAD", true),
            (307, "POST", "POST", true),
            (308, "PATCH", "PATCH", true),
        ] {
            let hop = follow(status, "/z", method).unwrap();
            assert_eq!((hop.method.as_str(), hop.body.is_some()), (then, body), "{status} {method}");
            assert_eq!(hop.url.as_str(), "https://a.example/z");
            assert_eq!(hop.headers.contains_key(CONTENT_TYPE), body);
        }
        assert!(follow(200, "/z", "GET").is_none());
        assert!(follow(304, "/z", "GET").is_none());
        assert!(follow(300, "/z", "GET").is_none());
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let same = follow(307, "https://a.example:443/z", "POST").unwrap();
        assert!(same.headers.contains_key("authorization") && same.headers.contains_key("x-api-key"));
        for other in ["https://b.example/z", "https://a.example:8443/z", "//b.example/"] {
            let hop = follow(307, other, "POST").unwrap();
            let names: Vec<&str> = hop.headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(names, ["accept", "content-type"], "{other}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_an_answer() {
        for location in
            ["http://a.example/", "file:///etc/passwd", "https://u:p@b.example/", "https://[::1", "gopher://x"]
        {
            assert!(follow(302, location, "GET").is_none(), "{location}");
        }
        let mut twice = HeaderMap::new();
        twice.append(LOCATION, HeaderValue::from_static("/a"));
        twice.append(LOCATION, HeaderValue::from_static("/b"));
        assert!(next(StatusCode::FOUND, &twice, &before("GET")).is_none());
        assert!(next(StatusCode::FOUND, &HeaderMap::new(), &before("GET")).is_none());
    }
}
