//! What a tenant does, over the API.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::https::{Served, request};
use crate::opsiq::{World, guest};
use crate::orders;

/// Everything a tenant does, over the API.
#[tokio::test]
async fn a_tenant_from_its_making_to_its_log() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let made = served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "acme", "owner": "ada" }))).await;
    assert_eq!(made.is(201)["standing"], "active");
    assert_eq!(made.header("location"), "/v1/tenants/acme");
    served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "beta", "owner": "bob" }))).await.is(201);
    let again = served.ask(None, "POST", "/v1/tenants", Some(json!({ "id": "acme", "owner": "ada" }))).await;
    assert_eq!(again.refused(409), "tenant.exists");
    assert_eq!(served.ask(owner, "GET", "/v1/me", None).await.is(200)["tenant"], "acme");
    served.ask(owner, "GET", "/v1/tenants/acme", None).await.is(200);
    let foreign = served.ask(owner, "GET", "/v1/tenants/beta", None).await;
    let absent = served.ask(owner, "GET", "/v1/tenants/none", None).await;
    assert_eq!((foreign.refused(404), absent.refused(404)), ("tenant.unknown".to_owned(), "tenant.unknown".to_owned()));
    assert_eq!(served.ask(owner, "GET", "/v1/tenants", None).await.refused(403), "act.needs-operator");

    let component = std::fs::read(guest("hello")).unwrap();
    let upload = |component: Vec<u8>| {
        Request::post("/v1/plugins")
            .header("content-type", "application/wasm")
            .body(Full::new(component.into()))
            .unwrap()
    };
    assert_eq!(served.socket(owner, upload(component.clone())).await.refused(403), "act.needs-operator");
    assert_eq!(served.socket(None, upload(component.clone())).await.is(201)["plugin"], "opsiq/hello@0.1.0");
    assert_eq!(served.socket(None, upload(component)).await.is(200)["new"], false);
    assert_eq!(served.socket(None, upload(b"\0asm".to_vec())).await.refused(422), "component.inadmissible");
    let shown = served.ask(owner, "GET", "/v1/plugins/opsiq%2Fhello%400.1.0", None).await;
    assert_eq!(shown.is(200)["title"], "Hello");

    let install = json!({ "plugin": "hello" });
    assert_eq!(
        served.ask(owner, "POST", "/v1/installations/plan", Some(install.clone())).await.is(200)["title"],
        "Hello"
    );
    let installed = served.ask(owner, "POST", "/v1/installations", Some(install)).await;
    assert_eq!(installed.is(201)["state"], "enabled");
    let tag = installed.header("etag").to_owned();
    let call = |params: &str, key: Option<&str>| {
        let mut request =
            Request::post("/v1/installations/hello/actions/hello/call").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(Bytes::from(params.to_owned()))).unwrap()
    };
    let done = served.socket(owner, call(r#"{ "name":"Ada" }"#, Some("\"k 1\""))).await;
    assert_eq!(done.refused(400), "idempotency.malformed");
    let done = served.socket(owner, call(r#"{ "name":"Ada" }"#, Some("\"k1\""))).await.is(200);
    assert!(done["result"]["greeting"].as_str().unwrap().contains("Ada"), "{done}");
    let replayed = served.socket(owner, call(r#"{"name":"Ada"}"#, Some("\"k1\""))).await.is(200);
    assert_eq!((&replayed["replayed"], &replayed["invocation"]), (&json!(true), &done["invocation"]));
    assert_eq!(
        served.socket(owner, call(r#"{"name":"Bob"}"#, Some("\"k1\""))).await.refused(422),
        "idempotency.other-params"
    );
    assert_eq!(served.socket(owner, call(r#"{"nam":"Bob"}"#, None)).await.refused(422), "params.invalid");
    assert_eq!(
        served.socket(Some("beta/bob"), call(r#"{"name":"Bob"}"#, None)).await.refused(404),
        "installation.unknown"
    );
    assert_eq!(served.socket(Some("acme/eve"), call(r#"{"name":"Bob"}"#, None)).await.refused(401), "caller.unknown");

    // Two people change one installation.
    let change = |path: &str, tag: &str| {
        let mut request = request("POST", path, None);
        request.headers_mut().insert("if-match", tag.parse().unwrap());
        request
    };
    let paused = served.socket(owner, change("/v1/installations/hello/pause", &tag)).await;
    assert_eq!(paused.is(200)["state"], "paused");
    assert_ne!(paused.header("etag"), tag);
    let stale = served.socket(owner, change("/v1/installations/hello/resume", &tag)).await;
    assert_eq!(stale.refused(412), "request.changed");
    served.socket(owner, change("/v1/installations/hello/resume", paused.header("etag"))).await.is(200);

    // The request is in the log by the id its answer had.
    let page = served.ask(owner, "GET", "/v1/audit?limit=50", None).await.is(200);
    let entries = page["items"].as_array().unwrap();
    let refused = entries.iter().find(|entry| entry["fields"]["rule"] == "request.changed").unwrap();
    assert_eq!(refused["fields"]["request"].as_str(), Some(stale.header("x-request-id")));
    let first = served.ask(owner, "GET", "/v1/audit?limit=2", None).await.is(200);
    let cursor = first["next"].as_str().unwrap();
    let second = served.ask(owner, "GET", &format!("/v1/audit?limit=2&cursor={cursor}"), None).await.is(200);
    assert!(second["items"][0]["seq"].as_u64() < first["items"][1]["seq"].as_u64());
    assert_eq!(served.ask(Some("acme/eve"), "GET", "/v1/audit", None).await.refused(401), "caller.unknown");
    served.ask(owner, "POST", "/v1/users", Some(json!({ "name": "sam", "role": "support" }))).await.is(201);
    assert_eq!(served.ask(Some("acme/sam"), "GET", "/v1/audit/export", None).await.refused(403), "role.not-allowed");
    let key = served.ask(owner, "GET", "/v1/audit/key", None).await.is(200)["key"].as_str().unwrap().to_owned();
    for path in ["/v1/audit/export", "/v1/audit/export?format=csv", "/v1/audit/1/proof"] {
        let export = served.ask(owner, "GET", path, None).await;
        assert_eq!(export.status, 200, "{export:?}");
        let file = world.file("export");
        std::fs::write(&file, &export.body).unwrap();
        world.run(&["audit", "verify", file.to_str().unwrap(), "--key", &key]).ok();
    }
}

/// Two owners change one user: the second is told that it changed.
#[tokio::test]
async fn a_change_of_a_user_may_be_bound_to_what_was_seen() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let made = served.ask(owner, "POST", "/v1/users", Some(json!({ "name": "sam", "role": "support" }))).await;
    let tag = made.header("etag").to_owned();
    let seen = served.ask(owner, "GET", "/v1/users/sam", None).await;
    assert_eq!((seen.is(200)["revision"].as_u64(), seen.header("etag")), (Some(1), tag.as_str()));
    let bound = |method: &str, path: &str, body: Option<Value>, tag: &str| {
        let mut request = request(method, path, body);
        request.headers_mut().insert("if-match", tag.parse().unwrap());
        request
    };
    let changed = served.socket(owner, bound("POST", "/v1/users/sam/disable", None, &tag)).await;
    assert_eq!(changed.is(200)["enabled"], false);
    let admin = || Some(json!({ "role": "admin" }));
    let stale = served.socket(owner, bound("PUT", "/v1/users/sam/role", admin(), &tag)).await;
    assert_eq!(stale.refused(412), "request.changed");
    let now = changed.header("etag").to_owned();
    assert_eq!(served.socket(owner, bound("PUT", "/v1/users/sam/role", admin(), &now)).await.is(200)["role"], "admin");
}

/// A risky write over the API: it waits, and a person's approval runs it.
#[tokio::test]
async fn a_risky_write_waits_and_lists_have_pages() {
    let world = World::new();
    orders::install(&world, "http://127.0.0.1:9", 9);
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let path = "/v1/installations/shop/actions/refund-order/call";
    let mut ids = Vec::new();
    for amount in [100, 200, 300] {
        let waits = served.ask(owner, "POST", path, Some(orders::params(amount))).await;
        let id = waits.is(202)["confirmation"]["id"].as_str().unwrap().to_owned();
        assert_eq!(waits.header("location"), format!("/v1/confirmations/{}", id.replace('-', "%2D")));
        ids.push(id);
    }
    let page = served.ask(owner, "GET", "/v1/confirmations?state=pending&limit=2", None).await.is(200);
    assert_eq!(page["items"][0]["id"], ids[2]);
    let next = format!("/v1/confirmations?state=pending&limit=2&cursor={}", page["next"].as_str().unwrap());
    let page = served.ask(owner, "GET", &next, None).await.is(200);
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(ids[0]), &json!(null)));
    let deny = format!("/v1/confirmations/{}/deny", ids[0]);
    assert_eq!(served.ask(owner, "POST", &deny, None).await.is(200)["state"], "denied");
    assert_eq!(served.ask(owner, "POST", &deny, None).await.refused(409), "confirmation.decided");
    // Nobody listens where it goes: it runs, and fails.
    let approve = format!("/v1/confirmations/{}/approve", ids[1]);
    assert_eq!(served.ask(owner, "POST", &approve, None).await.status, 502);
    let keys = served.ask(owner, "GET", "/v1/installations/shop/keys", None).await;
    assert!(!String::from_utf8_lossy(&keys.body).contains(orders::SECRET));
    let rotate = json!({ "secret": "another-secret-of-some-length-0001" });
    let rotated =
        served.ask(owner, "POST", "/v1/installations/shop/keys/signing-secret/rotate", Some(rotate)).await.is(200);
    assert_eq!(rotated["versions"][0]["state"], "current");
    let retire = "/v1/installations/shop/keys/signing-secret/versions/1";
    assert_eq!(served.ask(owner, "DELETE", retire, None).await.is(200)["versions"][1]["state"], "retired");
}

/// A request under a key, as a client that may have to send it again makes it.
fn keyed(method: &str, path: &str, key: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = request(method, path, body);
    request.headers_mut().insert("idempotency-key", format!("\"{key}\"").parse().unwrap());
    request
}

/// An administrative write under a key is done once; what it shows once is not shown again.
#[tokio::test]
async fn a_write_that_comes_again_is_done_once() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let served = Served::start(&world, &[]);
    let owner = Some("acme/ada");
    let sam = json!({ "name": "sam", "role": "support" });
    let add = |key: &str, body: &Value| keyed("POST", "/v1/users", key, Some(body.clone()));
    let first = served.socket(owner, add("k1", &sam)).await;
    assert!(first.is(201)["name"] == "sam" && first.header("idempotency-replayed").is_empty());
    let again = served.socket(owner, add("k1", &sam)).await;
    assert_eq!((again.is(201), again.header("location")), (first.json(), "/v1/users/sam"));
    assert_eq!(again.header("idempotency-replayed"), "true");
    // Without a key, and under another, it is another request.
    assert_eq!(served.ask(owner, "POST", "/v1/users", Some(sam.clone())).await.refused(409), "user.exists");
    assert_eq!(served.socket(owner, add("k2", &sam)).await.refused(409), "user.exists");
    // What was refused did nothing, and its key is free.
    let eve = json!({ "name": "eve", "role": "admin" });
    served.socket(owner, add("k2", &eve)).await.is(201);
    assert_eq!(served.socket(owner, add("k1", &eve)).await.refused(422), "idempotency.other-params");
    let elsewhere = keyed("POST", "/v1/users/sam/disable", "k1", None);
    assert_eq!(served.socket(owner, elsewhere).await.refused(422), "idempotency.other-params");
    // A key is its principal's: eve's is another, and what she may not do is refused as ever.
    assert_eq!(served.socket(Some("acme/eve"), add("k1", &sam)).await.refused(403), "role.not-allowed");
    assert_eq!(served.socket(None, add("k1", &sam)).await.refused(400), "idempotency.no-tenant");

    let till = json!({ "name": "till", "role": "support", "scopes": ["orders:read"] });
    let client = || keyed("POST", "/v1/clients", "k3", Some(till.clone()));
    let made = served.socket(owner, client()).await.is(201);
    let again = served.socket(owner, client()).await.is(201);
    assert_eq!((&again["secret"], &again["withheld"]), (&json!(null), &json!(["secret"])));
    assert_eq!(again["key_id"], made["key_id"]);
    let secret = made["secret"].as_str().unwrap();
    for file in crate::admission::files(world.data()) {
        assert!(!crate::canary::find(&std::fs::read(&file).unwrap(), secret), "{}", file.display());
    }

    // Twenty at once: one does it, and the others get its answer or are told that it is being done.
    let rotate = json!({ "overlap_s": 0 });
    let asked =
        (0..20).map(|_| served.socket(owner, keyed("POST", "/v1/clients/till/rotate", "k4", Some(rotate.clone()))));
    let came = futures::future::join_all(asked).await;
    assert!(came.iter().all(|came| came.status == 200 || came.refused(409) == "idempotency.in-flight"), "{came:?}");
    assert_eq!(came.iter().filter(|came| came.status == 200 && came.json()["secret"].is_string()).count(), 1);
    assert_eq!(
        served.ask(owner, "GET", "/v1/clients", None).await.is(200)["items"][0]["keys"][0]["key_id"],
        "acme/till/2"
    );
    // It outlives the process, and another tenant's is another.
    drop(served);
    world.run(&["tenant", "create", "beta", "--owner", "bob"]).ok();
    let served = Served::start(&world, &[]);
    assert_eq!(served.socket(owner, add("k1", &sam)).await.header("idempotency-replayed"), "true");
    served.socket(Some("beta/bob"), add("k1", &sam)).await.is(201);
}
