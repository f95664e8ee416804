//! The few pages a browser sees when its person signs in at a provider: made here, without scripts, under a policy that lets them send
//! a form to this host and do nothing else.

use std::fmt::Write as _;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, RETRY_AFTER};
use opsiq_gate::{Enrolment, Refusal, ShownOnce, SignedIn};

use crate::ask::Reply;
use crate::problem::{Problem, status};
use crate::viewer::escaped;

/// The media type.
pub(super) const HTML: &str = "text/html; charset=utf-8";
const POLICY: &str =
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; navigate-to 'self'";

const FORM: &str = "<form method=\"post\" action=\"/v1/login/sso/code\"><p><label>Code \
                    <input name=\"code\" autocomplete=\"one-time-code\" autofocus required maxlength=\"32\"></label> \
                    <button>Sign in</button></form>";

fn page(status: StatusCode, title: &str, body: &str) -> Reply {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} – OpsIQ</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body><h1>{title}</h1>{body}</body></html>"
    );
    Reply { status, ..Reply::bytes(HTML, text.into()) }.header(CONTENT_SECURITY_POLICY, POLICY)
}

/// Somebody is signed in; recovery codes are shown once, to who has none yet.
pub(super) fn signed_in(signed_in: &SignedIn, codes: &[ShownOnce]) -> Reply {
    let session = &signed_in.session;
    let mut body = format!(
        "<p>You are signed in as <b>{}</b> of <b>{}</b>.",
        escaped(&session.user),
        escaped(session.tenant.as_str())
    );
    if !codes.is_empty() {
        body.push_str("<p>Keep these recovery codes. Each is good once, and they are not shown again.<ul>");
        for code in codes {
            // Writing to a string does not fail.
            let _ = write!(body, "<li><code>{}</code>", escaped(code.expose()));
        }
        body.push_str("</ul>");
    }
    body.push_str("<p><a href=\"/\">Go on</a>");
    page(StatusCode::OK, "Signed in", &body)
}

/// A code of the authenticator is awaited.
pub(super) fn code() -> Reply {
    let body = format!("<p>Your provider has vouched for you. Now show a code of your authenticator here.{FORM}");
    page(StatusCode::OK, "One more step", &body)
}

/// The code was none.
pub(super) fn code_again() -> Reply {
    let body = format!("<p>That code is wrong, or was used already. Wait for the next one.{FORM}");
    page(StatusCode::UNAUTHORIZED, "One more step", &body)
}

/// There is no authenticator yet.
pub(super) fn enrol(enrolment: &Enrolment) -> Result<Reply, Problem> {
    let picture = enrolment.svg()?;
    let body = format!(
        "<p>Your provider has vouched for you. This host asks for a second factor: scan this with an authenticator, or type \
         <code>{}</code> into it, and show its first code.<div>{}</div>{FORM}",
        escaped(enrolment.seed.expose()),
        // Made here, of letters and numbers.
        picture.expose()
    );
    Ok(page(StatusCode::OK, "Set an authenticator", &body))
}

/// It did not work. Nothing tells why, but that waiting helps, where it does.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    let body = format!("<p>{}. {}.", escaped(&capital(&refusal.message)), escaped(&capital(&refusal.fix)));
    let reply = page(status(refusal), "Not signed in", &body);
    match refusal.retry_after {
        Some(seconds) => reply.header(RETRY_AFTER, &seconds.to_string()),
        None => reply,
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
