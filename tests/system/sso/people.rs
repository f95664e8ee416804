//! Whose account somebody enters, with which role, and what becomes of passwords.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::browser::Browser;
use super::hostile::{Provider, now};
use super::{Site, back, field, plain, settings};
use crate::https::{Came, request};

/// The code of a seed in base32, so many steps from now (RFC 6238).
pub(super) fn code(seed: &str, steps: u64) -> String {
    let (mut key, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for letter in seed.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        held = held << 5 | u32::try_from(value).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            key.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let hash = hmac::sign(&key, &(now() / 30 + steps).to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

const PASSWORD: &str = "seven otters crossed the weir";

/// Over the network, by nobody yet.
async fn knock(site: &Site, path: &str, body: Value) -> Came {
    let mut request = request("POST", path, Some(body));
    request.headers_mut().insert("host", format!("localhost:{}", site.served.address.port()).parse().unwrap());
    site.served.http1(request).await
}

/// Takes up an invitation with a password; the authenticator's seed.
async fn enrol(site: &Site, invitation: &str) -> String {
    let accept = json!({ "invitation": invitation, "password": PASSWORD });
    let enrolment = knock(site, "/v1/invitations/accept", accept).await.is(200);
    let seed = enrolment["seed"].as_str().unwrap().to_owned();
    let first = json!({ "pending": enrolment["pending"], "code": code(&seed, 0) });
    knock(site, "/v1/invitations/enrol", first).await.is(200);
    seed
}

async fn password(site: &Site, user: &str) -> Came {
    knock(site, "/v1/login", json!({ "tenant": "acme", "user": user, "password": PASSWORD })).await
}

async fn sign_in(site: &Site, corp: &Provider, sub: &str, groups: &[&str]) -> (Browser, Came) {
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let mut claims = corp.claims(&away, sub);
    claims["groups"] = json!(groups);
    let came = back(site, &mut browser, &away, "corp", &corp.code(&away, &claims)).await;
    (browser, came)
}

/// Scorecard row 21, its last line.
#[tokio::test]
async fn the_same_address_from_another_provider_is_somebody_else() {
    let (corp, evil) = (Provider::start(), Provider::start());
    let site = Site::of(&[corp.upstream.port, evil.upstream.port], &settings(&corp.issuer())).await;
    site.put("evil", &settings(&evil.issuer())).await.is(200);
    assert_eq!(sign_in(&site, &corp, "eve", &[]).await.1.status, 200);
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "evil").await;
    // The same subject, and the same address: both of another issuer's saying.
    let claims = evil.claims(&away, "eve");
    plain(&back(&site, &mut browser, &away, "evil", &evil.code(&away, &claims)).await);
    site.because("sso.name-taken").await;
    // Another subject of the first provider that is given the address is not its first owner either.
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let mut claims = corp.claims(&away, "mallory");
    claims["email"] = json!("eve@example.com");
    plain(&back(&site, &mut browser, &away, "corp", &corp.code(&away, &claims)).await);
    site.because("sso.name-taken").await;
    // And who got a new address stays who they are.
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let mut claims = corp.claims(&away, "eve");
    claims["email"] = json!("evelyn@example.com");
    assert_eq!(back(&site, &mut browser, &away, "corp", &corp.code(&away, &claims)).await.status, 200);
    assert_eq!(browser.me(&site.served).await.unwrap()["user"], "eve@example.com");
    assert_eq!(site.people().await.len(), 2);
}

#[tokio::test]
async fn a_claim_gives_the_role_at_every_sign_in_and_nobody_disabled_gets_in() {
    let corp = Provider::start();
    let site = Site::new(&corp).await;
    let clerk = json!({ "base": "admin", "acts": ["user list"] });
    site.ada("PUT", "/v1/roles/clerk", Some(clerk)).await.is(200);
    let mut mapped = settings(&corp.issuer());
    mapped["claim"] = json!("groups");
    mapped["roles"] = json!([{ "value": "bosses", "role": "owner" }, { "value": "clerks", "role": "clerk" }]);
    mapped["default_role"] = Value::Null;
    let mut unknown = mapped.clone();
    unknown["roles"][0]["role"] = json!("nobody");
    assert_eq!(site.put("corp", &unknown).await.refused(404), "role.unknown");
    site.put("corp", &mapped).await.is(200);
    plain(&sign_in(&site, &corp, "eve", &["staff"]).await.1);
    site.because("sso.no-role").await;
    assert_eq!(sign_in(&site, &corp, "eve", &["staff", "clerks"]).await.1.status, 200);
    let role = async || site.people().await[1].1.clone();
    assert_eq!(role().await, "clerk");
    assert_eq!(site.ada("DELETE", "/v1/roles/clerk", None).await.refused(409), "role.in-use");
    assert_eq!(sign_in(&site, &corp, "eve", &["bosses", "clerks"]).await.1.status, 200);
    assert_eq!(role().await, "owner");
    // The last owner stays one, whatever the provider says.
    site.ada("PUT", "/v1/users/ada/role", Some(json!({ "role": "admin" }))).await.is(200);
    plain(&sign_in(&site, &corp, "eve", &["clerks"]).await.1);
    let eve = Some("acme/eve@example.com");
    let log = site.served.ask(eve, "GET", "/v1/audit?kind=refused&limit=1", None).await.is(200);
    assert_eq!(field(&log["items"][0], "rule"), "user.last-owner");
    let owner = json!({ "role": "owner" });
    site.served.ask(eve, "PUT", "/v1/users/ada/role", Some(owner)).await.is(200);
    let (mut browser, came) = sign_in(&site, &corp, "eve", &["clerks"]).await;
    assert_eq!((came.status.as_u16(), role().await.as_str()), (200, "clerk"));
    site.ada("POST", "/v1/users/eve@example.com/disable", None).await.is(200);
    assert!(browser.me(&site.served).await.is_err());
    plain(&sign_in(&site, &corp, "eve", &["bosses"]).await.1);
    site.because("sso.disabled").await;
    assert_eq!(role().await, "clerk");
}

#[tokio::test]
async fn an_invitation_is_taken_up_with_an_identity_and_a_changed_provider_ends_its_sessions() {
    let corp = Provider::start();
    let site = Site::new(&corp).await;
    let mut invited = settings(&corp.issuer());
    (invited["make_accounts"], invited["default_role"]) = (json!(false), Value::Null);
    site.put("corp", &invited).await.is(200);
    plain(&sign_in(&site, &corp, "nora", &[]).await.1);
    site.because("sso.no-account").await;
    site.ada("POST", "/v1/users", Some(json!({ "name": "nora", "role": "admin" }))).await.is(201);
    let invitation = site.ada("POST", "/v1/users/nora/invite", Some(json!({}))).await.is(200)["token"].clone();
    let accept = json!({ "invitation": invitation, "provider": "corp" });
    let came = knock(&site, "/v1/invitations/accept-at-provider", accept.clone()).await;
    let away = came.is(200)["url"].as_str().unwrap().to_owned();
    let mut browser = Browser::default();
    let cookie = came.header("set-cookie").split_once(';').unwrap().0.split_once('=').unwrap();
    browser.cookies.insert(cookie.0.to_owned(), cookie.1.to_owned());
    let code = corp.code(&away, &corp.claims(&away, "n-1"));
    assert_eq!(back(&site, &mut browser, &away, "corp", &code).await.status, 200);
    assert_eq!(browser.me(&site.served).await.unwrap()["user"], "nora");
    plain(&knock_plain(&site, accept).await);
    let sessions = site.ada("GET", "/v1/users/nora/sessions", None).await.is(200);
    assert_eq!(sessions[0]["provider"], "corp");
    // Signed in at the provider a while ago: what is grave waits for a sign-in anew.
    assert_eq!(sign_in(&site, &corp, "n-1", &[]).await.1.status, 200);
    let listed = site.ada("GET", "/v1/sso/providers", None).await.is(200);
    assert_eq!(listed[0]["name"], "corp");
    site.put("corp", &invited).await.is(200);
    assert!(browser.me(&site.served).await.is_err(), "a change ends them");
    let (mut browser, _) = sign_in(&site, &corp, "n-1", &[]).await;
    assert!(browser.me(&site.served).await.is_ok());
    site.ada("POST", "/v1/users/nora/reset-second-factor", None).await.is(200);
    plain(&sign_in(&site, &corp, "n-1", &[]).await.1);
    site.because("sso.no-account").await;
    site.ada("DELETE", "/v1/sso/providers/corp", None).await.is(204);
    plain(&Browser::default().open(&site.served, "/v1/login/sso/acme/corp", None).await);
}

/// An invitation that is used up: the answer is a problem with the one rule there is.
async fn knock_plain(site: &Site, accept: Value) -> Came {
    let came = knock(site, "/v1/invitations/accept-at-provider", accept).await;
    assert_eq!(came.refused(401), "sso.failed");
    Browser::default().open(&site.served, "/v1/login/sso/acme/none", None).await
}

#[tokio::test]
async fn where_it_is_enforced_passwords_open_nothing_but_an_owners_account() {
    let corp = Provider::start();
    let site = Site::new(&corp).await;
    site.ada("POST", "/v1/users", Some(json!({ "name": "nora", "role": "admin" }))).await.is(201);
    let token = |invitation: Value| invitation["token"].as_str().unwrap().to_owned();
    let ada = token(site.world_invites_ada().await);
    let nora = token(site.ada("POST", "/v1/users/nora/invite", Some(json!({}))).await.is(200));
    let (ada, nora) = (enrol(&site, &ada).await, enrol(&site, &nora).await);
    let pending = password(&site, "nora").await.is(200)["pending"].clone();
    let signed_in = knock(&site, "/v1/login/code", json!({ "pending": pending, "code": code(&nora, 1) })).await.is(200);
    let before = signed_in["token"].as_str().unwrap();
    site.with_token(before).await.is(200);
    let mut enforced = settings(&corp.issuer());
    enforced["enforced"] = json!(true);
    site.put("corp", &enforced).await.is(200);
    assert_eq!(site.with_token(before).await.refused(401), "session.ended", "what a password opened before");
    let wrong = password(&site, "nora").await;
    assert_eq!(wrong.refused(401), "login.failed", "as for a wrong one");
    site.because("sso.enforced").await;
    // The way back in: an owner, with both factors.
    let pending = password(&site, "ada").await.is(200)["pending"].clone();
    let back_in = knock(&site, "/v1/login/code", json!({ "pending": pending, "code": code(&ada, 1) })).await.is(200);
    site.with_token(back_in["token"].as_str().unwrap()).await.is(200);
    site.ada("POST", "/v1/users", Some(json!({ "name": "olaf", "role": "support" }))).await.is(201);
    let olaf = token(site.ada("POST", "/v1/users/olaf/invite", Some(json!({}))).await.is(200));
    let accept = json!({ "invitation": olaf, "password": PASSWORD });
    assert_eq!(knock(&site, "/v1/invitations/accept", accept).await.refused(403), "sso.enforced");
    site.put("corp", &settings(&corp.issuer())).await.is(200);
    password(&site, "nora").await.is(200);
}

impl Site {
    async fn world_invites_ada(&self) -> Value {
        self.served.ask(None, "POST", "/v1/tenants/acme/invite", None).await.is(200)
    }

    async fn with_token(&self, token: &str) -> Came {
        let mut request = request("GET", "/v1/me", None);
        let host = format!("localhost:{}", self.served.address.port());
        request.headers_mut().insert("host", host.parse().unwrap());
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        self.served.http1(request).await
    }
}
