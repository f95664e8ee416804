//! One small request over loopback: a plain hyper client, and the guarded way out; each with one connection kept for all
//! requests, as the way out keeps it for one installation, and with a connection for each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use opsiq_contract::{GrantedRule, Limits, PrivateTarget, UrlTemplate};
use opsiq_egress::{Egress, EgressConfig, EgressGrant, GuestRequest, Injector, Kept, Session, Share};
use opsiq_vault::{LeakWatch, Secret};
use serde_json::json;

/// Answers every request on every connection alike, from threads of its own.
pub(crate) fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    address
}

fn serve(stream: &TcpStream) {
    let (mut lines, mut line, mut close) = (BufReader::new(stream), String::new(), false);
    while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
        close |= line.eq_ignore_ascii_case("connection: close\r\n");
        if line == "\r\n" {
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
            if (&mut &*stream).write_all(answer).is_err() || close {
                return;
            }
        }
        line.clear();
    }
}

type Sender = SendRequest<Empty<Bytes>>;

/// A connection of a plain client.
pub(crate) async fn plain(server: SocketAddr) -> Sender {
    let stream = tokio::net::TcpStream::connect(server).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("nothing is said yet");
    tokio::spawn(connection);
    sender
}

/// One request of a plain client.
pub(crate) async fn ask(sender: &mut Sender, server: SocketAddr, last: bool) -> usize {
    let request = Request::get("/things/1").header("host", server.to_string());
    let request = if last { request.header("connection", "close") } else { request };
    let answer = sender.send_request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
    answer.into_body().collect().await.expect("its body").to_bytes().len()
}

/// No request of the bench carries a credential.
struct NoKeys;

impl Injector for NoKeys {
    fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

/// The way out, with a rule for the server.
pub(crate) struct Guarded {
    egress: Arc<Egress>,
    grant: EgressGrant,
    leaks: Arc<LeakWatch>,
    kept: Arc<Kept>,
    url: String,
}

impl Guarded {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let url = UrlTemplate::parse(&format!("http://{server}/things/{{id}}")).expect("a template");
        let rule = GrantedRule {
            name: "things".into(),
            methods: vec!["GET".into()],
            url: url.resolve(&json!({})).expect("nothing to resolve"),
            query: vec![],
            inject: None,
            request_max: 64 << 10,
            response_max: 64 << 10,
            safe: false,
            redirects: 0,
        };
        let target = PrivateTarget { cidr: server.ip().into(), port: server.port(), tls: false };
        Self {
            egress: Arc::new(Egress::new(EgressConfig::system().expect("a resolver")).expect("roots")),
            grant: EgressGrant {
                rules: vec![rule],
                denied_rules: vec![],
                private_targets: vec![target],
                limits: Limits::default().http,
            },
            leaks: Arc::new(LeakWatch::new(
                Arc::default(),
                "018f0000-0000-7000-8000-000000000001".parse().expect("a uuid"),
            )),
            kept: Arc::new(Kept::new(Share::default())),
            url: format!("http://{server}/things/1"),
        }
    }

    /// One request of an invocation of its own: decided, checked, sent, recorded, its body read; over a connection that is
    /// kept for the next one, or not.
    pub(crate) async fn ask(&self, keep: bool) -> usize {
        let session = Session::new(self.grant.clone(), self.egress.clone(), Arc::new(NoKeys), self.leaks.clone());
        let session = if keep { session.keeping(self.kept.clone()) } else { session };
        let (method, url) = ("GET".into(), self.url.clone());
        let request = GuestRequest { method, url, headers: vec![], body: None, timeout_ms: None };
        let mut answer = session.send(request).await.expect("an answer");
        let mut read = 0;
        loop {
            match answer.body.read(64 << 10).await.expect("its body").len() {
                0 => return read,
                more => read += more,
            }
        }
    }
}
