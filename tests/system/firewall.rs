//! Who may come, how often, and what happens to whoever looks for a way in: `opsiq serve` from outside, with addresses of the
//! machine's own and with those that a proxy tells.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::https::{Came, Served, request, taken};
use crate::opsiq::World;

const PASSWORD: &str = "seven otters crossed the weir";
/// This machine as a proxy, and as nobody in particular.
const PROXY: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn world() -> World {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    world
}

fn serve(world: &World, more: &[(&str, &str)]) -> Served {
    Served::start(world, &[&[("OPSIQ_SERVER__TRUSTED_PROXIES", "127.0.0.1")], more].concat())
}

/// A connection, over which requests of many come.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
}

impl Wire {
    async fn from(served: &Served, address: Ipv4Addr) -> Self {
        Self { sender: served.connection(address).await, port: served.address.port() }
    }

    /// One request; `who` is what the proxy says of where it comes from.
    async fn send(&self, who: &str, method: &str, path: &str, body: Option<Value>, more: &[(&str, &str)]) -> Came {
        let mut asked = request(method, &format!("https://localhost:{}{path}", self.port), body);
        for (name, value) in [("x-forwarded-for", who), ("user-agent", "test/1")].iter().chain(more) {
            if !value.is_empty() {
                let name: hyper::header::HeaderName = name.parse().unwrap();
                asked.headers_mut().append(name, value.parse().unwrap());
            }
        }
        self.pass(asked).await
    }

    async fn pass(&self, request: Request<Full<Bytes>>) -> Came {
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        taken(sender.send_request(request).await.unwrap()).await
    }

    async fn get(&self, who: &str, path: &str) -> Came {
        self.send(who, "GET", path, None, &[]).await
    }

    async fn post(&self, who: &str, path: &str, body: Value, token: &str) -> Came {
        let bearer = format!("Bearer {token}");
        let proof = if token.is_empty() { "" } else { bearer.as_str() };
        self.send(who, "POST", path, Some(body), &[("authorization", proof)]).await
    }

    async fn password(&self, who: &str, tenant: &str, user: &str, password: &str, device: &str) -> Came {
        let body = json!({ "tenant": tenant, "user": user, "password": password });
        self.send(who, "POST", "/v1/login", Some(body), &[("opsiq-device", device)]).await
    }
}

/// Somebody who took up their account.
struct Person {
    name: &'static str,
    recovery: Vec<String>,
}

/// A code of an authenticator, by RFC 6238 and not by what the host makes them with.
fn code(seed: &str) -> String {
    let (mut key, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for letter in seed.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        held = held << 5 | u32::try_from(value).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            key.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
    mac.update(&(now / 30).to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

impl Person {
    async fn enrol(wire: &Wire, from: &str, name: &'static str, invitation: &Value) -> Self {
        let body = json!({ "invitation": invitation["token"], "password": PASSWORD });
        let enrolment = wire.post(from, "/v1/invitations/accept", body, "").await.is(200);
        let shown = code(enrolment["seed"].as_str().unwrap());
        let body = json!({ "pending": enrolment["pending"], "code": shown });
        let enrolled = wire.post(from, "/v1/invitations/enrol", body, "").await.is(200);
        let codes = enrolled["recovery_codes"].as_array().unwrap().iter();
        Self { name, recovery: codes.map(|code| code.as_str().unwrap().to_owned()).collect() }
    }

    /// Signs in with a recovery code, from a device that is known by this token or from another.
    async fn sign_in(&mut self, wire: &Wire, from: &str, device: &str) -> Value {
        let pending = wire.password(from, "acme", self.name, PASSWORD, device).await.is(200);
        let body = json!({ "pending": pending["pending"], "code": self.recovery.pop().unwrap() });
        wire.send(from, "POST", "/v1/login/code", Some(body), &[("opsiq-device", device)]).await.is(200)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The refusals in a log that name a rule, as their addresses.
fn refused_by(world: &World, who: &[&str], rule: &str) -> Vec<String> {
    let log = world.run(&[who, &["audit", "list", "--limit", "10000"]].concat()).ok();
    let entries = log["entries"].as_array().unwrap().iter();
    let named = entries.filter(|entry| entry["fields"]["rule"] == rule);
    named.map(|entry| entry["fields"]["ip"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_who_it_is_however_it_is_told() {
    let world = world();
    let mut served = serve(&world, &[]);
    let (proxy, stranger) = (Wire::from(&served, PROXY).await, Wire::from(&served, STRANGER).await);
    let block =
        ["firewall", "block", "203.0.113.0/24", "2001:db8:bad::/48", "::ffff:192.0.2.0/120", "--note", "a test"];
    let blocked = world.run(&block).ok();
    assert_eq!(blocked["networks"], json!(["192.0.2.0/24", "203.0.113.0/24", "2001:db8:bad::/48"]));
    for (who, path, status) in [
        ("203.0.113.9", "/v1/me", 403),
        ("203.0.113.9", "/healthz", 403),
        ("203.0.113.9", "/nothing", 403),
        ("::ffff:203.0.113.9", "/v1/me", 403),
        ("192.0.2.1", "/v1/me", 403),
        ("[2001:db8:bad::7]:443", "/v1/me", 403),
        ("198.51.100.1, 203.0.113.9", "/v1/me", 403),
        // What a client says of itself stands to the left.
        ("203.0.113.9, 198.51.100.1", "/v1/me", 401),
        ("nonsense, 198.51.100.1", "/v1/me", 401),
        ("2001:db8:bee::7", "/v1/me", 401),
        ("", "/v1/me", 401),
        ("198.51.100.1, nonsense", "/v1/me", 400),
        ("unknown", "/healthz", 400),
    ] {
        let came = proxy.get(who, path).await;
        assert_eq!(came.status, status, "{who} {path}: {came:?}");
        let rule = came.refused(status);
        let rules = ["firewall.host.blocked", "caller.unauthenticated", "request.hops"];
        assert_eq!(rule, rules[[403, 401, 400].iter().position(|known| *known == status).unwrap()]);
    }
    let twice = [("x-forwarded-for", "198.51.100.2")];
    assert_eq!(proxy.send("198.51.100.1", "GET", "/v1/me", None, &twice).await.refused(400), "request.hops");
    // Nobody else is believed, and nobody can be blocked by another's word.
    assert_eq!(stranger.get("203.0.113.9", "/v1/me").await.refused(401), "caller.unauthenticated");
    assert_eq!(&stranger.get("unknown", "/healthz").await.body[..], b"ok");
    world.run(&["firewall", "block", "127.0.0.2"]).ok();
    assert_eq!(stranger.get("198.51.100.1", "/v1/me").await.refused(403), "firewall.host.blocked");
    // The operator's socket has no address.
    served.ask(None, "GET", "/v1/tenants", None).await.is(200);
    assert!(served.watch("/healthz").ends_with("ok"));
    let metrics = served.watch("/metrics");
    assert!(metrics.contains("opsiq_firewall_rules 4") && !metrics.contains("203.0.113"), "{metrics}");

    let check = world.run(&["firewall", "check", "::ffff:203.0.113.9"]).ok();
    assert_eq!((&check["permitted"], &check["address"]), (&false.into(), &"203.0.113.9".into()));
    assert_eq!(check["steps"][0]["rule"], "203.0.113.0/24");
    assert_eq!(world.run(&["firewall", "check", "198.51.100.1"]).ok()["permitted"], true);
    assert_eq!(world.run(&["firewall", "list"]).ok()[1]["note"], "a test");
    // An allowance opens no hole in a block, and shuts out everybody else.
    world.run(&["firewall", "allow", "203.0.113.9", "198.51.100.0/24"]).ok();
    assert_eq!(proxy.get("203.0.113.9", "/v1/me").await.refused(403), "firewall.host.blocked");
    assert_eq!(proxy.get("198.51.100.7", "/v1/me").await.refused(401), "caller.unauthenticated");
    assert_eq!(proxy.get("198.51.101.7", "/v1/me").await.refused(403), "firewall.host.not-allowed");
    world.run(&["firewall", "remove", "203.0.113.9", "198.51.100.0/24", "203.0.113.0/24"]).ok();
    assert_eq!(proxy.get("203.0.113.9", "/v1/me").await.refused(401), "caller.unauthenticated");
    assert_eq!(world.run(&["firewall", "remove", "203.0.113.0/24"]).refused(5)["code"], "firewall.no-rule");
    let slip = world.run(&["firewall", "block", "203.0.113.9/24"]).refused(6);
    assert!(text(&slip["title"]).contains("203.0.113.0/24"), "{slip}");

    served.terminate();
    served.ended(Duration::from_secs(20));
    let told = refused_by(&world, &[], "firewall.host.blocked");
    assert!(told.contains(&"203.0.113.9".to_owned()) && told.contains(&"127.0.0.2".to_owned()), "{told:?}");
    // It outlives the process.
    let served = serve(&world, &[]);
    assert_eq!(Wire::from(&served, STRANGER).await.get("", "/healthz").await.refused(403), "firewall.host.blocked");
}

/// What a real proxy tells, as the judge of what is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_proxy_tells_where_a_request_comes_from() {
    let Some(nginx) =
        ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| std::path::Path::new(path).exists())
    else {
        assert!(std::env::var_os("CI").is_none(), "CI must have nginx: run .ci/setup");
        eprintln!("NOT RUN: nginx is missing; .ci/setup installs it");
        return;
    };
    let world = world();
    world.run(&["firewall", "block", "127.0.0.77"]).ok();
    for (header, set) in [
        ("x-forwarded-for", "X-Forwarded-For $proxy_add_x_forwarded_for"),
        ("forwarded", "Forwarded \"for=$remote_addr;proto=http\""),
    ] {
        let served = serve(&world, &[("OPSIQ_SERVER__FORWARDED_HEADER", header)]);
        let (behind, port) =
            (served.address.port(), TcpListener::bind((PROXY, 0)).unwrap().local_addr().unwrap().port());
        let dir = world.file(header);
        std::fs::create_dir_all(&dir).unwrap();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp = temp.map(|kind| format!("{kind}_temp_path {}/{kind};\n", dir.display())).concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nevents {{ }}\nhttp {{\naccess_log off;\n{temp}\
             server {{ listen 127.0.0.1:{port};\nlocation / {{ proxy_pass https://127.0.0.1:{behind}; proxy_ssl_protocols TLSv1.3; \
             proxy_http_version 1.1; proxy_set_header Host localhost:{behind}; proxy_set_header {set}; }} }}\n}}\n",
            dir.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        let mut command = Command::new(nginx);
        command.args(["-e", "stderr", "-c", dir.join("config").to_str().unwrap()]);
        let mut proxy = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ask = async |from: Ipv4Addr, more: &str| {
            let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
            exchange(connected(from, port).await, &request).await
        };
        let (good, bad) = (Ipv4Addr::new(127, 0, 0, 78), Ipv4Addr::new(127, 0, 0, 77));
        assert!(ask(good, "").await.ends_with("ok"), "{header}");
        assert!(ask(bad, "").await.contains("firewall.host.blocked"), "{header}");
        // Neither a better nor a worse word about oneself counts.
        assert!(ask(bad, &format!("{header}: 127.0.0.78\r\n")).await.contains("firewall.host.blocked"), "{header}");
        assert!(ask(good, &format!("{header}: 127.0.0.77\r\n")).await.ends_with("ok"), "{header}");
        let _ = proxy.kill();
        let _ = proxy.wait();
    }
}

/// A connection from an address of this machine, once somebody listens.
async fn connected(from: Ipv4Addr, port: u16) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        match socket.connect((PROXY, port).into()).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn exchange(mut stream: TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut came = String::new();
    stream.read_to_string(&mut came).await.unwrap();
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_list_is_its_own_and_nobody_locks_themselves_out_by_a_slip() {
    let world = world();
    let invitation = world.run(&["tenant", "invite", "acme"]).ok();
    world.run(&["tenant", "create", "other", "--owner", "olga"]).ok();
    let mut served = serve(&world, &[]);
    let wire = Wire::from(&served, PROXY).await;
    let (home, away) = ("198.51.100.1", "203.0.113.1");
    let mut ada = Person::enrol(&wire, home, "ada", &invitation).await;
    let signed_in = ada.sign_in(&wire, home, "").await;
    let token = text(&signed_in["token"]);
    let bearer = format!("Bearer {token}");
    let me = async |from: &str| wire.send(from, "GET", "/v1/me", None, &[("authorization", &bearer)]).await;
    let change = async |act: &str, networks: &[&str], force: bool| {
        let body = json!({ "networks": networks, "force": force });
        wire.post(home, &format!("/v1/firewall/{act}"), body, token).await
    };
    assert_eq!(change("block", &["198.51.0.0/16"], false).await.refused(409), "firewall.locks-out");
    assert_eq!(change("allow", &["192.0.2.0/24"], false).await.refused(409), "firewall.locks-out");
    change("allow", &["198.51.100.0/24", "192.0.2.0/24"], false).await.is(200);
    assert_eq!(change("remove", &["198.51.100.0/24"], false).await.refused(409), "firewall.locks-out");
    me(home).await.is(200);
    assert_eq!(me(away).await.refused(403), "firewall.tenant.not-allowed");
    // Who signs in from elsewhere is told what a stranger is.
    let device = text(&signed_in["device"]);
    assert_eq!(wire.password(away, "acme", "ada", PASSWORD, device).await.refused(401), "login.failed");
    assert_eq!(wire.password(away, "other", "olga", PASSWORD, "").await.refused(401), "login.failed");
    let page = wire.send(home, "GET", "/v1/firewall?limit=1", None, &[("authorization", &bearer)]).await.is(200);
    assert_eq!((&page["items"][0]["network"], &page["items"][0]["by"]), (&"192.0.2.0/24".into(), &"user:ada".into()));
    assert!(page["next"].is_string());
    let proof = [("authorization", bearer.as_str())];
    let check = wire.send(home, "GET", "/v1/firewall/check?address=203.0.113.1", None, &proof).await.is(200);
    assert_eq!((&check["steps"][0]["permitted"], &check["steps"][1]["permitted"]), (&true.into(), &false.into()));
    // Another tenant knows nothing of it, and the operator's list is not the tenant's.
    let others = served.ask(Some("other/olga"), "GET", "/v1/firewall", None).await.is(200);
    assert_eq!(others["items"], json!([]));
    let own = served.ask(None, "GET", "/v1/firewall", None).await.is(200);
    assert_eq!(own["items"], json!([]));
    served.ask(Some("acme/ada"), "GET", "/v1/firewall/scores", None).await.refused(403);
    // Meant is meant. The session was used from two places at once, so it asks for a code.
    assert_eq!(change("block", &["198.51.100.1"], true).await.refused(403), "session.step-up-needed");
    let shown = json!({ "code": ada.recovery.pop().unwrap() });
    wire.post(home, "/v1/login/step-up", shown, token).await.is(200);
    change("block", &["198.51.100.1"], true).await.is(200);
    assert_eq!(me(home).await.refused(403), "firewall.tenant.blocked");
    let removed = served
        .ask(Some("acme/ada"), "POST", "/v1/firewall/remove", Some(json!({ "networks": ["198.51.100.1"] })))
        .await
        .is(200);
    assert_eq!(removed["rules"], 2);
    me(home).await.is(200);
    served.terminate();
    served.ended(Duration::from_secs(20));
    let told = refused_by(&world, &["--as", "acme/ada"], "firewall.tenant.not-allowed");
    assert!(told.contains(&away.to_owned()), "{told:?}");
    let acts = world.run(&["--as", "acme/ada", "audit", "list"]).stdout;
    for act in ["firewall allow", "firewall block", "firewall remove", "firewall.locks-out"] {
        assert!(acts.contains(act), "{act} is on record");
    }
}

/// Row 46 of the scorecard: passwords tried at ten thousand accounts, from one address and from a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_passwords_is_throttled_and_nobody_else_is_locked_out() {
    let world = world();
    let invitation = world.run(&["tenant", "invite", "acme"]).ok();
    let other = world.run(&["tenant", "create", "other", "--owner", "olga"]).ok();
    // Fewer than by default, so that it takes less of the machine.
    let mut served = serve(&world, &[("OPSIQ_SERVER__LIMIT_SIGN_IN", "tenant 60/min")]);
    let wire = Wire::from(&served, PROXY).await;
    let mut ada = Person::enrol(&wire, "198.51.100.1", "ada", &invitation).await;
    let device = text(&ada.sign_in(&wire, "198.51.100.1", "").await["device"]).to_owned();
    let attack = async |from: &(dyn Fn(u32) -> String + Sync), tries: std::ops::Range<u32>| {
        let (mut tried, mut limited, mut slowed) = (0, 0, 0);
        for batch in tries.step_by(100) {
            let all = (batch..batch + 100).map(|at| {
                let (wire, who) = (&wire, from(at));
                async move { wire.password(&who, "acme", &format!("user{at}"), "guess-123456", "").await }
            });
            for came in join_all(all).await {
                match came.status.as_u16() {
                    401 => tried += 1,
                    429 if came.json()["rule"] == "login.slow-down" => slowed += 1,
                    429 => {
                        limited += 1;
                        assert!(came.header("retry-after").parse::<u32>().unwrap() > 0);
                    }
                    503 => {}
                    _ => panic!("{came:?}"),
                }
            }
        }
        (tried, limited, slowed)
    };
    let one = |_| "203.0.113.1".to_owned();
    let (tried, limited, slowed) = attack(&one, 0..10_000).await;
    assert!(tried <= 30 && limited > 9_000, "one address: {tried} tried, {limited} limited, {slowed} slowed");
    let many = |at: u32| Ipv4Addr::from(0x0a00_0000 + (at % 1000) * 256 + 1).to_string();
    let began = Instant::now();
    let (tried, limited, _) = attack(&many, 10_000..12_000).await;
    // One a second, after sixty at once.
    let most = 60 + began.elapsed().as_secs() + 5;
    assert!(tried <= most && limited > 1_800, "a thousand addresses: {tried} tried of {most}, {limited} limited");
    // The rightful user, at the attacker's own address even.
    for from in ["198.51.100.1", "203.0.113.1"] {
        let signed_in = ada.sign_in(&wire, from, &device).await;
        assert!(signed_in["device"].is_null(), "the device is known");
    }
    // Another tenant has a quota of its own.
    let body = json!({ "invitation": other["invitation"]["token"] });
    wire.post("198.51.100.9", "/v1/invitations/show", body, "").await.is(200);
    assert_eq!(wire.password("198.51.100.9", "other", "olga", "wrong-123456", "").await.refused(401), "login.failed");
    let scores = world.run(&["firewall", "scores"]).ok();
    let worst = scores.as_array().unwrap().iter().find(|score| score["network"] == "203.0.113.1").unwrap();
    let signals: Vec<&str> = worst["reasons"].as_array().unwrap().iter().map(|part| text(&part["signal"])).collect();
    assert!(signals.contains(&"many-accounts") && signals.contains(&"failed-sign-in"), "{worst}");
    let metrics = served.watch("/metrics");
    assert!(metrics.contains("opsiq_rate_refused_total{class=\"sign-in\",scope=\"address\"}"), "{metrics}");
    assert!(!metrics.contains("203.0.113.1"), "no address is a label");
    served.terminate();
    served.ended(Duration::from_secs(30));
    // On record, and not ten thousand times.
    let told = refused_by(&world, &[], "rate.sign-in.address");
    assert!(!told.is_empty() && told.len() < 200, "{}", told.len());
    // The owner is told that the account was used from where many were tried.
    let signals = world.run(&["--as", "acme/ada", "user", "signals", "ada"]).ok();
    let reasons = signals.to_string();
    assert!(reasons.contains("many-accounts") && reasons.contains("new-network"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_is_refused_for_a_while_and_who_proves_to_be_somebody_is_not() {
    let world = world();
    let invitation = world.run(&["tenant", "invite", "acme"]).ok();
    let served = serve(&world, &[]);
    let wire = Wire::from(&served, PROXY).await;
    let office = "198.51.100.1";
    let mut ada = Person::enrol(&wire, office, "ada", &invitation).await;
    let signed_in = ada.sign_in(&wire, office, "").await;
    wire.get(office, "/healthz").await;
    let mut refused = None;
    for at in 0..60 {
        let came = wire.get(office, &format!("/wp-admin/{at}.php")).await;
        if came.status == 429 {
            refused = Some(came);
            break;
        }
        assert_eq!(came.refused(404), "request.path");
    }
    let refused = refused.expect("it is refused in the end");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(refused.refused(429), "score.refused");
    assert_eq!(wire.get(office, "/healthz").await.refused(429), "score.refused");
    assert_eq!(wire.get(office, "/v1/me").await.refused(429), "score.refused");
    assert_eq!(wire.password(office, "acme", "ada", PASSWORD, "").await.refused(429), "score.refused");
    let bearer = format!("Bearer {}", text(&signed_in["token"]));
    wire.send(office, "GET", "/v1/me", None, &[("authorization", &bearer)]).await.is(200);
    ada.sign_in(&wire, office, text(&signed_in["device"])).await;
    assert_eq!(&wire.get("198.51.100.2", "/healthz").await.body[..], b"ok", "nobody else is");
    let scores = world.run(&["firewall", "scores"]).ok();
    assert_eq!((&scores[0]["network"], &scores[0]["reasons"][0]["signal"]), (&office.into(), &"unknown-path".into()));
    let metrics = served.watch("/metrics");
    assert!(metrics.contains("opsiq_scored_networks{standing=\"refused\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_told_by_name_and_is_nobody_elses() {
    let world = world();
    let served = serve(
        &world,
        &[
            ("OPSIQ_SERVER__LIMIT_READS", "address 20/min network 50/min"),
            ("OPSIQ_SERVER__LIMIT_HEALTH", "address 5/h"),
            ("OPSIQ_SERVER__SCORE_REFUSE", "1000"),
        ],
    );
    let wire = Wire::from(&served, PROXY).await;
    let come = async |from: &str, path: &str, times: usize| {
        let all = join_all((0..times).map(|_| wire.get(from, path))).await;
        let limited: Vec<Came> = all.into_iter().filter(|came| came.status == 429).collect();
        for came in &limited {
            assert!(came.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        (limited.len(), limited.first().map(|came| came.refused(429)).unwrap_or_default())
    };
    assert_eq!(come("198.51.100.1", "/v1/me", 30).await, (10, "rate.reads.address".to_owned()));
    assert_eq!(come("198.51.100.2", "/v1/me", 20).await.0, 0, "another address");
    assert_eq!(come("198.51.100.3", "/v1/me", 20).await, (10, "rate.reads.network".to_owned()), "of the same network");
    assert_eq!(come("198.51.101.3", "/v1/me", 20).await.0, 0, "another network");
    // One customer has all of a /64, and a site all of a /48.
    let many = join_all((0..40).map(|at| {
        let wire = &wire;
        async move { wire.get(&format!("2001:db8::{at:x}"), "/v1/me").await }
    }));
    assert_eq!(many.await.iter().filter(|came| came.status == 429).count(), 20);
    assert_eq!(come("198.51.100.9", "/healthz", 7).await, (2, "rate.health.address".to_owned()));
    // A real address of its own.
    let stranger = Wire::from(&served, STRANGER).await;
    for _ in 0..20 {
        stranger.get("198.51.100.1", "/v1/me").await.refused(401);
    }
    assert_eq!(stranger.get("", "/v1/me").await.refused(429), "rate.reads.address");
    for _ in 0..100 {
        served.ask(None, "GET", "/v1/tenants", None).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_of_who_sent_too_much_is_not_waited_for() {
    let world = world();
    let invitation = world.run(&["tenant", "invite", "acme"]).ok();
    let served = serve(&world, &[("OPSIQ_SERVER__LIMIT_WRITES", "account 2/h")]);
    let wire = Wire::from(&served, PROXY).await;
    let mut ada = Person::enrol(&wire, "198.51.100.1", "ada", &invitation).await;
    let signed_in = ada.sign_in(&wire, "198.51.100.1", "").await;
    let token = text(&signed_in["token"]);
    // The head of a request whose body never comes, and what is answered within a while.
    let answered = async || {
        let mut stream = served.tls(&["http/1.1"]).await;
        let head = format!(
            "POST /v1/users HTTP/1.1\r\nhost: localhost:{}\r\nuser-agent: test/1\r\nx-forwarded-for: 198.51.100.1\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n",
            served.address.port()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut came = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut came)).await;
        read.ok().map(|read| String::from_utf8_lossy(&came[..read.unwrap()]).into_owned())
    };
    for _ in 0..2 {
        assert_eq!(answered().await, None, "the body is waited for");
    }
    let refused = answered().await.expect("an answer without the body");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_the_user_asks_for_a_code_and_is_told_to_the_owner() {
    let world = world();
    let invitation = world.run(&["tenant", "invite", "acme"]).ok();
    let served = serve(&world, &[]);
    let wire = Wire::from(&served, PROXY).await;
    let (home, away) = ("198.51.100.1", "203.0.113.1");
    let mut ada = Person::enrol(&wire, home, "ada", &invitation).await;
    let first = ada.sign_in(&wire, home, "").await;
    assert_eq!(first["signals"], json!([]), "a first sign-in is no sign of anything");
    let add = async |from: &str, session: &Value, name: &str| {
        let body = json!({ "name": name, "role": "support" });
        wire.post(from, "/v1/users", body, text(&session["token"])).await
    };
    add(home, &first, "bob").await.is(201);
    // The same device at home: nothing is new.
    let second = ada.sign_in(&wire, "198.51.100.200", text(&first["device"])).await;
    assert_eq!(second["signals"], json!([]));
    // Another device elsewhere, with the right password and a right code.
    let third = ada.sign_in(&wire, away, "").await;
    assert_eq!(third["signals"], json!(["new-device", "new-network"]));
    assert_eq!(add(away, &third, "eve").await.refused(403), "session.step-up-needed");
    let body = json!({ "code": ada.recovery.pop().unwrap() });
    wire.post(away, "/v1/login/step-up", body, text(&third["token"])).await.is(200);
    add(away, &third, "eve").await.is(201);
    // One session at two places.
    let me = async |from: &str| {
        let bearer = format!("Bearer {}", text(&first["token"]));
        wire.send(from, "GET", "/v1/me", None, &[("authorization", &bearer)]).await.is(200)
    };
    for from in [home, away, home] {
        me(from).await;
    }
    assert_eq!(add(home, &first, "mallory").await.refused(403), "session.step-up-needed");
    let signals = world.run(&["--as", "acme/ada", "user", "signals"]).ok();
    let told: Vec<_> =
        signals.as_array().unwrap().iter().map(|one| (one["reasons"].clone(), text(&one["address"]))).collect();
    assert_eq!(told, [(json!(["two-places"]), home), (json!(["new-device", "new-network"]), away)]);
    assert_eq!(signals[0]["account"], "user:ada");
    let listed = served.ask(Some("acme/ada"), "GET", "/v1/signals?user=ada&limit=1", None).await.is(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(served.ask(Some("acme/bob"), "GET", "/v1/signals", None).await.refused(403), "role.not-allowed");
    let before = format!("/v1/signals?before={}", listed[0]["seq"]);
    let earlier = served.ask(Some("acme/ada"), "GET", &before, None).await.is(200);
    assert_eq!(earlier[0]["seq"], signals[1]["seq"]);
}

#[test]
fn a_long_list_comes_from_a_file() {
    let world = world();
    let line = |at: u32| format!("10.{}.{}.0/24 # one of many", at / 256, at % 256);
    let lines = (0..2_500).map(line).collect::<Vec<_>>().join("\n");
    std::fs::write(world.file("list"), format!("# a list\n\n{lines}")).unwrap();
    let file = world.file("list");
    let made = world.run(&["firewall", "block", "--file", file.to_str().unwrap(), "--note", "feed"]).ok();
    assert_eq!((&made["rules"], made["networks"].as_array().unwrap().len()), (&2_500.into(), 2_500));
    assert_eq!(world.run(&["firewall", "list"]).ok().as_array().unwrap().len(), 2_500);
    assert_eq!(world.run(&["firewall", "check", "10.3.7.9"]).ok()["steps"][0]["rule"], "10.3.7.0/24");
    assert_eq!(world.run_with(&["firewall", "remove", "--file", "-"], &lines).ok()["rules"], 0);
    world.run(&["firewall", "block"]).refused(2);
}
