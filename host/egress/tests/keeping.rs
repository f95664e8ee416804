//! Which connection carries the next request, and which never does.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opsiq_contract::PrivateTarget;
use opsiq_egress::{Egress, EgressConfig, GuestRequest, HttpFailure, Kept, Resolve, Session, Share, Verdict};
use support::{Keys, Names, World, failed, get, limits, post, read_request, rule, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server does with the nth request (from 0) of the nth connection (from 0).
enum Does {
    Says(&'static str),
    SaysAndCloses(&'static str),
    Closes,
}

/// A server that keeps connections, and who asked what on which.
struct Lasting {
    port: u16,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Lasting {
    async fn new(does: impl Fn(usize, usize) -> Does + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", does).await
    }

    async fn on(bind: &str, does: impl Fn(usize, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(bind).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, does) = (Arc::new(Mutex::new(Vec::new())), Arc::new(does));
        let (made, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (log, count, living) = (seen.clone(), made.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (log, living, does) = (log.clone(), living.clone(), does.clone());
                let connection = count.fetch_add(1, Ordering::SeqCst);
                living.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut io: support::Io = Box::new(tcp);
                    for nth in 0.. {
                        let request = read_request(&mut io).await;
                        if request.is_empty() {
                            break;
                        }
                        log.lock().unwrap().push((connection, request));
                        match does(connection, nth) {
                            Does::Says(answer) => io.write_all(answer.as_bytes()).await.unwrap(),
                            Does::SaysAndCloses(answer) => {
                                io.write_all(answer.as_bytes()).await.unwrap();
                                break;
                            }
                            Does::Closes => break,
                        }
                    }
                    drop(io);
                    living.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, seen, made, open }
    }

    /// On which connection each request came.
    fn connections(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(|(connection, _)| *connection).collect()
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Waits until so many connections are open.
    async fn has_open(&self, count: usize) {
        let wait = async {
            while self.open.load(Ordering::SeqCst) != count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(Duration::from_secs(3), wait).await.is_ok(), "{} are open", self.open.load(Ordering::SeqCst));
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/x", self.port)
    }

    fn world(&self) -> World {
        let url = format!("http://127.0.0.1:{}/{{rest*}}", self.port);
        let cidr = "127.0.0.0/8".parse().unwrap();
        World::new(
            vec![rule("all", &["GET", "HEAD", "POST"], &url)],
            vec![PrivateTarget { cidr, port: self.port, tls: false }],
        )
    }
}

/// The ways of one host: sessions of an installation keep their connections in its `Kept`.
struct Host {
    egress: Arc<Egress>,
    world: World,
}

impl Host {
    fn new(world: World) -> Self {
        let config = EgressConfig {
            resolver: Arc::clone(&world.names) as Arc<dyn Resolve>,
            roots: world.roots.clone(),
            tls12_hosts: world.tls12_hosts.clone(),
        };
        Self { egress: Arc::new(Egress::new(config).unwrap()), world }
    }

    fn session(&self, kept: &Arc<Kept>) -> Session {
        let keys = Arc::new(Keys(self.world.keys.clone()));
        Session::new(self.world.grant.clone(), self.egress.clone(), keys, self.world.leaks()).keeping(kept.clone())
    }

    /// One request of an invocation of its own, its answer read to the end.
    async fn ask(&self, kept: &Arc<Kept>, request: GuestRequest) -> Result<String, HttpFailure> {
        let session = self.session(kept);
        let mut answer = session.send(request).await?;
        let body = support::all(&mut answer.body).await?;
        Ok(String::from_utf8(body).unwrap())
    }
}

fn none_yet() -> Arc<Kept> {
    Arc::new(Kept::new(Share::default()))
}

#[tokio::test]
async fn the_next_request_goes_over_the_same_connection_and_is_counted_by_itself() {
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    let mut records = Vec::new();
    for _ in 0..3 {
        let session = host.session(&kept);
        assert_eq!(text(&mut session.send(get(&server.url())).await.unwrap()).await, "ok");
        records.extend(session.records());
    }
    assert_eq!(server.connections(), [0, 0, 0]);
    assert_eq!(records.iter().map(|record| record.reused).collect::<Vec<_>>(), [false, true, true]);
    let bytes = |at: usize| (records[at].sent_bytes, records[at].received_bytes, records[at].request_sent);
    let seen = server.seen.lock().unwrap()[0].1.len() as u64;
    assert_eq!(bytes(0), (seen, OK.len() as u64, true));
    assert_eq!((bytes(1), bytes(2)), (bytes(0), bytes(0)), "each by itself");
    assert!(!server.seen.lock().unwrap()[0].1.contains("connection:"), "the server may keep it");
}

/// The answers between: a HEAD, one without a body, one in chunks with trailers, one that is an error.
#[tokio::test]
async fn every_clean_end_keeps_the_connection() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n";
    let server = Lasting::new(|_, nth| match nth {
        0 => Does::Says("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"),
        1 => Does::Says("HTTP/1.1 204 No Content\r\n\r\n"),
        2 => Does::Says(CHUNKED),
        3 => Does::Says("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"),
        _ => Does::Says(OK),
    })
    .await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    let head = GuestRequest { method: "HEAD".to_owned(), ..get(&server.url()) };
    for (request, expected) in
        [(head, ""), (get(&server.url()), ""), (get(&server.url()), "ok"), (post(&server.url(), b"x"), "")]
    {
        assert_eq!(host.ask(&kept, request).await.unwrap(), expected);
    }
    assert_eq!(host.ask(&kept, get(&server.url())).await.unwrap(), "ok");
    assert_eq!(server.connections(), [0; 5]);
}

/// Whatever leaves doubt about where the answer ended, closes: the twin of the test above.
#[tokio::test]
async fn no_doubtful_end_keeps_it() {
    for (what, answer) in [
        (
            "bytes after the end",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        ),
        ("a line after the end", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n"),
        (
            "a second answer behind the chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        ),
        (
            "a length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("the length twice", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
        ("an old version", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
        ("said to close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        let server = Lasting::new(move |_, nth| Does::Says(if nth == 0 { answer } else { OK })).await;
        let (host, kept) = (Host::new(server.world()), none_yet());
        for _ in 0..2 {
            assert_eq!(host.ask(&kept, get(&server.url())).await.unwrap(), "ok", "{what}");
        }
        assert_eq!(server.connections(), [0, 1], "{what}");
        server.has_open(0).await;
    }
}

/// What comes while nobody asked, such as an answer sent ahead for the next one, closes it too.
#[tokio::test]
async fn what_is_said_unasked_closes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, tell) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut told = Some(told);
        loop {
            let mut io: support::Io = Box::new(listener.accept().await.unwrap().0);
            read_request(&mut io).await;
            io.write_all(OK.as_bytes()).await.unwrap();
            if let Some(told) = told.take() {
                sleep(Duration::from_millis(50)).await;
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
                told.send(io).unwrap_or_else(|_| panic!("the test waits"));
            }
        }
    });
    let url = format!("http://127.0.0.1:{port}/x");
    let target = PrivateTarget { cidr: "127.0.0.1/32".parse().unwrap(), port, tls: false };
    let (host, kept) = (Host::new(World::new(vec![rule("all", &["GET", "POST"], &url)], vec![target])), none_yet());
    assert_eq!(host.ask(&kept, get(&url)).await.unwrap(), "ok");
    let _io = tell.await.unwrap();
    assert_eq!(host.ask(&kept, post(&url, b"x")).await.unwrap(), "ok", "and not what was sent ahead");
}

#[tokio::test]
async fn an_answer_not_read_to_its_end_or_too_large_keeps_none() {
    let server = Lasting::new(|_, _| Does::Says("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")).await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    let session = host.session(&kept);
    let mut answer = session.send(get(&server.url())).await.unwrap();
    assert_eq!(answer.body.read(1).await.unwrap(), b"a");
    drop((answer, session));
    server.has_open(0).await;
    assert_eq!(kept.unused(), 0);
    // One that is read to its last byte is free, whether or not the plugin asks for more.
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let host = Host::new(server.world());
    let session = host.session(&kept);
    let mut answer = session.send(get(&server.url())).await.unwrap();
    assert_eq!(answer.body.read(9).await.unwrap(), b"ok");
    assert_eq!(kept.unused(), 1);
    assert_eq!(answer.body.read(9).await.unwrap(), b"");
}

/// A server that answers before it has taken the request: what is left of that would be sent as nobody's.
#[tokio::test]
async fn an_answer_that_comes_before_its_request_has_left_keeps_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hasty = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = [0; 64];
        tcp.read_exact(&mut head).await.unwrap();
        tcp.write_all(OK.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    });
    let url = format!("http://127.0.0.1:{port}/x");
    let cidr = "127.0.0.0/8".parse().unwrap();
    let mut world = World::new(vec![rule("all", &["POST"], &url)], vec![PrivateTarget { cidr, port, tls: false }]);
    world.grant.rules[0].request_max = 32 << 20;
    world.grant.limits.egress_bytes = 32 << 20;
    let (host, kept) = (Host::new(world), none_yet());
    // More than the buffers of both ends take.
    assert_eq!(host.ask(&kept, post(&url, &vec![0; 24 << 20])).await.unwrap(), "ok");
    assert_eq!(kept.unused(), 0);
    hasty.abort();
}

/// A connection belongs to an installation, a scheme, a host, a port and an address that the name has now.
#[tokio::test]
async fn nothing_is_shared_that_differs() {
    let server = Lasting::on("0.0.0.0:0", |_, _| Does::Says(OK)).await;
    let port = server.port;
    let mut world = server.world();
    world.names = Arc::new(
        Names::default()
            .with("one.test", &[&["127.0.0.1"], &["127.0.0.1"], &["127.0.0.2"], &["127.0.0.2"]])
            .with("two.test", &[&["127.0.0.2"]]),
    );
    world
        .grant
        .rules
        .extend(["one.test", "two.test"].map(|host| rule(host, &["GET"], &format!("http://{host}:{port}/x"))));
    let (host, mine, other) = (Host::new(world), none_yet(), none_yet());
    let ask = async |kept: &Arc<Kept>, name: &str| {
        host.ask(kept, get(&format!("http://{name}:{port}/x"))).await.unwrap();
    };
    ask(&mine, "one.test").await;
    ask(&mine, "one.test").await;
    assert_eq!(server.connections(), [0, 0], "the same");
    ask(&mine, "one.test").await;
    assert_eq!(server.connections().last(), Some(&1), "the name moved");
    ask(&mine, "two.test").await;
    assert_eq!(server.connections().last(), Some(&2), "another host at the same address");
    ask(&mine, "127.0.0.1").await;
    assert_eq!(server.connections().last(), Some(&3), "no name at the same address");
    ask(&other, "two.test").await;
    assert_eq!(server.connections().last(), Some(&4), "another installation");
    ask(&mine, "two.test").await;
    assert_eq!(server.connections().last(), Some(&2), "and the first one still has its own");
}

/// The address of a kept connection is held against the rules of now, and the name asked again.
#[tokio::test]
async fn a_kept_connection_does_not_outlive_its_permission() {
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let url = format!("http://re.test:{}/x", server.port);
    let mut world = server.world();
    world.grant.rules.push(rule("named", &["GET"], &url));
    world.names = Arc::new(Names::default().with("re.test", &[&["127.0.0.1"], &["127.0.0.1", "10.0.0.1"]]));
    let (mut host, kept) = (Host::new(world), none_yet());
    assert_eq!(host.ask(&kept, get(&url)).await.unwrap(), "ok");
    assert_eq!(failed(host.session(&kept).send(get(&url)).await), HttpFailure::Unreachable, "one bad answer");
    assert_eq!((kept.unused(), server.connections().len()), (1, 1));
    assert_eq!(host.ask(&kept, get(&server.url())).await.unwrap(), "ok", "by its address it may be reached");
    host.world.grant.private_targets.clear();
    assert_eq!(failed(host.session(&kept).send(get(&server.url())).await), HttpFailure::Unreachable, "not listed");
    assert_eq!(server.connections().len(), 2);
}

#[tokio::test]
async fn closing_closes_what_is_unused_and_what_is_in_use_then() {
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    host.ask(&kept, get(&server.url())).await.unwrap();
    server.has_open(1).await;
    kept.close();
    server.has_open(0).await;
    // One in use ends with its request.
    let session = host.session(&kept);
    let mut answer = session.send(get(&server.url())).await.unwrap();
    kept.close();
    assert_eq!(text(&mut answer).await, "ok");
    server.has_open(0).await;
    host.ask(&kept, get(&server.url())).await.unwrap();
    assert_eq!(kept.unused(), 1, "it keeps again");
    kept.end();
    host.ask(&kept, get(&server.url())).await.unwrap();
    assert_eq!(kept.unused(), 0, "and after its end never");
    server.has_open(0).await;
    let another = none_yet();
    host.ask(&another, get(&server.url())).await.unwrap();
    server.has_open(1).await;
    host.egress.close();
    server.has_open(0).await;
    host.ask(&another, get(&server.url())).await.unwrap();
    assert_eq!(another.unused(), 0);
    // Dropping what belongs to an installation closes all of it.
    let (host, last) = (Host::new(server.world()), none_yet());
    host.ask(&last, get(&server.url())).await.unwrap();
    server.has_open(1).await;
    drop(last);
    server.has_open(0).await;
}

/// A connection that the server ended is found so, and another is made; nobody hears of it.
#[tokio::test]
async fn one_that_the_server_ended_is_made_anew() {
    let server = Lasting::new(|_, _| Does::SaysAndCloses(OK)).await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    for request in [get(&server.url()), post(&server.url(), b"x"), get(&server.url())] {
        assert_eq!(host.ask(&kept, request).await.unwrap(), "ok");
        server.has_open(0).await;
    }
    assert_eq!(server.connections(), [0, 1, 2]);
}

/// Lost after the request went out: what has no effect is asked again, once; what may have one is not, and it says so.
#[tokio::test]
async fn what_may_have_an_effect_is_not_sent_twice() {
    let server =
        Lasting::new(|connection, nth| if connection == 0 && nth == 1 { Does::Closes } else { Does::Says(OK) }).await;
    let (host, held) = (Host::new(server.world()), none_yet());
    host.ask(&held, get(&server.url())).await.unwrap();
    let session = host.session(&held);
    assert_eq!(text(&mut session.send(get(&server.url())).await.unwrap()).await, "ok");
    assert_eq!(server.connections(), [0, 0, 1]);
    let record = session.records().remove(0);
    let request = server.seen.lock().unwrap()[1].1.len() as u64;
    assert_eq!((record.sent_bytes, record.request_sent, record.reused), (2 * request, true, false), "both are counted");
    assert_eq!(record.verdict, Verdict::Answered);

    let server =
        Lasting::new(|connection, nth| if connection == 0 && nth == 1 { Does::Closes } else { Does::Says(OK) }).await;
    let (host, held) = (Host::new(server.world()), none_yet());
    host.ask(&held, get(&server.url())).await.unwrap();
    let session = host.session(&held);
    assert_eq!(failed(session.send(post(&server.url(), b"effect")).await), HttpFailure::Broken);
    assert!(session.records().remove(0).request_sent);
    assert_eq!(server.connections(), [0, 0], "once");

    // A new connection that is lost is not made again, whatever is asked.
    let server = Lasting::new(|_, _| Does::Closes).await;
    let host = Host::new(server.world());
    assert_eq!(failed(host.session(&none_yet()).send(get(&server.url())).await), HttpFailure::Broken);
    assert_eq!(server.connections(), [0]);

    // Lost, and then not to be reached: a byte was sent, and no failure says otherwise.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut io: support::Io = Box::new(listener.accept().await.unwrap().0);
        drop(listener);
        read_request(&mut io).await;
        io.write_all(OK.as_bytes()).await.unwrap();
        read_request(&mut io).await;
    });
    let url = format!("http://127.0.0.1:{port}/x");
    let target = PrivateTarget { cidr: "127.0.0.1/32".parse().unwrap(), port, tls: false };
    let (host, held) = (Host::new(World::new(vec![rule("all", &["GET"], &url)], vec![target])), none_yet());
    host.ask(&held, get(&url)).await.unwrap();
    assert_eq!(failed(host.session(&held).send(get(&url)).await), HttpFailure::Broken);
}

#[tokio::test]
async fn how_many_are_kept_is_bounded() {
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let mut world = server.world();
    world.grant.limits = opsiq_contract::HttpLimits { requests: 100, ..limits() };
    let host = Host::new(world);
    let share = Share::default();
    let at_once = async |kept: &Arc<Kept>, count: usize| {
        let session = host.session(kept);
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(session.send(get(&server.url())).await.unwrap());
        }
        for answer in &mut answers {
            text(answer).await;
        }
    };
    let first = Arc::new(Kept::new(share.clone()));
    at_once(&first, 30).await;
    assert_eq!((server.made(), first.unused()), (30, 8), "for one purpose");
    server.has_open(8).await;
    let others: Vec<_> = (0..20).map(|_| Arc::new(Kept::new(share.clone()))).collect();
    for other in &others {
        at_once(other, 8).await;
    }
    let all: usize = others.iter().map(|kept| kept.unused()).sum();
    assert_eq!(all + first.unused(), 128, "for one tenant");
    let neighbour = none_yet();
    at_once(&neighbour, 8).await;
    assert_eq!(neighbour.unused(), 8, "and another tenant has its own");
}

#[tokio::test]
async fn one_that_carried_its_share_is_closed() {
    let server = Lasting::new(|_, _| Does::Says(OK)).await;
    let (host, kept) = (Host::new(server.world()), none_yet());
    for _ in 0..1_001 {
        host.ask(&kept, get(&server.url())).await.unwrap();
    }
    let connections = server.connections();
    assert_eq!((connections[999], connections[1_000]), (0, 1));
    server.has_open(1).await;
}
