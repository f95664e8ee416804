//! How long audit entries are kept, through the built command and on other days: content goes when its term is over and not
//! before, a legal hold wins, and whatever happens order and proof stay.

use std::fs;
use std::time::{Duration, Instant};

use opsiq_contract::TenantId;
use opsiq_gate::{Actor, Answer, Call, Host};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::https::{Served, request};
use crate::opsiq::{Ran, World, guest};
use crate::sql::{dump, sql};

/// A world that can be looked at on other days.
struct Days {
    world: World,
    clock: Clock,
}

impl Days {
    /// A tenant with some calls on record, today.
    fn new() -> Option<Self> {
        let clock = Clock::new()?;
        let world = World::new();
        world.install(&guest("hello"), "hello", &[], &[]);
        for _ in 0..3 {
            world.call("hello", "hello", &json!({ "name": "Ada" })).ok();
        }
        Some(Self { world, clock })
    }

    fn command(&self, day: u32, args: &[&str]) -> std::process::Command {
        let mut command = self.world.command(args);
        self.clock.forward(&mut command, day);
        command
    }

    fn on(&self, day: u32, args: &[&str]) -> Ran {
        let out = self.command(day, args).output().unwrap();
        Ran::of(args, out)
    }

    fn run(&self, day: u32) -> Value {
        self.on(day, &["audit", "retention", "run"]).ok()
    }

    /// Looks at the clock for a week, the last time on that day, when it is trusted.
    fn trusted(&self, day: u32) -> Value {
        assert_eq!(self.run(day - 7)["clock_trusted"], false);
        let run = self.run(day);
        assert_eq!(run["clock_trusted"], true, "{run}");
        run
    }

    fn ada(&self, day: u32, args: &[&str]) -> Ran {
        self.on(day, &[&["--as", "acme/ada"], args].concat())
    }

    /// The export of that day, which must verify; its first entry, and how many there are.
    fn export(&self, day: u32) -> (u64, usize) {
        let file = self.world.file("export.jsonl");
        let _ = fs::remove_file(&file);
        let from = self.ada(day, &["audit", "export", "--out", file.to_str().unwrap()]).ok()["from"].as_u64().unwrap();
        let key = self.ada(day, &["audit", "key"]).ok()["key"].as_str().unwrap().to_owned();
        let verified = self.world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
        assert_eq!(verified["from"], from);
        (from, fs::read_to_string(file).unwrap().lines().count() - 2)
    }
}

/// What went of a tenant's log.
fn gone(run: &Value, log: &str) -> u64 {
    let logs = run["logs"].as_array().unwrap();
    logs.iter().find(|one| one["log"] == log).map_or(0, |one| one["entries"].as_u64().unwrap())
}

/// Twelve months, and a week of margin.
const DUE: u32 = 365 + 7;

#[test]
fn content_goes_when_its_term_is_over_and_the_log_still_verifies() {
    let Some(days) = Days::new() else { return };
    let today = days.ada(0, &["audit", "list", "--limit", "1000"]).ok()["entries"].as_array().unwrap().len() as u64;
    assert_eq!(days.export(0).0, 0);
    let due = DUE + 1;
    let run = days.trusted(due);
    // The list, the export and the key were read today as well, so more went than were listed.
    let went = gone(&run, "tenant/acme");
    assert!(went >= today && gone(&run, "host") > 0, "{run}");
    let rows = dump(&days.world.data().join("data.db"));
    let kept =
        rows["audit_entry"].iter().filter(|row| row.starts_with("'acme'")).filter(|row| !row.contains("X'',X''"));
    let lost = rows["audit_entry"].len() - rows["audit_entry"].iter().filter(|row| !row.contains("X'',X''")).count();
    assert!(lost as u64 >= went, "{lost} of {went}");
    assert!(kept.count() >= 2, "the entries about it stay");

    let (from, entries) = days.export(due);
    assert_eq!(from, went, "the export says where content begins");
    assert!(entries >= 2);
    let listed = days.ada(due, &["audit", "list", "--limit", "1000"]).ok();
    assert!(listed["next"].is_null());
    let listed = listed["entries"].as_array().unwrap().clone();
    assert!(listed.iter().all(|entry| entry["seq"].as_u64().unwrap() >= went));
    let said: Vec<_> = listed.iter().filter(|entry| entry["fields"]["action"] == "audit retention").collect();
    assert_eq!(said.len(), 2, "it is on record: {listed:#?}");
    let shown = days.ada(due, &["audit", "retention", "show"]).ok();
    assert_eq!((&shown["months"], shown["content_from"].as_u64()), (&12.into(), Some(went)));
    let doctor = days.on(due, &["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    days.on(due, &["keys", "verify"]).ok();
    days.on(due, &["keys", "rotate", "--tenant", "acme"]).ok();

    // Again: nothing is left to do.
    assert_eq!(gone(&days.run(due), "tenant/acme"), 0);
    assert_eq!(days.export(due).0, went);
    // Nobody else takes content away and calls it so.
    let thief = "UPDATE audit_entry SET header = x'', sealed = x'' WHERE tenant = 'acme' AND seq = \
                 (SELECT content_from FROM audit_retention WHERE tenant = 'acme')";
    sql(&days.world.data().join("data.db"), &[thief]);
    let refused = days.ada(due, &["audit", "export", "--out", days.world.file("x").to_str().unwrap()]).refused(9);
    assert!(refused.to_string().contains("its term is not over"), "{refused}");
    sql(
        &days.world.data().join("data.db"),
        &["UPDATE audit_retention SET content_from = content_from + 1 WHERE tenant = 'acme'"],
    );
    let refused = days.ada(due, &["audit", "list"]).refused(9);
    assert!(refused.to_string().contains("audit_retention"), "{refused}");
}

/// By the same clock: a key whose day is over holds nothing, and nothing of it is kept.
#[test]
fn idempotency_keys_whose_day_is_over_are_forgotten() {
    let Some(days) = Days::new() else { return };
    let call = ["action", "call", "hello", "hello", "--param", "name=Ada", "--idempotency-key", "k-1"];
    days.ada(0, &call).ok();
    let keys = || dump(&days.world.data().join("data.db"))["idempotency"].len();
    assert_eq!(days.run(1)["clock_trusted"], false);
    assert_eq!(keys(), 1, "by a clock that is not trusted yet none goes");
    days.ada(8, &[&call[..7], &["k-2"]].concat()).ok();
    assert_eq!(days.run(8)["clock_trusted"], true);
    assert_eq!(keys(), 1, "the one of that day stays");
    assert_eq!(days.on(8, &["doctor"]).code, 0, "what went is what was signed");
}

#[test]
fn nothing_goes_early_whatever_the_clock_says() {
    let Some(days) = Days::new() else { return };
    // A clock that is a day ahead on the day before the margin ends, or one that jumped by a year.
    assert_eq!(gone(&days.trusted(DUE - 1), "tenant/acme"), 0);
    let jumped = days.run(900);
    assert_eq!((&jumped["clock_trusted"], gone(&jumped, "tenant/acme")), (&false.into(), 0));
    let doctor = days.on(900, &["doctor"]);
    assert!(doctor.stdout.contains("the clock jumped"), "{doctor:?}");
    // And back: the week begins anew.
    assert_eq!(days.run(DUE)["clock_trusted"], false);
    assert_eq!(days.run(DUE + 6)["clock_trusted"], false);
    assert!(gone(&days.run(DUE + 7), "tenant/acme") > 0);
}

#[test]
fn a_hold_wins_and_says_so() {
    let Some(days) = Days::new() else { return };
    let world = &days.world;
    let config = [("base-url", "http://127.0.0.1:9")];
    world.install(&guest("hostile"), "crm", &config, &[("signing-secret", "0123456789ab")]);
    world.call("crm", "about-read", &json!({ "customer": "ann", "text": "said by ann" })).ok();
    world.run(&["--as", "acme/ada", "user", "add", "sue", "--role", "support"]).ok();
    let place = ["audit", "hold", "place", "--reason", "case 4711 of the district court"];
    assert_eq!(world.run(&[&["--as", "acme/sue"], &place[..]].concat()).refused(3)["code"], "role.not-allowed");
    let own = days.ada(0, &place).ok();
    let operators = world.run(&[&["--tenant", "acme"], &place[..]].concat()).ok();
    assert_eq!((&own["operator"], &operators["operator"]), (&false.into(), &true.into()));

    let refused = world.run(&["--as", "acme/ada", "subject", "erase", "ann", "--yes"]).refused(3);
    assert_eq!(refused["code"], "hold.placed");
    assert!(refused["title"].as_str().unwrap().contains("case 4711"), "{refused}");
    let erase = ["tenant", "erase", "acme", "--confirm", "acme", "--now"];
    assert_eq!(world.run(&erase).refused(3)["code"], "hold.placed");

    let due = DUE + 1;
    let run = days.trusted(due);
    assert_eq!(gone(&run, "tenant/acme"), 0);
    assert!(
        run["logs"].as_array().unwrap().iter().any(|log| log["log"] == "tenant/acme" && log["held"] == true),
        "{run}"
    );
    assert!(gone(&run, "host") > 0, "another log is not held");
    let (own, operators) = (own["id"].as_str().unwrap(), operators["id"].as_str().unwrap());
    assert_eq!(days.ada(due, &["audit", "hold", "lift", operators]).refused(3)["code"], "hold.not-yours");
    assert_eq!(days.ada(due, &["audit", "hold", "lift", "none"]).refused(5)["code"], "hold.unknown");
    days.ada(due, &["audit", "hold", "lift", own]).ok();
    assert_eq!(gone(&days.run(due), "tenant/acme"), 0, "one is left");
    let left = days.on(due, &["--tenant", "acme", "audit", "hold", "lift", operators]).ok();
    assert!(left["holds"].as_array().unwrap().is_empty());
    assert!(gone(&days.run(due), "tenant/acme") > 0);
    days.ada(due, &["subject", "erase", "ann", "--yes"]).ok();
    let log = days.on(due, &["audit", "list", "--limit", "1000"]).stdout;
    assert!(log.contains("audit hold lift"), "the operator's act is in the host's log too");
}

#[test]
fn a_tenant_keeps_its_log_for_longer_and_never_for_less_than_a_year() {
    let Some(days) = Days::new() else { return };
    let set = |months: &str| days.ada(0, &["audit", "retention", "set", months]);
    assert_eq!(set("11").refused(6)["code"], "retention.months");
    assert_eq!(set("1201").refused(6)["code"], "retention.months");
    days.world.run(&["--as", "acme/ada", "user", "add", "eve", "--role", "admin"]).ok();
    let eve = days.world.run(&["--as", "acme/eve", "audit", "retention", "set", "24"]);
    assert_eq!(eve.refused(3)["code"], "role.not-allowed");
    assert_eq!(set("24").ok()["months"], 24);
    assert_eq!(gone(&days.trusted(DUE + 1), "tenant/acme"), 0);
    assert_eq!(days.on(DUE + 1, &["--tenant", "acme", "audit", "retention", "set", "12"]).ok()["months"], 12);
    assert!(gone(&days.run(DUE + 1), "tenant/acme") > 0);
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let Some(days) = Days::new() else { return };
    let world = &days.world;
    calls(world, 3000);
    let due = DUE + 1;
    assert_eq!(days.run(due - 7)["clock_trusted"], false);
    let mut parts = 0;
    for round in 0..40_u64 {
        let mut child = days.command(due, &["audit", "retention", "run"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 * (round % 8 + 1)));
        let _ = child.kill();
        let ended = child.wait().unwrap().success();
        let from = days.ada(due, &["audit", "retention", "show"]).ok()["content_from"].as_u64().unwrap();
        parts += u32::from(from > 0 && !ended);
        if round % 8 == 7 {
            assert_eq!(days.export(due).0, from);
        }
    }
    days.run(due);
    let (from, _) = days.export(due);
    assert!(from >= 3000, "{from}");
    assert!(parts > 0, "the kills missed");
    let log = days.ada(due, &["audit", "list", "--limit", "1000"]).ok();
    let said = |outcome: &str| {
        let entries = log["entries"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["fields"]["action"] == "audit retention" && entry["fields"]["outcome"] == outcome)
            .count()
    };
    assert!(said("begun") >= 1 && said("ok") >= 1, "{log}");
    assert_eq!(days.on(due, &["doctor"]).code, 0);
}

/// The same rules over the API.
#[tokio::test]
async fn owners_and_the_operator_set_it_over_the_api() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    world.run(&["--as", "acme/ada", "user", "add", "sue", "--role", "support"]).ok();
    let served = Served::start(&world, &[]);
    let ada = Some("acme/ada");
    let shown = served.ask(ada, "GET", "/v1/audit/retention", None).await.is(200);
    assert_eq!((&shown["months"], &shown["log"]), (&12.into(), &"tenant/acme".into()));
    let set = served.ask(ada, "PUT", "/v1/audit/retention", Some(json!({ "months": 18 }))).await.is(200);
    assert_eq!(set["months"], 18);
    let short = served.ask(ada, "PUT", "/v1/audit/retention", Some(json!({ "months": 1 }))).await;
    assert_eq!(short.refused(422), "retention.months");
    let sue = served.ask(Some("acme/sue"), "GET", "/v1/audit/retention", None).await;
    assert_eq!(sue.refused(403), "role.not-allowed");
    let reason = json!({ "reason": "case 1" });
    let hold = served.ask(None, "POST", "/v1/audit/holds?tenant=acme", Some(reason.clone())).await.is(201);
    let path = format!("/v1/audit/holds/{}", hold["id"].as_str().unwrap());
    assert_eq!(served.ask(ada, "DELETE", &path, None).await.refused(403), "hold.not-yours");
    let erased = served.ask(ada, "POST", "/v1/subjects/ann/erase", None).await;
    assert_eq!(erased.refused(404), "subject.unknown");
    let lifted = served.ask(None, "DELETE", &format!("{path}?tenant=acme"), None).await.is(200);
    assert!(lifted["holds"].as_array().unwrap().is_empty());
    let host = served.ask(None, "GET", "/v1/audit/retention", None).await.is(200);
    assert_eq!((&host["log"], &host["months"]), (&"host".into(), &12.into()));
    assert_eq!(served.ask(ada, "GET", "/v1/audit/retention?tenant=bolt", None).await.refused(404), "tenant.unknown");
    served.socket(None, request("GET", "/v1/audit/retention?tenant=nowhere", None)).await.refused(404);
}

/// Many calls on record.
fn calls(world: &World, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        let host = Host::open(world.options()).await.unwrap();
        let ada = Actor::user("acme".parse::<TenantId>().unwrap(), "ada");
        for _ in 0..count.div_ceil(100) {
            let call = || Call {
                installation: "hello".to_owned(),
                action: "hello".to_owned(),
                params: br#"{"name":"Ada"}"#.to_vec(),
                idempotency_key: None,
            };
            for answer in futures::future::join_all((0..100).map(|_| host.invoke(&ada, call()))).await {
                assert!(matches!(answer.unwrap(), Answer::Done(_)));
            }
        }
        host.close().await.unwrap();
    });
    assert!(start.elapsed() < Duration::from_mins(1));
}
