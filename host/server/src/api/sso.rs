//! Signing in at a tenant's provider of identities, and what its owners say of providers. The first is for browsers: what is answered
//! is a page, or leads to one.
//!
//! What an attempt is told by is a cookie of this host that no page reads, and that comes back with the browser's return from the
//! provider: `SameSite=Lax`, since that return is a link from another site. What waits for a code is one that no other site makes a
//! browser send.

use std::collections::BTreeSet;

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use opsiq_gate::{ClaimRole, Refusal, SsoAnswer, SsoAway, SsoEntered, SsoLeave, SsoSettings};
use opsiq_vault::Secret;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::not_a;
use super::sessions::{knock, session_cookie};
use super::sso_pages as pages;
use crate::ask::{Ask, Done, Reply};
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
/// What browsers send of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// A provider. What is left out is empty, or no.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutProvider {
    /// Who it is, exactly as its tokens say.
    issuer: String,
    /// What it calls this host.
    client_id: String,
    /// What proves this host to it. Left out, it stays as it is. It is in no answer.
    client_secret: Option<String>,
    /// What it is asked for beside `openid`; `email` and `profile` unless said.
    scopes: Option<Vec<String>>,
    /// Domains of e-mail addresses whose people may sign in.
    #[serde(default)]
    domains: BTreeSet<String>,
    /// The claim that says roles: its name, or a JSON Pointer into the claims.
    claim: Option<String>,
    /// Roles by its values; the first that is there counts.
    #[serde(default)]
    #[schema(value_type = Vec<crate::schema::ClaimRole>)]
    roles: Vec<ClaimRole>,
    /// The role of who has none of these.
    default_role: Option<String>,
    /// Whether who has no account yet gets one.
    #[serde(default)]
    make_accounts: bool,
    /// Whether passwords open nothing but the accounts of owners.
    #[serde(default)]
    enforced: bool,
    /// Whether the provider asks everybody for a second factor, as the owner states.
    #[serde(default)]
    second_factor: bool,
}

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

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/sso/providers", "sso.list", "List where people of the tenant sign in. For owners and admins.")
            .gives("SsoProviderList", "Providers, oldest first."),
        list,
    );
    let one = "/v1/sso/providers/{provider}";
    routes.add(
        Spec::get(one, "sso.show", "One provider. For owners and admins.").gives("SsoProviderView", "The provider."),
        show,
    );
    routes.add(
        Spec::put(
            one,
            "sso.put",
            "Set a provider up, or change it, which ends the sessions of all who signed in there. For owners.",
        )
        .json("PutProvider")
        .gives("SsoProviderView", "The provider."),
        put,
    );
    routes.add(
        Spec::delete(one, "sso.remove", "Let nobody sign in there any more. Accounts stay. For owners.")
            .gives_nothing("It is gone."),
        remove,
    );
    routes.add(
        Spec::post(
            "/v1/sso/providers/{provider}/check",
            "sso.check",
            "Ask a provider who it is and for its keys. For owners.",
        )
        .gives("SsoCheckedView", "It answers as it should."),
        check,
    );
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

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().list(&ask.actor).await?)
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().show(&ask.actor, ask.path("provider")).await?)
}

async fn put(ask: Ask) -> Done {
    let put: PutProvider = ask.json()?;
    let secret = put.client_secret.map(Zeroizing::new);
    let secret = secret.map(|text| Secret::verbatim(&text)).transpose();
    let secret = secret.map_err(|error| not_a("sso.secret", &error))?;
    let settings = SsoSettings {
        issuer: put.issuer,
        client_id: put.client_id,
        scopes: put.scopes.unwrap_or_else(|| vec!["email".to_owned(), "profile".to_owned()]),
        domains: put.domains,
        claim: put.claim,
        roles: put.roles,
        default_role: put.default_role,
        make_accounts: put.make_accounts,
        enforced: put.enforced,
        second_factor: put.second_factor,
    };
    Reply::json(&ask.host.sso().set(&ask.actor, ask.path("provider"), settings, secret).await?)
}

async fn remove(ask: Ask) -> Done {
    ask.host.sso().remove(&ask.actor, ask.path("provider")).await?;
    Ok(Reply::nothing())
}

async fn check(ask: Ask) -> Done {
    Reply::json(&ask.host.sso().check(&ask.actor, ask.path("provider")).await?)
}

/// This host's address for a provider, under the name by which the browser came: the cookie is of that name alone.
fn redirect_uri(asked: &Knocked, tenant: &str, provider: &str) -> Result<String, Problem> {
    let authority = asked.authority.as_ref().ok_or_else(|| {
        let detail = "the request is for another host, or came over none";
        let fix = "begin at one of the host's own names: public-url, or tls-names, under [server] in opsiq.toml";
        Problem::request(StatusCode::MISDIRECTED_REQUEST, "request.host", detail, fix)
    })?;
    let [tenant, provider] = [tenant, provider].map(crate::ask::segment);
    // Slugs hold nothing that is escaped, and whatever else is asked for is refused.
    Ok(format!("https://{authority}/v1/login/sso/{tenant}/{provider}/return").replace("%2D", "-"))
}

fn put_cookie(name: &str, value: &str, seconds: i64, site: &str) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={site}; Max-Age={seconds}")
}

fn left(reply: Reply, away: &SsoAway) -> Reply {
    reply.header(SET_COOKIE, &put_cookie(AWAY, away.kept.expose(), away.seconds, "Lax"))
}

async fn leave(asked: Knocked) -> Done {
    let (tenant, provider) = (asked.path("tenant"), asked.path("provider"));
    let redirect_uri = redirect_uri(&asked, tenant, provider)?;
    let anew = match asked.query("anew") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(crate::ask::wrong("anew")),
    };
    let leave = SsoLeave { tenant, provider, redirect_uri: &redirect_uri, anew, invitation: None };
    match asked.host.door().sso_leave(&knock(&asked), &leave).await {
        Ok(away) => Ok(left(Reply { status: StatusCode::SEE_OTHER, ..Reply::nothing() }.at(&away.url), &away)),
        Err(refusal) => Ok(pages::refused(&refusal)),
    }
}

async fn accept_at(asked: Knocked) -> Done {
    let AcceptAt { invitation, provider } = asked.json()?;
    // `inv.TENANT.…`: who has the tenant's keys knows whether that is so.
    let tenant = invitation.split('.').nth(1).unwrap_or_default();
    let redirect_uri = redirect_uri(&asked, tenant, &provider)?;
    let invitation = Some(invitation.as_str());
    let leave = SsoLeave { tenant, provider: &provider, redirect_uri: &redirect_uri, anew: false, invitation };
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
    let wait = |page: Reply, pending: &str| page.header(SET_COOKIE, &put_cookie(WAITING, pending, WAITING_S, "Strict"));
    let page = match entered {
        Ok(SsoEntered::SignedIn(signed_in)) => {
            pages::signed_in(&signed_in, &[]).header(SET_COOKIE, &session_cookie(&signed_in))
        }
        Ok(SsoEntered::Code(pending)) => wait(pages::code(), pending.pending.expose()),
        Ok(SsoEntered::Enrol(enrolment)) => wait(pages::enrol(&enrolment)?, enrolment.pending.expose()),
        Err(refusal) => pages::refused(&refusal),
    };
    Ok(page.header(SET_COOKIE, &put_cookie(AWAY, "", 0, "Lax")))
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
