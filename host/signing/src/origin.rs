//! The address a host is reached by, which is part of what is signed.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::error::Refused;

/// Scheme and authority as clients write them, such as `https://api.example.com` or `https://127.0.0.1:8443`. Not what a
/// request claims in `Host`: behind a proxy that is another name, and it is not for the sender to say where it meant to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// An origin of a scheme and an authority, which is taken in lower case (RFC 9110 §4.2.3). A port is kept as it is
    /// given: clients sign the target as they wrote it (RFC 9421 §2.2.2).
    pub fn new(scheme: &Scheme, authority: &Authority) -> Self {
        Self(format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()))
    }

    /// The origin of a whole URI, as a client has it.
    ///
    /// # Errors
    /// [`Refused::Form`] when it has no scheme or host, or user information.
    pub fn of(uri: &Uri) -> Result<Self, Refused> {
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if !authority.as_str().contains('@') => Ok(Self::new(scheme, authority)),
            _ => Err(Refused::Form("the target must be a whole URI: https://HOST/PATH")),
        }
    }

    /// `@target-uri` (RFC 9421 §2.2.2) of a request for `uri`, of which path and query count, byte for byte as they came.
    ///
    /// # Errors
    /// [`Refused::Form`] for a target without a path, such as `*`.
    pub fn target_uri(&self, uri: &Uri) -> Result<String, Refused> {
        let path = uri.path_and_query().map(PathAndQuery::as_str).filter(|path| path.starts_with('/'));
        let path = path.ok_or(Refused::Form("a signed request has a path"))?;
        Ok(format!("{}{path}", self.0))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_stay_as_they_came() {
        let origin = Origin::of(&Uri::from_static("https://API.Example.com:8443/x")).unwrap();
        assert_eq!(origin.to_string(), "https://api.example.com:8443");
        for path in ["/", "/a/../b", "/a%2fb?x=%7E&x=~", "/a?", "//a"] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(origin.target_uri(&uri).unwrap(), format!("https://api.example.com:8443{path}"));
        }
        let absolute = Uri::from_static("http://elsewhere/a?b");
        assert_eq!(origin.target_uri(&absolute).unwrap(), "https://api.example.com:8443/a?b");
        assert!(origin.target_uri(&Uri::from_static("*")).is_err());
        assert!(Origin::of(&Uri::from_static("/a")).is_err());
        assert!(Origin::of(&Uri::from_static("https://u:p@example.com/")).is_err());
    }
}
