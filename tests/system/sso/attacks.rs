//! Scorecard row 21: what a provider, or somebody between, may not get away with. The browser hears one thing, the log the rule.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::browser::{Browser, encoded, param};
use super::hostile::{Provider, now};
use super::{Site, back, plain, settings};

fn with(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[tokio::test]
async fn what_a_hostile_provider_signs_opens_nothing() {
    let corp = Provider::start();
    let site = Site::new(&corp).await;
    let good = json!({ "alg": "ES256", "kid": "k1" });
    let (mut bodies, mut rules) = (BTreeSet::new(), BTreeSet::new());
    for (header, changes, rule) in [
        (json!({ "alg": "none", "kid": "k1" }), json!({}), "sso.alg"),
        (json!({ "alg": "HS256", "kid": "k1" }), json!({}), "sso.alg"),
        (json!({ "alg": "RS256", "kid": "k1" }), json!({}), "sso.alg"),
        (json!({ "alg": "ES256" }), json!({}), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "k3" }), json!({}), "sso.kid"),
        (good.clone(), json!({ "iss": "https://evil.example.com" }), "sso.iss"),
        (good.clone(), json!({ "aud": "somebody-else" }), "sso.aud"),
        (good.clone(), json!({ "aud": ["opsiq", "somebody-else"] }), "sso.aud"),
        (good.clone(), json!({ "azp": "somebody-else" }), "sso.azp"),
        (good.clone(), json!({ "nonce": "of another attempt" }), "sso.nonce"),
        (good.clone(), json!({ "nonce": null }), "sso.nonce"),
        (good.clone(), json!({ "exp": now() - 120 }), "sso.exp"),
        (good.clone(), json!({ "iat": now() - 3600 }), "sso.iat"),
        (good.clone(), json!({ "sub": null }), "sso.sub"),
        (good.clone(), json!({ "email": "eve@evil.example" }), "sso.domain"),
        (good.clone(), json!({ "email_verified": false }), "sso.domain"),
        (good.clone(), json!({ "email": null }), "sso.domain"),
    ] {
        let mut browser = Browser::default();
        let away = browser.leave(&site.served, "corp").await;
        let token = corp.sign(&header, &with(corp.claims(&away, "eve"), &changes));
        let came = back(&site, &mut browser, &away, "corp", &corp.code_for(&away, token)).await;
        plain(&came);
        bodies.insert(came.body.clone());
        // The first of each: those that follow within a second are told together.
        if rules.insert(rule) {
            site.because(rule).await;
        }
        assert!(browser.me(&site.served).await.is_err());
    }
    assert_eq!(bodies.len(), 1, "nothing tells one from another");
    assert_eq!(site.people().await, [("ada".to_owned(), "owner".to_owned())]);

    // The same provider, when it means it.
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let code = corp.code(&away, &corp.claims(&away, "eve"));
    assert_eq!(back(&site, &mut browser, &away, "corp", &code).await.status, 200);
    assert_eq!(browser.me(&site.served).await.unwrap()["user"], "eve@example.com");
    // The secret that proves the host is in no file, no log and no answer.
    let shown = site.ada("GET", "/v1/sso/providers/corp", None).await.is(200).to_string();
    let log = site.ada("GET", "/v1/audit?limit=1000", None).await.is(200).to_string();
    assert!(!shown.contains(super::SECRET) && !log.contains(super::SECRET));
    for file in crate::admission::files(site.world.data()) {
        assert!(!crate::canary::find(&std::fs::read(&file).unwrap_or_default(), super::SECRET), "{}", file.display());
    }
}

#[tokio::test]
async fn an_answer_counts_once_and_in_the_browser_that_asked() {
    let corp = Provider::start();
    corp.is_careless();
    let site = Site::new(&corp).await;
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let kept = browser.cookies.clone();
    let code = corp.code(&away, &corp.claims(&away, "eve"));
    let path = |code: &str, state: &str| {
        format!("/v1/login/sso/acme/corp/return?code={}&state={}", encoded(code), encoded(state))
    };
    let state = param(&away, "state");
    // Without the cookie, with another browser's, with another state, with none, and at another provider's address.
    let mut other = Browser::default();
    plain(&other.open(&site.served, &path(&code, &state), None).await);
    site.because("sso.state").await;
    let others = other.leave(&site.served, "corp").await;
    plain(&other.open(&site.served, &path(&code, &state), None).await);
    site.because("sso.state").await;
    let mut again = Browser { cookies: kept.clone() };
    plain(&again.open(&site.served, &path(&code, &param(&others, "state")), None).await);
    site.because("sso.state").await;
    let mut again = Browser { cookies: kept.clone() };
    let unstated = format!("/v1/login/sso/acme/corp/return?code={code}");
    plain(&again.open(&site.served, &unstated, None).await);
    site.because("sso.state").await;
    site.put("twin", &settings(&corp.issuer())).await.is(200);
    let mut again = Browser { cookies: kept.clone() };
    plain(&again.open(&site.served, &path(&code, &state).replace("/corp/", "/twin/"), None).await);
    site.because("sso.provider").await;

    // Many at once, in the browser that asked, at a provider that takes a code as often as it is shown.
    let mut browsers: Vec<_> = (0..8).map(|_| Browser { cookies: kept.clone() }).collect();
    let target = path(&code, &state);
    let came =
        futures::future::join_all(browsers.iter_mut().map(|browser| browser.open(&site.served, &target, None))).await;
    assert_eq!(came.iter().filter(|came| came.status == 200).count(), 1, "{came:?}");
    site.because("sso.replayed").await;
    // After a restart as well.
    let Site { world, served, told } = site;
    drop(served);
    let site = Site { served: crate::https::Served::start(&world, &[]), world, told };
    let mut again = Browser { cookies: kept };
    plain(&again.open(&site.served, &target, None).await);
    site.because("sso.replayed").await;
    // And the code is spent for whoever comes with an attempt of their own.
    let mut thief = Browser::default();
    let theirs = thief.leave(&site.served, "corp").await;
    plain(&back(&site, &mut thief, &theirs, "corp", &code).await);
    site.because("sso.replayed").await;
}

#[tokio::test]
async fn who_answers_in_the_place_of_a_provider_is_not_believed() {
    let corp = Provider::start();
    corp.says(json!({ "authorization_response_iss_parameter_supported": true }));
    let site = Site::new(&corp).await;
    let mut browser = Browser::default();
    for (more, rule) in [
        ("", "sso.iss"),
        ("&iss=https%3A%2F%2Fevil.example.com", "sso.iss"),
        ("&iss=CORP&error=x", "sso.provider-error"),
    ] {
        let away = browser.leave(&site.served, "corp").await;
        let code = corp.code(&away, &corp.claims(&away, "eve"));
        let more = more.replace("CORP", &encoded(&corp.issuer()));
        let state = encoded(&param(&away, "state"));
        let path = format!("/v1/login/sso/acme/corp/return?code={code}&state={state}{more}");
        plain(&browser.open(&site.served, &path, None).await);
        site.because(rule).await;
    }
    // A provider that says it is another, or knows no PKCE, or is asked by a redirect, is left for by nobody.
    for about in [
        json!({ "issuer": "https://evil.example.com" }),
        json!({ "code_challenge_methods_supported": ["plain"] }),
        json!({ "token_endpoint": "gopher://127.0.0.1/" }),
    ] {
        corp.says(about.clone());
        // A change of what is said here makes it be asked anew.
        site.put("corp", &settings(&corp.issuer())).await.is(200);
        plain(&browser.open(&site.served, "/v1/login/sso/acme/corp", None).await);
        site.because("sso.discovery").await;
        assert_eq!(site.ada("POST", "/v1/sso/providers/corp/check", None).await.refused(422), "sso.discovery");
    }
    for nowhere in ["/v1/login/sso/acme/none", "/v1/login/sso/nobody/corp", "/v1/login/sso/acme/none/return?state=x"] {
        plain(&browser.open(&site.served, nowhere, None).await);
    }
}

/// An owner cannot make the host look around in its own network.
#[tokio::test]
async fn a_provider_in_the_hosts_own_network_needs_the_operators_word() {
    let (corp, hidden) = (Provider::start(), Provider::start());
    let site = Site::new(&corp).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut told = Vec::new();
    for issuer in [hidden.issuer(), format!("http://{closed}"), "http://169.254.169.254".to_owned()] {
        site.put("hidden", &settings(&issuer)).await.is(200);
        let began = std::time::Instant::now();
        let came = site.ada("POST", "/v1/sso/providers/hidden/check", None).await;
        told.push((came.is(422)["detail"].clone(), began.elapsed().as_millis() / 1500));
        plain(&Browser::default().open(&site.served, "/v1/login/sso/acme/hidden", None).await);
        site.because("sso.unreachable").await;
    }
    assert!(hidden.upstream.seen().is_empty(), "not a packet");
    assert!(told.iter().all(|one| *one == told[0]), "the same answer in the same class of time: {told:?}");
}
