use super::*;
use crate::testing::{Answer, Host, HttpFailure};
use serde_json::{Value, json};

/// What a GET answered so becomes.
fn read(answer: Answer) -> Result<Value> {
    let mut answer = Some(answer);
    let host = Host::new().http(move |_| answer.take().ok_or(HttpFailure::Unreachable));
    host.run(|| Http::new().get("https://api.example/v1/people/jane").json())
}

#[test]
fn statuses_become_what_they_mean() {
    let problem = |status| Answer::json(status, &json!({ "detail": "no such\r\nthing" }));
    assert!(
        matches!(read(problem(404)), Err(Failure::NotFound(m)) if m == "GET api.example answered 404: no such  thing")
    );
    assert!(matches!(read(problem(409)), Err(Failure::Conflict(_))));
    assert!(matches!(read(problem(422)), Err(Failure::Invalid(_))));
    assert!(matches!(read(Answer::status(429).header("Retry-After", "30")), Err(Failure::RateLimited(Some(30)))));
    assert!(matches!(
        read(Answer::status(429).header("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")),
        Err(Failure::RateLimited(None))
    ));
    for status in [302, 400, 401, 500, 503] {
        let failure = read(problem(status));
        assert!(
            matches!(&failure, Err(Failure::Upstream(f)) if f.status == Some(status) && f.request_sent),
            "{failure:?}"
        );
    }
    assert!(matches!(read(Answer::json(201, &json!(1))), Ok(value) if value == 1));
}

#[test]
fn a_reason_is_found_in_the_usual_places_and_kept_short() {
    for (body, reason) in [
        (json!({ "message": "m" }), "m"),
        (json!({ "error": { "message": "nested" } }), "nested"),
        (json!({ "error": "plain", "title": "t" }), "plain"),
    ] {
        let expected = format!("GET api.example answered 500: {reason}");
        assert!(matches!(read(Answer::json(500, &body)), Err(Failure::Upstream(f)) if f.message == expected));
    }
    let long = read(Answer::json(500, &json!({ "detail": "x".repeat(5000) })));
    assert!(matches!(long, Err(Failure::Upstream(f)) if f.message.len() < 400));
    let none = read(Answer::status(500).body("<html>secret stack trace"));
    assert!(matches!(none, Err(Failure::Upstream(f)) if f.message == "GET api.example answered 500"));
}

#[test]
fn what_is_no_json_is_the_upstreams_failure() {
    let failure = read(Answer::status(200).body("nonsense"));
    assert!(matches!(failure, Err(Failure::Upstream(f)) if f.status == Some(200) && f.request_sent));
}

#[test]
fn large_bodies_come_whole() {
    let text = "x".repeat(300_000);
    let host = Host::new().http({
        let text = text.clone();
        move |_| Ok(Answer::status(200).body(text.clone()))
    });
    let got = host.run(|| Http::new().get("https://api.example/").text());
    assert!(matches!(got, Ok(got) if got == text));
}

#[test]
fn a_request_is_sent_as_written() {
    let host = Host::new().key("signing", b"k").http(|_| Ok(Answer::status(204)));
    let sent = host.run(|| {
        let key = Key::open("signing")?;
        Http::new()
            .post("https://api.example/refunds")
            .query("expand", "a b")
            .query_if("none", None::<u8>)
            .header("idempotency-key", "i-1")
            .timeout(Duration::from_secs(2))
            .json(&json!({ "amount": 5 }))
            .standard_webhooks(&key)
            .send()
    });
    assert!(matches!(sent, Ok(answer) if answer.status() == 204));
    let request = host.requests().remove(0);
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://api.example/refunds?expand=a%20b"));
    assert_eq!(request.body.as_deref(), Some(&br#"{"amount":5}"#[..]));
    assert_eq!(request.timeout_ms, Some(2000));
    let names = request.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["idempotency-key", "content-type", "webhook-id", "webhook-timestamp", "webhook-signature"]);
}

#[test]
fn nothing_is_sent_where_putting_together_failed() {
    let host = Host::new().http(|_| Ok(Answer::status(200)));
    let harmful = host.run(|| Http::new().get(Url::new().base(&"https://a.example").text("/").segment(&"..")).send());
    assert!(matches!(harmful, Err(Failure::Invalid(_))));
    let host2 = Host::new().key("k", b"k").http(|_| Ok(Answer::status(200)));
    let unserializable = host2.run(|| {
        let nan = std::collections::BTreeMap::from([((1, 2), 3)]);
        Http::new().post("https://a.example/").json(&nan).send()
    });
    assert!(matches!(unserializable, Err(Failure::Internal(_))));
    assert!(host.requests().is_empty() && host2.requests().is_empty());
}
