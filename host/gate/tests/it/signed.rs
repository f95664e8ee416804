//! Signed requests at the front door.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, request::Parts};
use opsiq_audit::{Filter, Kind};
use opsiq_contract::{Principal, TenantId};
use opsiq_gate::{Actor, Answer, Class, Host, NewClientKey, OVERLAP, Origin, Refusal, ReplySigner, Stage};
use opsiq_shield::{ClientIp, Reason, Verdict};
use opsiq_signing::{KeyId, Reading, Request, sign_request, verify_reply};
use opsiq_vault::Secret;

use crate::clients::create;
use crate::world::{World, acme, call, keyed, options};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const BODY: &[u8] = br#"{"id":"7"}"#;

fn origin() -> Origin {
    Origin::of(&Uri::from_static("https://api.example.com")).unwrap()
}

/// A signed request.
#[derive(Clone)]
pub(crate) struct Sent {
    parts: Parts,
    body: Vec<u8>,
}

/// A client that signs.
pub(crate) struct Sender {
    key_id: KeyId,
    secret: Arc<Secret>,
}

impl Sender {
    pub(crate) fn of(new: NewClientKey) -> Self {
        Self { key_id: new.key_id.parse().unwrap(), secret: Arc::new(new.secret) }
    }

    fn sign(&self, nonce: &str, created: i64) -> Sent {
        let (method, target) = (Method::POST, "https://api.example.com/v1/actions/echo/change?x=1");
        let mut request = http::Request::builder().method(&method).uri("/v1/actions/echo/change?x=1").body(()).unwrap();
        let content = HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", content);
        let of = Request { method: &method, target_uri: target, headers: request.headers(), body: BODY };
        let fields = sign_request(&of, &self.key_id, &self.secret, created, &format!("{nonce:0>16}")).unwrap();
        request.headers_mut().extend(fields);
        Sent { parts: request.into_parts().0, body: BODY.to_vec() }
    }

    pub(crate) fn now(&self, nonce: &str) -> Sent {
        self.sign(nonce, Reading::now().wall_ms / 1000)
    }
}

pub(crate) async fn arrive(host: &Host, sent: &Sent) -> Result<(Actor, ReplySigner), Refusal> {
    host.door().signed(&origin(), &sent.parts, &sent.body, PEER.into()).await
}

async fn code(host: &Host, sent: &Sent) -> String {
    let refusal = arrive(host, sent).await.unwrap_err();
    assert_eq!((refusal.class, refusal.stage), (Class::Unauthenticated, Stage::Authenticate));
    refusal.code.into_owned()
}

async fn till(world: &World) -> Sender {
    Sender::of(create(world, "till", &["things:read", "things:write"]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_is_a_clients_and_its_reply_is_signed() {
    let world = World::new().await;
    let till = till(&world).await;
    let sent = till.now("1");
    let (actor, reply) = arrive(&world.host, &sent).await.unwrap();
    assert_eq!(actor.principal(), &Principal::Client { name: "till".to_owned() });
    assert_eq!(actor.tenant().map(TenantId::as_str), Some("acme"));
    let Answer::Done(done) = world.host.invoke(&actor, call("change", r#"{"id":"7"}"#)).await.unwrap() else {
        panic!("it waits");
    };
    let fields = reply.sign(StatusCode::OK, done.result.as_bytes()).await.unwrap();
    let headers = fields.into_iter().collect();
    let target = "https://api.example.com/v1/actions/echo/change?x=1";
    let request = Request { method: &Method::POST, target_uri: target, headers: &sent.parts.headers, body: BODY };
    let presented = opsiq_signing::Presented::read(&request).unwrap();
    let verify = |status, body: &str| {
        verify_reply(&till.secret, &till.key_id, presented.bound(), status, &headers, body.as_bytes())
    };
    assert!(verify(StatusCode::OK, &done.result).is_ok());
    assert!(verify(StatusCode::CREATED, &done.result).is_err());
    assert!(verify(StatusCode::OK, "{}").is_err());
    let entry = world.fields(Kind::Intent).await.remove(0);
    assert!(entry.contains("actor=client:till") && entry.contains("ip=192.0.2.7"), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_copies_one_is_taken() {
    let world = World::new().await;
    let till = till(&world).await;
    let sent = till.now("1");
    let mut copies = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (host, sent) = (world.host.clone(), sent.clone());
        copies.spawn(async move {
            let (actor, reply) = arrive(&host, &sent).await?;
            host.invoke(&actor, call("change", r#"{"id":"7"}"#)).await?;
            reply.sign(StatusCode::OK, b"").await
        });
    }
    let ended = copies.join_all().await;
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
    let refused = ended.into_iter().filter_map(Result::err);
    assert!(
        refused
            .into_iter()
            .all(|refusal| refusal.code == "signature.replayed" && refusal.class == Class::Unauthenticated)
    );
    assert_eq!(world.entries(Kind::Intent).await, 1);
    // Of the refusals one is on record, in the tenant's log, and the others are counted.
    let refused = world.fields(Kind::Refused).await;
    assert_eq!(refused.iter().filter(|entry| entry.contains("signature.replayed")).count(), 1);
}

/// After an end in order and after one that is none: whatever was answered or wrote anything is not taken again.
#[test]
fn nothing_is_taken_again_by_the_next_process() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = runtime();
    let (dir, till, host, answered, ran) = first.block_on(async {
        let world = World::new().await;
        let till = till(&world).await;
        let (answered, ran) = (till.now("answered"), till.now("ran"));
        let (_, reply) = arrive(&world.host, &answered).await.unwrap();
        // Nothing of this request wrote anything, so the answer waits for it.
        reply.sign(StatusCode::OK, b"").await.unwrap();
        let (actor, _unanswered) = arrive(&world.host, &ran).await.unwrap();
        world.host.invoke(&actor, call("change", r#"{"id":"7"}"#)).await.unwrap();
        let World { dir, host } = world;
        (dir, till, host, answered, ran)
    });
    // The process ends without closing anything.
    first.shutdown_timeout(Duration::from_secs(5));
    drop(host);
    let second = runtime();
    let idle = till.now("idle");
    second.block_on(async {
        let host = Host::open(options(&dir)).await.unwrap();
        for sent in [&answered, &ran] {
            assert_eq!(code(&host, sent).await, "signature.replayed");
        }
        arrive(&host, &idle).await.unwrap();
        host.close().await.unwrap();
    });
    drop(second);
    runtime().block_on(async {
        let host = Host::open(options(&dir)).await.unwrap();
        for sent in [&answered, &ran, &idle] {
            assert_eq!(code(&host, sent).await, "signature.replayed");
        }
        assert!(arrive(&host, &till.now("new")).await.is_ok());
    });
}

/// A write that never began is what a dead process may forget: the client was told nothing and nothing happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_durable_with_the_first_entry() {
    let world = World::new().await;
    let till = till(&world).await;
    let rows = async || -> i64 {
        let path = crate::world::data(&world.dir).join("data.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM request_nonce").fetch_one(&mut connection).await.unwrap()
    };
    let (actor, _reply) = arrive(&world.host, &till.now("1")).await.unwrap();
    assert_eq!(rows().await, 0, "it costs no commit of its own");
    // A refusal is an entry as well.
    world.host.invoke(&actor, call("refund", r#"{"id":"7","amount":1}"#)).await.unwrap_err();
    assert_eq!(rows().await, 1);
    let (actor, _reply) = arrive(&world.host, &till.now("2")).await.unwrap();
    world.host.invoke(&actor, call("look", r#"{"id":"7"}"#)).await.unwrap();
    assert_eq!(rows().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_and_what_is_not_signed_right_are_one_answer() {
    let world = World::new().await;
    let till = till(&world).await;
    let with = |key_id: &str, secret: &[u8]| Sender {
        key_id: key_id.parse().unwrap(),
        secret: Arc::new(Secret::from(secret.to_vec())),
    };
    let known = till.secret.expose();
    let mut told = Vec::new();
    for stranger in [
        with("acme/till/1", b"another secret of that length"),
        with("acme/till/2", known),
        with("acme/tall/1", known),
        with("other/till/1", known),
        with("nobody/till/1", known),
    ] {
        let refusal = arrive(&world.host, &stranger.now("1")).await.unwrap_err();
        told.push((refusal.code, refusal.message, refusal.fix, refusal.stage, refusal.class));
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!(told[0].0, "signature.invalid");
    // The first is on record where the operator sees it, and not in the log of a tenant that anybody could fill.
    assert!(!world.fields(Kind::Refused).await.iter().any(|entry| entry.contains("signature.invalid")));
    let filter = Filter { kind: Some(Kind::Refused), limit: 100, ..Filter::default() };
    let page = world.host.audit().list(&Actor::operator(), &filter).await.unwrap();
    let entries: Vec<_> = page.entries.iter().map(|entry| format!("{:?}", entry.fields)).collect();
    let about = entries.iter().filter(|entry| entry.contains("signature.invalid")).collect::<Vec<_>>();
    assert_eq!(about.len(), 1);
    assert!(about[0].contains("192.0.2.7") && about[0].contains("acme/till/1"), "{}", about[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_for_one_target_and_one_time() {
    let world = World::new().await;
    let till = till(&world).await;
    let host = &world.host;
    let good = till.now("1");
    let changed = |change: &dyn Fn(&mut Sent)| {
        let mut sent = good.clone();
        change(&mut sent);
        sent
    };
    for (sent, told) in [
        (changed(&|sent| sent.parts.method = Method::PUT), "signature.invalid"),
        (changed(&|sent| sent.parts.uri = Uri::from_static("/v1/actions/echo/refund?x=1")), "signature.invalid"),
        (changed(&|sent| sent.parts.uri = Uri::from_static("/v1/actions/echo/change")), "signature.invalid"),
        (changed(&|sent| sent.body.push(b' ')), "signature.digest"),
        (changed(&|sent| sent.body.clear()), "signature.digest"),
        (changed(&|sent| _ = sent.parts.headers.remove("signature")), "signature.malformed"),
        (changed(&|sent| sent.parts.headers.clear()), "signature.missing"),
        (
            changed(&|sent| _ = sent.parts.headers.insert("content-encoding", "gzip".parse().unwrap())),
            "signature.malformed",
        ),
        (
            changed(&|sent| _ = sent.parts.headers.append("content-digest", "sha-256=::".parse().unwrap())),
            "signature.malformed",
        ),
    ] {
        assert_eq!(code(host, &sent).await, told);
    }
    let elsewhere = Origin::of(&Uri::from_static("https://api.example.org")).unwrap();
    let refusal = host.door().signed(&elsewhere, &good.parts, &good.body, PEER.into()).await.unwrap_err();
    assert_eq!(refusal.code, "signature.invalid");
    let now = Reading::now().wall_ms / 1000;
    for created in [now - 302, now + 302, now - 3600] {
        assert_eq!(code(host, &till.sign("t", created)).await, "signature.time");
    }
    for (at, created) in [now - 295, now + 295].into_iter().enumerate() {
        assert!(arrive(host, &till.sign(&format!("t{at}"), created)).await.is_ok());
    }
    // None of the refused ones used the nonce up.
    assert!(arrive(host, &good).await.is_ok());
    // A new id that is not signed makes no other request of it.
    let again = changed(&|sent| {
        sent.parts.headers.insert(HeaderName::from_static("x-request-id"), HeaderValue::from_static("another"));
    });
    assert_eq!(code(host, &again).await, "signature.replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_rotate_under_load_without_a_refusal() {
    let world = World::new().await;
    let first = Arc::new(till(&world).await);
    let (stop, sent, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let senders = |sender: Arc<Sender>, name: &'static str| {
        let (host, stop, sent, refused) = (world.host.clone(), stop.clone(), sent.clone(), refused.clone());
        tokio::spawn(async move {
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                at += 1;
                match arrive(&host, &sender.now(&format!("{name}{at}"))).await {
                    Ok(_) => _ = sent.fetch_add(1, Ordering::Relaxed),
                    Err(refusal) => {
                        _ = refused.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(refusal.code, "signature.invalid");
                    }
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let old = senders(first.clone(), "old");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = Arc::new(Sender::of(world.host.clients().rotate(&acme("olga"), "till", OVERLAP).await.unwrap()));
    let new = senders(second.clone(), "new");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    old.await.unwrap();
    new.await.unwrap();
    assert_eq!(refused.load(Ordering::Relaxed), 0);
    assert!(sent.load(Ordering::Relaxed) > 20, "{sent:?}");
    // Ended, the old one is refused from the next request on, and the new one is not.
    world.host.clients().retire(&acme("olga"), "till").await.unwrap();
    assert_eq!(code(&world.host, &first.now("ended")).await, "signature.invalid");
    assert!(arrive(&world.host, &second.now("x")).await.is_ok());
    // One whose time is up, by itself.
    let third =
        Sender::of(world.host.clients().rotate(&acme("olga"), "till", Duration::from_millis(500)).await.unwrap());
    assert!(arrive(&world.host, &second.now("y")).await.is_ok());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(code(&world.host, &second.now("z")).await, "signature.invalid");
    assert!(arrive(&world.host, &third.now("z")).await.is_ok());
    // Revoked, nothing is left.
    world.host.clients().revoke(&acme("olga"), "till").await.unwrap();
    assert_eq!(code(&world.host, &third.now("gone")).await, "signature.invalid");
}

/// When nothing can be written, nothing is answered, and what was asked meanwhile is not taken again.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_nothing_is_answered() {
    let world = World::new().await;
    let till = till(&world).await;
    // Whoever holds the database's write lock keeps the host from writing.
    let path = crate::world::data(&world.dir).join("data.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let sent = till.now("1");
    let (_, reply) = arrive(&world.host, &sent).await.unwrap();
    let began = Instant::now();
    let refusal = reply.sign(StatusCode::OK, b"{}").await.unwrap_err();
    assert_eq!(refusal.class, Class::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(2));
    // That nothing happened can be said, signed.
    assert!(reply.sign(StatusCode::SERVICE_UNAVAILABLE, b"{}").await.is_ok());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(code(&world.host, &sent).await, "signature.replayed");
    // The store is back, and so is the way in.
    let mut answered = Err(refusal);
    for at in 0..50 {
        let (_, reply) = arrive(&world.host, &till.now(&format!("again{at}"))).await.unwrap();
        answered = reply.sign(StatusCode::OK, b"{}").await;
        if answered.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    answered.unwrap();
}

/// An idempotency key is one client's: another client, or a user of the same name, is another.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_one_clients() {
    let world = World::new().await;
    let host = &world.host;
    create(&world, "till", &["things:write"]).await;
    create(&world, "shop", &["things:write"]).await;
    host.users().add(&acme("olga"), "till", opsiq_contract::Role::Support).await.unwrap();
    let client = |name: &str| Actor::client("acme".parse().unwrap(), name);
    let done = async |actor: &Actor, id: &str| match host
        .invoke(actor, keyed("change", &format!(r#"{{"id":"{id}"}}"#), "k"))
        .await
    {
        Ok(Answer::Done(done)) => Ok(done.replayed),
        Ok(Answer::Pending(_)) => panic!("it waits"),
        Err(refusal) => Err(refusal.code),
    };
    assert_eq!(done(&client("till"), "7").await, Ok(false));
    assert_eq!(done(&client("till"), "7").await, Ok(true));
    assert_eq!(done(&client("till"), "8").await, Err("idempotency.other-params".into()));
    assert_eq!(done(&client("shop"), "8").await, Ok(false));
    assert_eq!(done(&acme("till"), "9").await, Ok(false));
    assert_eq!(world.entries(Kind::Intent).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_tenant_lets_nobody_come_from_no_request_is_taken_and_two_places_at_once_are_told_once() {
    let world = World::new().await;
    let till = till(&world).await;
    let [home, away] = ["192.0.2.7", "203.0.113.7"].map(|text| text.parse::<ClientIp>().unwrap());
    let from = async |sent: &Sent, peer: ClientIp| {
        let door = world.host.door();
        door.signed(&origin(), &sent.parts, &sent.body, peer).await.map(drop).map_err(|refusal| refusal.code)
    };
    let blocked = ["203.0.113.0/24".to_owned()];
    let firewall = world.host.firewall();
    firewall.put(&acme("olga"), Verdict::Block, &blocked, "a test", false).await.unwrap();
    let sent = till.now("1");
    assert_eq!(from(&sent, away).await.unwrap_err(), "firewall.tenant.blocked");
    assert!(from(&sent, home).await.is_ok(), "it was not used up");
    firewall.remove(&acme("olga"), &blocked, false).await.unwrap();
    for (at, peer) in [away, home, away, home, away].into_iter().enumerate() {
        from(&till.now(&format!("2{at}")), peer).await.unwrap();
    }
    let told = world.host.users().signals(&acme("olga"), None, None, 100).await.unwrap();
    let told: Vec<_> = told.iter().map(|one| (one.account.as_str(), one.reasons.as_slice())).collect();
    assert_eq!(told, [("client:till", [Reason::TwoPlaces].as_slice())]);
    assert_eq!(&*world.host.users().signals(&acme("adam"), None, None, 1).await.unwrap_err().code, "role.not-allowed");
}
