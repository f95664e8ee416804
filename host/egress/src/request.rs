//! What a plugin may put into a request.
//!
//! Everything that says where a message goes, where it ends or who sent it is the host's: a plugin that could set it
//! could reach another site through a shared proxy, or smuggle a second request behind the first (RFC 9112 section
//! 11.2). What cannot be a header at all is malformed; what is one but not the plugin's is denied.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use opsiq_contract::{Denial, HttpLimits, is_host_header, request_url};
use url::{Position, Url};

use crate::failure::{HttpFailure, limit};

/// A request as a plugin asks for it: the WIT record `request`.
#[derive(Debug, Clone, Default)]
pub struct GuestRequest {
    /// An upper-case method.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body; `None` sends none.
    pub body: Option<Vec<u8>>,
    /// Milliseconds for the whole exchange; the smaller of this and the limit holds.
    pub timeout_ms: Option<u32>,
}

/// A request that is well-formed. Whether anything allows it is not yet known.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Path and query of the URL, as HTTP/1 sends them.
    pub(crate) target: Uri,
    /// Without those the host adds.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

/// The longest method known to any registry is shorter.
const MAX_METHOD: usize = 32;

impl Outgoing {
    /// Checks everything about a request that needs no rule.
    ///
    /// # Errors
    /// `Invalid` for what is malformed, `Denied` for a header that is the host's, `Limit` for too many or too long ones.
    pub(crate) fn parse(request: GuestRequest, limits: &HttpLimits) -> Result<Self, HttpFailure> {
        let method = method(&request.method)?;
        let url = request_url(&request.url)
            .map_err(|denial| HttpFailure::Invalid(format!("{}; {}", denial.message, denial.fix)))?;
        let target = target(&url).ok_or_else(|| {
            HttpFailure::Invalid("the path or query holds characters that HTTP cannot carry".to_owned())
        })?;
        Ok(Self {
            method,
            url,
            target,
            headers: headers(&request.headers, limits)?,
            body: request.body.map(Bytes::from),
        })
    }

    /// Bytes of the body.
    pub(crate) fn body_len(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len() as u64)
    }
}

/// The path and query of a URL as HTTP carries them.
pub(crate) fn target(url: &Url) -> Option<Uri> {
    url[Position::BeforePath..Position::AfterQuery].parse().ok()
}

fn method(text: &str) -> Result<Method, HttpFailure> {
    let upper =
        !text.is_empty() && text.len() <= MAX_METHOD && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if upper && method != Method::CONNECT && method != Method::TRACE => Ok(method),
        _ => Err(HttpFailure::Invalid("the method is not an upper-case HTTP method such as `GET`".to_owned())),
    }
}

fn headers(list: &[(String, String)], limits: &HttpLimits) -> Result<HeaderMap, HttpFailure> {
    if list.len() as u64 > limits.header_count {
        return Err(HttpFailure::Limit { name: limit::HEADERS, sent: false });
    }
    let bytes: u64 = list.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
    if bytes > limits.header_bytes {
        return Err(HttpFailure::Limit { name: limit::HEADER_BYTES, sent: false });
    }
    let mut headers = HeaderMap::with_capacity(list.len() + 4);
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HttpFailure::Invalid("a header name is not a token".to_owned()))?;
        if is_host_header(name.as_str()) {
            return Err(HttpFailure::Denied(Denial::new(
                "http.header-not-allowed",
                format!("the header `{name}` is set by the host alone"),
                "remove it from the request",
            )));
        }
        let visible = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
        let value = HeaderValue::from_str(value).ok().filter(|_| value.bytes().all(visible)).ok_or_else(|| {
            HttpFailure::Invalid(format!("the value of header `{name}` holds characters other than visible ASCII"))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use opsiq_contract::Limits;

    use super::*;

    fn parse(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Outgoing, HttpFailure> {
        let request = GuestRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..GuestRequest::default()
        };
        Outgoing::parse(request, &Limits::default().http)
    }

    #[test]
    fn headers_of_framing_routing_and_identity_are_denied() {
        for name in [
            "Host",
            "Connection",
            "Keep-Alive",
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Expect",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Accept-Encoding",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "Via",
        ] {
            let result = parse("GET", "https://a.example/", &[(name, "x")]);
            assert!(matches!(result, Err(HttpFailure::Denied(d)) if d.code == "http.header-not-allowed"), "{name}");
        }
        assert!(parse("GET", "https://a.example/", &[("X-Custom", "x"), ("authorization", "y")]).is_ok());
    }

    #[test]
    fn what_is_no_header_is_malformed() {
        for (name, value) in [
            ("a b", "x"),
            ("a\r\nhost", "x"),
            ("", "x"),
            ("a:", "x"),
            ("ä", "x"),
            ("a", "x\r\nevil: 1"),
            ("a", "x\n"),
            ("a", "x\0"),
            ("a", "ü"),
            (":authority", "x"),
        ] {
            assert!(
                matches!(parse("GET", "https://a.example/", &[(name, value)]), Err(HttpFailure::Invalid(_))),
                "{name:?} {value:?}"
            );
        }
    }

    #[test]
    fn what_is_no_method_or_url_is_malformed() {
        for method in ["", "get", "GET ", "GET /\r\n", "CONNECT", "TRACE", "G\0T", &"A".repeat(33)] {
            assert!(matches!(parse(method, "https://a.example/", &[]), Err(HttpFailure::Invalid(_))), "{method:?}");
        }
        for url in [
            "",
            "/path",
            "a.example",
            "file:///etc/passwd",
            "unix:/run/x",
            "gopher://a.example/",
            "ftp://a.example/",
            "https:a.example",
            "https:///a.example/",
            "https://",
            "https://user@a.example/",
            "https://u:p@a.example/",
            "https://@a.example/",
            "https://a.example/#f",
            "https://a.example/\r\nx",
            "https://a.example/ x",
            "https://a.example\\@b.example/",
            "https://[fe80::1%25eth0]/",
            "https://[::1",
            "https://a.example:99999/",
            "ws://a.example/",
            "data:,x",
            "javascript:1",
        ] {
            assert!(matches!(parse("GET", url, &[]), Err(HttpFailure::Invalid(_))), "{url:?}");
        }
    }

    #[test]
    fn count_and_bytes_of_headers_are_limited() {
        let many: Vec<(&str, &str)> = vec![("a", "b"); 65];
        assert_eq!(
            parse("GET", "https://a.example/", &many).unwrap_err(),
            HttpFailure::Limit { name: limit::HEADERS, sent: false }
        );
        let long = "x".repeat(16 << 10);
        let result = parse("GET", "https://a.example/", &[("a", &long)]);
        assert_eq!(result.unwrap_err(), HttpFailure::Limit { name: limit::HEADER_BYTES, sent: false });
    }
}
