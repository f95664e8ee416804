//! Where a server is: over TLS at a name, or at the operator's socket of a data directory.

use std::path::PathBuf;

use http::Uri;
use http::uri::Authority;

use crate::failure::Failure;

/// The port where none is named.
const HTTPS: u16 = 443;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Over the network; the authority is as it was written, since it is signed.
    Network(Authority),
    /// The operator's socket.
    Socket(PathBuf),
}

impl Address {
    /// Reads <https://HOST>, with or without a port, or `unix:FILE`.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Socket(path.into()));
        }
        let authority = || {
            let uri: Uri = text.parse().ok()?;
            let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
            let parts = uri.into_parts();
            let https = parts.scheme.is_some_and(|scheme| scheme == http::uri::Scheme::HTTPS);
            parts.authority.filter(|authority| https && bare && !authority.as_str().contains('@'))
        };
        authority().map(Self::Network).ok_or_else(|| {
            Failure::usage("the address of a server is https://HOST, https://HOST:PORT or unix:FILE")
                .detail(format!("not {text}"))
        })
    }

    /// The name and port to connect to over the network.
    pub(crate) fn host_and_port(authority: &Authority) -> (&str, u16) {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (host, authority.port_u16().unwrap_or(HTTPS))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(authority) => write!(f, "https://{authority}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_two_kinds() {
        let network = |text: &str| match Address::read(text).unwrap() {
            Address::Network(authority) => {
                let (host, port) = Address::host_and_port(&authority);
                (host.to_owned(), port)
            }
            Address::Socket(path) => panic!("{path:?}"),
        };
        assert_eq!(network("https://api.example.com"), ("api.example.com".to_owned(), 443));
        assert_eq!(network("https://localhost:8443/"), ("localhost".to_owned(), 8443));
        assert_eq!(network("https://[::1]:8443"), ("::1".to_owned(), 8443));
        assert_eq!(Address::read("unix:/a/b.sock").unwrap(), Address::Socket("/a/b.sock".into()));
        for none in [
            "http://localhost",
            "https://u:p@localhost",
            "https://localhost/v1",
            "https://a?b",
            "unix:",
            "localhost",
            "",
        ] {
            assert!(Address::read(none).is_err(), "{none}");
        }
    }
}
