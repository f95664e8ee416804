//! A person's own account: renewing what they hold, and their passkeys. The two steps of a passkey are a browser's:
//! `/sign-in` and `/passkeys` are pages that do them.

use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_gate::{NewPasskey, Party, PasskeyShown, whose_handle};
use opsiq_shield::Class;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::sessions::{knock, secret, session_cookie};
use crate::ask::{Ask, Done, Reply, segment};
use crate::door::session_token;
use crate::knock::Knocked;
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassword {
    /// The one that is good now.
    current: String,
    /// The one to be.
    new: String,
}

/// A passkey that a browser made. All but the first two are base64url without padding.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MadePasskey {
    /// What the first step answered.
    pending: String,
    /// What its person calls it: 1 to 60 characters.
    name: String,
    /// `response.clientDataJSON`.
    client_data: String,
    /// `response.attestationObject`.
    attestation: String,
}

/// A passkey that a browser shows. All but the first are base64url without padding.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowPasskey {
    /// What the first step answered.
    pending: String,
    /// `rawId`.
    credential: String,
    /// `response.userHandle`; empty where it is not said.
    user_handle: String,
    /// `response.clientDataJSON`.
    client_data: String,
    /// `response.authenticatorData`.
    authenticator_data: String,
    /// `response.signature`.
    signature: String,
}

/// What a passkey is called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamePasskey {
    /// 1 to 60 characters.
    name: String,
}

pub(super) fn add(routes: &mut Routes) {
    renewing(routes);
    enrolling(routes);
    showing(routes);
}

fn renewing(routes: &mut Routes) {
    routes.add(
        Spec::post(
            "/v1/me/password",
            "me.password",
            "Change one's password, in a session, after a second factor shown lately. All other sessions end.",
        )
        .unkeyed()
        .counted(Class::SignIn)
        .json("ChangePassword")
        .gives("EndedView", "How many ended."),
        password,
    );
    routes.add(
        Spec::post(
            "/v1/me/recovery-codes",
            "me.recovery-codes",
            "Make new recovery codes, shown once; earlier ones are void. In a session, after a second factor shown lately.",
        )
        .unkeyed()
        .gives("RecoveryCodesView", "The codes."),
        recovery_codes,
    );
    routes.add(
        Spec::post(
            "/v1/me/authenticator",
            "me.authenticator",
            "Begin to replace one's authenticator, in a session, after a second factor shown lately; the answer is what the new one scans.",
        )
        .unkeyed()
        .gives("EnrolmentView", "What comes next."),
        authenticator,
    );
    routes.add(
        Spec::post(
            "/v1/me/authenticator/confirm",
            "me.authenticator-confirm",
            "Show the first code of the new authenticator: the old one is good no more, and all other sessions end.",
        )
        .unkeyed()
        .counted(Class::SignIn)
        .json("PendingCode")
        .gives("EndedView", "How many ended."),
        authenticator_confirm,
    );
}

fn enrolling(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/me/passkeys", "me.passkeys", "One's own passkeys.")
            .gives("PasskeyList", "Passkeys, oldest first."),
        list,
    );
    routes.add(
        Spec::post(
            "/v1/me/passkeys/begin",
            "me.passkeys-begin",
            "Begin to enrol a passkey, in a session, after a second factor shown lately; a browser makes it.",
        )
        .unkeyed()
        .gives("PasskeyBegunView", "What the browser is asked for."),
        begin,
    );
    routes.add(
        Spec::post("/v1/me/passkeys", "me.passkeys-enrol", "Enrol the passkey that a browser made.")
            .unkeyed()
            .counted(Class::SignIn)
            .json("MadePasskey")
            .gives_as(201, "application/json", "PasskeyView", "The passkey."),
        enrol,
    );
    let one = "/v1/me/passkeys/{passkey}";
    routes.add(
        Spec::put(one, "me.passkeys-rename", "Give one of one's passkeys another name, in a session.")
            .unkeyed()
            .json("NamePasskey")
            .gives("PasskeyView", "The passkey."),
        rename,
    );
    routes.add(
        Spec::delete(one, "me.passkeys-remove", "Remove one of one's passkeys, after a second factor shown lately.")
            .unkeyed()
            .gives_nothing("It is gone."),
        remove,
    );
}

fn showing(routes: &mut Routes) {
    routes.knocked(
        Spec::post("/v1/login/passkey/begin", "login.passkey-begin", "Begin to sign in with a passkey.")
            .gives("PasskeyBegunView", "What the browser is asked for."),
        login_begin,
    );
    routes.knocked(
        Spec::post(
            "/v1/login/passkey",
            "login.passkey",
            "Sign in with the passkey that a browser shows: both factors in one. The answer sets the session's cookie.",
        )
        .json("ShowPasskey")
        .gives("SignedInView", "The session, and its token."),
        login,
    );
    routes.add(
        Spec::post("/v1/login/step-up/passkey/begin", "login.step-up-passkey-begin", "Begin to show a passkey again.")
            .unkeyed()
            .gives("PasskeyBegunView", "What the browser is asked for."),
        step_up_begin,
    );
    routes.add(
        Spec::post(
            "/v1/login/step-up/passkey",
            "login.step-up-passkey",
            "Show one of one's passkeys again, for what asks for a fresh second factor.",
        )
        .unkeyed()
        .counted(Class::SignIn)
        .json("ShowPasskey")
        .gives("SessionView", "The session."),
        step_up,
    );
}

async fn password(ask: Ask) -> Done {
    let ChangePassword { current, new } = ask.json()?;
    let ended = ask.host.door().change_password(&ask.actor, &secret(current)?, &secret(new)?).await?;
    Reply::json(&json!({ "ended": ended }))
}

async fn recovery_codes(ask: Ask) -> Done {
    Reply::json(&json!({ "recovery_codes": ask.host.door().renew_recovery_codes(&ask.actor).await? }))
}

async fn authenticator(ask: Ask) -> Done {
    super::sessions::enrolment(&ask.host.door().authenticator_begin(&ask.actor).await?)
}

async fn authenticator_confirm(ask: Ask) -> Done {
    let (pending, code) = super::sessions::pending_code(ask.json()?);
    let ended = ask.host.door().authenticator_replace(&ask.actor, &pending, &code).await?;
    Reply::json(&json!({ "ended": ended }))
}

async fn list(ask: Ask) -> Done {
    Reply::json(&ask.host.door().passkeys(&ask.actor).await?)
}

async fn begin(ask: Ask) -> Done {
    let party = party(ask.authority.as_deref())?;
    Reply::json(&ask.host.door().passkey_begin(&ask.actor, &party).await?)
}

async fn enrol(ask: Ask) -> Done {
    let MadePasskey { pending, name, client_data, attestation } = ask.json()?;
    let (client_data, attestation) = (bytes("client_data", &client_data)?, bytes("attestation", &attestation)?);
    let new = NewPasskey { pending: &pending, name: &name, client_data: &client_data, attestation: &attestation };
    let made = ask.host.door().passkey_enrol(&ask.actor, &party(ask.authority.as_deref())?, &new).await?;
    Reply::created(&made, &format!("/v1/me/passkeys/{}", segment(&made.id)))
}

async fn rename(ask: Ask) -> Done {
    let NamePasskey { name } = ask.json()?;
    Reply::json(&ask.host.door().passkey_rename(&ask.actor, ask.path("passkey"), &name).await?)
}

async fn remove(ask: Ask) -> Done {
    ask.host.door().passkey_remove(&ask.actor, ask.path("passkey")).await?;
    Ok(Reply::nothing())
}

async fn login_begin(asked: Knocked) -> Done {
    Reply::json(&asked.host.door().passkey_ask(&party(asked.authority.as_deref())?)?)
}

async fn login(asked: Knocked) -> Done {
    let shown = shown(asked.json()?)?;
    if let Some((tenant, _)) = whose_handle(&shown.user_handle) {
        asked.to_tenant(tenant.as_str()).await?;
    }
    let party = party(asked.authority.as_deref())?;
    let signed_in = asked.host.door().passkey_login(&knock(&asked), &party, &shown).await?;
    Ok(Reply::json(&signed_in)?.header(SET_COOKIE, &session_cookie(&signed_in)))
}

async fn step_up_begin(ask: Ask) -> Done {
    let party = party(ask.authority.as_deref())?;
    Reply::json(&ask.host.door().passkey_ask_again(&ask.actor, &party).await?)
}

async fn step_up(ask: Ask) -> Done {
    let (shown, party) = (shown(ask.json()?)?, party(ask.authority.as_deref())?);
    let token = session_token(&ask.headers)?;
    Reply::json(&ask.host.door().passkey_step_up(token, ask.address, &party, &shown).await?)
}

/// This host under the name by which the browser came, which is one of those that the operator gave it.
fn party(authority: Option<&str>) -> Result<Party, Problem> {
    authority.and_then(Party::of).ok_or_else(|| {
        let detail = "browsers keep passkeys for names, and the request came to none of this host's";
        let fix = "begin at one of the host's own names: public-url, or tls-names, under [server] in opsiq.toml";
        Problem::request(StatusCode::MISDIRECTED_REQUEST, "request.host", detail, fix)
    })
}

fn shown(show: ShowPasskey) -> Result<PasskeyShown, Problem> {
    Ok(PasskeyShown {
        credential: bytes("credential", &show.credential)?,
        user_handle: bytes("user_handle", &show.user_handle)?,
        client_data: bytes("client_data", &show.client_data)?,
        authenticator_data: bytes("authenticator_data", &show.authenticator_data)?,
        signature: bytes("signature", &show.signature)?,
        pending: show.pending,
    })
}

fn bytes(name: &str, text: &str) -> Result<Vec<u8>, Problem> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| Problem::malformed("request.body", format!("`{name}` is no base64url without padding")))
}
