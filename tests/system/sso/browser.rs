//! A browser, as far as signing in needs one: it keeps cookies, and goes where it is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;

use crate::https::{Came, Served};

#[derive(Default)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
}

/// A parameter of a URL's query.
pub(super) fn param(url: &str, name: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let found = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    decoded(found.unwrap_or_else(|| panic!("{name} is not in {url}")).1)
}

fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(out).unwrap()
}

/// The same, so that it can stand in a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Browser {
    /// Opens a page of the host, or sends it a form.
    pub(super) async fn open(&mut self, served: &Served, path: &str, form: Option<&str>) -> Came {
        let mut request = Request::builder().method(if form.is_some() { "POST" } else { "GET" }).uri(path);
        request = request.header("host", format!("localhost:{}", served.address.port()));
        request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").header("user-agent", "Firefox");
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", all.join("; "));
        }
        if form.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
            request = request.header("sec-fetch-site", "same-origin");
        }
        let body = Bytes::from(form.unwrap_or_default().to_owned());
        let came = served.http1(request.body(Full::new(body)).unwrap()).await;
        for cookie in came.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, rules) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            // Of this host alone, over TLS alone, and no script's to read.
            assert!(name.starts_with("__Host-") && rules.contains("Path=/; Secure; HttpOnly; SameSite="), "{cookie}");
            let lax = name == "__Host-opsiq-sso";
            assert!(rules.contains(if lax { "SameSite=Lax" } else { "SameSite=Strict" }), "{cookie}");
            if rules.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        came
    }

    /// Leaves for a provider: where it is sent.
    pub(super) async fn leave(&mut self, served: &Served, provider: &str) -> String {
        let came = self.open(served, &format!("/v1/login/sso/acme/{provider}"), None).await;
        assert_eq!(came.status, 303, "{came:?}");
        came.header("location").to_owned()
    }

    /// Who the host says it is, by the session's cookie.
    pub(super) async fn me(&mut self, served: &Served) -> Result<Value, Came> {
        let came = self.open(served, "/v1/me", None).await;
        if came.status == 200 { Ok(came.json()) } else { Err(came) }
    }
}
