//! Calls, and what of them waits for a person.

use http::{HeaderValue, Method};
use opsiq_contract::{Effect, InvocationId};
use opsiq_gate::{Answer, Call, ConfirmationView, Done, Explanation, Meter};
use opsiq_signing::{IDEMPOTENCY_KEY, write_idempotency_key};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Reach;
use crate::failure::Failure;
use crate::remote::{Api, Sent, path};

/// What became of a call.
#[derive(Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub(crate) enum Came {
    /// It ran.
    Done {
        invocation: InvocationId,
        effect: Effect,
        /// Whether it is the answer that this idempotency key got before.
        replayed: bool,
        /// As it is to be shown.
        result: Value,
        /// Whether something of it is not.
        redacted: bool,
        meter: Box<Meter>,
    },
    /// It waits for a person.
    Pending { confirmation: Box<ConfirmationView> },
}

impl Came {
    /// What the gate answered, shown in whole with `reveal`.
    pub(crate) fn of(answer: &Answer, reveal: bool) -> Result<Self, Failure> {
        match answer {
            Answer::Done(done) => Self::done(done, reveal),
            Answer::Pending(confirmation) => Ok(Self::Pending { confirmation: confirmation.clone() }),
        }
    }

    fn done(done: &Done, reveal: bool) -> Result<Self, Failure> {
        let whole: Value = serde_json::from_str(&done.result)
            .map_err(|error| Failure::internal("the stored result is no JSON", &error))?;
        let shown = done.shown();
        Ok(Self::Done {
            invocation: done.invocation.clone(),
            effect: done.effect,
            replayed: done.replayed,
            redacted: shown != whole && !reveal,
            result: if reveal { whole } else { shown },
            meter: Box::new(done.meter),
        })
    }
}

fn at(call: &Call, what: &str) -> String {
    path(&["v1", "installations", &call.installation, "actions", &call.action, what])
}

fn confirmation(id: &str, what: &[&str]) -> String {
    path(&[&["v1", "confirmations", id], what].concat())
}

fn revealing(path: String, reveal: bool) -> String {
    if reveal { path + "?reveal=true" } else { path }
}

async fn call_there(api: &Api, call: Call, reveal: bool) -> Result<Came, Failure> {
    let mut sent = Sent::new(Method::POST, revealing(at(&call, "call"), reveal));
    if let Some(key) = &call.idempotency_key {
        // A key that is none is refused there, as in a data directory.
        let unquoted = || HeaderValue::from_bytes(key.as_bytes()).unwrap_or(HeaderValue::from_static("\"\""));
        sent = sent.header(IDEMPOTENCY_KEY, write_idempotency_key(key).unwrap_or_else(unquoted));
    }
    api.ask(sent.json_text(call.params)).await
}

impl Reach<'_> {
    /// Calls an action.
    pub(crate) async fn call(&self, call: Call, reveal: bool) -> Result<Came, Failure> {
        match self {
            Self::Here(host, actor) => Came::of(&host.invoke(actor, call).await?, reveal),
            Self::There(api) => call_there(api, call, reveal).await,
        }
    }

    /// What a call would meet.
    pub(crate) async fn explain(&self, call: Call) -> Result<Explanation, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.explain(actor, &call).await?),
            Self::There(api) => api.ask(Sent::new(Method::POST, at(&call, "explain")).json_text(call.params)).await,
        }
    }

    /// The confirmations, newest first.
    pub(crate) async fn confirmations(&self) -> Result<Vec<ConfirmationView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.confirmations().list(actor).await?),
            Self::There(api) => api.all("/v1/confirmations").await,
        }
    }

    /// One of them.
    pub(crate) async fn confirmation(&self, id: &str) -> Result<ConfirmationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.confirmations().show(actor, id).await?),
            Self::There(api) => api.get(confirmation(id, &[])).await,
        }
    }

    /// Approves one, which runs it.
    pub(crate) async fn approve(&self, id: &str, reveal: bool) -> Result<Came, Failure> {
        match self {
            Self::Here(host, actor) => Came::of(&host.confirmations().approve(actor, id).await?, reveal),
            Self::There(api) => api.post(revealing(confirmation(id, &["approve"]), reveal)).await,
        }
    }

    /// Denies one.
    pub(crate) async fn deny(&self, id: &str) -> Result<ConfirmationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.confirmations().deny(actor, id).await?),
            Self::There(api) => api.post(confirmation(id, &["deny"])).await,
        }
    }
}
