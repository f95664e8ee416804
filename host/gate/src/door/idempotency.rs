//! Idempotency keys as they come over HTTP (draft-ietf-httpapi-idempotency-key-header): 400 for one that is missing where
//! one is needed, or malformed; 409 while the first try runs, or when its end is unknown; 422 for one that was used for something else.

use http::HeaderMap;

use crate::refusal::{Class, Refusal, Stage};

/// Whether a request needs an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// Without one it is refused: it changes something, and whoever sends it may have to send it again.
    Required,
    /// With one it is done once; without one, each time.
    Optional,
}

/// The idempotency key of a request.
///
/// # Errors
/// `idempotency.missing` and `idempotency.malformed`, both HTTP 400.
pub fn idempotency_key(headers: &HeaderMap, rule: KeyRule) -> Result<Option<String>, Refusal> {
    let refuse = |code, message: &str| {
        let fix = "send Idempotency-Key: \"…\", in quotes, such as a UUID; the same one when you try again";
        Err(Refusal::new(Class::Invalid, Stage::Replay, code, message, fix))
    };
    match (opsiq_signing::idempotency_key(headers), rule) {
        (Err(why), _) => refuse("idempotency.malformed", why),
        (Ok(None), KeyRule::Required) => refuse("idempotency.missing", "this request needs an idempotency key"),
        (Ok(key), _) => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_needed_where_the_rule_says() {
        let none = HeaderMap::new();
        let key = HeaderMap::from_iter([(
            http::header::HeaderName::from_static("idempotency-key"),
            "\"k\"".parse().unwrap(),
        )]);
        let bad =
            HeaderMap::from_iter([(http::header::HeaderName::from_static("idempotency-key"), "k".parse().unwrap())]);
        for rule in [KeyRule::Required, KeyRule::Optional] {
            assert_eq!(idempotency_key(&key, rule).unwrap().as_deref(), Some("k"));
            let malformed = idempotency_key(&bad, rule).unwrap_err();
            assert_eq!((malformed.class, malformed.code.as_ref()), (Class::Invalid, "idempotency.malformed"));
        }
        assert_eq!(idempotency_key(&none, KeyRule::Optional).unwrap(), None);
        let missing = idempotency_key(&none, KeyRule::Required).unwrap_err();
        assert_eq!((missing.class, missing.code.as_ref()), (Class::Invalid, "idempotency.missing"));
    }
}
