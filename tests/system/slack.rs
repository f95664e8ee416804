//! The `slack` connector, which is written in JavaScript, against a server that answers as Slack does.

use serde_json::{Value, json};

use crate::canary;
use crate::languages::build;
use crate::opsiq::World;
use crate::upstream::{Reply, Request, Upstream};

const TOKEN: &str = "xoxb-kanarienvogel-0123456789abcdef";
const SIGNING_SECRET: &str = "kanarienvogel-signing-secret-42";

/// The connector, installed as `slack`, its API at this server. `None` where it cannot be built here.
fn installed(server: &Upstream) -> Option<World> {
    let world = World::new();
    let component = build(&world, "plugins/slack")?;
    world.open_loopback(server.port);
    let base = format!("{}/api", server.url());
    let keys = [("bot-token", TOKEN), ("signing-secret", SIGNING_SECRET)];
    world.install(&component, "slack", &[("base-url", &base)], &keys);
    Some(world)
}

fn refused(word: &str) -> Reply {
    Reply::json(200, &json!({ "ok": false, "error": word }))
}

fn channel(id: &str) -> Value {
    json!({
        "id": id, "name": "general", "is_private": false, "is_archived": false, "is_member": true, "num_members": 4,
        "topic": { "value": "Grüße 🙂" }, "more": { "that": "nobody asked for" },
    })
}

/// The server: what it does is said by the cursor or the channel.
fn answer(request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let named = body["channel"]
        .as_str()
        .map_or_else(|| request.target.split("cursor=").nth(1).unwrap_or_default().to_owned(), str::to_owned);
    match named.as_str() {
        "" => Reply::json(
            200,
            &json!({ "ok": true, "channels": [channel("C1")], "response_metadata": { "next_cursor": "dGVhbTpDMg==" } }),
        ),
        "dGVhbTpDMg%3D%3D" => {
            Reply::json(200, &json!({ "ok": true, "channels": [], "response_metadata": { "next_cursor": "" } }))
        }
        "same" => {
            Reply::json(200, &json!({ "ok": true, "channels": [], "response_metadata": { "next_cursor": "same" } }))
        }
        "CBUSY" => Reply::json(429, &json!({})).header("retry-after", "30"),
        "CWAIT" => refused("ratelimited"),
        "CGONE" => refused("channel_not_found"),
        "COUT" => refused("not_in_channel"),
        "CLONG" => refused("msg_too_long"),
        "CAUTH" => refused("invalid_auth"),
        "CODD" => refused("something_new"),
        "CDOWN" => Reply::json(503, &json!({ "error": "down" })),
        "CHTML" => Reply { body: "<html>".into(), ..Reply::json(200, &json!({})) },
        "CEMPTY" => Reply::json(200, &json!({ "ok": true })),
        "CECHO" => refused(request.header("authorization").unwrap_or_default()),
        id => Reply::json(200, &json!({ "ok": true, "channel": id, "ts": "1503435956.000247" })),
    }
}

#[test]
fn channels_are_listed_and_messages_posted() {
    let server = Upstream::start(answer);
    let Some(world) = installed(&server) else { return };
    let first = world.call("slack", "list-channels", &json!({})).ok()["result"].take();
    assert_eq!(
        first["channels"],
        json!([{
            "id": "C1", "name": "general", "private": false, "archived": false, "member": true, "members": 4,
            "topic": "Grüße 🙂",
        }])
    );
    let params = json!({ "cursor": first["next"], "limit": 5, "private": true, "archived": true });
    let last = world.call("slack", "list-channels", &params).ok()["result"].take();
    assert_eq!(last, json!({ "channels": [], "next": null }));
    let targets = server.seen().iter().map(|request| request.target.clone()).collect::<Vec<_>>();
    assert_eq!(
        targets,
        [
            "/api/conversations.list?types=public_channel&exclude_archived=true&limit=100",
            "/api/conversations.list?types=public_channel%2Cprivate_channel&exclude_archived=false&limit=5&cursor=dGVhbTpDMg%3D%3D",
        ]
    );
    world.call("slack", "list-channels", &json!({ "cursor": "same" })).refused(7);

    let posted = world.call("slack", "post-message", &json!({ "channel": "C1", "text": "Grüße 🙂", "thread": "1.2" }));
    assert_eq!(posted.ok()["result"], json!({ "channel": "C1", "id": "1503435956.000247" }));
    let request = server.seen().pop().unwrap();
    assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).unwrap(),
        json!({ "channel": "C1", "text": "Grüße 🙂", "thread_ts": "1.2" })
    );
    let log = world.run(&["--as", "acme/ada", "audit", "list"]);
    assert!(log.stdout.contains("message.posted"), "{log:?}");
}

#[test]
fn what_slack_refuses_has_a_meaning() {
    let server = Upstream::start(answer);
    let Some(world) = installed(&server) else { return };
    for (channel, code, says) in [
        ("CBUSY", "plugin.rate-limited", ""),
        ("CWAIT", "plugin.rate-limited", ""),
        ("CGONE", "plugin.not-found", "channel_not_found"),
        ("COUT", "plugin.conflict", "not_in_channel"),
        ("CLONG", "plugin.invalid", "msg_too_long"),
        ("CAUTH", "plugin.upstream", "invalid_auth; the bot token"),
        ("CODD", "plugin.upstream", "something_new"),
        ("CDOWN", "plugin.upstream", "503"),
        ("CHTML", "plugin.upstream", "not as expected"),
        ("CEMPTY", "plugin.upstream", "not as expected"),
        ("CECHO", "plugin.upstream", "[sealed]"),
    ] {
        let before = server.seen().len();
        let ran = world.call("slack", "post-message", &json!({ "channel": channel, "text": "x" }));
        let error = ran.refused(7);
        assert!(error["code"] == code && error.to_string().contains(says), "{channel}: {error}");
        assert_eq!(server.seen().len(), before + 1, "{channel} was sent more than once");
        assert!(
            !canary::find(format!("{}{}", ran.stdout, ran.stderr).as_bytes(), TOKEN),
            "the token was shown: {ran:?}"
        );
    }
    // What is no channel's id is sent nowhere.
    let sent = server.seen().len();
    for channel in ["#general", "", "c1", "C1/../x"] {
        world.call("slack", "post-message", &json!({ "channel": channel, "text": "x" })).refused(6);
    }
    assert_eq!(server.seen().len(), sent);
}
