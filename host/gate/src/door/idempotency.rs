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

/// The HTTP status of a refusal.
pub fn status_of(refusal: &Refusal) -> u16 {
    match (refusal.class, refusal.code.as_ref()) {
        (Class::Invalid, "idempotency.other-params") => 422,
        (Class::Invalid, _) => 400,
        (Class::Unauthenticated, _) => 401,
        (Class::Denied, _) if refusal.stage == Stage::Authenticate => 401,
        (Class::Denied, _) => 403,
        (Class::NotFound, _) => 404,
        (Class::Conflict, _) => 409,
        (Class::Limited, _) => 429,
        (Class::Plugin, _) => 502,
        (Class::Busy | Class::Unavailable, _) => 503,
        (Class::Internal | Class::Tampered, _) => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay;

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
            assert_eq!(status_of(&idempotency_key(&bad, rule).unwrap_err()), 400);
        }
        assert_eq!(idempotency_key(&none, KeyRule::Optional).unwrap(), None);
        let missing = idempotency_key(&none, KeyRule::Required).unwrap_err();
        assert_eq!((status_of(&missing), missing.code.as_ref()), (400, "idempotency.missing"));
    }

    #[test]
    fn the_statuses_of_the_draft() {
        let invocation = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(status_of(&replay::other_params()), 422);
        assert_eq!(status_of(&replay::in_flight()), 409);
        assert_eq!(status_of(&replay::unknown_end(&invocation)), 409);
    }
}
