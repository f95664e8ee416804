//! What a plugin is told when there is no answer, and what the audit log is told instead.
//!
//! A plugin that could tell a closed port from a filtered one, or an unknown name from a forbidden address, would be a
//! scanner of the host's network. So every reason for not reaching a destination is one `Unreachable`, answered at one
//! fixed time; the reason itself is in [`Reason`] and goes to the record only.

use std::fmt;

use opsiq_contract::Denial;

/// The variant `http-failure` of the WIT package, case by case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFailure {
    /// No rule, or something in the request, allows it. Nothing was sent.
    Denied(Denial),
    /// The URL, method or a header is malformed. Nothing was sent.
    Invalid(String),
    /// No connection. Nothing was sent.
    Unreachable,
    /// A time limit ran out.
    TimedOut {
        /// Whether any byte of the request may have left.
        sent: bool,
    },
    /// A size, count or rate limit.
    Limit {
        /// Its name: one of the constants of [`limit`], or what a [`Budget`](crate::Budget) calls its own.
        name: &'static str,
        /// Whether any byte of the request may have left.
        sent: bool,
    },
    /// The connection broke or the peer did not speak HTTP, after the request may have been sent.
    Broken,
}

/// Names of limits as a plugin sees them: the keys of `[limits]` and of an HTTP rule in a contract.
pub mod limit {
    /// Requests of one invocation, redirects followed among them.
    pub const REQUESTS: &str = "http-requests";
    /// Headers of one request or answer.
    pub const HEADERS: &str = "http-headers";
    /// Bytes of all header names and values of one request or answer.
    pub const HEADER_BYTES: &str = "http-header-bytes";
    /// Bytes of one request body: the rule's own.
    pub const REQUEST_MAX: &str = "request-max";
    /// Bytes of all request bodies of one invocation.
    pub const SENT: &str = "http-sent";
    /// Decoded bytes of one answer: the rule's own.
    pub const RESPONSE_MAX: &str = "response-max";
    /// Decoded bytes of one answer: the limit above all rules.
    pub const RESPONSE: &str = "http-response";
    /// Bytes per second an exchange must move.
    pub const MIN_RATE: &str = "http-min-rate";
}

impl HttpFailure {
    /// Whether any byte of the request may have left, so that an effect may have happened.
    pub fn request_sent(&self) -> bool {
        match self {
            Self::Denied(_) | Self::Invalid(_) | Self::Unreachable => false,
            Self::TimedOut { sent } | Self::Limit { sent, .. } => *sent,
            Self::Broken => true,
        }
    }

    /// Stable code for records and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.code,
            Self::Invalid(_) => "http.invalid",
            Self::Unreachable => "http.unreachable",
            Self::TimedOut { .. } => "http.timed-out",
            Self::Limit { .. } => "http.limit",
            Self::Broken => "http.broken",
        }
    }
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denial) => denial.fmt(f),
            Self::Invalid(what) => write!(f, "the request is malformed: {what}"),
            Self::Unreachable => f.write_str("the destination cannot be reached"),
            Self::TimedOut { .. } => f.write_str("the time for the request ran out"),
            Self::Limit { name, .. } => write!(f, "the limit `{name}` was met"),
            Self::Broken => f.write_str("the connection broke, or the answer is not HTTP"),
        }
    }
}

impl std::error::Error for HttpFailure {}

/// Why a destination was not reached, for the audit log. Never shown to a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The name has no address.
    #[error("the name does not resolve: {0}")]
    Unresolved(String),
    /// An answer of the resolver, or the literal, is not dialable.
    #[error("address {address} port {port} refused: {why}")]
    Address {
        /// The address that refused all of them.
        address: std::net::IpAddr,
        /// The port of the URL.
        port: u16,
        /// The row of the table, or what else speaks against it.
        why: String,
    },
    /// No checked address accepted a connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The TLS handshake failed: certificate, name, version or protocol.
    #[error("no TLS 1.3 session: {0}")]
    Tls(String),
    /// The connection ended before a byte of the request was written.
    #[error("the connection ended before the request: {0}")]
    Closed(String),
    /// Nothing of the above happened in time.
    #[error("no connection within {0} ms")]
    Time(u64),
}
