use opsiq_sdk::serde_json::Value;
use opsiq_sdk::testing::{Answer, Host, HttpFailure};

use super::*;

const NOW_S: u64 = 1_767_225_600;

/// A GitHub that gives one answer to everything.
fn github(answer: Answer) -> Host {
    Host::new()
        .config(json!({ "base-url": "https://api.github.com", "owner": "octo-org" }))
        .now_ms(NOW_S * 1000)
        .http(move |_| Ok(answer.clone()))
}

fn issue(number: u64) -> Value {
    json!({
        "number": number, "title": "It broke", "state": "open", "user": { "login": "grace" }, "locked": false,
        "assignees": [{ "login": "ada" }], "labels": [{ "name": "bug" }, { "name": null }, "old"], "comments": 2,
        "html_url": format!("https://github.com/octo-org/shop/issues/{number}"), "created_at": "2026-11-01T10:00:00Z",
        "updated_at": "2026-11-02T10:00:00Z", "closed_at": null, "body": null, "node_id": "not in the contract",
    })
}

fn get(number: u64) -> GetIssueParams {
    GetIssueParams { repo: "shop".into(), number }
}

fn list() -> ListIssuesParams {
    ListIssuesParams { repo: "shop".into(), state: None, since: None, limit: None, labels: None, cursor: None }
}

fn close(number: u64, reason: Option<CloseIssueParamsReason>) -> CloseIssueParams {
    CloseIssueParams { repo: "shop".into(), number, reason }
}

fn body_of(request: &opsiq_sdk::testing::Request) -> Value {
    opsiq_sdk::serde_json::from_slice(request.body.as_deref().unwrap()).unwrap()
}

#[test]
fn an_issue_is_read_as_the_contract_has_it() {
    let github = github(Answer::json(200, &issue(7)));
    let found = github.run(|| Plugin::get_issue(&Context::new(), get(7))).unwrap();
    assert_eq!((found.number, found.state, found.author.as_deref()), (7, IssueState::Open, Some("grace")));
    assert_eq!((found.labels, found.pull_request), (vec!["bug".to_owned(), "old".to_owned()], false));
    let request = github.requests().remove(0);
    assert_eq!(request.url, "https://api.github.com/repos/octo-org/shop/issues/7");
    for (name, value) in [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")] {
        assert!(request.headers.contains(&(name.into(), value.into())), "{request:?}");
    }
    assert!(request.headers.iter().any(|(name, value)| name == "user-agent" && value.starts_with("opsiq-github/")));
    assert!(!request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")));
}

#[test]
fn a_page_leaves_pull_requests_out_and_says_where_to_go_on() {
    let mut pull = issue(8);
    pull["pull_request"] = json!({ "url": "x" });
    let mut ghost = issue(9);
    ghost["user"] = Value::Null;
    let link = "<https://elsewhere.example/steal?per_page=2&page=2>; rel=\"next\"";
    let github = github(Answer::json(200, &json!([issue(7), pull, ghost])).header("Link", link));
    let params = ListIssuesParams {
        state: Some(ListIssuesParamsState::All),
        labels: Some(vec!["a b".into(), "ü".into()]),
        limit: Some(2),
        ..list()
    };
    let page = github.run(|| Plugin::list_issues(&Context::new(), params)).unwrap();
    assert_eq!(page.issues.iter().map(|issue| issue.number).collect::<Vec<_>>(), [7, 9]);
    assert_eq!((page.issues[1].author.as_deref(), page.next.as_deref()), (None, Some("2")));
    let after = ListIssuesParams { cursor: page.next, ..list() };
    github.run(|| Plugin::list_issues(&Context::new(), after)).unwrap_err();
    let urls: Vec<String> = github.requests().into_iter().map(|request| request.url).collect();
    let base = "https://api.github.com/repos/octo-org/shop/issues";
    assert_eq!(urls, [format!("{base}?state=all&labels=a%20b%2C%C3%BC&per_page=2"), format!("{base}?page=2")]);
}

#[test]
fn an_opened_issue_leaves_an_event_and_only_what_was_given_is_sent() {
    let github = github(Answer::json(201, &issue(7)));
    let params = CreateIssueParams {
        repo: "shop".into(),
        title: "It broke".into(),
        body: None,
        labels: Some(vec!["bug".into()]),
        assignees: None,
    };
    assert_eq!(github.run(|| Plugin::create_issue(&Context::new(), params)).unwrap().number, 7);
    let request = github.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), body_of(&request)),
        ("POST", json!({ "title": "It broke", "labels": ["bug"] }))
    );
    let detail = json!({ "repository": "octo-org/shop", "issue": 7 });
    assert_eq!(github.events(), [("issue.created".to_owned(), detail)]);
}

#[test]
fn a_comment_leaves_an_event() {
    let comment = json!({ "id": 5, "user": null, "html_url": "u", "created_at": "c", "body": "hi" });
    let github = github(Answer::json(201, &comment));
    let params = CommentOnIssueParams { repo: "shop".into(), number: 7, body: "ünïcode 🙂 \u{202e}".into() };
    assert_eq!(github.run(|| Plugin::comment_on_issue(&Context::new(), params)).unwrap().id, 5);
    let request = github.requests().remove(0);
    assert_eq!(request.url, "https://api.github.com/repos/octo-org/shop/issues/7/comments");
    assert_eq!(body_of(&request), json!({ "body": "ünïcode 🙂 \u{202e}" }));
    assert_eq!(github.events()[0].0, "issue.commented");
}

#[test]
fn closing_reads_first_and_closes_issues_only() {
    let open = issue(7);
    let mut closed = issue(7);
    closed["state"] = "closed".into();
    closed["state_reason"] = "not_planned".into();
    let answers = (open.clone(), closed.clone());
    let github_of = |read: Value, changed: Value| {
        github(Answer::default())
            .http(move |request| Ok(Answer::json(200, if request.method == "GET" { &read } else { &changed })))
    };
    let host = github_of(answers.0, answers.1);
    let reason = Some(CloseIssueParamsReason::NotPlanned);
    let done = host.run(|| Plugin::close_issue(&Context::new(), close(7, reason))).unwrap();
    assert_eq!((done.state, done.state_reason.as_deref()), (IssueState::Closed, Some("not_planned")));
    assert_eq!(body_of(&host.requests()[1]), json!({ "state": "closed", "state_reason": "not_planned" }));
    assert_eq!(host.events().len(), 1);

    let host = github_of(closed.clone(), Value::Null);
    host.run(|| Plugin::close_issue(&Context::new(), close(7, reason))).unwrap();
    host.run(|| Plugin::close_issue(&Context::new(), close(7, None))).unwrap();
    assert!(host.requests().iter().all(|request| request.method == "GET") && host.events().is_empty());

    let mut pull = open.clone();
    pull["pull_request"] = json!({});
    let host = github_of(pull, closed);
    let failed = host.run(|| Plugin::close_issue(&Context::new(), close(7, None)));
    assert!(matches!(failed, Err(Failure::Invalid(m)) if m.contains("pull request")));
    assert_eq!(host.requests().len(), 1);

    // Asked to close one and told of another, or that it stays open: something happened, nobody knows what.
    for wrong in [issue(8), open.clone()] {
        let host = github_of(open.clone(), wrong);
        let failed = host.run(|| Plugin::close_issue(&Context::new(), close(7, None)));
        assert!(matches!(failed, Err(Failure::Upstream(f)) if f.request_sent));
        assert!(host.events().is_empty());
    }
}

fn refusal(answer: Answer) -> Failure {
    github(answer).run(|| Plugin::get_issue(&Context::new(), get(7))).unwrap_err()
}

fn said(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }))
}

#[test]
fn both_rate_limits_say_how_long() {
    let primary = |status| {
        let reset = (NOW_S + 90).to_string();
        said(status, "API rate limit exceeded").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", &reset)
    };
    for (answer, wait) in [
        (primary(403), Some(90)),
        (primary(429), Some(90)),
        // Headers come in any case; a reset that has passed by our clock is about now.
        (said(403, "x").header("X-RateLimit-Remaining", "0").header("X-RateLimit-Reset", "12"), Some(1)),
        (said(403, "x").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "soon"), None),
        (
            said(403, "x").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "99999999999999"),
            Some(u32::MAX),
        ),
        (said(403, "You have exceeded a secondary rate limit").header("retry-after", "30"), Some(30)),
        (said(429, "You have exceeded a secondary rate limit").header("retry-after", "30"), Some(30)),
        (said(403, "You have exceeded a secondary rate limit and …"), Some(60)),
        (said(429, "Too many"), None),
        (primary(403).header("retry-after", "7"), Some(7)),
    ] {
        let shown = format!("{answer:?}");
        assert!(matches!(refusal(answer), Failure::RateLimited(told) if told == wait), "{shown}");
    }
}

#[test]
fn every_refusal_keeps_its_meaning() {
    let left = |answer: Answer| answer.header("x-ratelimit-remaining", "12").header("x-ratelimit-reset", "1");
    assert!(
        matches!(refusal(left(said(403, "Resource not accessible"))), Failure::Denied(d) if d.rule == "github.permission")
    );
    assert!(matches!(refusal(said(401, "Bad credentials")), Failure::Denied(d) if d.fix.contains("token")));
    assert!(matches!(refusal(said(404, "Not Found")), Failure::NotFound(_)));
    assert!(matches!(refusal(said(410, "This issue was deleted")), Failure::NotFound(m) if m.contains("deleted")));
    assert!(matches!(refusal(said(409, "Conflict")), Failure::Conflict(_)));
    let invalid =
        json!({ "message": "Validation Failed", "errors": [{ "field": "title", "code": "missing" }, "x", 7] });
    assert!(
        matches!(refusal(Answer::json(422, &invalid)), Failure::Invalid(m) if m.ends_with("Validation Failed; title missing; x"))
    );
    for status in [500, 502, 503, 504] {
        let failure = refusal(Answer::status(status).body("<html>Unicorn!</html>"));
        assert!(matches!(failure, Failure::Upstream(f) if f.status == Some(status) && f.request_sent));
    }
    // A text of the other side is one line, and not a long one.
    let long = refusal(said(404, &format!("a\r\n\u{1b}[31m{}", "x".repeat(9000))));
    assert!(matches!(long, Failure::NotFound(m) if !m.contains(char::is_control) && m.chars().count() < 500));
}

#[test]
fn a_redirect_is_told_and_never_followed() {
    for (status, location) in [
        (301, "https://api.github.com/repositories/1000/issues/7"),
        (302, "/repositories/1000/issues/7"),
        (307, "https://api.github.com/repositories/1000"),
        (308, ""),
    ] {
        let host = github(said(status, "Moved Permanently").header("location", location));
        let failed = host.run(|| Plugin::get_issue(&Context::new(), get(7)));
        assert!(matches!(failed, Err(Failure::NotFound(m)) if m.contains("moved")), "{status} {location}");
        assert_eq!(host.requests().len(), 1);
    }
    for location in [
        "https://evil.example/x",
        "//evil.example/x",
        "http://api.github.com/x",
        "https://api.github.com.evil.example/",
    ] {
        let failure = refusal(Answer::status(302).header("location", location));
        assert!(matches!(failure, Failure::Upstream(f) if f.message.contains("another host")), "{location}");
    }
}

#[test]
fn what_is_not_as_github_answers_is_a_failure_that_says_so() {
    for body in ["", "[", "null", "{}", "[]", r#"{"number":"7"}"#, "\u{feff}{}"] {
        let failure = refusal(Answer::status(200).body(body));
        assert!(matches!(failure, Failure::Upstream(f) if f.status == Some(200) && f.request_sent), "{body}");
    }
    assert!(matches!(refusal(Answer::json(200, &issue(8))), Failure::Upstream(_)));
    let host = github(Answer::default()).http(|_| Err(HttpFailure::Broken));
    let failed = host.run(|| {
        Plugin::create_issue(
            &Context::new(),
            CreateIssueParams { repo: "shop".into(), title: "t".into(), body: None, labels: None, assignees: None },
        )
    });
    assert!(matches!(failed, Err(Failure::Upstream(f)) if f.request_sent && f.status.is_none()));
    assert!(host.events().is_empty());
}

fn deliver(kind: &str, content_type: &str, body: &Value) -> (Result<()>, Vec<(String, Value)>) {
    let delivery = Delivery {
        id: "72d3162e".into(),
        headers: vec![("x-github-event".into(), kind.into()), ("content-type".into(), content_type.into())],
        body: body.to_string().into_bytes(),
    };
    let host = github(Answer::default());
    (host.run(|| Plugin::events(&Context::new(), delivery)), host.events())
}

#[test]
fn deliveries_become_events() {
    const JSON: &str = "application/json";
    let body = json!({
        "action": "created", "issue": { "number": 7, "title": "t" }, "comment": { "id": 5, "body": "b" },
        "repository": { "full_name": "octo-org/shop" }, "sender": { "login": "grace" },
    });
    let mut detail = json!({
        "delivery": "72d3162e", "action": "created", "repository": "octo-org/shop", "issue": 7, "sender": "grace",
        "comment": 5,
    });
    let (done, events) = deliver("issue_comment", JSON, &body);
    assert!(done.is_ok());
    assert_eq!(events, [("issue-comment.event".to_owned(), detail.clone())]);
    let mut opened = body.clone();
    opened.as_object_mut().unwrap().remove("comment");
    detail.as_object_mut().unwrap().remove("comment");
    assert_eq!(deliver("issues", JSON, &opened).1, [("issue.event".to_owned(), detail)]);
    for other in ["ping", "push", "star"] {
        let (done, events) = deliver(other, JSON, &json!({ "zen": "Design for failure." }));
        assert!(done.is_ok() && events.is_empty());
    }
    for (kind, content_type, body) in [
        ("issues", JSON, json!({})),
        ("issues", "application/x-www-form-urlencoded", body),
        ("issues", JSON, json!([])),
    ] {
        let (done, events) = deliver(kind, content_type, &body);
        assert!(matches!(done, Err(Failure::Invalid(_))) && events.is_empty());
    }
}
