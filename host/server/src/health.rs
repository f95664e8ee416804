//! What anybody may ask, even while the host is sealed: whether it lives, whether it is ready, whether it is sealed, and how
//! it is spoken to. Nothing of what is said here is a tenant's.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use bytes::Bytes;
use serde_json::json;

use crate::ask::{Content, JSON, Reply};
use crate::front::Front;
use crate::routes::{Routes, Spec};
use crate::viewer;

/// Text.
const TEXT: &str = "text/plain; charset=utf-8";
/// HTML.
const HTML: &str = "text/html; charset=utf-8";

pub(crate) fn add(routes: &mut Routes) {
    routes.open(
        Spec::get("/healthz", "health", "Whether the process lives.").gives_as(200, TEXT, "", "It does."),
        |_| word(StatusCode::OK, "ok"),
    );
    routes.open(
        Spec::get("/readyz", "ready", "Whether it takes requests.").gives_as(200, TEXT, "", "It does.").gives_as(
            503,
            TEXT,
            "",
            "It does not: it starts, is sealed, or is about to end.",
        ),
        ready,
    );
    routes.open(
        Spec::get("/v1/seal", "seal", "Whether the host is sealed: its root key is missing or wrong.")
            .gives("SealView", "Whether it is."),
        seal,
    );
    routes.open(
        Spec::get("/v1/openapi.json", "openapi", "This document.").gives_as(200, JSON, "", "OpenAPI 3.1."),
        |front| {
            let document = front.documents.get().map(|(document, _)| document.clone());
            Reply::bytes(JSON, document.unwrap_or_default()).header(CACHE_CONTROL, "max-age=300")
        },
    );
    routes.open(
        Spec::get("/docs", "docs", "This document, to read.").gives_as(200, HTML, "", "A page without scripts."),
        |front| {
            let page = front.documents.get().map(|(_, page)| page.clone());
            Reply::bytes(HTML, page.unwrap_or_default()).header(CONTENT_SECURITY_POLICY, &viewer::policy())
        },
    );
}

fn word(status: StatusCode, word: &'static str) -> Reply {
    let content = Content::Whole(Bytes::from_static(word.as_bytes()));
    Reply { status, media: TEXT, headers: Vec::new(), content }
}

/// Whether requests are taken.
pub(crate) fn ready(front: &Front) -> Reply {
    match front.host() {
        Ok(_) => word(StatusCode::OK, "ready"),
        Err(_) if front.sealed().is_some() => word(StatusCode::SERVICE_UNAVAILABLE, "sealed"),
        Err(_) => word(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}

fn seal(front: &Front) -> Reply {
    let sealed = json!({ "sealed": front.sealed().is_some() });
    Reply::bytes(JSON, sealed.to_string().into())
}
