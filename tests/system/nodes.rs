//! Three nodes on a `PostgreSQL` server of their own, under steady signed load: one is killed and does not come back, and the
//! server crashes in the middle. What holds is asked from outside: the upstream that counts effects, the answers, and the log.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use opsiq_signing::{KeyId, sign_request, write_idempotency_key};
use opsiq_vault::Secret;
use serde_json::{Value, json};

use crate::crash::entries;
use crate::https::{Came, Served, taken};
use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::own_postgres::OwnPostgres;
use crate::upstream::{Reply, Upstream};

const PUBLIC: &str = "https://api.example.com";
const FETCH: &str = "/v1/installations/evil/actions/fetch/call";
const HELLO: &str = "/v1/installations/hello/actions/hello/call";
/// What a change may take to hold everywhere.
const PROMISED: Duration = Duration::from_secs(1);
/// What an answer may take while the database is away: 2 s, and what a busy machine adds.
const ANSWERED: Duration = Duration::from_millis(2_500);
/// A lease, a period of the job that ends the calls of lost nodes, and room for a busy machine.
const LEASE_AND_PERIOD: Duration = Duration::from_secs(10 + 2 + 3);
/// How long the upstream thinks, so that something is always under way.
const THINKS: Duration = Duration::from_millis(150);
const WORKERS: usize = 9;

/// A client that signs.
struct Client {
    id: KeyId,
    secret: Secret,
}

impl Client {
    fn of(made: &Value) -> Self {
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}"));
        Self { id: text("key_id").parse().unwrap(), secret: Secret::from(text("secret").as_bytes().to_vec()) }
    }

    /// A request that was never sent before.
    fn signed(&self, path: &str, body: &Value, key: Option<&str>) -> Request<Full<Bytes>> {
        static NONCE: AtomicU64 = AtomicU64::new(0);
        let (body, target) = (body.to_string(), format!("{PUBLIC}{path}"));
        let mut request = Request::post(&target).header("content-type", "application/json").body(()).unwrap();
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", write_idempotency_key(key).unwrap());
        }
        let of = opsiq_signing::Request {
            method: request.method(),
            target_uri: &target,
            headers: request.headers(),
            body: body.as_bytes(),
        };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let nonce = format!("{}-{:016}", std::process::id(), NONCE.fetch_add(1, Ordering::Relaxed));
        let fields = sign_request(&of, &self.id, &self.secret, i64::try_from(created).unwrap(), &nonce).unwrap();
        request.headers_mut().extend(fields);
        request.map(|()| Full::new(Bytes::from(body)))
    }
}

/// Where load goes.
struct Node {
    sender: SendRequest<Full<Bytes>>,
    dead: AtomicBool,
}

impl Node {
    /// `None` when the connection ended.
    async fn send(&self, request: Request<Full<Bytes>>) -> Option<Came> {
        let asked = async { Some(taken(self.sender.clone().send_request(request).await.ok()?).await) };
        // A body that is cut off panics in the one who takes it; none is, for answers are small.
        asked.await
    }
}

/// One thing that was to be done once.
#[derive(Debug, Default)]
struct Told {
    /// What the last answer was: its status, and the rule of a problem.
    end: Option<(u16, String)>,
    /// How long each answer of 503 took.
    away: Vec<Duration>,
    /// Whether its first try went to a node that died under it.
    orphan: bool,
}

struct Load {
    nodes: Vec<Node>,
    client: Client,
    upstream: String,
    stop: AtomicBool,
    next: AtomicUsize,
    told: Mutex<BTreeMap<String, Told>>,
    /// Requests that were taken, to be sent again.
    taken: Mutex<Vec<Request<Full<Bytes>>>>,
}

impl Load {
    fn params(&self, name: &str) -> Value {
        json!({ "method": "POST", "url": format!("{}/{name}", self.upstream), "body": name })
    }

    /// Asks for one thing until there is an answer that is an end, at one node after the other.
    async fn once(&self, name: &str, mut at: usize) -> Told {
        let (mut told, begun) = (Told::default(), Instant::now());
        loop {
            assert!(begun.elapsed() < Duration::from_secs(45), "{name} has no end: {told:?}");
            at = (0..self.nodes.len())
                .map(|step| (at + step) % self.nodes.len())
                .find(|at| !self.nodes[*at].dead.load(Ordering::SeqCst))
                .unwrap();
            let request = self.client.signed(FETCH, &self.params(name), Some(name));
            let asked = Instant::now();
            let Some(came) = self.nodes[at].send(request.clone()).await else {
                assert!(self.nodes[at].dead.load(Ordering::SeqCst), "a connection to a living node ended");
                told.orphan |= told.end.is_none();
                continue;
            };
            let rule = if came.status.is_success() { String::new() } else { came.refused(came.status.as_u16()) };
            told.end = Some((came.status.as_u16(), rule.clone()));
            match (came.status.as_u16(), rule.as_str()) {
                (200, _) => {
                    let mut taken = self.taken.lock().unwrap();
                    if taken.len() < 64 {
                        taken.push(request);
                    }
                    return told;
                }
                (409, "idempotency.unknown") => return told,
                (409, "idempotency.in-flight") => {}
                (503, _) => told.away.push(asked.elapsed()),
                _ => panic!("{name}: {came:?}"),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            at += 1;
        }
    }

    async fn work(self: Arc<Self>, worker: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let name = format!("order-{:06}", self.next.fetch_add(1, Ordering::Relaxed));
            let told = self.once(&name, worker).await;
            self.told.lock().unwrap().insert(name, told);
        }
    }

    fn ended(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

struct Cluster {
    served: Vec<Served>,
    worlds: Vec<World>,
    postgres: OwnPostgres,
    arrived: Arc<Mutex<Vec<(Instant, String)>>>,
    upstream: Upstream,
}

impl Cluster {
    fn start() -> Option<(Self, Value)> {
        let postgres = OwnPostgres::start()?;
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let log = arrived.clone();
        let upstream = Upstream::start(move |request| {
            log.lock().unwrap().push((Instant::now(), request.target.trim_start_matches('/').to_owned()));
            Reply::json(200, &json!({})).after(THINKS)
        });
        let (url, keys) = (postgres.url("opsiq"), postgres.url("opsiq_keys"));
        let (mut worlds, mut root) = (Vec::new(), None::<std::path::PathBuf>);
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("data");
            let world = World::bare(dir, data);
            let init = ["init", "--store-url", &url, "--store-keys", &keys];
            let mut command = world.command(&init);
            if let Some(root) = &root {
                command.env("OPSIQ_ROOT_KEY_FILE", root);
            }
            crate::opsiq::Ran::of_command(&init, command, "").ok();
            world.open_loopback(upstream.port);
            root.get_or_insert_with(|| world.data().join("root.key"));
            worlds.push(world);
        }
        let first = &worlds[0];
        first.install(&guest("hostile"), "evil", &[("base-url", &upstream.url())], &[("signing-secret", SECRET)]);
        first.install(&guest("hello"), "hello", &[], &[]);
        first.run(&["--as", "acme/ada", "user", "add", "sam", "--role", "support"]).ok();
        let make =
            |name: &str, scope: &str| first.run(&["--as", "acme/ada", "client", "create", name, "--scope", scope]).ok();
        let clients = json!({
            "load": make("load", "attack:run"), "rotated": make("rotated", "greetings:read"),
            "revoked": make("revoked", "greetings:read"), "stopped": make("stopped", "greetings:read"),
        });
        let root = root.unwrap();
        let environment = [("OPSIQ_SERVER__PUBLIC_URL", PUBLIC), ("OPSIQ_ROOT_KEY_FILE", root.to_str().unwrap())];
        let served = worlds.iter().map(|world| Served::start(world, &environment)).collect();
        Some((Self { served, worlds, postgres, arrived, upstream }, clients))
    }

    async fn node(&self, at: usize) -> Node {
        Node { sender: self.served[at].connection(Ipv4Addr::LOCALHOST).await, dead: AtomicBool::new(false) }
    }
}

/// How long each node goes on answering otherwise than `wanted`.
async fn holds(load: &Load, what: &str, client: &Client, wanted: (u16, &str)) {
    let since = Instant::now();
    for (at, node) in load.nodes.iter().enumerate() {
        loop {
            let asked = Instant::now();
            let came = node.send(client.signed(HELLO, &json!({ "name": "x" }), None)).await.unwrap();
            let rule = if came.status.is_success() { String::new() } else { came.refused(came.status.as_u16()) };
            if (came.status.as_u16(), rule.as_str()) == wanted {
                break;
            }
            assert!(asked - since < PROMISED, "{what}, node {at}: {came:?} after {:?}", asked - since);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What one node is told holds on all three within a second, while they are busy.
async fn changes_hold_everywhere(cluster: &Cluster, load: &Load, made: &Value) {
    let ask = async |at: usize, method: &str, path: &str, body: Value| {
        let came =
            cluster.served[at].ask(Some("acme/ada"), method, path, Some(body).filter(|body| !body.is_null())).await;
        assert!(came.status.is_success(), "{came:?}");
        came.json()
    };
    let client = |name: &str| Client::of(&made[name]);
    let (rotated, revoked, stopped) = (client("rotated"), client("revoked"), client("stopped"));
    for client in [&rotated, &revoked, &stopped] {
        holds(load, "nothing changed yet", client, (200, "")).await;
    }
    ask(0, "POST", "/v1/clients/revoked/revoke", Value::Null).await;
    holds(load, "revoked", &revoked, (401, "signature.invalid")).await;
    let new = Client::of(&ask(1, "POST", "/v1/clients/rotated/rotate", json!({ "overlap_s": 0 })).await);
    holds(load, "the earlier secret", &rotated, (401, "signature.invalid")).await;
    holds(load, "the new secret", &new, (200, "")).await;

    let lists = async |wanted: u16| {
        let since = Instant::now();
        for served in &cluster.served {
            loop {
                let asked = Instant::now();
                let came = served.ask(Some("acme/sam"), "GET", "/v1/users", None).await;
                if came.status == wanted {
                    break;
                }
                assert!(asked - since < PROMISED, "{came:?} after {:?}", asked - since);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    lists(403).await;
    ask(2, "PUT", "/v1/users/sam/role", json!({ "role": "admin" })).await;
    lists(200).await;
    ask(0, "PUT", "/v1/users/sam/role", json!({ "role": "support" })).await;
    lists(403).await;

    let selector = "installation:hello";
    ask(1, "POST", "/v1/sandbox/quarantine", json!({ "selector": selector, "reason": "a test" })).await;
    holds(load, "quarantined", &stopped, (403, "sandbox.quarantined")).await;
    ask(2, "POST", "/v1/sandbox/release", json!({ "selector": selector })).await;
    holds(load, "released", &stopped, (200, "")).await;
}

/// Sends requests that were taken once more, each at every node that lives. How many are refused as replayed; none is taken.
async fn replayed(load: &Load, requests: &[Request<Full<Bytes>>]) -> usize {
    let mut refused = 0;
    for request in requests {
        for node in load.nodes.iter().filter(|node| !node.dead.load(Ordering::SeqCst)) {
            let came = node.send(request.clone()).await.unwrap();
            match came.status.as_u16() {
                401 => assert_eq!(came.refused(401), "signature.replayed"),
                _ => drop(came.refused(503)),
            }
            refused += usize::from(came.status == 401);
        }
    }
    refused
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_one_and_the_database_and_do_nothing_twice() {
    let Some((mut cluster, made)) = tokio::task::block_in_place(Cluster::start) else { return };
    let load = Arc::new(Load {
        nodes: vec![cluster.node(0).await, cluster.node(1).await, cluster.node(2).await],
        client: Client::of(&made["load"]),
        upstream: cluster.upstream.url(),
        stop: AtomicBool::new(false),
        next: AtomicUsize::new(0),
        told: Mutex::default(),
        taken: Mutex::default(),
    });
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(load.clone().work(worker));
    }
    pause(1.0).await;
    changes_hold_everywhere(&cluster, &load, &made).await;
    let early = std::mem::take(&mut *load.taken.lock().unwrap());
    assert!(replayed(&load, &early[..3]).await == 9, "every node knows what another took");

    // One is gone for good, with calls under way.
    load.nodes[2].dead.store(true, Ordering::SeqCst);
    cluster.served[2].kill();
    let killed = Instant::now();
    pause(3.0).await;

    // The database crashes. Nobody does anything without it, and nobody waits for it.
    let late = std::mem::take(&mut *load.taken.lock().unwrap());
    tokio::task::block_in_place(|| cluster.postgres.crash());
    pause(0.5).await;
    let away_from = Instant::now();
    pause(2.5).await;
    let away_until = Instant::now();
    tokio::task::block_in_place(|| cluster.postgres.up());
    // What was taken before is not taken now, from the first moment on.
    let mut refused = 0;
    let until = Instant::now() + Duration::from_secs(10);
    while refused < 6 {
        refused = replayed(&load, &late[..3]).await;
        assert!(Instant::now() < until, "the nodes do not come back");
    }
    let before = load.ended();
    pause(3.0).await;
    assert!(load.ended() > before + 10, "{} ended since the database is back", load.ended() - before);

    pause(LEASE_AND_PERIOD.saturating_sub(killed.elapsed()).as_secs_f64()).await;
    load.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let told = std::mem::take(&mut *load.told.lock().unwrap());
    check_answers(&told);
    for name in told.iter().filter(|(_, told)| told.orphan).map(|(name, _)| name) {
        // Whatever it ended in is what it ends in.
        assert_eq!(load.once(name, 0).await.end, told[name].end, "{name}");
    }
    let arrived = cluster.arrived.lock().unwrap().clone();
    let during = arrived.iter().filter(|(at, _)| (away_from..away_until).contains(at)).count();
    assert_eq!(during, 0, "effects while nothing could be recorded");
    cluster.served.clear();
    let entries = tokio::task::block_in_place(|| entries(&cluster.worlds[0]));
    check_log(&entries, &arrived, &told);
}

fn check_answers(told: &BTreeMap<String, Told>) {
    let away: Vec<_> = told.values().flat_map(|told| &told.away).collect();
    assert!(away.len() >= 4, "nobody asked while the database was away");
    assert!(away.iter().all(|took| **took < ANSWERED), "{away:?}");
    assert!(told.values().any(|told| told.orphan), "nothing was under way at the node that died");
    let done = told.values().filter(|told| matches!(told.end, Some((200, _)))).count();
    assert!(done > 100, "{done} of {} done", told.len());
}

fn check_log(entries: &[Value], arrived: &[(Instant, String)], told: &BTreeMap<String, Told>) {
    for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
        assert_eq!(one["seq"].as_u64().unwrap() + 1, next["seq"].as_u64().unwrap(), "a gap");
    }
    let mut calls: BTreeMap<&str, (Option<&Value>, Vec<&str>)> = BTreeMap::new();
    for entry in entries {
        let Some(invocation) = entry["invocation"].as_str() else { continue };
        match entry["kind"].as_str().unwrap() {
            "intent" => calls.entry(invocation).or_default().0 = Some(entry),
            kind @ ("outcome" | "refused" | "interrupted") => calls.entry(invocation).or_default().1.push(kind),
            _ => {}
        }
    }
    let (mut of, mut interrupted) = (BTreeMap::<String, Vec<&str>>::new(), 0);
    for (invocation, (intent, ends)) in &calls {
        let Some(intent) = intent else { continue };
        assert_eq!(ends.len(), 1, "{invocation} ended as {ends:?}");
        let text = intent.to_string();
        if let Some(at) = text.find("order-") {
            of.entry(text[at..at + "order-000000".len()].to_owned()).or_default().push(ends[0]);
            interrupted += usize::from(ends[0] == "interrupted");
        }
    }
    assert!(interrupted > 0, "nothing was cut off");
    let mut effects = BTreeMap::<&str, usize>::new();
    for (_, name) in arrived {
        *effects.entry(name).or_default() += 1;
    }
    for (name, count) in &effects {
        assert_eq!(*count, 1, "{name} was done {count} times");
        assert!(of.contains_key(*name), "{name} was done without an intent");
    }
    for (name, told) in told {
        let ends = of.get(name).map(Vec::as_slice).unwrap_or_default();
        match &told.end {
            Some((200, _)) => {
                assert_eq!(effects.get(name.as_str()), Some(&1), "{name} is said to be done");
                assert_eq!(ends, ["outcome"], "{name}: {told:?}");
            }
            _ => assert_eq!(ends, ["interrupted"], "{name}: {told:?}"),
        }
    }
}
