//! `opsiq plugin test`, `plugin run` and `action call --dry-run`: what an author is told of a plugin, and what no rehearsal
//! does.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::canary;
use crate::languages::{build, source};
use crate::opsiq::{Ran, World, guest};
use crate::sql;
use crate::upstream::{Reply, Upstream};

const TOKEN: &str = "github_pat_11Kanarienvogel_0123456789abcdef";

/// A folder of cases, each a name and a text.
fn cases(world: &World, texts: &[(&str, &str)]) -> PathBuf {
    let folder = world.file("cases");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in texts {
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    folder
}

/// Runs the cases of a folder.
fn test(world: &World, guest: &Path, folder: &Path, more: &[&str]) -> Ran {
    let args = ["plugin", "test", guest.to_str().unwrap(), "--cases", folder.to_str().unwrap()];
    world.run(&[&args, more].concat())
}

/// The report of this name.
fn report<'a>(data: &'a Value, name: &str) -> &'a Value {
    let all = data["cases"].as_array().unwrap();
    all.iter().find(|report| report["name"] == name).unwrap_or_else(|| panic!("no {name} in {data}"))
}

/// Where the case of this name is not as expected.
fn places(data: &Value, name: &str) -> Vec<String> {
    let wrong = report(data, name)["mismatches"].as_array().unwrap();
    wrong.iter().map(|wrong| wrong["at"].as_str().unwrap().to_owned()).collect()
}

/// The cases that come with the plugins, where nothing but a component is needed.
#[test]
fn the_cases_of_the_plugins_that_ship_pass_with_their_faults() {
    let world = World::new();
    for (name, folder) in [
        ("hello", "examples/hello/tests"),
        ("orders", "plugins/orders/tests"),
        ("github", "plugins/github/tests"),
        ("redact", "plugins/redact/tests"),
    ] {
        let ran = test(&world, &guest(name), &source(folder), &[]);
        let data = ran.ok();
        assert_eq!(data["summary"]["failed"], 0, "{ran:?}");
        let all = data["cases"].as_array().unwrap();
        assert!(all.iter().all(|case| case["verdict"] == "passed"), "{ran:?}");
        let meter = &all[0]["meter"];
        assert!(meter["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && meter["cpu_us"].is_u64(), "{meter}");
        assert_eq!(all.iter().any(|case| !case["fault"].is_null()), name != "redact", "{name}");
        let again = test(&world, &guest(name), &source(folder), &[]).ok();
        let fuel = |data: &Value| -> Vec<Value> {
            data["cases"].as_array().unwrap().iter().map(|case| case["meter"]["fuel"].clone()).collect()
        };
        assert_eq!(fuel(&data), fuel(&again), "the same case runs the same, to the instruction");
    }
}

#[test]
fn the_cases_of_plugins_in_other_languages_pass() {
    let world = World::new();
    for folder in ["examples/hello-js", "plugins/slack", "examples/hello-python", "plugins/s3"] {
        let Some(component) = build(&world, folder) else { return };
        let ran = test(&world, &component, &source(&format!("{folder}/tests")), &[]);
        assert_eq!(ran.ok()["summary"]["failed"], 0, "{ran:?}");
    }
}

#[test]
fn a_new_plugin_passes_its_first_cases() {
    let world = World::new();
    for (lang, template) in [("js", "hello"), ("js", "connector"), ("python", "connector")] {
        let dir = world.file(&format!("new-{lang}-{template}"));
        let dir = dir.to_str().unwrap();
        world.run(&["plugin", "new", "my-shop", "--lang", lang, "--template", template, dir]).ok();
        let ran = world.run(&["plugin", "test", dir]);
        if ran.code == 8 && ran.json()["error"]["code"] == "build.toolchain" {
            assert!(std::env::var_os("CI").is_none(), "{ran:?}");
            eprintln!("NOT RUN: {lang}: {ran:?}");
            continue;
        }
        assert_eq!(ran.ok()["summary"]["failed"], 0, "{ran:?}");
        world.run(&["plugin", "build", dir]).ok();
    }
}

/// Whatever a case pins, a plugin that does otherwise fails, and the place is named.
#[test]
fn each_kind_of_mismatch_fails() {
    let world = World::new();
    let good = fs::read_to_string(source("plugins/orders/tests/refund-order.toml")).unwrap();
    let get = fs::read_to_string(source("plugins/orders/tests/get-order.toml")).unwrap();
    let changed = |text: &str, from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        changed
    };
    let wrong = [
        ("result", changed(&good, "[expect]\nresult = { id = \"R-1\"", "[expect]\nresult = { id = \"R-2\""), "result/id"),
        ("url", changed(&good, "orders/A-1/refunds", "orders/A-2/refunds"), "request 1"),
        ("method", changed(&good, "\"POST\"", "\"PUT\""), "request 1"),
        ("header", changed(&good, "idempotency-key = \"idem-7\", content", "idempotency-key = \"idem-8\", content"), "request 1, header idempotency-key"),
        ("absent-header", changed(&good, "content-type = \"application/json\" }\njson = { amount", "x-more = \"1\" }\njson = { amount"), "request 1, header x-more"),
        ("body", changed(&good, "json = { amount = 500", "json = { amount = 501"), "request 1, body/amount"),
        ("event", changed(&good, "detail = { refund = \"R-1\"", "detail = { refund = \"R-3\""), "event 1 (refund.created)/refund"),
        ("event-name", changed(&good, "event = \"refund.created\"", "event = \"refund.made\""), "event 1"),
        ("no-event", changed(&get, "[expect.result]", "[[expect.events]]\nevent = \"a\"\ndetail = {}\n[expect.result]"), "event 1"),
        ("unexpected-event", changed(&good, "[[expect.events]]\nevent = \"refund.created\"\ndetail = { refund = \"R-1\", order = \"A-1\", amount = 500, currency = \"EUR\" }", ""), "event 1"),
        ("denial", changed(&good, "config = {", "without = [\"audit:refund.created\"]\nconfig = {"), "denials"),
        ("kv", changed(&good, "[[expect.events]]", "[expect.kv]\na = \"1\"\n[[expect.events]]"), "kv/a"),
        ("missing-request", format!("{get}\n[[http]]\nrequest = {{ method = \"GET\", url = \"https://shop.example/api/orders/A-2\" }}\nanswer = {{ status = 200 }}\n"), "request 2"),
        ("unexpected-request", "action = \"get-order\"\nparams = { id = \"A-1\" }\nconfig = { base-url = \"https://shop.example\" }\n[expect]\nresult = {}\n".to_owned(), "request 1"),
        ("failure", changed(&good, "[expect]\nresult = { id = \"R-1\", order = \"A-1\", amount = 500, currency = \"EUR\", created = \"2026-11-02T10:00:00Z\" }", "[expect]\nfailure = { kind = \"conflict\" }"), "end"),
        ("failure-kind", changed(&changed(&good, "status = 201", "status = 409"), "[expect]\nresult = { id = \"R-1\", order = \"A-1\", amount = 500, currency = \"EUR\", created = \"2026-11-02T10:00:00Z\" }", "[expect]\nfailure = { kind = \"not-found\" }"), "failure/kind"),
        ("params", changed(&get, "{ id = \"A-1\" }", "{ id = \"/\" }"), "request 1"),
        ("no-expectation", get.split("[expect").next().unwrap().to_owned(), "expect"),
        ("fault", changed(&good, "retry-after = 7", "retry-after = 8"), ""),
    ];
    let texts: Vec<(&str, &str)> = wrong.iter().map(|(name, text, _)| (*name, text.as_str())).collect();
    let folder = cases(&world, &[&texts[..], &[("good", &good)]].concat());
    let ran = test(&world, &guest("orders"), &folder, &[]);
    ran.refused(7);
    let data = ran.json()["data"].take();
    for (name, _, place) in wrong.iter().filter(|(name, ..)| *name != "fault") {
        assert_eq!(report(&data, name)["verdict"], "failed", "{name}");
        assert!(places(&data, name).contains(&(*place).to_owned()), "{name}: {:?}", places(&data, name));
    }
    assert_eq!(report(&data, "fault")["verdict"], "passed");
    assert_eq!(places(&data, "fault/rate-limited"), ["failure/retry-after"]);
    assert_eq!(report(&data, "good")["verdict"], "passed", "the twin of all of them");
    // What is not pinned is not compared.
    assert_eq!(test(&world, &guest("orders"), &folder, &["--filter", "good"]).ok()["summary"]["failed"], 0);
}

#[test]
fn a_file_that_is_no_case_is_told_with_its_line() {
    let world = World::new();
    let folder = cases(&world, &[("one", "action = \"get-order\"\nparms = {}\n")]);
    let error = test(&world, &guest("orders"), &folder, &[]).refused(6);
    let detail = error["detail"].as_str().unwrap();
    assert!(detail.contains("one.toml:2") && detail.contains("parms"), "{error}");
    let error = test(&world, &guest("orders"), &world.file("nowhere"), &[]).refused(5);
    assert_eq!(error["code"], "test.no-cases");
    let folder = cases(&world, &[("one", "action = \"get-order\"\nconfig = {}\n[expect]\nresult = {}\n")]);
    assert_eq!(test(&world, &guest("orders"), &folder, &[]).refused(6)["code"], "config.invalid");
}

/// A plugin that takes every answer for a good one passes its case and fails on what goes wrong.
#[test]
fn a_wrong_success_a_trap_and_a_lie_are_found_by_faults() {
    let world = World::new();
    let fetch = "action = \"fetch\"\nparams = { method = \"POST\", url = \"https://a.example/x\" }\n\
                 config = { base-url = \"https://a.example\" }\n\
                 [[http]]\nrequest = { method = \"POST\", url = \"https://a.example/x\" }\n\
                 answer = { status = 200, body = \"fine\" }\n\
                 [expect.result]\nstatus = 200\nbody = \"fine\"\nheaders = [{ name = \"content-length\", value = \"4\" }]\n";
    let excused = format!("{fetch}[faults]\nserver-error = {{ skip = \"it is the caller's\" }}\n");
    let panic = "action = \"panic\"\nconfig = { base-url = \"https://a.example\" }\n\
                 [expect.failure]\ncode = \"trap:unreachable\"\n";
    let stored = "action = \"kv\"\nparams = { op = \"set\", key = \"b\", value = \"2\" }\n\
                  config = { base-url = \"https://a.example\" }\nkv = { a = \"1\" }\n\
                  [expect]\nresult = { version = 1 }\nkv = { a = \"1\", b = \"2\" }\n";
    let unasked = stored.replace("kv = { a = \"1\", b = \"2\" }\n", "");
    let texts = [("fetch", fetch), ("excused", &excused), ("panic", panic), ("stored", stored), ("unasked", &unasked)];
    let folder = cases(&world, &texts);
    let ran = test(&world, &guest("hostile"), &folder, &[]);
    ran.refused(7);
    let data = ran.json()["data"].take();
    for name in ["fetch", "fetch/timeout", "fetch/truncated-body", "panic", "stored"] {
        assert_eq!(report(&data, name)["verdict"], "passed", "{name}: {}", report(&data, name));
    }
    for name in ["fetch/rate-limited", "fetch/server-error", "fetch/redirect-to-metadata"] {
        assert_eq!(places(&data, name), ["end"], "{name}");
        assert!(report(&data, name)["mismatches"][0]["found"].as_str().unwrap().starts_with("result"), "{name}");
    }
    assert_eq!(report(&data, "excused/server-error")["reason"], "it is the caller's");
    assert_eq!(places(&data, "unasked"), ["kv/b"]);
}

#[test]
fn the_junit_report_is_xml_that_says_the_same() {
    let world = World::new();
    let good = fs::read_to_string(source("plugins/orders/tests/list-orders.toml")).unwrap();
    let bad =
        good.replace("result = { orders = [], next = \"c2\" }", "result = { orders = [], next = \"<c3> & 'more'\" }");
    let folder = cases(&world, &[("good", &good), ("bad", &bad)]);
    let file = world.file("report.xml");
    let ran = test(&world, &guest("orders"), &folder, &["--junit", file.to_str().unwrap()]);
    ran.refused(7);
    let data = ran.json()["data"].take();
    let text = fs::read_to_string(&file).unwrap();
    let document = quick_junit::Report::deserialize_from_str(&text).unwrap();
    let suite = &document.test_suites[0];
    let of = |verdict: &str| data["cases"].as_array().unwrap().iter().filter(|case| case["verdict"] == verdict).count();
    assert_eq!(suite.test_cases.len(), data["cases"].as_array().unwrap().len());
    assert_eq!((suite.failures, of("failed")), (1, 1));
    let skipped = |case: &&quick_junit::TestCase| matches!(case.status, quick_junit::TestCaseStatus::Skipped { .. });
    assert!(of("skipped") > 0 && suite.test_cases.iter().filter(skipped).count() == of("skipped"), "{text}");
    let failed = suite.test_cases.iter().find(|case| case.name.as_str() == "bad").unwrap();
    let status = format!("{:?}", failed.status);
    assert!(status.contains("result/next") && status.contains("<c3> & 'more'"), "{status}");
}

const ISSUE: &str = "# What GitHub says of an issue.\naction = \"get-issue\"\nparams = { repo = \"shop\", number = 7 }\n\
                     config = { base-url = \"https://api.github.com\", owner = \"octo-org\" }\n";

/// A GitHub that says the token back in every way it can.
fn echo() -> Upstream {
    Upstream::start(|request| {
        let token = request.header("authorization").unwrap_or("Bearer none").replace("Bearer ", "");
        let hex = token.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let title = format!("{token} {hex} {} {}", canary::base64(token.as_bytes()), token.replace('_', "%5F"));
        let mut reply = Reply::json(
            200,
            &json!({
                "number": 7, "title": title, "state": "open", "user": { "login": "grace" }, "html_url": "u",
                "created_at": "c", "updated_at": "u", "body": format!("http://{}", request.header("host").unwrap()),
            }),
        );
        reply = reply.header("set-cookie", "session=kanarienvogel").header("x-token", &token);
        reply
    })
}

fn live(server: &Upstream) -> String {
    format!(
        "[config]\nbase-url = \"{}\"\nowner = \"octo-org\"\n[keys]\ntoken = \"{TOKEN}\"\n\
         [[private-target]]\ncidr = \"127.0.0.1/32\"\nport = {}\ntls = false\n",
        server.url(),
        server.port
    )
}

#[test]
fn what_is_recorded_replays_without_the_outside_and_without_secrets() {
    let world = World::new();
    let server = echo();
    let folder = cases(&world, &[("get-issue", ISSUE)]);
    let file = folder.join("get-issue.toml");
    let args = [
        "plugin",
        "test",
        guest("github").to_str().unwrap(),
        "--cases",
        folder.to_str().unwrap(),
        "--record",
        "--live",
        "-",
    ]
    .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = world.run_with(&args, &live(&server));
    assert_eq!(ran.ok()["recorded"][0]["requests"], 1, "{ran:?}");
    // The server had the token and said it; so what is not in the recording was taken out.
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# What GitHub says of an issue.\n") && text.contains("[sealed]"), "{text}");
    assert!(text.contains("Bearer {token}") && text.contains("https://api.github.com/repos/octo-org/shop/issues/7"));
    assert!(!canary::find(text.as_bytes(), TOKEN) && !text.contains("kanarienvogel"), "{text}");
    assert!(!text.contains(&server.port.to_string()), "{text}");
    assert!(!canary::find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), TOKEN), "{ran:?}");
    assert!(canary::find(format!("x {TOKEN}").as_bytes(), TOKEN));

    drop(server);
    let data = test(&world, &guest("github"), &folder, &[]).ok();
    assert_eq!((&data["summary"]["failed"], &report(&data, "get-issue")["verdict"]), (&json!(0), &json!("passed")));
    // What was recorded is held against the plugin: another answer is another result.
    fs::write(&file, text.replacen("\"grace\"", "\"mallory\"", 1)).unwrap();
    let ran = test(&world, &guest("github"), &folder, &["--no-faults"]);
    ran.refused(7);
    assert_eq!(places(&ran.json()["data"], "get-issue"), ["result/author"]);
}

#[test]
fn a_recording_that_cannot_be_clean_or_is_not_wanted_is_not_written() {
    let world = World::new();
    let server = echo();
    let args = |folder: &Path, more: &[&str]| -> Vec<String> {
        let args = ["plugin", "test", guest("github").to_str().unwrap(), "--cases", folder.to_str().unwrap()]
            .map(str::to_owned);
        args.into_iter()
            .chain(["--record", "--live", "-"].map(str::to_owned))
            .chain(more.iter().map(ToString::to_string))
            .collect()
    };
    let record = |folder: &Path, more: &[&str], live: &str| {
        let args = args(folder, more);
        world.run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), live)
    };
    // The author wrote the token into the case itself.
    let leaky = format!("{ISSUE}summary = \"With {TOKEN}.\"\n");
    let folder = cases(&world, &[("get-issue", &leaky)]);
    let ran = record(&folder, &[], &live(&server));
    assert_eq!(ran.refused(3)["code"], "test.secret");
    assert!(!canary::find(ran.stdout.as_bytes(), TOKEN), "{ran:?}");
    assert_eq!(fs::read_to_string(folder.join("get-issue.toml")).unwrap(), leaky);

    // A write is not done again unasked.
    let write = "action = \"create-issue\"\nparams = { repo = \"shop\", title = \"x\" }\n\
                 config = { base-url = \"https://api.github.com\", owner = \"octo-org\" }\n";
    let folder = cases(&world, &[("get-issue", write)]);
    let before = server.seen().len();
    assert_eq!(record(&folder, &[], &live(&server)).refused(3)["code"], "test.record-writes");
    assert_eq!(server.seen().len(), before);
    record(&folder, &["--yes"], &live(&server)).ok();
    assert_eq!(server.seen().len(), before + 1);

    // What is wrong with the file of secrets quotes none of them.
    let broken = format!("[keys]\ntoken = \"{TOKEN}\n");
    let ran = record(&folder, &["--filter", "get"], &broken);
    assert_eq!(ran.refused(6)["code"], "test.live");
    assert!(!canary::find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), TOKEN), "{ran:?}");
    // An address that nobody opened is not reached, from here either.
    let closed = live(&server).split("[[private-target]]").next().unwrap().to_owned();
    assert_eq!(record(&folder, &["--filter", "get", "--yes"], &closed).code, 7);
    assert_eq!(server.seen().len(), before + 1);
}

/// Runs `action call --dry-run` as this user.
fn dry_run(world: &World, user: &str, action: &str, params: &Value, more: &[&str]) -> Ran {
    let params = params.to_string();
    let args = ["--as", user, "action", "call", "shop", action, "--params", &params, "--dry-run"];
    world.run(&[&args, more].concat())
}

#[test]
fn a_dry_run_is_authorised_as_a_call_and_leaves_nothing_behind() {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(500, &json!({})));
    world.open_loopback(server.port);
    let secret = format!("whsec_{}", canary::base64(b"kanarienvogel-secret-0123456789"));
    world.install(&guest("orders"), "shop", &[("base-url", &server.url())], &[("signing-secret", &secret)]);
    world.run(&["--as", "acme/ada", "user", "add", "sam", "--role", "support"]).ok();
    let refund = json!({ "id": "A-1", "amount": 500, "currency": "EUR", "reason": "arrived broken" });

    let before = sql::dump(&world.data().join("data.db"));
    let told = dry_run(&world, "acme/ada", "refund-order", &refund, &["--idempotency-key", "once"]).ok();
    assert_eq!(told["status"], "unanswered");
    let request = &told["requests"][0];
    assert_eq!((&request["method"], &request["rule"]), (&json!("POST"), &json!("refunds")));
    assert_eq!(request["url"], format!("{}/orders/A-1/refunds", server.url()));
    assert!(request["body"].as_str().unwrap().contains("arrived broken"), "{request}");
    let steps = told["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["rule"] == "confirmation.needed" && step["verdict"] == "wait"), "{told}");
    assert!(told["meter"]["host_calls"].as_u64().is_some_and(|calls| calls > 0), "{told}");

    let case = source("plugins/orders/tests/refund-order.toml");
    let told = dry_run(&world, "acme/ada", "refund-order", &refund, &["--replay", case.to_str().unwrap()]).ok();
    assert_eq!((&told["status"], &told["result"]["id"]), (&json!("done"), &json!("R-1")));
    assert_eq!(told["events"][0]["event"], "refund.created");
    assert!(!told.to_string().contains("kanarienvogel"), "{told}");

    // Who may not call it may not rehearse it, and what is off the contract does not reach the plugin.
    let refused = dry_run(&world, "acme/sam", "refund-order", &refund, &[]);
    let error = refused.refused(3);
    assert_eq!(
        error["code"],
        world
            .run(&["--as", "acme/sam", "action", "explain", "shop", "refund-order", "--params", &refund.to_string()])
            .json()["data"]["steps"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()["rule"],
        "{refused:?}"
    );
    assert_eq!(dry_run(&world, "acme/ada", "refund-order", &json!({}), &[]).refused(6)["code"], "params.invalid");
    assert_eq!(dry_run(&world, "acme/ada", "refund", &json!({}), &[]).refused(5)["code"], "action.unknown");
    assert!(server.seen().is_empty());
    assert_eq!(sql::dump(&world.data().join("data.db")), before, "a dry run changed the database");

    // The twin: a call asks a person, and so changes it.
    assert_eq!(world.call("shop", "refund-order", &refund).code, 4);
    assert_ne!(sql::dump(&world.data().join("data.db")), before);
}

#[test]
fn storage_that_a_dry_run_writes_is_not_kept() {
    let world = World::new();
    world.install(
        &guest("hostile"),
        "shop",
        &[("base-url", "https://a.example")],
        &[("signing-secret", "kanarienvogel")],
    );
    let set = json!({ "op": "set", "key": "a", "value": "1" });
    let before = sql::dump(&world.data().join("data.db"));
    let told = dry_run(&world, "acme/ada", "kv", &set, &[]).ok();
    assert_eq!(told["result"], json!({ "version": 1 }));
    assert_eq!(sql::dump(&world.data().join("data.db")), before);
    world.call("shop", "kv", &set).ok();
    assert_ne!(sql::dump(&world.data().join("data.db")), before);
    // Nor is what is stored read: it would leave no trace.
    let get = json!({ "op": "get", "key": "a" });
    assert_eq!(dry_run(&world, "acme/ada", "kv", &get, &[]).ok()["result"]["value"], Value::Null);
    assert_eq!(world.call("shop", "kv", &get).ok()["result"]["value"], "1");
}

#[test]
fn a_plugin_runs_without_being_installed() {
    let world = World::new();
    let github = guest("github");
    let config = ["--config", "base-url=https://api.github.com", "--config", "owner=octo-org"];
    let run = ["plugin", "run", github.to_str().unwrap(), "get-issue", "--param", "repo=shop", "--param", "number=7"];
    let told = world.run(&[&run[..], &config].concat()).ok();
    let request = &told["requests"][0];
    assert_eq!(request["injected"], json!({ "header": "authorization", "value": "Bearer {token}", "keys": ["token"] }));
    assert_eq!((&told["status"], &request["rule"]), (&json!("unanswered"), &json!("issue")));
    let case = source("plugins/github/tests/get-issue.toml");
    let told = world.run(&[&run[..], &["--replay", case.to_str().unwrap()]].concat()).ok();
    assert_eq!((&told["status"], &told["result"]["author"]), (&json!("done"), &json!("grace")));
    // A private address is none to a rehearsal either.
    let inside = ["--config", "base-url=https://10.0.0.1", "--config", "owner=octo-org"];
    let ran = world.run(&[&run[..], &inside].concat());
    ran.refused(7);
    let told = ran.json()["data"].take();
    assert!(told["refused"][0]["why"].as_str().unwrap().contains("address"), "{told}");
    assert_eq!(told["requests"], json!([]));
    let off = ["plugin", "run", github.to_str().unwrap(), "get-issue", "--params", "{}"];
    assert_eq!(world.run(&[&off[..], &config].concat()).refused(6)["code"], "params.invalid");
}
