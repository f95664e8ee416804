//! What happens to every request, in this order: whether it is for this host, its form, whose head it is; then its body is
//! read, a signature is held against it, and only then does a handler see it. What is refused on the way is a problem like
//! any other; nothing is answered in a form of the libraries below.
//!
//! Framing that two readers could read differently is refused (RFC 9112 section 6.1): a request says its length by
//! `Content-Length` or by HTTP/2, never by `Transfer-Encoding`.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, STRICT_TRANSPORT_SECURITY,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode, Version};
use bytes::Bytes;
use opsiq_gate::Host;
use opsiq_shield::{Class, ClientIp};

use crate::ask::{Ask, Content, Reply};
use crate::auth::{Authenticate, Caller, Head, Peer, SignReply, over_socket};
use crate::body::{Bodies, Whole};
use crate::form::{acceptable, discard, path, query, read_here, taken};
use crate::guard::{self, Counted, Entered, Guard};
use crate::knock::Knocked;
use crate::metrics::Counters;
use crate::once;
use crate::problem::Problem;
use crate::routes::{Route, Run};
use crate::settings::Settings;

/// The header with a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Whether the host behind the door is there.
#[derive(Debug)]
enum Behind {
    /// Not yet.
    Starting,
    /// Its root key is missing or wrong.
    Sealed(String),
    /// It is.
    Open(Box<Host>),
    /// Not any more.
    Ending,
}

/// How one request came in.
enum From<'a> {
    /// Over the operator's socket.
    Operator,
    /// Over the network, from there, for this name of the host.
    Network(ClientIp, &'a str),
}

impl From<'_> {
    fn address(&self) -> Option<ClientIp> {
        match self {
            Self::Operator => None,
            Self::Network(client, _) => Some(*client),
        }
    }
}

/// What all requests share.
pub(crate) struct Front {
    behind: RwLock<Behind>,
    door: Box<dyn Authenticate>,
    pub(crate) counters: Counters,
    pub(crate) guard: Arc<Guard>,
    bodies: Bodies,
    headers: usize,
    header_bytes: usize,
    /// What clients call this host: `host`, or `host:port`.
    pub(crate) names: OnceLock<Vec<String>>,
    /// The `OpenAPI` document, and the page made of it.
    pub(crate) documents: OnceLock<(Bytes, Bytes)>,
}

impl Front {
    pub(crate) fn new(settings: &Settings, door: Box<dyn Authenticate>) -> Arc<Self> {
        Arc::new(Self {
            behind: RwLock::new(Behind::Starting),
            door,
            counters: Counters::default(),
            guard: Arc::new(Guard::new(&settings.shield)),
            bodies: Bodies::new(settings.bodies, settings.body_read),
            headers: settings.headers,
            header_bytes: settings.header_bytes,
            names: OnceLock::new(),
            documents: OnceLock::new(),
        })
    }

    /// The host is there from now on.
    pub(crate) fn open(&self, host: Host) {
        self.set(Behind::Open(Box::new(host)));
    }

    /// The host cannot be opened.
    pub(crate) fn seal(&self, why: String) {
        self.set(Behind::Sealed(why));
    }

    /// The host goes.
    pub(crate) fn end(&self) {
        self.set(Behind::Ending);
    }

    fn set(&self, behind: Behind) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// The host, or why there is none.
    pub(crate) fn host(&self) -> Result<Host, Problem> {
        match &*self.behind.read().unwrap_or_else(PoisonError::into_inner) {
            Behind::Open(host) => Ok(Host::clone(host)),
            Behind::Starting => Err(Problem::unavailable("server.starting", "the host is not open yet", 1)),
            Behind::Sealed(_) => {
                Err(Problem::unavailable("server.sealed", "the host is sealed: its root key is missing or wrong", 5))
            }
            Behind::Ending => Err(Problem::unavailable("server.ending", "the host is about to end", 5)),
        }
    }

    /// The host, if there is one now.
    pub(crate) fn there(&self) -> Option<Host> {
        match &*self.behind.read().unwrap_or_else(PoisonError::into_inner) {
            Behind::Open(host) => Some(Host::clone(host)),
            _ => None,
        }
    }

    /// Why the host is sealed, if it is.
    pub(crate) fn sealed(&self) -> Option<String> {
        match &*self.behind.read().unwrap_or_else(PoisonError::into_inner) {
            Behind::Sealed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// A request of whatever kind, before it is routed: gives it an id, finds out where it comes from, and refuses what cannot be
    /// read in one way only. `peer` is that of the connection; the operator's socket has none.
    pub(crate) fn receive<B>(
        &self,
        request: &mut Request<B>,
        peer: Option<IpAddr>,
    ) -> Result<(), (RequestId, Problem)> {
        let id = RequestId(uuid::Uuid::now_v7().to_string());
        request.extensions_mut().insert(id.clone());
        let received = self.framed(request).and_then(|()| match peer {
            Some(peer) => Ok(Peer::Network(self.guard.client(peer, request.headers())?)),
            None => Ok(Peer::Operator),
        });
        request.extensions_mut().insert(received.map_err(|problem| (id, problem))?);
        Ok(())
    }

    fn framed<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let headers = request.headers();
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if headers.len() > self.headers || bytes + target > self.header_bytes {
            let detail =
                format!("a request has {} header fields and {} bytes of them at most", self.headers, self.header_bytes);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Problem::request(status, "request.headers", detail, "send fewer or shorter ones"));
        }
        if request.version() >= Version::HTTP_2 {
            return Ok(());
        }
        let close = |problem: Problem| Err(problem.header(CONNECTION, HeaderValue::from_static("close")));
        if headers.contains_key(TRANSFER_ENCODING) {
            return close(Problem::request(
                StatusCode::BAD_REQUEST,
                "request.framing",
                "a request says its length by Content-Length; Transfer-Encoding is not taken",
                "send the body whole, or use HTTP/2",
            ));
        }
        let count = |name: HeaderName| headers.get_all(name).iter().count();
        if count(CONTENT_LENGTH) > 1 {
            return close(Problem::malformed("request.framing", "Content-Length is there twice"));
        }
        if count(HOST) != 1 {
            return close(Problem::malformed("request.host", "a request names its host once"));
        }
        Ok(())
    }

    /// A request on its route.
    pub(crate) async fn serve(&self, route: &Route, request: Request) -> Response<Body> {
        let began = Instant::now();
        let head = request.method() == Method::HEAD;
        let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let mut signer = None;
        let response = match self.answer(route, request, &id, &mut signer).await {
            Ok(reply) => respond(reply, signer.as_deref()).await,
            Err(problem) => refuse(&problem, &id, signer.as_deref()).await,
        };
        // What could not be signed is said unsigned.
        let response = response.unwrap_or_else(|problem| unsigned(&problem, &id));
        let took = began.elapsed();
        route.counts.answered(response.status(), took);
        tracing::debug!(
            request = id,
            route = route.spec.id,
            status = response.status().as_u16(),
            us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        let mut response = finish(response, &id);
        if head {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn answer(
        &self,
        route: &Route,
        request: Request,
        id: &str,
        signer: &mut Option<Box<dyn SignReply>>,
    ) -> Result<Reply, Problem> {
        let spec = &route.spec;
        let (mut parts, body) = request.into_parts();
        let from = self.from(&parts)?;
        let address = from.address();
        let asked = matches!(route.run, Run::Asked(_));
        let Entered { doubt, known } = match address {
            Some(client) => {
                match self.guard.enter(self.there().as_ref(), spec.class, asked, client, &parts.headers).await {
                    Ok(entered) => entered,
                    Err(problem) => {
                        discard(body).await;
                        return Err(problem);
                    }
                }
            }
            None => Entered::default(),
        };
        acceptable(spec, &parts.headers)?;
        read_here(spec, &parts.headers)?;
        let most = taken(spec, &parts.headers)?;
        if let Run::Open(run) = &route.run {
            return Ok(run(self));
        }
        let host = self.host()?;
        let query = query(spec, parts.uri.query().unwrap_or_default())?;
        let path = path(&mut parts).await?;
        // Nobody's body is read.
        let head = match &route.run {
            Run::Asked(_) => match (self.head(&host, &parts, &from).await, doubt, address) {
                (Err(_), Some(doubt), Some(client)) => return Err(self.guard.doubted(&host, client, doubt).await),
                (head, ..) => Some(head?),
            },
            _ => None,
        };
        if let (Some(head), Some(client)) = (&head, address) {
            // Nor that of who sent too much. What a signature covers is counted once it is known to be new.
            let counted = if matches!(head, Head::Known(_)) { Counted::Taken } else { Counted::Not };
            if let Err(problem) = self.guard.known(&host, spec.class, client, &head.actor(), counted).await {
                discard(body).await;
                return Err(problem);
            }
        }
        // The room it takes is held until this returns.
        let Whole { bytes: body, room: _room } = self.bodies.read(&parts.headers, body, most).await?;
        match &route.run {
            Run::Open(run) => Ok(run(self)),
            Run::Knocked(run) => {
                let authority = self.authority(&parts).ok().map(str::to_owned);
                let (headers, guard) = (parts.headers, self.guard.clone());
                run(Knocked { host, headers, body, path, query, authority, address, known, guard }).await
            }
            Run::Asked(run) => {
                let (Caller { actor, reply }, counted) = match head {
                    Some(Head::Known(caller)) => (caller, true),
                    Some(Head::Covering(proof)) => (proof.with_body(&body).await?, false),
                    None => return Err(Problem::malformed("request.peer", "the request came from nobody")),
                };
                *signer = reply;
                let actor = match address {
                    Some(client) => {
                        if !counted {
                            self.guard.known(&host, spec.class, client, &actor, Counted::Taken).await?;
                        }
                        actor.in_request(id).from_address(client)
                    }
                    None => actor.in_request(id),
                };
                let authority = self.authority(&parts).ok().map(str::to_owned);
                let headers = parts.headers;
                let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
                let ask = Ask { host, actor, headers, body, path, query, authority, address };
                once::answered(spec, run, ask, &target).await
            }
        }
    }

    /// What the head of a request proves.
    async fn head(&self, host: &Host, parts: &Parts, from: &From<'_>) -> Result<Head, Problem> {
        match from {
            From::Operator => Ok(Head::Known(Caller { actor: over_socket(&parts.headers)?, reply: None })),
            From::Network(client, authority) => Ok(self.door.head(host, parts, *client, authority).await?),
        }
    }

    /// How a request came in, and under which of this host's names.
    fn from(&self, parts: &Parts) -> Result<From<'_>, Problem> {
        match parts.extensions.get::<Peer>() {
            Some(Peer::Operator) => Ok(From::Operator),
            Some(Peer::Network(client)) => Ok(From::Network(*client, self.authority(parts)?)),
            None => Err(Problem::malformed("request.peer", "the request came from nowhere")),
        }
    }

    /// What clients call this host: one of the names the operator gave it. A request for another is not for this host
    /// (RFC 9110 section 15.5.20), wherever its name led.
    fn authority(&self, parts: &Parts) -> Result<&str, Problem> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = parts.uri.authority().map(Authority::as_str).or(host);
        let known = self.names.get().map(Vec::as_slice).unwrap_or_default();
        named
            .and_then(|named| known.iter().find(|known| known.eq_ignore_ascii_case(named)))
            .map(String::as_str)
            .ok_or_else(|| {
                Problem::request(
                    StatusCode::MISDIRECTED_REQUEST,
                    "request.host",
                    "the request is for another host",
                    "the operator names this one by public-url, or tls-names, under [server] in opsiq.toml",
                )
            })
    }

    /// What no route of the network's answers.
    pub(crate) async fn lost(&self, request: Request, status: StatusCode) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(client) = client(&parts) {
            let host = self.there();
            let entered = self.guard.enter(host.as_ref(), Class::Reads, false, client, &parts.headers).await;
            if let Some(host) = host.filter(|_| status == StatusCode::NOT_FOUND) {
                guard::lost(&host, client, parts.uri.path());
            }
            if let Err(problem) = entered {
                discard(body).await;
                return Self::refusal(&problem, &id_of(&parts));
            }
        }
        self.refused(&parts, status)
    }

    /// What no route answers.
    pub(crate) fn refused(&self, parts: &Parts, status: StatusCode) -> Response<Body> {
        Counters::more(&self.counters.unrouted);
        let id = id_of(parts);
        if status == StatusCode::METHOD_NOT_ALLOWED && parts.method == Method::OPTIONS {
            // What may be done is in `Allow`, which the router adds. No other origin is allowed anything.
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return finish(response, &id.0);
        }
        let problem = match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                Problem::request(status, "request.method", "this is not done here", "Allow says what is")
            }
            _ => Problem::request(status, "request.path", "there is nothing here", "see /docs"),
        };
        Self::refusal(&problem, &id)
    }

    /// A problem as an answer.
    pub(crate) fn refusal(problem: &Problem, id: &RequestId) -> Response<Body> {
        finish(unsigned(problem, &id.0), &id.0)
    }
}

/// The id that a request was given.
fn id_of(parts: &Parts) -> RequestId {
    parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId(String::new()))
}

/// From where a request comes; `None` over the operator's socket.
fn client(parts: &Parts) -> Option<ClientIp> {
    match parts.extensions.get::<Peer>() {
        Some(Peer::Network(client)) => Some(*client),
        _ => None,
    }
}

fn unsigned(problem: &Problem, id: &str) -> Response<Body> {
    let mut response = problem.head();
    *response.body_mut() = Body::from(problem.bytes(id));
    response
}

async fn refuse(problem: &Problem, id: &str, signer: Option<&dyn SignReply>) -> Result<Response<Body>, Problem> {
    let Some(signer) = signer else { return Ok(unsigned(problem, id)) };
    let bytes = problem.bytes(id);
    let mut response = problem.head();
    response.headers_mut().extend(signer.sign(problem.status(), &bytes).await?);
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

async fn respond(reply: Reply, signer: Option<&dyn SignReply>) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if !reply.media.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.media));
    }
    headers.extend(reply.headers);
    match reply.content {
        Content::Whole(bytes) => {
            if let Some(signer) = signer {
                headers.extend(signer.sign(reply.status, &bytes).await?);
            }
            *response.body_mut() = Body::from(bytes);
        }
        Content::Stream(stream) => {
            if let Some(signer) = signer {
                signer.settle().await?;
            }
            *response.body_mut() = Body::from_stream(stream);
        }
    }
    Ok(response)
}

/// What every answer carries: nothing of it is kept, framed, or taken for something else.
pub(crate) fn finish(mut response: Response<Body>, id: &str) -> Response<Body> {
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    put(CACHE_CONTROL, "no-store");
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(X_FRAME_OPTIONS, "DENY");
    put(HeaderName::from_static("referrer-policy"), "no-referrer");
    put(HeaderName::from_static("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    put(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}
