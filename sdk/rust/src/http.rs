//! Requests to the outside, in the shape of an ordinary client, through the rules of the contract.
//!
//! ```ignore
//! let order: Order = ctx.http().get(url!("{base}/orders/{id}")).query("expand", "items").json()?;
//! let made: Refund = ctx.http().post(url!("{base}/refunds")).json(&refund).send()?.json()?;
//! ```
//!
//! An answer that is no success becomes the [`Failure`] it means; see [`Response::error_for_status`]. Credentials are
//! injected by the host and never pass through here.

mod answer;

use core::fmt::Display;
use core::marker::PhantomData;
use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::opsiq::plugin::http as wit;
use crate::encode::percent;
use crate::keys::Key;
use crate::{Failure, Result, Url, host, standard_webhooks};

pub use answer::Response;

/// Begins requests, from [`Context::http`](crate::Context::http).
#[derive(Debug)]
#[non_exhaustive]
pub struct Http {}

impl Http {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// A GET request.
    pub fn get(&self, url: impl Into<Url>) -> Request {
        Request::new("GET", url.into())
    }

    /// A HEAD request.
    pub fn head(&self, url: impl Into<Url>) -> Request {
        Request::new("HEAD", url.into())
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl Into<Url>) -> Request {
        Request::new("DELETE", url.into())
    }

    /// A POST request, whose body may follow.
    pub fn post(&self, url: impl Into<Url>) -> Request<NoBody> {
        Request::new("POST", url.into())
    }

    /// A PUT request, whose body may follow.
    pub fn put(&self, url: impl Into<Url>) -> Request<NoBody> {
        Request::new("PUT", url.into())
    }

    /// A PATCH request, whose body may follow.
    pub fn patch(&self, url: impl Into<Url>) -> Request<NoBody> {
        Request::new("PATCH", url.into())
    }

    /// A request with any method, in upper case.
    pub fn request(&self, method: &str, url: impl Into<Url>) -> Request<NoBody> {
        Request::new(method, url.into())
    }
}

/// A request that may still be given a body.
#[derive(Debug)]
pub enum NoBody {}

/// A request that has its body, or needs none.
#[derive(Debug)]
pub enum Ready {}

/// A request being put together. Nothing is sent before [`Request::send`] or one of the methods that read the answer.
#[derive(Debug)]
#[must_use = "a request is sent by send(), json(), text() or bytes()"]
pub struct Request<State = Ready> {
    method: String,
    url: Url,
    headers: Vec<wit::Header>,
    body: Option<Vec<u8>>,
    timeout: Option<Duration>,
    /// What went wrong while putting it together; told when it is sent.
    failed: Option<Failure>,
    state: PhantomData<State>,
}

impl<State> Request<State> {
    fn new(method: &str, url: Url) -> Self {
        Self {
            method: method.to_owned(),
            url,
            headers: Vec::new(),
            body: None,
            timeout: None,
            failed: None,
            state: PhantomData,
        }
    }

    /// Adds a name and value to the query, both percent-encoded. The rule must list the name.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.url = self.url.query(name, &value);
        self
    }

    /// Adds a name and value to the query where there is a value.
    pub fn query_if(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header. Host, framing, hop-by-hop and proxy headers and those that the rule injects are refused.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Ends the exchange after this time, if the host's own limit does not end it before.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Signs the request as it now stands in the Standard Webhooks form; give it its body first.
    pub fn standard_webhooks(mut self, key: &Key) -> Request {
        match standard_webhooks::headers(key, self.body.as_deref().unwrap_or_default()) {
            Ok(headers) => self.headers.extend(headers.map(|(name, value)| (name.to_owned(), value))),
            Err(failure) => self.failed = self.failed.or(Some(failure)),
        }
        self.ready()
    }

    /// Sends the request and waits for the answer's head.
    ///
    /// # Errors
    /// `denied` where no rule allows the request; `upstream`, saying whether it was sent, where there is no answer;
    /// `invalid` for a value that cannot be part of a path. An answer that reports a failure is no error here.
    pub fn send(self) -> Result<Response> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let timeout_ms = self.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        let request = wit::Request {
            method: self.method,
            url: self.url.finish()?,
            headers: self.headers,
            body: self.body,
            timeout_ms,
        };
        let answer = host::send(&request)?;
        Ok(Response::new(answer, &request))
    }

    fn ready(self) -> Request {
        let Self { method, url, headers, body, timeout, failed, state: _ } = self;
        Request { method, url, headers, body, timeout, failed, state: PhantomData }
    }

    fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Request {
        self.body = Some(body);
        self.header("content-type", content_type).ready()
    }
}

impl Request<NoBody> {
    /// Sends `value` as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Request {
        let body = serde_json::to_vec(value).unwrap_or_else(|error| {
            self.failed = Some(error.into());
            Vec::new()
        });
        self.with_body("application/json", body)
    }

    /// Sends names and values as `application/x-www-form-urlencoded`.
    pub fn form(self, fields: &[(&str, &dyn Display)]) -> Request {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            percent(name, &mut body);
            body.push('=');
            percent(&value.to_string(), &mut body);
        }
        self.with_body("application/x-www-form-urlencoded", body.into_bytes())
    }

    /// Sends these bytes.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.with_body(content_type, body.into())
    }
}

impl Request {
    /// Sends the request and reads a successful answer as JSON.
    ///
    /// # Errors
    /// As [`Request::send`] and [`Response::json`].
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.send()?.json()
    }

    /// Sends the request and reads a successful answer as text.
    ///
    /// # Errors
    /// As [`Request::send`] and [`Response::text`].
    pub fn text(self) -> Result<String> {
        self.send()?.text()
    }

    /// Sends the request and reads a successful answer whole.
    ///
    /// # Errors
    /// As [`Request::send`] and [`Response::bytes`].
    pub fn bytes(self) -> Result<Vec<u8>> {
        self.send()?.bytes()
    }
}

#[cfg(test)]
mod tests;
