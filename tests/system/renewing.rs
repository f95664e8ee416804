//! A person renews what they hold, by the commands and the API of a server.

use std::path::Path;

use serde_json::{Value, json};

use crate::https::Served;
use crate::opsiq::{Ran, World};
use crate::remote::{over, totp};

const ADA: &str = "acme/ada";

/// What somebody holds is renewed in a session, after a factor shown lately; others' sessions end, and what was good before is void.
#[tokio::test]
async fn a_person_renews_what_they_hold() {
    let world = World::new();
    let invitation = world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok()["invitation"]["token"].clone();
    let served = Served::start(&world, &[]);
    let (first, second) = ("a password of some length", "another one that is long enough");
    let accept = json!({ "invitation": invitation, "password": first });
    let enrolment = served.ask(None, "POST", "/v1/invitations/accept", Some(accept)).await.is(200);
    let enrol = json!({ "pending": enrolment["pending"], "code": totp(enrolment["seed"].as_str().unwrap(), "0") });
    let enrolled = served.ask(None, "POST", "/v1/invitations/enrol", Some(enrol)).await.is(200);
    let code = |at: usize| enrolled["recovery_codes"][at].as_str().unwrap();

    let (home, other) = (world.file("state"), world.file("other"));
    let at =
        |home: &Path, words: &[&str], input: &str| Ran::of_command(words, over(&world, &served, home, words), input);
    let login = ["--as", ADA, "login", "--stdin"];
    let list = ["account", "passkeys"];
    at(&other, &login, &format!("{first}\n{}\n", code(0))).ok();
    at(&home, &login, &format!("{first}\n{}\n", code(1))).ok();
    // From a device that nobody knows, what is grave waits for a factor anew.
    let change = ["account", "password", "--stdin"];
    let changing = format!("{first}\n{second}\n");
    assert_eq!(at(&home, &change, &changing).refused(3)["code"], "session.step-up-needed");
    at(&home, &["account", "step-up", "--stdin"], &format!("{}\n", code(2))).ok();
    assert_eq!(at(&home, &change, &format!("{second}\n{first}\n")).refused(3)["code"], "password.wrong");
    assert_eq!(at(&home, &change, &format!("{first}\npassword\n")).refused(6)["code"], "password.refused");
    at(&other, &list, "").ok();
    assert_eq!(at(&home, &change, &changing).ok()["ended"], 1);
    assert_eq!(at(&other, &list, "").refused(3)["code"], "session.ended");
    at(&home, &list, "").ok();
    assert_eq!(at(&other, &login, &format!("{first}\n{}\n", code(3))).refused(3)["code"], "login.failed");

    let renewed = at(&home, &["account", "recovery-codes"], "").ok();
    let fresh = |at: usize| renewed["recovery_codes"][at].as_str().unwrap();
    assert_eq!(renewed["recovery_codes"].as_array().unwrap().len(), 10);
    let with = |code: &str| at(&other, &login, &format!("{second}\n{code}\n"));
    assert_eq!(with(code(4)).refused(3)["code"], "code.wrong", "earlier ones are void");
    with(fresh(0)).ok();
    assert_eq!(with(fresh(0)).refused(3)["code"], "code.wrong");

    // The authenticator, over the API as a program would: the seed is told before the code is asked for.
    let file = std::fs::read_dir(home.join("opsiq/sessions")).unwrap().next().unwrap().unwrap().path();
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let bearer = format!("Bearer {}", kept["token"].as_str().unwrap());
    let ask = async |path: &str, body: Option<Value>| {
        let mut request = crate::https::request("POST", path, body);
        let host = format!("localhost:{}", served.address.port());
        request.headers_mut().insert("host", host.parse().unwrap());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        served.http1(request).await
    };
    let begun = ask("/v1/me/authenticator", None).await.is(200);
    let seed = begun["seed"].as_str().unwrap();
    let confirm = async |code: &str| {
        ask("/v1/me/authenticator/confirm", Some(json!({ "pending": begun["pending"], "code": code }))).await
    };
    let old = enrolment["seed"].as_str().unwrap();
    assert_eq!(confirm(&totp(old, "1")).await.refused(401), "code.wrong");
    let used = totp(seed, "0");
    assert_eq!(confirm(&used).await.is(200)["ended"], 1);
    assert_eq!(confirm(&totp(seed, "1")).await.refused(401), "login.over", "once");
    assert_eq!(at(&other, &list, "").refused(3)["code"], "session.ended");
    assert_eq!(with(&totp(old, "1")).refused(3)["code"], "code.wrong", "the old one is good no more");
    assert_eq!(with(&used).refused(3)["code"], "code.wrong", "a code is used up");
    with(fresh(1)).ok();

    // Nobody but the person does it, and each of it is on record.
    let stranger = async |who| served.ask(Some(who), "POST", "/v1/me/recovery-codes", None).await.refused(403);
    assert_eq!(stranger(ADA).await, "account.needs-session");
    let log = world_log(&served).await;
    for act in ["account password", "account recovery-codes", "account authenticator"] {
        assert!(
            log.iter().any(|entry| entry["fields"]["action"] == act && entry["fields"]["outcome"] == "ok"),
            "{act}"
        );
        assert!(log.iter().any(|entry| entry["fields"]["action"] == act && entry["kind"] == "refused"), "{act}");
    }
    let told = json!(log).to_string();
    for secret in [first, second, seed, fresh(5)] {
        assert!(!told.contains(secret), "no secret is in the log");
    }
}

async fn world_log(served: &Served) -> Vec<Value> {
    let log = served.ask(Some(ADA), "GET", "/v1/audit?limit=200", None).await.is(200);
    log["items"].as_array().unwrap().clone()
}
