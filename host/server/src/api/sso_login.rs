//! Signing in at a tenant's provider of identities. For browsers: what is answered is a page, or leads to one.
//!
//! What an attempt is told by is a cookie of this host that no page reads, and that comes back with the browser's return from the
//! provider: `SameSite=Lax`, since that return is a link from another site, or `None` where it is a form that another site's page sends.
//! What waits for a code is one that no other site makes a browser send.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use opsiq_gate::{Refusal, SsoAnswer, SsoAway, SsoEntered, SsoLeave, sp_metadata};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::sessions::{knock, session_cookie};
use super::sso_pages as pages;
use crate::ask::{Done, Reply};
use crate::door::{cookie, own_page};
use crate::knock::Knocked;
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// The cookie of an attempt.
const AWAY: &str = "__Host-opsiq-sso";
/// The cookie of who is let in but for a code.
const WAITING: &str = "__Host-opsiq-code";
/// Seconds for which a browser keeps the second; how long it is good is sealed in it.
const WAITING_S: i64 = 15 * 60;
/// Bytes of a form with a response, at most: what is read of one, with what a form adds to it.
const RESPONSE: usize = 320 << 10;
/// The media type of metadata (SAML metadata appendix A).
const METADATA: &str = "application/samlmetadata+xml";
/// What browsers send of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// An invitation, and where to take it up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptAt {
    /// As it was sent.
    invitation: String,
    /// The provider's name.
    provider: String,
}

/// A code of the authenticator, as a form sends it.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "read as a form")]
pub(crate) struct CodeForm {
    code: String,
}

/// A response, as a form sends it. What providers are known to add is passed over.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "read as a form")]
pub(crate) struct ResponseForm {
    /// In base64.
    #[serde(rename = "SAMLResponse")]
    saml_response: String,
    /// Passed over: none was sent.
    #[serde(rename = "RelayState")]
    relay_state: Option<String>,
}

pub(super) fn add(routes: &mut Routes) {
    let page = |spec: Spec| {
        spec.gives_as(200, pages::HTML, "", "A page: who is signed in, or what is missing.").gives_as(
            401,
            pages::HTML,
            "",
            "A page: it did not work. Why, is in the audit log.",
        )
    };
    routes.knocked(
        Spec::get("/v1/login/sso/{tenant}/{provider}", "login.sso", "Sign in at a provider: a browser is sent there.")
            .param(
                "anew",
                r#"{"type":"boolean","default":false}"#,
                "Whether to prove there anew who one is, which counts as a fresh second factor.",
            )
            .gives_as(303, "", "", "Go there.")
            .gives_as(401, pages::HTML, "", "A page: it did not work. Why, is in the audit log."),
        leave,
    );
    let text = r#"{"type":"string"}"#;
    let back = Spec::get(
        "/v1/login/sso/{tenant}/{provider}/return",
        "login.sso-return",
        "Where a provider sends a browser back: the redirect URI to register there. Sets the session's cookie.",
    );
    let named = [
        ("code", "To be redeemed."),
        ("state", "Which attempt it answers."),
        ("iss", "Who answers."),
        ("error", "Why not."),
    ];
    let back = named.into_iter().fold(back, |back, (name, doc)| back.param(name, text, doc));
    // What providers are known to add, and nothing is made of.
    let others = ["error_description", "error_uri", "session_state", "scope", "authuser", "prompt", "hd"];
    let back = others.into_iter().fold(back, |back, name| back.param(name, text, "Passed over."));
    routes.knocked(page(back), returned);
    routes.knocked(
        page(
            Spec::post(
                "/v1/login/sso/{tenant}/{provider}/acs",
                "login.sso-acs",
                "Where a provider of SAML has a browser send its response: the address of the assertion consumer service. Sets the session's cookie.",
            )
            .body(FORM, "ResponseForm", RESPONSE),
        ),
        acs,
    );
    routes.knocked(
        Spec::get(
            "/v1/login/sso/{tenant}/{provider}/metadata",
            "login.sso-metadata",
            "What a provider of SAML needs to know of this host. This address is its entity id.",
        )
        .gives_as(200, METADATA, "", "Metadata of a service provider."),
        metadata,
    );
    routes.knocked(
        page(
            Spec::post(
                "/v1/login/sso/code",
                "login.sso-code",
                "Show a code after the return from a provider, by the page's form.",
            )
            .body(FORM, "CodeForm", 1 << 10),
        ),
        code,
    );
    routes.knocked(
        Spec::post(
            "/v1/invitations/accept-at-provider",
            "invitations.accept-at-provider",
            "Take an invitation up with an identity at a provider, instead of a password.",
        )
        .json("AcceptAt")
        .gives("SsoAwayView", "Where to sign in."),
        accept_at,
    );
}

/// This host's address for a provider, under the name by which the browser came: the cookie is of that name alone.
fn at(asked: &Knocked, tenant: &str, provider: &str) -> Result<String, Problem> {
    let authority = asked.authority.as_ref().ok_or_else(|| {
        let detail = "the request is for another host, or came over none";
        let fix = "begin at one of the host's own names: public-url, or tls-names, under [server] in opsiq.toml";
        Problem::request(StatusCode::MISDIRECTED_REQUEST, "request.host", detail, fix)
    })?;
    let [tenant, provider] = [tenant, provider].map(crate::ask::segment);
    // Slugs hold nothing that is escaped, and whatever else is asked for is refused.
    Ok(format!("https://{authority}/v1/login/sso/{tenant}/{provider}").replace("%2D", "-"))
}

fn put_cookie(name: &str, value: &str, seconds: i64, site: &str) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={site}; Max-Age={seconds}")
}

fn left(reply: Reply, away: &SsoAway) -> Reply {
    // A form that another site's page sends brings no cookie along that is for links alone. What it brings opens nothing by itself: the
    // answer names the attempt, and is the provider's.
    let site = if away.by_form { "None" } else { "Lax" };
    reply.header(SET_COOKIE, &put_cookie(AWAY, away.kept.expose(), away.seconds, site))
}

async fn leave(asked: Knocked) -> Done {
    let (tenant, provider) = (asked.path("tenant"), asked.path("provider"));
    let at = at(&asked, tenant, provider)?;
    let anew = match asked.query("anew") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(crate::ask::wrong("anew")),
    };
    let leave = SsoLeave { tenant, provider, at: &at, anew, invitation: None };
    match asked.host.door().sso_leave(&knock(&asked), &leave).await {
        Ok(away) => Ok(left(Reply { status: StatusCode::SEE_OTHER, ..Reply::nothing() }.at(&away.url), &away)),
        Err(refusal) => Ok(pages::refused(&refusal)),
    }
}

async fn accept_at(asked: Knocked) -> Done {
    let AcceptAt { invitation, provider } = asked.json()?;
    // `inv.TENANT.…`: who has the tenant's keys knows whether that is so.
    let tenant = invitation.split('.').nth(1).unwrap_or_default();
    let at = at(&asked, tenant, &provider)?;
    let invitation = Some(invitation.as_str());
    let leave = SsoLeave { tenant, provider: &provider, at: &at, anew: false, invitation };
    let away = asked.host.door().sso_leave(&knock(&asked), &leave).await?;
    Ok(left(Reply::json(&json!({ "url": away.url }))?, &away))
}

async fn returned(asked: Knocked) -> Done {
    let answer = SsoAnswer {
        code: asked.query("code"),
        state: asked.query("state"),
        iss: asked.query("iss"),
        error: asked.query("error"),
    };
    let kept = kept(&asked.headers, AWAY)?;
    let place = (asked.path("tenant"), asked.path("provider"));
    let entered = asked.host.door().sso_return(&knock(&asked), place, &answer, kept).await;
    Ok(entered_page(entered)?.header(SET_COOKIE, &put_cookie(AWAY, "", 0, "Lax")))
}

async fn acs(asked: Knocked) -> Done {
    let kept = kept(&asked.headers, AWAY)?;
    let mut sent = url::form_urlencoded::parse(&asked.body).filter(|(name, _)| name == "SAMLResponse");
    let (response, None) = (sent.next().map(|(_, response)| response), sent.next()) else {
        return Err(Problem::malformed("request.body", "the form has one response"));
    };
    let place = (asked.path("tenant"), asked.path("provider"));
    let entered = asked.host.door().saml_return(&knock(&asked), place, response.as_deref(), kept).await;
    Ok(entered_page(entered)?.header(SET_COOKIE, &put_cookie(AWAY, "", 0, "None")))
}

/// The same for every name that could be one, whether or not there is such a tenant: so a provider can be told of this host first.
async fn metadata(asked: Knocked) -> Done {
    let at = at(&asked, asked.path("tenant"), asked.path("provider"))?;
    let document = sp_metadata(&format!("{at}/metadata"), &format!("{at}/acs"));
    Ok(Reply::bytes(METADATA, document.into_bytes().into()))
}

/// The page of somebody who came back, and the cookie that goes with it.
fn entered_page(entered: Result<SsoEntered, Refusal>) -> Done {
    let wait = |page: Reply, pending: &str| page.header(SET_COOKIE, &put_cookie(WAITING, pending, WAITING_S, "Strict"));
    Ok(match entered {
        Ok(SsoEntered::SignedIn(signed_in)) => {
            pages::signed_in(&signed_in, &[]).header(SET_COOKIE, &session_cookie(&signed_in))
        }
        Ok(SsoEntered::Code(pending)) => wait(pages::code(), pending.pending.expose()),
        Ok(SsoEntered::Enrol(enrolment)) => wait(pages::enrol(&enrolment)?, enrolment.pending.expose()),
        Err(refusal) => pages::refused(&refusal),
    })
}

async fn code(asked: Knocked) -> Done {
    if let Some(authority) = &asked.authority {
        own_page(&asked.headers, authority)?;
    }
    let pending = kept(&asked.headers, WAITING)?.unwrap_or_default();
    let mut typed = url::form_urlencoded::parse(&asked.body).filter(|(name, _)| name == "code").map(|(_, code)| code);
    let (Some(code), None) = (typed.next(), typed.next()) else {
        return Err(Problem::malformed("request.body", "the form has one code"));
    };
    let (door, knock) = (asked.host.door(), knock(&asked));
    let done = if pending.starts_with("equip.") {
        door.sso_enrol(&knock, pending, &code).await.map(|enrolled| (enrolled.signed_in, enrolled.recovery_codes))
    } else {
        door.code(&knock, pending, &code).await.map(|signed_in| (signed_in, Vec::new()))
    };
    Ok(match done {
        Ok((signed_in, codes)) => pages::signed_in(&signed_in, &codes)
            .header(SET_COOKIE, &session_cookie(&signed_in))
            .header(SET_COOKIE, &put_cookie(WAITING, "", 0, "Strict")),
        // A code that is wrong may be typed anew; all else begins anew.
        Err(refusal) if refusal.code == "code.wrong" => pages::code_again(),
        Err(refusal) => pages::refused(&refusal),
    })
}

fn kept<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    Ok(cookie(headers, name)?.filter(|value| !value.is_empty()))
}
