//! A served host as a client meets it: over TLS, trusting nothing but its own certificate, and over the operator's socket.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::opsiq::World;

/// What came back.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Came {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The rule of a problem that must have this status.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        let problem = self.is(status);
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request"].as_str(), Some(self.header("x-request-id")), "{self:?}");
        let rule = problem["rule"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:opsiq:problem:{rule}"));
        rule
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// `opsiq serve` on a data directory; it ends with the value.
pub(crate) struct Served {
    child: Option<Child>,
    pub(crate) address: SocketAddr,
    pub(crate) operator: SocketAddr,
    data: PathBuf,
}

impl Served {
    /// Serves a world on ports of the system's choice.
    pub(crate) fn start(world: &World, environment: &[(&str, &str)]) -> Self {
        let mut command = world.command(&["serve"]);
        command.env("OPSIQ_SERVER__LISTEN", "127.0.0.1:0").env("OPSIQ_SERVER__OPERATOR_LISTEN", "127.0.0.1:0");
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = |name: &str| {
            let url = said["data"][name].as_str().unwrap();
            url.split_once("://").unwrap().1.parse().unwrap()
        };
        Self {
            address: address("url"),
            operator: address("operator"),
            data: world.data().to_owned(),
            child: Some(child),
        }
    }

    /// One that somebody else started, and ends.
    pub(crate) fn found(address: SocketAddr, operator: SocketAddr, data: &Path) -> Self {
        Self { child: None, address, operator, data: data.to_owned() }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        terminate(self.child.as_ref().unwrap());
    }

    /// Ends it with no time to do anything.
    pub(crate) fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// How it ended, within that time.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it has not ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a client trusts: the certificate in the data directory.
    pub(crate) fn trust(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.data.join("tls-certificate.pem")).unwrap()).unwrap();
        roots
    }

    /// A TLS connection that offers these protocols.
    pub(crate) async fn tls(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        self.tls_with(protocols, self.trust()).await
    }

    pub(crate) async fn tls_with(&self, protocols: &[&str], roots: RootCertStore) -> TlsStream<TcpStream> {
        self.secured(TcpStream::connect(self.address).await.unwrap(), protocols, roots).await
    }

    async fn secured(&self, stream: TcpStream, protocols: &[&str], roots: RootCertStore) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// One request over HTTP/2.
    pub(crate) async fn http2(&self, request: Request<Full<Bytes>>) -> Came {
        let stream = self.tls(&["h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let came = taken(sender.send_request(request).await.unwrap()).await;
        ended(task).await;
        came
    }

    /// An HTTP/2 connection from an address of this machine, for requests one after the other or side by side.
    pub(crate) async fn connection(&self, from: Ipv4Addr) -> http2::SendRequest<Full<Bytes>> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = self.secured(socket.connect(self.address).await.unwrap(), &["h2"], self.trust()).await;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// One request over HTTP/1.1 and TLS.
    pub(crate) async fn http1(&self, request: Request<Full<Bytes>>) -> Came {
        let stream = self.tls(&["http/1.1"]).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let came = taken(sender.send_request(request).await.unwrap()).await;
        ended(task).await;
        came
    }

    /// One request over the operator's socket, as the operator or as TENANT/USER.
    pub(crate) async fn socket(&self, who: Option<&str>, request: Request<Full<Bytes>>) -> Came {
        let (mut parts, body) = request.into_parts();
        parts.headers.entry("host").or_insert("localhost".parse().unwrap());
        if let Some(who) = who {
            parts.headers.insert("opsiq-as", who.parse().unwrap());
        }
        let stream = UnixStream::connect(self.data.join("operator.sock")).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let came = taken(sender.send_request(Request::from_parts(parts, body)).await.unwrap()).await;
        ended(task).await;
        came
    }

    /// The same with JSON.
    pub(crate) async fn ask(&self, who: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Came {
        self.socket(who, request(method, path, body)).await
    }

    /// A GET of the operator's listener: status line and text.
    pub(crate) fn watch(&self, path: &str) -> String {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(self.operator).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let running = |child: &mut Child| child.try_wait().is_ok_and(|ended| ended.is_none());
        if running(child) {
            terminate(child);
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && running(child) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks a process to end.
pub(crate) fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// A request, with JSON when there is a body.
pub(crate) fn request(method: &str, path: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    request.body(Full::new(body)).unwrap()
}

pub(crate) async fn taken(response: hyper::Response<hyper::body::Incoming>) -> Came {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Came { status: parts.status, headers: parts.headers, body }
}

/// Ends a connection, and sees it end: a server that is told to end waits for those that there are.
async fn ended(connection: tokio::task::JoinHandle<hyper::Result<()>>) {
    connection.abort();
    let _ = connection.await;
}
