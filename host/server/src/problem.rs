//! Every "no" of the API in one form: `application/problem+json` (RFC 9457), made from the gate's [`Refusal`], so that the
//! rule, the stage and what would allow it arrive as the gate said them.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use opsiq_contract::InvocationId;
use opsiq_gate::{Class, Fault, Refusal, Stage};
use serde::Serialize;

/// The media type.
pub(crate) const MEDIA: &str = "application/problem+json";
/// What a problem's `type` begins with; the rest is the rule.
pub(crate) const TYPE: &str = "urn:opsiq:problem:";

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    refusal: Box<Refusal>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// As it is written.
#[derive(Serialize)]
struct Written<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    rule: &'a str,
    class: Class,
    stage: &'a str,
    fix: &'a str,
    request: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    faults: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a InvocationId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    effect_possible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// The type of a problem by this rule.
pub(crate) fn type_of(rule: &str) -> String {
    format!("{TYPE}{rule}")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(&refusal), refusal: Box::new(refusal), header: None }
    }
}

/// The status of a refusal.
pub(crate) fn status(refusal: &Refusal) -> StatusCode {
    match (&*refusal.code, refusal.class, refusal.stage) {
        // The IETF draft on the Idempotency-Key header, section 2.7.
        ("idempotency.malformed" | "idempotency.missing" | "idempotency.no-tenant", ..) => StatusCode::BAD_REQUEST,
        ("idempotency.other-params", ..) => StatusCode::UNPROCESSABLE_ENTITY,
        ("request.changed", ..) => StatusCode::PRECONDITION_FAILED,
        ("plugin.too-large", ..) => StatusCode::PAYLOAD_TOO_LARGE,
        // Who calls is not known, whatever the reason; what would tell them apart stays in the log.
        ("caller.no-tenant" | "session.step-up-needed" | "session.step-up-at-provider" | "sso.enforced", ..) => {
            StatusCode::FORBIDDEN
        }
        (code, Class::Denied, Stage::Authenticate) if code.starts_with("firewall.") => StatusCode::FORBIDDEN,
        (_, Class::NotFound | Class::Denied, Stage::Authenticate) => StatusCode::UNAUTHORIZED,
        (_, class, _) => of_class(class),
    }
}

fn of_class(class: Class) -> StatusCode {
    match class {
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Denied => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Plugin => StatusCode::BAD_GATEWAY,
        Class::Limited => StatusCode::TOO_MANY_REQUESTS,
        Class::Busy | Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    /// One of the request itself, before anything looked at what it asks for.
    pub(crate) fn request(status: StatusCode, rule: &'static str, detail: impl Into<String>, fix: &str) -> Self {
        let class = if status.is_server_error() { Class::Busy } else { Class::Invalid };
        let refusal = Refusal::new(class, Stage::Authenticate, rule, detail, fix);
        Self { status, refusal: Box::new(refusal), header: None }
    }

    /// What is wrong with a request whose form cannot be read.
    pub(crate) fn malformed(rule: &'static str, detail: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, rule, detail, "see /docs")
    }

    /// Nothing happens now; later it may.
    pub(crate) fn unavailable(rule: &'static str, detail: &str, seconds: u32) -> Self {
        let mut problem = Self::request(StatusCode::SERVICE_UNAVAILABLE, rule, detail, "try again later");
        problem.refusal.retry_after = NonZeroU32::new(seconds);
        problem
    }

    /// The same with another header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The refusal it is made of.
    pub(crate) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its bytes, for the request of this id.
    pub(crate) fn bytes(&self, request: &str) -> Vec<u8> {
        let Refusal { code, class, stage, message, fix, faults, invocation, effect_possible, .. } = &*self.refusal;
        let title = match self.status {
            StatusCode::UNAUTHORIZED => "Not authenticated",
            status if status.is_client_error() && self.refusal.stage == Stage::Authenticate => {
                status.canonical_reason().unwrap_or("Refused")
            }
            _ => self.refusal.title(),
        };
        let written = Written {
            r#type: type_of(code),
            title,
            status: self.status.as_u16(),
            detail: message,
            rule: code,
            class: *class,
            stage: stage.as_str(),
            fix,
            request,
            faults,
            invocation: invocation.as_deref(),
            effect_possible: *effect_possible,
            retry_after: self.retry_after(),
        };
        // It is made of texts and numbers.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Seconds after which the same request may be sent again; none where its effect may have happened, since a client that
    /// obeys would have it happen twice.
    fn retry_after(&self) -> Option<u32> {
        if self.refusal.effect_possible {
            return None;
        }
        let later = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        self.refusal.retry_after.map(NonZeroU32::get).or(later.then_some(1))
    }

    /// The answer, without its bytes.
    pub(crate) fn head(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"opsiq\""));
        }
        if let Some((name, value)) = &self.header {
            headers.insert(name, value.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_the_gate_said() {
        let mut refusal =
            Refusal::new(Class::Invalid, Stage::Params, "params.invalid", "not what the action takes", "look again");
        refusal.faults = vec![Fault { path: "/name".to_owned(), message: "missing".to_owned() }].into();
        let problem = Problem::from(refusal);
        let value: serde_json::Value = serde_json::from_slice(&problem.bytes("r1")).unwrap();
        assert_eq!(value["type"], "urn:opsiq:problem:params.invalid");
        assert_eq!(value["status"], 422);
        assert_eq!(value["stage"], "params");
        assert_eq!(value["faults"][0]["path"], "/name");
        assert_eq!(value["request"], "r1");
    }

    #[test]
    fn who_may_have_had_an_effect_is_not_told_to_try_again() {
        let mut refusal = Refusal::new(Class::Unavailable, Stage::Outcome, "audit.unavailable", "not recorded", "");
        let told = |refusal: &Refusal| {
            let problem = Problem::from(refusal.clone());
            let value: serde_json::Value = serde_json::from_slice(&problem.bytes("r")).unwrap();
            (problem.head().headers().contains_key(RETRY_AFTER), value.get("retry_after").is_some())
        };
        assert_eq!(told(&refusal), (true, true));
        refusal.effect_possible = true;
        assert_eq!(told(&refusal), (false, false));
        refusal.retry_after = NonZeroU32::new(5);
        assert_eq!(told(&refusal), (false, false));
    }

    #[test]
    fn statuses_follow_class_and_rule() {
        let status = |class, stage, code: &'static str| status(&Refusal::new(class, stage, code, "", "")).as_u16();
        assert_eq!(status(Class::NotFound, Stage::Authenticate, "caller.unknown"), 401);
        assert_eq!(status(Class::Denied, Stage::Authenticate, "caller.no-tenant"), 403);
        assert_eq!(status(Class::Denied, Stage::Authenticate, "firewall.host.blocked"), 403);
        assert_eq!(status(Class::Limited, Stage::Authenticate, "rate.reads.address"), 429);
        assert_eq!(status(Class::NotFound, Stage::Resolve, "installation.unknown"), 404);
        assert_eq!(status(Class::Conflict, Stage::Replay, "idempotency.in-flight"), 409);
        assert_eq!(status(Class::Conflict, Stage::Replay, "idempotency.other-params"), 422);
        assert_eq!(status(Class::Invalid, Stage::Replay, "idempotency.malformed"), 400);
        assert_eq!(status(Class::Limited, Stage::Admission, "limit.tenant.queue"), 429);
        assert_eq!(status(Class::Unavailable, Stage::Intent, "audit.unavailable"), 503);
    }
}
