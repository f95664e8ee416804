//! What an invocation did over HTTP, for its audit entry.
//!
//! A record exists from before the first packet, and reads the connection's own counters when it is asked for, so an
//! invocation killed in the middle of a request still shows what may have left.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opsiq_contract::Denial;
use serde::Serialize;
use url::Url;

use crate::failure::{HttpFailure, Reason};
use crate::wire::Traffic;

/// One request of an invocation, or one hop of a redirect that was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpRecord {
    /// The rule that allowed it; `None` when none did.
    pub rule: Option<String>,
    /// The method.
    pub method: String,
    /// The URL with every query value replaced, or a remark when it is no URL.
    pub url: String,
    /// 0 for what the plugin asked for; the number of redirects followed before otherwise.
    pub hop: u8,
    /// The checked address that was connected to.
    pub address: Option<SocketAddr>,
    /// `TLS 1.3`, `TLS 1.2`; `None` for plain http or no connection.
    pub tls: Option<&'static str>,
    /// Whether the connection had carried a request of this installation before.
    pub reused: bool,
    /// The answer's status.
    pub status: Option<u16>,
    /// Bytes given to the connection, HTTP framing among them, TLS not.
    pub sent_bytes: u64,
    /// Bytes the connection gave.
    pub received_bytes: u64,
    /// Milliseconds until the answer's end, its failure, or now.
    pub duration_ms: u64,
    /// Whether any byte of the request may have left.
    pub request_sent: bool,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// Still running, or dropped with the invocation before its end.
    Unfinished,
    /// The head of an answer arrived, and nothing failed after it.
    Answered,
    /// Refused by the rules.
    Denied {
        /// The rule that refused, and what would allow it.
        denial: Denial,
    },
    /// A failure, with more detail than the plugin was told.
    Failed {
        /// The code of [`HttpFailure`].
        code: &'static str,
        /// What happened. Without secrets.
        detail: String,
    },
}

/// The live side of a record.
#[derive(Debug)]
pub(crate) struct Entry {
    started: Instant,
    /// What its connection moved for it; two, when a kept one was lost.
    pub(crate) traffic: Arc<Traffic>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ended: Option<Duration>,
    record: HttpRecord,
}

impl Entry {
    /// A record of something that just began.
    pub(crate) fn begin(method: &str, url: String, hop: u8) -> Arc<Self> {
        let record = HttpRecord {
            rule: None,
            method: method.to_owned(),
            url,
            hop,
            address: None,
            tls: None,
            reused: false,
            status: None,
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 0,
            request_sent: false,
            verdict: Verdict::Unfinished,
        };
        Arc::new(Self {
            started: Instant::now(),
            traffic: Arc::default(),
            state: Mutex::new(State { ended: None, record }),
        })
    }

    /// Notes what became known.
    pub(crate) fn note(&self, change: impl FnOnce(&mut HttpRecord)) {
        change(&mut self.state().record);
    }

    /// The end. The first failure stands; a success may still turn into a failure while the body is read.
    pub(crate) fn end(&self, verdict: Verdict) {
        let mut state = self.state();
        if matches!(state.record.verdict, Verdict::Unfinished | Verdict::Answered) {
            state.record.verdict = verdict;
            state.ended = Some(self.started.elapsed());
        }
    }

    /// The end by a failure as the plugin sees it.
    pub(crate) fn fail(&self, failure: &HttpFailure) {
        self.end(match failure {
            HttpFailure::Denied(denial) => Verdict::Denied { denial: denial.clone() },
            other => Verdict::Failed {
                code: other.code(),
                detail: match other {
                    HttpFailure::Limit { name, .. } => (*name).to_owned(),
                    _ => other.to_string(),
                },
            },
        });
    }

    /// The end by a reason the plugin is not told.
    pub(crate) fn fail_for(&self, reason: &Reason) {
        self.end(Verdict::Failed { code: HttpFailure::Unreachable.code(), detail: reason.to_string() });
    }

    /// The end by a failure whose detail is for the record only.
    pub(crate) fn fail_with(&self, failure: &HttpFailure, detail: String) {
        self.end(Verdict::Failed { code: failure.code(), detail });
    }

    /// The record as it stands.
    pub(crate) fn snapshot(&self) -> HttpRecord {
        let state = self.state();
        let duration = state.ended.unwrap_or_else(|| self.started.elapsed());
        HttpRecord {
            sent_bytes: self.traffic.sent(),
            received_bytes: self.traffic.received(),
            request_sent: self.traffic.request_sent(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            ..state.record.clone()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A URL for a record: user information and fragment gone, every query value replaced. Names stay, since the rule
/// decides on them.
pub(crate) fn redacted(url: &Url) -> String {
    // As most are that passed the checks: nothing to take out.
    if url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut shown = url.clone();
    shown.set_fragment(None);
    // Both fail only for URLs without a host, which have no user information either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if let Some(query) = url.query() {
        let names: Vec<String> = query
            .split('&')
            .map(|pair| pair.split_once('=').map_or_else(|| pair.to_owned(), |(name, _)| format!("{name}=[redacted]")))
            .collect();
        // Set as text: the URL type would encode the brackets.
        shown.set_query(None);
        return format!("{shown}?{}", names.join("&"));
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_and_user_information_are_not_shown() {
        let url: Url = "https://user:pw@a.example/x?token=abc&b=&flag#frag".parse().unwrap();
        assert_eq!(redacted(&url), "https://a.example/x?token=[redacted]&b=[redacted]&flag");
        assert_eq!(redacted(&"https://a.example/x".parse().unwrap()), "https://a.example/x");
    }

    #[test]
    fn a_record_that_never_ended_says_so_and_the_first_failure_stands() {
        let entry = Entry::begin("POST", "https://a.example/".to_owned(), 0);
        entry.traffic.assume_request_sent();
        assert_eq!(entry.snapshot().verdict, Verdict::Unfinished);
        assert!(entry.snapshot().request_sent);
        entry.end(Verdict::Answered);
        entry.fail(&HttpFailure::Broken);
        entry.end(Verdict::Answered);
        assert!(matches!(entry.snapshot().verdict, Verdict::Failed { code: "http.broken", .. }));
    }
}
