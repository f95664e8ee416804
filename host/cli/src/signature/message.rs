//! What both commands take: the request, the secret, and header fields as text.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use opsiq_signing::{KeyId, Origin};
use opsiq_vault::Secret;

use crate::failure::{Exit, Failure};
use crate::secret;

/// The environment variable that may hold the secret.
const SECRET: &str = "OPSIQ_CLIENT_SECRET";
/// Bytes of a body at most.
const BODY_MOST: u64 = 64 << 20;

/// Which request, and with which secret.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// The whole address it is sent to, as it is sent.
    #[arg(long)]
    url: String,

    /// The method.
    #[arg(long, default_value = "POST")]
    method: String,

    /// The file whose bytes are the body, `-` for standard input; an empty body when not named.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// The file that holds the client's secret; one line break at the end is not part of it. Otherwise the environment holds it,
    /// in `OPSIQ_CLIENT_SECRET`.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl RequestArgs {
    pub(super) fn method(&self) -> Result<Method, Failure> {
        Method::from_str(&self.method).map_err(|_| Failure::usage("--method is none of HTTP's"))
    }

    /// `@target-uri`: normal in its scheme and host, and otherwise as given.
    pub(super) fn target_uri(&self) -> Result<String, Failure> {
        let target = || {
            let uri = Uri::from_str(&self.url).ok()?;
            Origin::of(&uri).ok()?.target_uri(&uri).ok()
        };
        target().ok_or_else(|| Failure::usage("--url must be a whole address: https://HOST/PATH"))
    }

    pub(super) fn body(&self) -> Result<Vec<u8>, Failure> {
        self.body.as_deref().map_or(Ok(Vec::new()), read_body)
    }

    pub(super) fn secret(&self) -> Result<Secret, Failure> {
        match (&self.secret_file, std::env::var(SECRET)) {
            (Some(path), _) => secret::file_verbatim(path),
            (None, Ok(text)) => secret::verbatim(&zeroize::Zeroizing::new(text)),
            (None, Err(_)) => Err(Failure::usage("where is the client's secret?")
                .fix(format!("--secret-file FILE, or set {SECRET}; never an argument, which others could read"))),
        }
    }
}

/// A client's key id.
pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|error: opsiq_signing::Refused| error.to_string())
}

/// The bytes of a body.
pub(super) fn read_body(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(BODY_MOST + 1).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(BODY_MOST + 1).read_to_end(&mut body))
    };
    read.map_err(|error| Failure::file("read", path, &error))?;
    if body.len() as u64 > BODY_MOST {
        return Err(Failure::new(Exit::Invalid, "signature.body", "the body is larger than 64 MiB"));
    }
    Ok(body)
}

/// Header fields as `curl -D` writes them, or one `Name: value` a line. Of several messages, such as a 100 before the
/// reply, the last counts. The status is that of a status line, if there is one.
pub(super) fn read_headers(path: &Path) -> Result<(Option<StatusCode>, HeaderMap), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    parse_headers(&text).ok_or_else(|| {
        Failure::new(Exit::Invalid, "signature.headers", format!("{} holds no header fields", path.display()))
            .fix("one `Name: value` a line, as curl -D FILE writes them")
    })
}

fn parse_headers(text: &str) -> Option<(Option<StatusCode>, HeaderMap)> {
    let (mut status, mut headers) = (None, HeaderMap::new());
    for line in text.lines() {
        let line = line.trim_end_matches('\r');
        if let Some(rest) = line.strip_prefix("HTTP/") {
            status = Some(rest.split(' ').nth(1)?.parse().ok()?);
            headers.clear();
        } else if !line.is_empty() {
            let (name, value) = line.split_once(':')?;
            headers.append(HeaderName::from_str(name).ok()?, HeaderValue::from_str(value.trim()).ok()?);
        }
    }
    (!headers.is_empty()).then_some((status, headers))
}

/// One `Name: value` of the command line.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "write it as Name: value".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_str(name.trim()).map_err(|_| wrong())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_curl_writes_them() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/2 200 \r\ndate: now\r\nX: a:b\r\nx: c\r\n\r\n";
        let (status, headers) = parse_headers(text).unwrap();
        assert_eq!(status, Some(StatusCode::OK));
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.get_all("x").iter().collect::<Vec<_>>(), ["a:b", "c"]);
        assert_eq!(parse_headers("A: b\n").unwrap().0, None);
        for bad in ["", "no field", "HTTP/1.1 x\n\n", "na me: x"] {
            assert!(parse_headers(bad).is_none(), "{bad}");
        }
    }
}
