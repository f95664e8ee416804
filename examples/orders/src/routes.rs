//! The wire form: three routes, each behind the signature.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::book::{Book, RefundRequest, Refusal, Status};
use crate::signature::Signatures;

/// Bytes of a request's body, at most.
const BODY_MAX: usize = 64 * 1024;
/// Orders in one page, at most and by default.
const PAGE_MAX: usize = 100;
const PAGE: usize = 20;

#[derive(Clone)]
struct Shop {
    book: Arc<Mutex<Book>>,
    signatures: Arc<Signatures>,
}

impl Shop {
    /// The book stays whole even if a request panicked while holding it: it is only ever changed after the last check.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything the server answers to.
pub(crate) fn router(book: Book, signatures: Signatures) -> Router {
    let shop = Shop { book: Arc::new(Mutex::new(book)), signatures: Arc::new(signatures) };
    Router::new()
        .route("/orders", get(list))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/refunds", post(refund))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such resource") })
        .layer(middleware::from_fn_with_state(shop.clone(), signed))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shop)
}

/// Lets a request through only if its raw body is signed; the body is read once, here.
async fn signed(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    if let Err(why) = shop.signatures.check(&parts.headers, &body) {
        return problem(StatusCode::UNAUTHORIZED, &why);
    }
    next.run(Request::from_parts(parts, body.into())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<Status>,
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(shop): State<Shop>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        return problem(StatusCode::BAD_REQUEST, "status, cursor or limit is not understood");
    };
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    Json(shop.book().page(query.status, query.cursor.as_deref(), limit)).into_response()
}

async fn show(State(shop): State<Shop>, Path(id): Path<String>) -> Response {
    match shop.book().order(&id) {
        Some(order) => Json(order).into_response(),
        None => unknown(),
    }
}

async fn refund(State(shop): State<Shop>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let key = match headers.get("idempotency-key").map(http::HeaderValue::to_str) {
        None => None,
        Some(Ok(key)) if !key.is_empty() && key.len() <= 255 => Some(key),
        Some(_) => return problem(StatusCode::BAD_REQUEST, "the idempotency key is not understood"),
    };
    let asked = match serde_json::from_slice::<RefundRequest>(&body) {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match shop.book().refund(&id, key, &asked) {
        Ok(refund) => (StatusCode::CREATED, Json(refund)).into_response(),
        Err(Refusal::Unknown) => unknown(),
        Err(Refusal::Conflict(why)) => problem(StatusCode::CONFLICT, &why),
        Err(Refusal::Unprocessable(why)) => problem(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Err(Refusal::Unrecorded) => problem(StatusCode::SERVICE_UNAVAILABLE, "the refund could not be recorded"),
    }
}

fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "no such order")
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    let kind = [(http::header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}
