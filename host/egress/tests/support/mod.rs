//! Servers that say exactly what a test wants, and sessions that may reach them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part, and a test that cannot be set up must fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use opsiq_contract::{Contract, GrantedRule, HttpLimits, Inject, Limits, PrivateTarget, UrlTemplate};
use opsiq_egress::{
    BodyStream, Egress, EgressConfig, EgressGrant, GuestRequest, GuestResponse, HttpFailure, Injector, Resolve,
    ResolveError, Session, Stream,
};
use opsiq_vault::{KeyName, LeakGuard, LeakWatch, Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub type Io = Box<dyn Stream>;

/// A listening server: what it was sent, and how often somebody connected.
pub struct Server {
    pub address: SocketAddr,
    pub accepts: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Reads a request on each connection, then does as told.
    pub async fn new<F, R>(tls: Option<Arc<ServerConfig>>, respond: F) -> Self
    where
        F: Fn(Io, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::on("127.0.0.1:0", tls, respond).await
    }

    pub async fn on<F, R>(bind: &str, tls: Option<Arc<ServerConfig>>, respond: F) -> Self
    where
        F: Fn(Io, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(bind).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepts = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, seen, respond) = (Arc::clone(&accepts), Arc::clone(&requests), Arc::new(respond));
        let task = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let (tls, seen, respond) = (tls.clone(), Arc::clone(&seen), Arc::clone(&respond));
                tokio::spawn(async move {
                    let mut io: Io = match tls {
                        None => Box::new(tcp),
                        Some(config) => match TlsAcceptor::from(config).accept(tcp).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let request = read_request(&mut io).await;
                    seen.lock().unwrap().push(request);
                    respond(io, nth).await;
                });
            }
        });
        Self { address, accepts, requests, task }
    }

    /// Says the same bytes to everyone, then closes.
    pub async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::new(None, move |io, _| {
            let answer = Arc::clone(&answer);
            say(io, answer.as_ref().clone())
        })
        .await
    }

    pub fn accepts(&self) -> usize {
        self.accepts.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn target(&self, tls: bool) -> PrivateTarget {
        PrivateTarget { cidr: self.address.ip().into(), port: self.address.port(), tls }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub async fn say(mut io: Io, bytes: Vec<u8>) {
    let _ = io.write_all(&bytes).await;
    let _ = io.shutdown().await;
}

pub async fn read_request(io: &mut Io) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if all.len() >= end + 4 + length {
                return text;
            }
        }
        match io.read(&mut buffer).await {
            Ok(count @ 1..) => all.extend_from_slice(&buffer[..count]),
            _ => return String::from_utf8_lossy(&all).into_owned(),
        }
    }
}

/// Names that resolve as told: each time the next list, the last one for ever. Counts.
#[derive(Default)]
pub struct Names {
    answers: BTreeMap<String, Vec<Vec<IpAddr>>>,
    pub asked: AtomicUsize,
}

impl Names {
    pub fn with(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let lists = answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
        self.answers.insert(name.to_owned(), lists);
        self
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let nth = self.asked.fetch_add(1, Ordering::SeqCst);
        let lists = self.answers.get(host).ok_or_else(|| ResolveError("no such name".to_owned()))?;
        Ok(lists[nth.min(lists.len() - 1)].clone())
    }
}

/// A certificate authority, and servers of it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A server certificate; `change` may spoil it.
    pub fn server(
        &self,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key, versions, alpn)
    }
}

/// A certificate signed by nobody.
pub fn self_signed(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    config(certificate.der().clone(), &key, &[&rustls::version::TLS13], &[])
}

fn config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub struct Keys(pub BTreeMap<&'static str, &'static str>);

impl Injector for Keys {
    fn secret(&self, key_name: &str) -> Option<Secret> {
        self.0.get(key_name).map(|text| Secret::from(text.as_bytes().to_vec()))
    }
}

/// What a test may do, before it becomes a session.
pub struct World {
    pub names: Arc<Names>,
    pub roots: Vec<CertificateDer<'static>>,
    pub tls12_hosts: BTreeSet<String>,
    pub grant: EgressGrant,
    pub keys: BTreeMap<&'static str, &'static str>,
    /// Values that may not leave in a request; none, unless a test says so.
    pub guarded: BTreeMap<&'static str, &'static str>,
}

/// The defaults, with times short enough for tests.
pub fn limits() -> HttpLimits {
    HttpLimits { connect_ms: 300, total_ms: 3_000, min_rate_after_ms: 300, ..Limits::default().http }
}

pub fn rule(name: &str, methods: &[&str], url: &str) -> GrantedRule {
    GrantedRule {
        name: name.to_owned(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        url: UrlTemplate::parse(url).unwrap().resolve(&serde_json::json!({})).unwrap(),
        query: vec!["q".to_owned()],
        inject: None,
        request_max: 64 << 10,
        response_max: 512 << 10,
        safe: false,
        redirects: 0,
    }
}

/// A key as a bearer token, as a contract writes it.
pub fn bearer(key: &str) -> Inject {
    let contract = format!(
        r#"
contract = 1
[plugin]
id = "echo"
version = "0.1.0"
kind = "connector"
title = "Echo"
summary = "Asks."
publisher = "test"
[[key]]
name = "{key}"
purpose = "Authenticates."
use = ["inject"]
[[http]]
name = "one"
methods = ["GET"]
url = "https://a.example/x"
inject = {{ header = "authorization", value = "Bearer {{{key}}}" }}
request-max = "1KiB"
response-max = "1KiB"
[[action]]
name = "ask"
title = "Ask"
effect = "read"
scope = "echo:read"
roles = ["owner"]
http = ["one"]
[action.params]
type = "object"
[action.result]
type = "object"
"#
    );
    Contract::parse_toml(&contract).unwrap().http.remove(0).inject.clone().unwrap()
}

impl World {
    pub fn new(rules: Vec<GrantedRule>, private_targets: Vec<PrivateTarget>) -> Self {
        Self {
            names: Arc::default(),
            roots: Vec::new(),
            tls12_hosts: BTreeSet::new(),
            grant: EgressGrant { rules, denied_rules: Vec::new(), private_targets, limits: limits() },
            keys: BTreeMap::new(),
            guarded: BTreeMap::new(),
        }
    }

    /// GET and POST of every path of a server, which is listed.
    pub fn to(server: &Server) -> Self {
        let url = format!("http://{}/{{rest*}}", server.address);
        Self::new(vec![rule("all", &["GET", "HEAD", "POST"], &url)], vec![server.target(false)])
    }

    pub fn session(&self) -> Session {
        self.watched().0
    }

    /// A session, and what looks for leaks in it: for the values of `guarded`, of this installation or, where the name
    /// says `other/`, of another.
    pub fn watched(&self) -> (Session, Arc<LeakWatch>) {
        let config = EgressConfig {
            resolver: Arc::clone(&self.names) as Arc<dyn Resolve>,
            roots: self.roots.clone(),
            tls12_hosts: self.tls12_hosts.clone(),
        };
        let (egress, leaks) = (Arc::new(Egress::new(config).unwrap()), self.leaks());
        let keys = Arc::new(Keys(self.keys.clone()));
        (Session::new(self.grant.clone(), egress, keys, Arc::clone(&leaks)), leaks)
    }

    pub fn leaks(&self) -> Arc<LeakWatch> {
        let id = |number| format!("00000000-0000-4000-8000-00000000000{number}").parse().unwrap();
        let secrets: Vec<_> = self.guarded.values().map(|value| Secret::from(value.as_bytes().to_vec())).collect();
        let keys = self.guarded.keys().map(|name| match name.strip_prefix("other/") {
            Some(name) => KeyName { installation: id(2), key: name.to_owned() },
            None => KeyName { installation: id(1), key: (*name).to_owned() },
        });
        Arc::new(LeakWatch::new(Arc::new(LeakGuard::new(keys.zip(&secrets))), id(1)))
    }
}

pub fn get(url: &str) -> GuestRequest {
    GuestRequest { method: "GET".to_owned(), url: url.to_owned(), ..GuestRequest::default() }
}

pub fn post(url: &str, body: &[u8]) -> GuestRequest {
    GuestRequest { method: "POST".to_owned(), body: Some(body.to_vec()), ..get(url) }
}

pub async fn all(body: &mut BodyStream) -> Result<Vec<u8>, HttpFailure> {
    let mut whole = Vec::new();
    loop {
        let piece = body.read(u32::MAX).await?;
        if piece.is_empty() {
            return Ok(whole);
        }
        whole.extend(piece);
    }
}

pub async fn text(response: &mut GuestResponse) -> String {
    String::from_utf8(all(&mut response.body).await.unwrap()).unwrap()
}

pub fn header<'a>(response: &'a GuestResponse, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// The failure, which must be one.
pub fn failed(result: Result<GuestResponse, HttpFailure>) -> HttpFailure {
    match result {
        Ok(response) => panic!("answered {}", response.status),
        Err(failure) => failure,
    }
}
