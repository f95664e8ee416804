//! The HTTP of one invocation: every request counted, decided, checked, sent and recorded, in that order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use hyper::body::Body as _;
use opsiq_contract::{Authorized, Denial, DeniedRule, GrantedRule, HttpLimits, PrivateTarget, choose};
use opsiq_vault::{LeakWatch, Secret};
use tokio::time::Instant;
use url::Url;

use crate::body::{BodyStream, Bounds};
use crate::decode::Decoder;
use crate::egress::Egress;
use crate::exchange::Pace;
use crate::failure::{HttpFailure, limit};
use crate::hop::Answer;
use crate::inject::{Injector, NoKeys};
use crate::kept::Kept;
use crate::leaking::leaking;
use crate::record::{Entry, HttpRecord, Verdict, redacted};
use crate::redirect;
use crate::request::{GuestRequest, Outgoing};
use crate::scrub::Scrub;

/// What an invocation may do over HTTP.
#[derive(Debug, Clone)]
pub struct EgressGrant {
    /// The rules of its action that were granted.
    pub rules: Vec<GrantedRule>,
    /// The rules that were not: they make a refusal say what would have allowed the request.
    pub denied_rules: Vec<DeniedRule>,
    /// Private destinations the operator listed.
    pub private_targets: Vec<PrivateTarget>,
    /// Limits in force.
    pub limits: HttpLimits,
}

impl EgressGrant {
    /// What `authorized` allows.
    pub fn of(authorized: &Authorized) -> Self {
        Self {
            rules: authorized.rules().to_vec(),
            denied_rules: authorized.denied_rules().to_vec(),
            private_targets: authorized.private_targets().to_vec(),
            limits: authorized.limits().http.clone(),
        }
    }
}

/// An answer: the WIT record `response`.
pub struct GuestResponse {
    /// The status.
    pub status: u16,
    /// Names in lower case and values, in the order received, without hop-by-hop ones and with injected values masked.
    /// Bytes that are not UTF-8 are read as Latin-1.
    pub headers: Vec<(String, String)>,
    /// The body, to be read in pieces.
    pub body: BodyStream,
}

/// What an invocation used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that a rule allowed, redirects followed among them.
    pub requests: u64,
    /// Bytes given to connections.
    pub sent_bytes: u64,
    /// Bytes that connections gave.
    pub received_bytes: u64,
}

/// What the bytes of many invocations are charged to together, beside the limits of each.
pub trait Budget: Send + Sync {
    /// Whether another request may begin.
    ///
    /// # Errors
    /// The name of the limit that is used up.
    fn left(&self) -> Result<(), &'static str>;

    /// So many bytes more were sent and received.
    fn used(&self, bytes: u64);
}

/// The HTTP of one invocation. Dropping it, or the future of a request, closes what is in use.
pub struct Session {
    pub(crate) grant: EgressGrant,
    pub(crate) egress: Arc<Egress>,
    pub(crate) injector: Arc<dyn Injector>,
    /// Connections that outlive a request; without, none does.
    pub(crate) kept: Option<Arc<Kept>>,
    /// Looks at what a plugin puts into requests.
    leaks: Option<Arc<LeakWatch>>,
    /// Asked before each request, and charged by then and at the end: an exchange that began goes on to its end.
    budget: Option<Arc<dyn Budget>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes charged so far.
    charged: u64,
    requests: u64,
    body_bytes: u64,
    /// Every secret injected so far, for answers to this and later requests.
    secrets: Vec<Secret>,
    scrub: Scrub,
    entries: Vec<Arc<Entry>>,
}

impl State {
    fn usage(&self) -> Usage {
        self.entries.iter().fold(Usage { requests: self.requests, ..Usage::default() }, |usage, entry| Usage {
            requests: usage.requests,
            sent_bytes: usage.sent_bytes + entry.traffic.sent(),
            received_bytes: usage.received_bytes + entry.traffic.received(),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Session {
    /// A session of nothing sent yet. `leaks` looks at what the plugin puts into requests.
    pub fn new(grant: EgressGrant, egress: Arc<Egress>, injector: Arc<dyn Injector>, leaks: Arc<LeakWatch>) -> Self {
        Self { grant, egress, injector, kept: None, leaks: Some(leaks), budget: None, state: Mutex::default() }
    }

    /// One of the host's own: no plugin's, and with no key to inject.
    pub(crate) fn of_host(grant: EgressGrant, egress: Arc<Egress>) -> Self {
        let injector = Arc::new(NoKeys);
        Self { grant, egress, injector, kept: None, leaks: None, budget: None, state: Mutex::default() }
    }

    /// The same, with the connections of its installation kept for the next request.
    #[must_use]
    pub fn keeping(mut self, kept: Arc<Kept>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The same, with its bytes charged to `budget`.
    #[must_use]
    pub fn charged_to(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sends one request and waits for the head of its answer, following redirects as far as the rule says.
    ///
    /// A redirect that no rule covers is the answer itself. Failing to connect, for whatever reason, is answered
    /// `http-connect` milliseconds after it began and not earlier.
    ///
    /// # Errors
    /// Each case of [`HttpFailure`].
    pub async fn send(&self, request: GuestRequest) -> Result<GuestResponse, HttpFailure> {
        let limits = &self.grant.limits;
        let total = request.timeout_ms.map_or(limits.total_ms, |asked| limits.total_ms.min(asked.into()));
        let deadline = Instant::now() + Duration::from_millis(total);
        let written = (request.method.clone(), request.url.clone());
        let parsed = Outgoing::parse(request, limits);
        let mut entry = match &parsed {
            Ok(outgoing) => self.record(outgoing.method.as_str(), redacted(&outgoing.url), 0),
            Err(_) => self.record(&shown_method(&written.0), shown_url(&written.1), 0),
        };
        let (mut outgoing, mut rule) = parsed
            .and_then(|outgoing| self.admit(&outgoing, &entry).map(|rule| (outgoing, rule)))
            .inspect_err(|failure| entry.fail(failure))?;
        let redirects = rule.redirects;
        let mut hop = 0;
        loop {
            entry.note(|record| record.rule = Some(rule.name.clone()));
            // Redirects carry no credential, whatever rule covers them: the answer of a server decided where they go.
            let inject = rule.inject.as_ref().filter(|_| hop == 0);
            let answer = self.hop(&outgoing, inject, deadline, &entry).await;
            let answer = answer.map_err(|failure| if hop == 0 { failure } else { after_redirect(&failure) })?;
            let next = (hop < redirects)
                .then(|| redirect::next(answer.response.status(), answer.response.headers(), &outgoing))
                .flatten();
            if let Some(next) = next {
                let shown =
                    String::from_utf8_lossy(&self.state().scrub.whole(redacted(&next.url).as_bytes())).into_owned();
                let next_entry = self.record(next.method.as_str(), shown, hop + 1);
                match self.admit(&next, &next_entry) {
                    Ok(next_rule) => {
                        entry.end(Verdict::Answered);
                        (outgoing, rule, entry) = (next, next_rule, next_entry);
                        hop += 1;
                        continue;
                    }
                    Err(failure) => next_entry.fail(&failure),
                }
            }
            return self.answer(answer, &outgoing, rule.response_max, deadline, &entry);
        }
    }

    /// What was asked for so far, in order, refusals among them.
    pub fn records(&self) -> Vec<HttpRecord> {
        self.state().entries.iter().map(|entry| entry.snapshot()).collect()
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        self.state().usage()
    }

    /// Charges what was used since it was last charged.
    fn settle(&self) {
        let Some(budget) = &self.budget else { return };
        let more = {
            let mut state = self.state();
            let Usage { sent_bytes, received_bytes, .. } = state.usage();
            let more = sent_bytes + received_bytes - state.charged;
            state.charged += more;
            more
        };
        budget.used(more);
    }

    /// Decides, without any packet, which rule allows a request, and counts it.
    fn admit(&self, request: &Outgoing, entry: &Entry) -> Result<&GrantedRule, HttpFailure> {
        let grant = &self.grant;
        let rule = choose(&grant.rules, &grant.denied_rules, request.method.as_str(), &request.url)
            .map_err(HttpFailure::Denied)?;
        if let Some(inject) = &rule.inject
            && request.headers.contains_key(&inject.header)
        {
            return Err(HttpFailure::Denied(Denial::new(
                "http.header-injected",
                format!("the rule `{}` injects the header `{}` itself", rule.name, inject.header),
                "remove it from the request",
            )));
        }
        if request.body_len() > rule.request_max {
            return Err(HttpFailure::Limit { name: limit::REQUEST_MAX, sent: false });
        }
        let leak = self.leaks.as_ref().and_then(|leaks| leaking(leaks, request, rule));
        leak.map_or(Ok(()), |denial| {
            // The record would hold what was kept in.
            entry.note(|record| "(withheld)".clone_into(&mut record.url));
            Err(HttpFailure::Denied(denial))
        })?;
        if let Some(budget) = &self.budget {
            self.settle();
            budget.left().map_err(|name| HttpFailure::Limit { name, sent: false })?;
        }
        let limits = &self.grant.limits;
        let mut state = self.state();
        if state.requests >= limits.requests {
            return Err(HttpFailure::Limit { name: limit::REQUESTS, sent: false });
        }
        if state.body_bytes + request.body_len() > limits.egress_bytes {
            return Err(HttpFailure::Limit { name: limit::SENT, sent: false });
        }
        state.requests += 1;
        state.body_bytes += request.body_len();
        Ok(rule)
    }

    /// What the plugin gets of an answer.
    pub(crate) fn answer(
        &self,
        answer: Answer,
        request: &Outgoing,
        response_max: u64,
        deadline: Instant,
        entry: &Arc<Entry>,
    ) -> Result<GuestResponse, HttpFailure> {
        let limits = &self.grant.limits;
        let (head, incoming) = answer.response.into_parts();
        let empty = incoming.is_end_stream() || request.method == Method::HEAD;
        let decoder = if empty { Ok(Decoder::Plain) } else { Decoder::for_headers(&head.headers) };
        let decoder = decoder.map_err(|_| {
            entry.fail_with(&HttpFailure::Broken, "a content coding that was not asked for".to_owned());
            HttpFailure::Broken
        })?;
        let scrub = self.state().scrub.clone();
        let changes_length = !empty && (decoder.decodes() || !scrub.is_empty());
        let headers = headers(&head.headers, &scrub, changes_length, decoder.decodes());
        let name = if response_max < limits.response_bytes { limit::RESPONSE_MAX } else { limit::RESPONSE };
        let bytes = response_max.min(limits.response_bytes);
        let bounds = Bounds { bytes, name, deadline, pace: Pace::of(limits) };
        entry.end(Verdict::Answered);
        let body = BodyStream::new(incoming, answer.lease, decoder, scrub.pieces(), bounds, Arc::clone(entry));
        Ok(GuestResponse { status: head.status.as_u16(), headers, body })
    }

    /// From now on these secrets are looked for in every answer.
    pub(crate) fn remember(&self, secrets: Vec<Secret>) {
        let mut state = self.state();
        let known = state.secrets.len();
        for secret in secrets {
            if !state.secrets.iter().any(|old| old.ct_eq(&secret)) {
                state.secrets.push(secret);
            }
        }
        if state.secrets.len() > known {
            state.scrub = Scrub::new(&state.secrets);
        }
    }

    /// The record of a request that needs no rule.
    pub(crate) fn begin(&self, request: &Outgoing) -> Arc<Entry> {
        self.record(request.method.as_str(), redacted(&request.url), 0)
    }

    fn record(&self, method: &str, url: String, hop: u8) -> Arc<Entry> {
        let entry = Entry::begin(method, url, hop);
        self.state().entries.push(Arc::clone(&entry));
        entry
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a redirect was followed, a request has been sent, and no failure may say otherwise.
fn after_redirect(failure: &HttpFailure) -> HttpFailure {
    match *failure {
        HttpFailure::TimedOut { .. } => HttpFailure::TimedOut { sent: true },
        HttpFailure::Limit { name, .. } => HttpFailure::Limit { name, sent: true },
        HttpFailure::Unreachable | HttpFailure::Broken | HttpFailure::Denied(_) | HttpFailure::Invalid(_) => {
            HttpFailure::Broken
        }
    }
}

/// Headers of one connection (RFC 9110 section 7.6.1): they say nothing about the answer.
const HOP_BY_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn headers(received: &HeaderMap, scrub: &Scrub, changes_length: bool, decodes: bool) -> Vec<(String, String)> {
    received
        .iter()
        .filter(|(name, _)| {
            !(HOP_BY_HOP.contains(&name.as_str())
                || (changes_length && *name == CONTENT_LENGTH)
                || (decodes && *name == CONTENT_ENCODING)
                // A name cannot be masked and stay a name.
                || (!scrub.is_empty() && scrub.whole(name.as_str().as_bytes()) != name.as_str().as_bytes()))
        })
        .map(|(name, value)| (name.as_str().to_owned(), text(scrub.whole(value.as_bytes()))))
        .collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect())
}

/// The method for a record, before it is known to be one.
fn shown_method(text: &str) -> String {
    text.chars().take(32).flat_map(char::escape_default).collect()
}

/// The URL for a record, before it is known to be one.
fn shown_url(text: &str) -> String {
    Url::parse(text).map_or_else(|_| "(not a URL)".to_owned(), |url| redacted(&url).chars().take(8_192).collect())
}
