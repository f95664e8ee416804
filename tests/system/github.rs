//! The `github` connector against what GitHub really answered, as its client library's makers recorded it, and against
//! a server that does what no recording holds.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::admission::files;
use crate::canary;
use crate::opsiq::{Ran, World, built, guest};
use crate::upstream::{Reply, Request, Upstream};

const TOKEN: &str = "github_pat_11Kanarienvogel_0123456789abcdef";
const WEBHOOK_SECRET: &str = "kanarienvogel-webhook-secret-42";
const OWNER: &str = "octokit-fixture-org";

/// The connector, installed as `github`, its API at this server.
fn installed(server: &Upstream) -> World {
    let world = World::new();
    world.open_loopback(server.port);
    let config = [("base-url", server.url()), ("owner", OWNER.to_owned())];
    let config: Vec<(&str, &str)> = config.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.install(&guest("github"), "github", &config, &[("token", TOKEN), ("webhook-secret", WEBHOOK_SECRET)]);
    world
}

/// The recorded exchanges of a scenario.
fn recorded(scenario: &str) -> Option<Vec<Value>> {
    let target = built().parent().map(Path::to_owned).unwrap();
    let folder = target.join("fixtures/octokit-fixtures/scenarios/api.github.com");
    let Ok(text) = fs::read_to_string(folder.join(scenario).join("normalized-fixture.json")) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", folder.display());
        eprintln!("NOT RUN: recordings of GitHub are missing; .ci/fixtures fetches them, with npm");
        return None;
    };
    Some(serde_json::from_str::<Vec<Value>>(&text).unwrap())
}

/// The answer of a recorded exchange, without what belonged to its connection.
fn answer(exchange: &Value) -> Reply {
    let status = exchange["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let mut reply = Reply::json(status, &exchange["response"]);
    reply.headers.clear();
    for (name, value) in exchange["headers"].as_object().unwrap() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !["connection", "content-encoding", "content-length", "transfer-encoding"].contains(&name.as_str()) {
            reply = reply.header(name, &value);
        }
    }
    reply
}

/// A server that answers as recorded. `repository`: what the recorded number of a repository stands for, since GitHub's
/// links name it by number.
fn replay(exchanges: Vec<Value>, repository: &str) -> Upstream {
    let named = format!("/repos/{OWNER}/{repository}");
    Upstream::start(move |request| {
        let same = |exchange: &&Value| {
            let path = exchange["path"].as_str().unwrap().replace("/repositories/1000", &named);
            exchange["method"].as_str().unwrap().eq_ignore_ascii_case(&request.method) && path == request.target
        };
        exchanges.iter().find(same).map_or_else(|| Reply::json(404, &json!({ "message": "not recorded" })), answer)
    })
}

#[test]
fn recorded_pages_are_listed_to_the_end() {
    let Some(exchanges) = recorded("paginate-issues") else { return };
    let pages: Vec<Vec<Value>> = exchanges.iter().map(|page| page["response"].as_array().unwrap().clone()).collect();
    let server = replay(exchanges, "paginate-issues");
    let world = installed(&server);
    let mut params = json!({ "repo": "paginate-issues", "limit": 3 });
    for (index, expected) in pages.iter().enumerate() {
        let page = world.call("github", "list-issues", &params).ok()["result"].take();
        let listed = page["issues"].as_array().unwrap();
        assert_eq!(listed.len(), expected.len());
        for (issue, raw) in listed.iter().zip(expected) {
            for (name, raw_name) in [("number", "number"), ("title", "title"), ("state", "state"), ("url", "html_url")]
            {
                assert_eq!(issue[name], raw[raw_name]);
            }
            assert_eq!((&issue["author"], &issue["created"]), (&raw["user"]["login"], &raw["created_at"]));
        }
        assert_eq!(page["next"].is_null(), index + 1 == pages.len(), "{page}");
        params["cursor"] = page["next"].clone();
    }
    assert_eq!(server.seen().len(), pages.len());
    assert!(server.seen().iter().all(authorized));
}

#[test]
fn a_recorded_issue_is_opened_by_the_recorded_request() {
    let Some(exchanges) = recorded("add-labels-to-issue") else { return };
    let (asked, made) = (exchanges[0]["body"].clone(), exchanges[0]["response"].clone());
    let server = replay(exchanges, "add-labels-to-issue");
    let world = installed(&server);
    let params = json!({ "repo": "add-labels-to-issue", "title": asked["title"] });
    let issue = world.call("github", "create-issue", &params).ok()["result"].take();
    assert_eq!((&issue["number"], &issue["title"]), (&made["number"], &made["title"]));
    assert_eq!((&issue["url"], &issue["author"]), (&made["html_url"], &made["user"]["login"]));
    let request = server.seen().remove(0);
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), asked);
    assert_eq!(request.header("accept"), Some("application/vnd.github+json"));
    assert!(request.header("user-agent").is_some_and(|name| !name.is_empty()), "GitHub refuses the nameless");
    let log = world.run(&["--as", "acme/ada", "audit", "list"]).ok().to_string();
    assert!(log.contains("issue.created"), "{log}");
}

/// The same call under the same idempotency key reaches GitHub once.
#[test]
fn a_repeated_call_opens_one_issue() {
    let server = Upstream::start(|request| Reply::json(201, &issue(request, &json!({}))));
    let world = installed(&server);
    for replayed in [false, true] {
        let params = json!({ "repo": "shop", "title": "once" }).to_string();
        let args = ["--as", "acme/ada", "action", "call", "github", "create-issue", "--params", &params];
        let done = world.run(&[&args[..], &["--idempotency-key", "k-1"]].concat()).ok();
        assert_eq!((&done["replayed"], server.seen().len()), (&json!(replayed), 1));
    }
}

#[test]
fn recorded_refusals_keep_their_meaning() {
    let (Some(errors), Some(renamed), Some(missing)) =
        (recorded("errors"), recorded("rename-repository"), recorded("branch-protection"))
    else {
        return;
    };
    let of = |exchanges: &[Value], status: u64| {
        exchanges.iter().find(|exchange| exchange["status"] == status).cloned().unwrap()
    };
    for (exchange, code, says) in [
        (of(&errors, 422), "plugin.invalid", "Validation Failed; color invalid"),
        (of(&renamed, 301), "plugin.not-found", "moved"),
        (of(&renamed, 307), "plugin.not-found", "moved"),
        (of(&missing, 404), "plugin.not-found", "GitHub answered 404"),
    ] {
        let server = Upstream::start(move |request| {
            let mut reply = answer(&exchange);
            // What GitHub says of itself this server says of itself.
            let own = format!("http://{}", request.header("host").unwrap_or_default());
            for (_, value) in &mut reply.headers {
                *value = value.replace("https://api.github.com", &own);
            }
            reply
        });
        let world = installed(&server);
        for (action, params) in calls("rename-repository") {
            let error = world.call("github", action, &params).refused(7);
            assert_eq!(error["code"], code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        // One request a call: a redirect is not followed, and closing stops at what it read.
        assert_eq!(server.seen().len(), 5);
    }
}

/// A call of every action.
fn calls(repo: &str) -> [(&'static str, Value); 5] {
    [
        ("list-issues", json!({ "repo": repo })),
        ("get-issue", json!({ "repo": repo, "number": 7 })),
        ("create-issue", json!({ "repo": repo, "title": "It broke", "body": "Grüße 🙂" })),
        ("comment-on-issue", json!({ "repo": repo, "number": 7, "body": "Grüße 🙂" })),
        ("close-issue", json!({ "repo": repo, "number": 7, "reason": "completed" })),
    ]
}

/// Whether a request carries the token, in the one header it belongs in, and is one of those the contract names.
fn authorized(request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let declared = matches!(
        (request.method.as_str(), &segments[..]),
        ("GET" | "POST", ["repos", OWNER, _, "issues"])
            | ("GET" | "PATCH", ["repos", OWNER, _, "issues", _])
            | ("POST", ["repos", OWNER, _, "issues", _, "comments"])
    );
    let others = request.headers.iter().filter(|(name, value)| name != "authorization" && value.contains(TOKEN));
    declared
        && request.header("authorization") == Some(&format!("Bearer {TOKEN}"))
        && others.count() == 0
        && !request.target.contains(TOKEN)
        && !canary::find(&request.body, TOKEN)
}

/// An issue, or a comment, as GitHub would answer this request.
fn issue(request: &Request, more: &Value) -> Value {
    let mut issue = json!({
        "id": 5, "number": 7, "title": "It broke", "state": if request.method == "PATCH" { "closed" } else { "open" },
        "state_reason": null, "user": { "login": "grace" }, "assignees": [], "labels": [{ "name": "bug" }],
        "comments": 0, "html_url": "https://github.com/o/r/issues/7", "created_at": "2026-11-01T10:00:00Z",
        "updated_at": "2026-11-01T10:00:00Z", "closed_at": null, "body": "Grüße 🙂 \u{202e}",
    });
    for (name, value) in more.as_object().unwrap() {
        issue[name] = value.clone();
    }
    let list = request.method == "GET" && request.target.split('?').next().unwrap().ends_with("/issues");
    if list { json!([issue]) } else { issue }
}

/// A server that behaves as the repository's name says.
fn quirky(elsewhere: u16) -> Upstream {
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    Upstream::start(move |request| {
        let good = |more| Reply::json(if request.method == "POST" { 201 } else { 200 }, &issue(request, &more));
        let said = |status, message: &str| Reply::json(status, &json!({ "message": message }));
        let repository = request.target.split('/').nth(3).unwrap_or_default();
        let away = format!("http://127.0.0.1:{elsewhere}/repos/x/y/issues?page=2");
        match repository {
            "primary" | "primary-429" => {
                said(if repository == "primary" { 403 } else { 429 }, "API rate limit exceeded")
                    .header("x-ratelimit-remaining", "0")
                    .header("X-RateLimit-Reset", &reset.to_string())
            }
            "secondary" => said(403, "You have exceeded a secondary rate limit.").header("Retry-After", "30"),
            "secondary-429" => said(429, "slow down").header("retry-after", "30"),
            "forbidden" => {
                said(403, "Resource not accessible by personal access token").header("x-ratelimit-remaining", "4999")
            }
            "unauthorized" => said(401, "Bad credentials"),
            "gone" => said(410, "Issues are disabled for this repo"),
            "conflict" => said(409, "Conflict"),
            "down" => Reply { body: "<html>Unicorn!</html>".into(), ..said(502, "") },
            "moved" => said(301, "Moved Permanently").header("location", "/repositories/1000/issues"),
            "moved-away" => said(307, "Moved").header("location", &away),
            "foreign-link" => good(json!({})).header("link", &format!("<{away}>; rel=\"next\"")),
            "endless-link" => good(json!({})).header("link", "</x?page=1>; rel=\"next\""),
            "truncated" => good(json!({})).missing(100),
            "malformed" => Reply { body: "{\"number\":7,".into(), ..good(json!({})) },
            "other-shape" => Reply::json(200, &json!({ "hello": [1, 2] })),
            "slow" => good(json!({})).after(Duration::from_secs(20)),
            "huge" => good(json!({ "body": "🙂".repeat(65_536) })),
            "too-huge" => good(json!({ "body": "x".repeat(2 << 20) })),
            "echo" => {
                good(json!({ "title": format!("{:?}", request.headers), "body": request.header("authorization") }))
            }
            "echo-error" => said(422, request.header("authorization").unwrap_or_default()),
            _ => good(json!({})),
        }
    })
}

#[test]
fn every_quirk_is_a_typed_answer_and_the_token_goes_nowhere_else() {
    let elsewhere = Upstream::start(|request| Reply::json(200, &issue(request, &json!({}))));
    let server = quirky(elsewhere.port);
    let world = installed(&server);
    // Were a foreign link or redirect followed, nothing else would be in the way.
    world.open_loopback(elsewhere.port);
    world.configure("[ceiling.limits]\nhttp-total = \"2s\"\n");
    let mut shown: Vec<Ran> = Vec::new();

    for (repo, code, says) in [
        ("primary", "plugin.rate-limited", "try again in"),
        ("primary-429", "plugin.rate-limited", "try again in"),
        ("secondary", "plugin.rate-limited", "try again in 30 s"),
        ("secondary-429", "plugin.rate-limited", "try again in 30 s"),
        ("forbidden", "plugin.denied", "access to the repository's issues"),
        ("unauthorized", "plugin.denied", "does not accept the token"),
        ("gone", "plugin.not-found", "Issues are disabled"),
        ("conflict", "plugin.conflict", "409"),
        ("down", "plugin.upstream", "GitHub failed (502)"),
        ("moved", "plugin.not-found", "moved"),
        ("moved-away", "plugin.upstream", "another host"),
        ("truncated", "plugin.upstream", "broke"),
        ("malformed", "plugin.upstream", "not as expected"),
        ("other-shape", "plugin.upstream", "not as expected"),
        ("too-huge", "plugin.upstream", "limit"),
        ("slow", "plugin.upstream", "in time"),
        ("echo-error", "plugin.invalid", "[sealed]"),
    ] {
        for (action, params) in calls(repo) {
            let before = server.seen().len();
            let ran = world.call("github", action, &params);
            let error = ran.refused(7);
            assert!(error["code"] == code && error.to_string().contains(says), "{action} of {repo}: {error}");
            assert_eq!(server.seen().len(), before + 1, "{action} of {repo} was sent more than once");
            shown.push(ran);
            if repo == "slow" {
                break;
            }
        }
    }
    let listed = world.call("github", "list-issues", &json!({ "repo": "foreign-link" }));
    assert_eq!(listed.ok()["result"]["next"], "2");
    let onward = world.call("github", "list-issues", &json!({ "repo": "foreign-link", "cursor": "2" }));
    // The same link again leads no further.
    onward.refused(7);
    world.call("github", "list-issues", &json!({ "repo": "endless-link" })).refused(7);
    shown.extend([listed, onward]);

    for repo in ["shop", "huge", "echo"] {
        for (action, params) in calls(repo) {
            let ran = world.call("github", action, &params);
            let result = ran.ok()["result"].take();
            if repo == "huge" && action == "get-issue" {
                assert_eq!(result["body"].as_str().map(|body| body.chars().count()), Some(65_536));
            }
            if repo == "echo" && action == "get-issue" {
                assert!(result["body"].as_str().is_some_and(|body| body.contains("[sealed]")), "{result}");
            }
            shown.push(ran);
        }
    }
    let sent = server.seen();
    let comment = sent.iter().find(|request| request.target.ends_with("/shop/issues/7/comments")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&comment.body).unwrap(), json!({ "body": "Grüße 🙂" }));

    // What names no repository of the account is sent nowhere.
    for repo in ["..", ".", "a/b", "a%2fb", "x?y", "", "a b", "ü"] {
        let ran = world.call("github", "get-issue", &json!({ "repo": repo, "number": 1 }));
        assert!(matches!(ran.code, 6 | 7), "{repo}: {ran:?}");
        shown.push(ran);
    }
    assert_eq!(server.seen().len(), sent.len());
    assert!(sent.iter().all(authorized), "{:?}", sent.iter().find(|request| !authorized(request)));
    assert_eq!(elsewhere.seen().len(), 0, "an answer decided where the host goes");

    for args in [&["audit", "list", "--limit", "500"][..], &["key", "list", "github"], &["connector", "show", "github"]]
    {
        shown.push(world.run(&[&["--as", "acme/ada"], args].concat()));
    }
    for ran in &shown {
        for secret in [TOKEN, WEBHOOK_SECRET] {
            assert!(!canary::find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), secret), "shown by {ran:?}");
        }
    }
    for file in files(world.data()) {
        let bytes = fs::read(&file).unwrap();
        for secret in [TOKEN, WEBHOOK_SECRET] {
            assert!(!canary::find(&bytes, secret), "a secret lies in {}", file.display());
        }
    }
}

/// A pull request is an issue to GitHub, and neither listed nor closed as one here.
#[test]
fn pull_requests_are_told_apart() {
    let server =
        Upstream::start(|request| Reply::json(200, &issue(request, &json!({ "pull_request": { "url": "x" } }))));
    let world = installed(&server);
    let page = world.call("github", "list-issues", &json!({ "repo": "shop" })).ok();
    assert_eq!(page["result"], json!({ "issues": [], "next": null }));
    let read = world.call("github", "get-issue", &json!({ "repo": "shop", "number": 7 })).ok();
    assert_eq!(read["result"]["pull-request"], true);
    let refused = world.call("github", "close-issue", &json!({ "repo": "shop", "number": 7 })).refused(7);
    assert_eq!(refused["code"], "plugin.invalid", "{refused}");
    assert!(server.seen().iter().all(|request| request.method == "GET"), "a pull request was closed");
}

/// A tenant may withhold a rule, and have a write wait for a person.
#[test]
fn a_tenant_may_allow_less() {
    let server = quirky(1);
    let world = World::new();
    world.open_loopback(server.port);
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    world.run(&["plugin", "register", guest("github").to_str().unwrap()]).ok();
    let (url, owner) = (format!("base-url={}", server.url()), format!("owner={OWNER}"));
    let mut args =
        vec!["--as", "acme/ada", "connector", "install", "github", "--yes", "--config", &url, "--config", &owner];
    args.extend(["--without", "key:webhook-secret", "--without", "http:new-issue", "--confirm", "comment-on-issue"]);
    world.run(&args).ok();
    world.call("github", "get-issue", &json!({ "repo": "shop", "number": 7 })).refused(3);
    world.run_with(&["--as", "acme/ada", "key", "set", "github", "token", "--stdin"], TOKEN).ok();
    let [list, get, create, comment, close] = calls("shop");
    for (action, params) in [list, get, close] {
        world.call("github", action, &params).ok();
    }
    let sent = server.seen().len();
    world.call("github", create.0, &create.1).refused(3);
    assert_eq!(world.call("github", comment.0, &comment.1).code, 4);
    assert_eq!(server.seen().len(), sent);
}
