//! `wasi:http/outgoing-handler`: requests handed to the one way out, under the rules of the call's authority. Nothing here
//! decides; types are turned into one another.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::unfold;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use opsiq_contract::Denial;
use opsiq_egress::{GuestRequest, GuestResponse, HttpFailure, MAX_PIECE, Session, failure::limit};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::budget::Budget;
use super::console::Console;
use super::flights::Flights;

/// The way out of one call.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) session: Arc<Session>,
    pub(super) flights: Arc<Flights>,
    pub(super) budget: Arc<Budget>,
    pub(super) console: Arc<Console>,
    pub(super) denials: Arc<Mutex<Vec<Denial>>>,
    /// Bytes of a request's body, at most; the rule's own limit is the way out's.
    pub(super) body_max: u64,
}

type Processing = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answered = Result<(Response<WasiBody>, Processing), Error>;

impl WasiHttpHooks for Outgoing {
    /// The way out says where a request goes.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Processing,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let outgoing = self.clone();
        let flight = self.flights.begin(Box::pin(async move { outgoing.send(request, options).await }));
        Box::new(async move {
            let response = flight.await?;
            Ok((response, Box::new(async { Ok(()) }) as Processing))
        })
    }
}

impl Outgoing {
    async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, Error> {
        let request = self.request(request).await?;
        let sending = self.session.send(request);
        // The limits of the call hold in any case; a component may ask for less time until the head of the answer.
        let asked =
            options.and_then(|options| Some(options.connect_timeout.unwrap_or_default() + options.first_byte_timeout?));
        let answer = match asked {
            Some(time) => tokio::time::timeout(time, sending).await.map_err(|_| Error::HttpResponseTimeout)?,
            None => sending.await,
        };
        answer.map_err(|failure| self.failed(failure)).and_then(response)
    }

    /// The whole request: the way out sends bodies in one piece.
    async fn request(&self, request: Request<WasiBody>) -> Result<GuestRequest, Error> {
        let (head, mut stream) = request.into_parts();
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            // Framing is made anew for the same bytes.
            if name != CONTENT_LENGTH {
                let value =
                    value.to_str().map_err(|_| Error::HttpRequestHeaderSize { field_name: None, field_size: None })?;
                headers.push((name.as_str().to_owned(), value.to_owned()));
            }
        }
        let mut body = Vec::new();
        while let Some(frame) = stream.frame().await {
            if let Ok(data) = frame?.into_data() {
                if (body.len() + data.len()) as u64 > self.body_max {
                    return Err(Error::HttpRequestBodySize(Some(self.body_max)));
                }
                self.budget.pass(data.len()).map_err(|fault| Error::InternalError(Some(fault.to_string())))?;
                body.extend_from_slice(&data);
            }
        }
        Ok(GuestRequest {
            method: head.method.as_str().to_owned(),
            url: head.uri.to_string(),
            headers,
            body: (!body.is_empty()).then_some(body),
            timeout_ms: None,
        })
    }

    /// What the component is told. A denial it is told in one word, so the log says the rest.
    fn failed(&self, failure: HttpFailure) -> Error {
        let told = error(&failure);
        if let HttpFailure::Denied(denial) = failure {
            self.console.tell(&denial.to_string());
            self.denials.lock().unwrap_or_else(PoisonError::into_inner).push(denial);
        }
        told
    }
}

/// A failure in the words of WASI.
fn error(failure: &HttpFailure) -> Error {
    match failure {
        HttpFailure::Denied(_) => Error::HttpRequestDenied,
        HttpFailure::Invalid(what) => Error::InternalError(Some(what.clone())),
        HttpFailure::Unreachable => Error::DestinationUnavailable,
        HttpFailure::TimedOut { sent: false } => Error::ConnectionTimeout,
        HttpFailure::TimedOut { sent: true } => Error::HttpResponseTimeout,
        HttpFailure::Limit { name: limit::RESPONSE | limit::RESPONSE_MAX, .. } => Error::HttpResponseBodySize(None),
        HttpFailure::Limit { name: limit::REQUEST_MAX | limit::SENT, .. } => Error::HttpRequestBodySize(None),
        HttpFailure::Limit { name, .. } => Error::InternalError(Some(format!("the limit `{name}` was met"))),
        HttpFailure::Broken => Error::ConnectionTerminated,
    }
}

fn response(answer: GuestResponse) -> Result<Response<WasiBody>, Error> {
    let GuestResponse { status, headers, body } = answer;
    let pieces = unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.read(MAX_PIECE).await {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some((Ok(Frame::data(Bytes::from(piece))), Some(body))),
            Err(failure) => Some((Err(error(&failure)), None)),
        }
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status).map_err(|_| Error::HttpProtocolError)?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::HttpProtocolError)?;
        let value = HeaderValue::from_str(&value).map_err(|_| Error::HttpProtocolError)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
