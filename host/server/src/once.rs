//! Writes under an idempotency key (draft-ietf-httpapi-idempotency-key-header): the same request again gets the answer
//! that the first one got, but for secrets, which are shown once and stored nowhere.
//!
//! A write under a key goes on to its end although its client goes away, so that its answer is there when it comes again.

use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use opsiq_gate::{Holding, KeptAnswer, KeyRule, Refusal, Repeat, Repeatable, idempotency_key};
use serde_json::{Value, json};

use crate::ask::{Ask, Content, Done, JSON, Reply};
use crate::problem::Problem;
use crate::routes::{Handler, Spec};

/// The header that binds a write.
pub(crate) const KEY: &str = "idempotency-key";
/// Says that an answer is one given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The member of an answer given again that names what was shown once.
const WITHHELD: &str = "withheld";

/// Answers a request, which may have come before. `target` is its path and query.
pub(crate) async fn answered(spec: &Spec, run: &Handler, ask: Ask, target: &str) -> Done {
    if !spec.once {
        return run(ask).await;
    }
    let Some(key) = idempotency_key(&ask.headers, KeyRule::Optional)? else { return run(ask).await };
    let asked = Repeatable { key: &key, method: spec.method.as_str(), target, body: &ask.body };
    let holding = match ask.host.repeat(&ask.actor, &asked).await? {
        Repeat::Again(kept) => return Ok(again(&kept)),
        Repeat::First(holding) => holding,
    };
    let (done, shown_once) = (run(ask), spec.shown_once);
    let ended = tokio::spawn(async move {
        let done = done.await;
        let end = End::of(&done, shown_once);
        end.keep(holding).await;
        done
    });
    ended.await.unwrap_or_else(|_| {
        let (detail, fix) = ("the request ended abnormally", "see opsiq doctor and report it");
        Err(Problem::request(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail, fix))
    })
}

/// How the first request ended.
enum End {
    Answered(KeptAnswer),
    Refused(Refusal),
    /// With an answer that cannot be given again, which no route that is bound by a key has.
    Streamed,
}

impl End {
    fn of(done: &Done, shown_once: &[&str]) -> Self {
        match done {
            Ok(reply) => kept(reply, shown_once).map_or(Self::Streamed, Self::Answered),
            Err(problem) => Self::Refused(problem.refusal().clone()),
        }
    }

    /// What cannot be kept is told by the key from then on: its end is not known.
    async fn keep(self, holding: Holding) {
        let kept = match self {
            Self::Answered(answer) => holding.answered(answer).await,
            Self::Refused(refusal) => holding.refused(&refusal).await,
            Self::Streamed => Ok(()),
        };
        if let Err(refusal) = kept {
            tracing::error!(code = %refusal.code, "the answer under an idempotency key was not kept");
        }
    }
}

fn kept(reply: &Reply, shown_once: &[&str]) -> Option<KeptAnswer> {
    let Content::Whole(body) = &reply.content else { return None };
    let headers = reply.headers.iter().filter(|(name, _)| *name == LOCATION || *name == ETAG);
    let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    let mut body = String::from_utf8(body.to_vec()).ok()?;
    if !shown_once.is_empty() {
        let mut value: Value = serde_json::from_str(&body).ok()?;
        for name in shown_once {
            value[*name] = Value::Null;
        }
        value[WITHHELD] = json!(shown_once);
        body = value.to_string();
    }
    Some(KeptAnswer { status: reply.status.as_u16(), headers: headers.collect(), body })
}

fn again(kept: &KeptAnswer) -> Reply {
    let named = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
    };
    let mut headers: Vec<_> = kept.headers.iter().filter_map(named).collect();
    headers.push((REPLAYED, HeaderValue::from_static("true")));
    Reply {
        status: StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK),
        media: if kept.body.is_empty() { "" } else { JSON },
        headers,
        content: Content::Whole(Bytes::from(kept.body.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_once_is_in_no_answer_that_is_kept() {
        let made = json!({ "client": { "name": "till" }, "key_id": "acme/till/1", "secret": "opsiq_cs_0" });
        let reply = Reply::created(&made, "/v1/clients/till").unwrap_or_else(|_| panic!("JSON"));
        let kept = kept(&reply, &["secret"]).unwrap();
        assert!(!format!("{kept:?}").contains("opsiq_cs_0"));
        let reply = again(&kept);
        let Content::Whole(body) = &reply.content else { panic!("a stream") };
        let value: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&value["secret"], &value["withheld"]), (&Value::Null, &json!(["secret"])));
        assert_eq!((reply.status.as_u16(), reply.headers.len()), (201, 2));
    }
}
