//! Two pages on which a browser shows passkeys and makes them. Each is one fixed text, under a policy that allows one style, one script
//! of this host, and requests to this host, and nothing else; what they do is done by the API, as anybody could.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::ask::Reply;
use crate::routes::{Routes, Spec};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

const STYLE: &str = include_str!("pages/style.css");
const SIGN_IN: &str = include_str!("pages/sign-in.html");
const PASSKEYS: &str = include_str!("pages/passkeys.html");

pub(crate) fn add(routes: &mut Routes) {
    let page = |path, id, doc| Spec::get(path, id, doc).gives_as(200, HTML, "", "A page.");
    routes.open(
        page("/sign-in", "pages.sign-in", "A page to sign in on, with a passkey or with password and code."),
        |_| shown("Sign in", SIGN_IN),
    );
    routes.open(page("/passkeys", "pages.passkeys", "A page to enrol, name and remove one's passkeys on."), |_| {
        shown("Your passkeys", PASSKEYS)
    });
    let script = Spec::get("/pages.js", "pages.script", "What these pages do.").gives_as(200, SCRIPT, "", "A script.");
    routes.open(script, |_| {
        Reply::bytes(SCRIPT, Bytes::from_static(include_bytes!("pages/pages.js"))).header(CACHE_CONTROL, "max-age=300")
    });
}

fn shown(title: &str, body: &str) -> Reply {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        format!(
            "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-{}'; form-action 'none'; \
             frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            STANDARD.encode(Sha256::digest(STYLE))
        )
    });
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} – OpsIQ</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>\
         <script src=\"/pages.js\" defer></script></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    Reply::bytes(HTML, page.into())
        .header(CONTENT_SECURITY_POLICY, &POLICY)
        .header(REFERRER_POLICY, "no-referrer")
        .header(PERMISSIONS, "publickey-credentials-get=(self), publickey-credentials-create=(self)")
}
