//! What goes wrong outside sooner or later, tried on every request that a case records.

use std::fmt;

use opsiq_egress::{Answered, Reply};
use serde::{Deserialize, Serialize};

use crate::case::End;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No answer in time.
    Timeout,
    /// 429, with `Retry-After`.
    RateLimited,
    /// 500.
    ServerError,
    /// The recorded answer, whose connection breaks half way through the body.
    TruncatedBody,
    /// A redirect to the address where clouds tell machines their credentials.
    RedirectToMetadata,
}

/// What is to come of a fault.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultExpect {
    /// It is left out, for this reason.
    Skip(String),
    /// It ends so.
    End(End),
}

/// Where clouds tell machines their credentials.
pub(crate) const METADATA: &str = "http://169.254.169.254/latest/meta-data/";

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Timeout, Self::RateLimited, Self::ServerError, Self::TruncatedBody, Self::RedirectToMetadata];

    /// The name a case calls it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::RateLimited => "rate-limited",
            Self::ServerError => "server-error",
            Self::TruncatedBody => "truncated-body",
            Self::RedirectToMetadata => "redirect-to-metadata",
        }
    }

    /// Whether it can happen to this answer: what has no body cannot lose half of it.
    pub(crate) fn applies(self, answer: &Answered) -> bool {
        self != Self::TruncatedBody || answer.body.len() > 1
    }

    /// What comes in place of `answer`.
    pub(crate) fn reply(self, answer: &Answered) -> Reply {
        let whole = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Reply::Whole(Answered { status, headers, body: body.as_bytes().to_vec() })
        };
        match self {
            Self::Timeout => Reply::Silence,
            Self::RateLimited => whole(429, &[("retry-after", "7"), ("content-type", "text/plain")], "slow down"),
            Self::ServerError => whole(500, &[("content-type", "text/plain")], "something broke"),
            Self::TruncatedBody => Reply::Cut(answer.clone(), answer.body.len() / 2),
            Self::RedirectToMetadata => whole(302, &[("location", METADATA)], ""),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
