//! How failures of the parts become the failure of an action, without losing their meaning.

use crate::bindings::opsiq::plugin::http::HttpFailure;
use crate::bindings::opsiq::plugin::kv::KvFailure;
use crate::{Denial, Failure, UpstreamFailure};

/// What an action answers: a value, or a failure that a caller can act on.
pub type Result<T, E = Failure> = core::result::Result<T, E>;

impl Failure {
    /// The parameters make no sense to the outside system.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// What the parameters name does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    /// The state of the outside system does not allow it now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict(message.into())
    }

    /// The outside system failed or could not be reached. `request_sent`: whether an effect may have happened.
    pub fn upstream(status: Option<u16>, request_sent: bool, message: impl Into<String>) -> Self {
        Self::Upstream(UpstreamFailure { status, request_sent, message: message.into() })
    }

    /// A defect of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }

    /// The same failure, its text begun with `what`. A denial and a rate limit stay as they are.
    #[must_use]
    pub fn context(self, what: &str) -> Self {
        let longer = |message: String| format!("{what}: {message}");
        match self {
            Self::Invalid(message) => Self::Invalid(longer(message)),
            Self::NotFound(message) => Self::NotFound(longer(message)),
            Self::Conflict(message) => Self::Conflict(longer(message)),
            Self::Internal(message) => Self::Internal(longer(message)),
            Self::Upstream(failure) => Self::Upstream(UpstreamFailure { message: longer(failure.message), ..failure }),
            Self::Denied(_) | Self::RateLimited(_) => self,
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<HttpFailure> for Failure {
    fn from(failure: HttpFailure) -> Self {
        match failure {
            HttpFailure::Denied(denial) => Self::Denied(denial),
            HttpFailure::Invalid(why) => Self::internal(format!("the request is malformed: {why}")),
            HttpFailure::Unreachable => Self::upstream(None, false, "the outside system could not be reached"),
            HttpFailure::TimedOut(sent) => Self::upstream(None, sent, "the outside system did not answer in time"),
            HttpFailure::Limit((name, sent)) => Self::upstream(None, sent, format!("the limit `{name}` was met")),
            HttpFailure::Broken => Self::upstream(None, true, "the connection broke before a whole answer had come"),
        }
    }
}

impl From<KvFailure> for Failure {
    fn from(failure: KvFailure) -> Self {
        match failure {
            KvFailure::Denied(denial) => Self::Denied(denial),
            KvFailure::Full(why) => Self::internal(format!("the plugin's storage is full: {why}")),
            KvFailure::Conflict(version) => {
                Self::conflict(format!("the stored value changed meanwhile, to version {version}"))
            }
            KvFailure::Unavailable => Self::upstream(None, false, "the host's storage cannot be reached now"),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("JSON: {error}"))
    }
}

impl From<core::str::Utf8Error> for Failure {
    fn from(error: core::str::Utf8Error) -> Self {
        Self::internal(format!("a text that is not UTF-8: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_the_request_was_sent_is_kept() {
        for (failure, sent) in [
            (HttpFailure::Unreachable, false),
            (HttpFailure::TimedOut(false), false),
            (HttpFailure::TimedOut(true), true),
            (HttpFailure::Limit(("http.requests".into(), false)), false),
            (HttpFailure::Limit(("http.response-bytes".into(), true)), true),
            (HttpFailure::Broken, true),
        ] {
            let said = format!("{failure:?}");
            match Failure::from(failure) {
                Failure::Upstream(failure) => {
                    assert_eq!((failure.request_sent, failure.status), (sent, None), "{said}");
                }
                other => panic!("{said} became {other:?}"),
            }
        }
    }

    #[test]
    fn a_denial_stays_what_it_is() {
        let denial = Denial { rule: "http.no-rule".into(), message: "m".into(), fix: "f".into() };
        let failure = Failure::from(HttpFailure::Denied(denial)).context("reading the order");
        assert!(
            matches!(failure, Failure::Denied(Denial { rule, message, .. }) if rule == "http.no-rule" && message == "m")
        );
    }

    #[test]
    fn context_is_put_before_the_text() {
        let failure = Failure::upstream(Some(503), true, "down").context("order 7");
        assert!(
            matches!(failure, Failure::Upstream(f) if f.message == "order 7: down" && f.status == Some(503) && f.request_sent)
        );
    }
}
