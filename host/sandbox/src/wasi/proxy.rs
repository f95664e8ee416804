//! An action as a request to a web service: the answer's body is the result, its status says how it ended.

use std::pin::pin;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http_body_util::{BodyExt as _, Full};
use opsiq_contract::RequestCall;
use serde_json::Value;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::Ended;
use crate::bindings::opsiq::plugin::types::{Failure, UpstreamFailure};
use crate::fault::{During, Fault, FaultCode};
use crate::state::State;

/// Where the request seems to come to (RFC 2606: a name that never is one).
const AUTHORITY: &str = "plugin.invalid";
/// Characters of an answer that become a failure's message.
const MESSAGE: usize = 500;

type Sent = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// What the service answered.
struct Answer {
    status: u16,
    retry_after: Option<u32>,
    body: Vec<u8>,
}

/// Why there is no answer.
enum Lack {
    /// Its own failure.
    Failed(String),
    /// A limit was met.
    Over(Fault),
}

/// Sends the service one request.
pub(super) async fn call(
    pre: &ProxyPre<State>,
    store: &mut Store<State>,
    mapping: &RequestCall,
    config: &Value,
    params: &str,
) -> Ended {
    let begin = |error: wasmtime::Error| (error, During::Instantiation);
    let request = request(mapping, config, params, store.data().idempotency_key.as_deref()).map_err(begin)?;
    let (sender, receiver) = oneshot::channel();
    let incoming = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(begin)?;
    let outparam = store.data_mut().http().new_response_outparam(sender).map_err(begin)?;
    let proxy = pre.instantiate_async(&mut *store).await.map_err(begin)?;
    let most = store.data().authorized.limits().result_bytes;
    let mut answering = pin!(answer(receiver, most));
    let mut answered = None;
    let handled = {
        let mut handling = pin!(proxy.wasi_http_incoming_handler().call_handle(&mut *store, incoming, outparam));
        loop {
            tokio::select! {
                biased;
                handled = &mut handling => break handled,
                // It is read while it is written, or writing would wait for ever.
                read = &mut answering, if answered.is_none() => match read {
                    Err(Lack::Over(fault)) => return Err((fault.into(), During::Call)),
                    read => answered = Some(read),
                },
            }
        }
    };
    if let Err(error) = handled {
        let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() else { return Err((error, During::Call)) };
        return Ok(Err(Failure::Internal(format!("the service ended itself with status {status}"))));
    }
    // Nothing more is coming: an answer it left open ends here.
    store.data_mut().table = ResourceTable::new();
    let answered = match answered {
        Some(answered) => answered,
        None => answering.await,
    };
    let sent = store.data().session.as_ref().is_some_and(|session| session.usage().sent_bytes > 0);
    match answered {
        Ok(answer) => Ok(ended(answer, sent)),
        Err(Lack::Failed(message)) => Ok(Err(Failure::Internal(message))),
        Err(Lack::Over(fault)) => Err((fault.into(), During::Call)),
    }
}

fn request(
    mapping: &RequestCall,
    config: &Value,
    params: &str,
    idempotency_key: Option<&str>,
) -> wasmtime::Result<http::Request<Full<Bytes>>> {
    let filled = mapping.fill(&serde_json::from_str(params)?, config);
    let mut request = http::Request::builder()
        .method(filled.method.as_str())
        .uri(format!("http://{AUTHORITY}{}", filled.target))
        .header(ACCEPT, "application/json");
    if filled.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    Ok(request.body(Full::new(Bytes::from(filled.body.unwrap_or_default())))?)
}

/// Reads the answer as it comes.
async fn answer(receiver: oneshot::Receiver<Sent>, most: u64) -> Result<Answer, Lack> {
    let response = match receiver.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => return Err(Lack::Failed(format!("the service answered an error: {code:?}"))),
        Err(_) => return Err(Lack::Failed("the service answered nothing".to_owned())),
    };
    let (head, mut stream) = response.into_parts();
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut body = Vec::new();
    while let Some(frame) = stream.frame().await {
        let frame = frame.map_err(|_| Lack::Failed("the service did not finish its answer".to_owned()))?;
        if let Ok(data) = frame.into_data() {
            let found = body.len() as u64 + data.len() as u64;
            if found > most {
                let message = format!("an answer may have {most} bytes; this one has {found} and more");
                return Err(Lack::Over(Fault::new(FaultCode::ResultTooLarge, message)));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer { status: head.status.as_u16(), retry_after, body })
}

/// What an answer means. `sent`: whether anything left the host meanwhile.
fn ended(answer: Answer, sent: bool) -> Result<String, Failure> {
    let Answer { status, retry_after, body } = answer;
    let message = || message(status, &body);
    Err(match status {
        200..=299 => return result(body),
        404 | 410 => Failure::NotFound(message()),
        409 | 412 => Failure::Conflict(message()),
        429 => Failure::RateLimited(retry_after),
        400..=499 => Failure::Invalid(message()),
        502..=504 => {
            Failure::Upstream(UpstreamFailure { status: Some(status), request_sent: sent, message: message() })
        }
        _ => Failure::Internal(message()),
    })
}

/// Bytes as a result; none are `null`. That it is JSON is found out where every result is.
pub(super) fn result(bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.is_empty() {
        return Ok("null".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| Failure::Internal("the answer is not UTF-8".to_owned()))
}

/// What the body of a failure says: its own words where it is a problem document (RFC 9457) or the like.
fn message(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        let told = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
        told("detail").or_else(|| told("message")).or_else(|| told("error")).or_else(|| told("title"))
    });
    let said: String = said.as_deref().unwrap_or(text.trim()).chars().take(MESSAGE).collect();
    if said.is_empty() { format!("the service answered {status}") } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Result<String, Failure> {
        ended(Answer { status, retry_after: Some(7), body: body.into() }, true)
    }

    #[test]
    fn a_status_says_how_it_ended() {
        assert_eq!(of(200, r#"{"a":1}"#).unwrap(), r#"{"a":1}"#);
        assert_eq!(of(204, "").unwrap(), "null");
        assert!(
            matches!(of(400, r#"{"detail":"no such unit"}"#), Err(Failure::Invalid(said)) if said == "no such unit")
        );
        assert!(matches!(of(422, "plain words\n"), Err(Failure::Invalid(said)) if said == "plain words"));
        assert!(matches!(of(404, ""), Err(Failure::NotFound(said)) if said == "the service answered 404"));
        assert!(matches!(of(409, ""), Err(Failure::Conflict(_))));
        assert!(matches!(of(429, ""), Err(Failure::RateLimited(Some(7)))));
        assert!(matches!(of(503, ""), Err(Failure::Upstream(failed)) if failed.request_sent));
        for status in [302, 500] {
            assert!(matches!(of(status, ""), Err(Failure::Internal(_))), "{status}");
        }
    }

    #[test]
    fn a_message_is_not_endless() {
        let Err(Failure::Invalid(said)) = of(400, &"x".repeat(10_000)) else { panic!() };
        assert_eq!(said.len(), MESSAGE);
    }
}
