//! Taking up an account, signing in and out, and the sessions there are.

use axum::http::header::{SET_COOKIE, USER_AGENT};
use opsiq_gate::{Enrolment, Knock, Login, SignedIn};
use opsiq_shield::Class;
use opsiq_vault::Secret;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::not_a;
use crate::ask::{Ask, Done, Reply};
use crate::door::{COOKIE_NAME, session_token};
use crate::guard::DEVICE;
use crate::knock::Knocked;
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// An invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invitation {
    /// As it was sent.
    invitation: String,
}

/// An invitation, and the password chosen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptInvitation {
    /// As it was sent.
    invitation: String,
    /// The password to be.
    password: String,
}

/// The second of two steps.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingCode {
    /// What the first step answered.
    pending: String,
    /// A code of the authenticator.
    code: String,
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    tenant: String,
    user: String,
    password: String,
}

/// A code of the authenticator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeOf {
    code: String,
}

pub(super) fn add(routes: &mut Routes) {
    routes.knocked(
        Spec::post("/v1/invitations/show", "invitations.show", "Whom an invitation invites to what.")
            .json("Invitation")
            .gives("InvitedView", "The account."),
        show,
    );
    routes.knocked(
        Spec::post(
            "/v1/invitations/accept",
            "invitations.accept",
            "Choose a password; the answer is what an authenticator scans.",
        )
        .json("AcceptInvitation")
        .gives("EnrolmentView", "What comes next."),
        accept,
    );
    routes.knocked(
        Spec::post(
            "/v1/invitations/enrol",
            "invitations.enrol",
            "Show the first code of the authenticator: the account is taken up.",
        )
        .json("PendingCode")
        .gives("EnrolledView", "Recovery codes, shown once."),
        enrol,
    );
    routes.knocked(
        Spec::post("/v1/login", "login.password", "Sign in, first step: the password.")
            .json("SignIn")
            .gives("PendingView", "The code is awaited."),
        login,
    );
    routes.knocked(Spec::post("/v1/login/code", "login.code", "Sign in, second step: a code of the authenticator, or a recovery code. The answer sets the session's cookie.").json("PendingCode").gives("SignedInView", "The session, and its token."), code);
    routes.add(
        Spec::post(
            "/v1/login/step-up",
            "login.step-up",
            "Show the second factor again, for what asks for a fresh one.",
        )
        .unkeyed()
        .counted(Class::SignIn)
        .json("CodeOf")
        .gives("SessionView", "The session."),
        step_up,
    );
    routes.add(
        Spec::post("/v1/logout", "login.logout", "End this session.").unkeyed().gives_nothing("It has ended."),
        logout,
    );
    routes
        .add(Spec::get("/v1/sessions", "sessions.list", "One's own sessions.").gives("SessionList", "Sessions."), list);
    routes.add(
        Spec::delete("/v1/sessions/{session}", "sessions.end", "End one of one's own sessions.")
            .unkeyed()
            .gives_nothing("It has ended."),
        end,
    );
    routes.add(
        Spec::post("/v1/sessions/end-others", "sessions.end-others", "End all of one's own sessions but this.")
            .unkeyed()
            .gives("EndedView", "How many ended."),
        end_others,
    );
}

pub(super) fn knock(asked: &Knocked) -> Knock {
    let text = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    Knock {
        address: asked.address,
        device: text(USER_AGENT.as_str()).unwrap_or_default().chars().take(120).collect(),
        known: text(DEVICE).map(|token| Zeroizing::new(token.to_owned())),
    }
}

pub(super) fn secret(text: String) -> Result<Secret, Problem> {
    let text = Zeroizing::new(text);
    Secret::verbatim(&text).map_err(|error| not_a("password.refused", &error))
}

/// What the second of two steps brings.
pub(super) fn pending_code(PendingCode { pending, code }: PendingCode) -> (String, String) {
    (pending, code)
}

async fn show(asked: Knocked) -> Done {
    let Invitation { invitation } = asked.json()?;
    Reply::json(&asked.host.door().invitation(&knock(&asked), &invitation).await?)
}

async fn accept(asked: Knocked) -> Done {
    let AcceptInvitation { invitation, password } = asked.json()?;
    enrolment(&asked.host.door().accept(&knock(&asked), &invitation, &secret(password)?).await?)
}

/// What a new authenticator is given.
pub(super) fn enrolment(enrolment: &Enrolment) -> Done {
    let svg = enrolment.svg()?;
    Reply::json(&json!({
        "pending": enrolment.pending, "uri": enrolment.uri, "seed": enrolment.seed, "svg": svg,
        "expires_ms": enrolment.expires_ms,
    }))
}

async fn enrol(asked: Knocked) -> Done {
    let PendingCode { pending, code } = asked.json()?;
    Reply::json(&asked.host.door().enrol(&knock(&asked), &pending, &code).await?)
}

async fn login(asked: Knocked) -> Done {
    let SignIn { tenant, user, password } = asked.json()?;
    asked.to_tenant(&tenant).await?;
    let login = Login { tenant, user, password: secret(password)? };
    Reply::json(&asked.host.door().login(&knock(&asked), &login).await?)
}

async fn code(asked: Knocked) -> Done {
    let PendingCode { pending, code } = asked.json()?;
    let signed_in = asked.host.door().code(&knock(&asked), &pending, &code).await?;
    Ok(Reply::json(&signed_in)?.header(SET_COOKIE, &session_cookie(&signed_in)))
}

/// The cookie of a session: scripts do not see it, and no other site makes a browser send it.
pub(super) fn session_cookie(signed_in: &SignedIn) -> String {
    format!("{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict", signed_in.token.expose())
}

async fn step_up(ask: Ask) -> Done {
    let CodeOf { code } = ask.json()?;
    let token = session_token(&ask.headers)?;
    Reply::json(&ask.host.door().step_up(token, ask.address, &code).await?)
}

async fn logout(ask: Ask) -> Done {
    let token = session_token(&ask.headers)?;
    ask.host.door().logout(token, ask.address).await?;
    let gone = format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(Reply::nothing().header(SET_COOKIE, &gone))
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.door().sessions(&ask.actor).await?)
}

async fn end(ask: Ask) -> Done {
    ask.host.door().end_session(&ask.actor, ask.path("session")).await?;
    Ok(Reply::nothing())
}

async fn end_others(ask: Ask) -> Done {
    Reply::json(&json!({ "ended": ask.host.door().end_other_sessions(&ask.actor).await? }))
}
