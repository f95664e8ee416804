//! Reading an answer, and what one that is no success means.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::opsiq::plugin::http as wit;
use crate::{Failure, Result, host};

/// Bytes asked for at once; the host gives at most as many.
const PIECE: u32 = 64 * 1024;

/// Bytes of a failed answer that are looked at for the reason it gives.
const REASON_BYTES: usize = 8 * 1024;

/// Characters of that reason that are passed on.
const REASON_CHARS: usize = 300;

/// An answer of the outside system.
#[derive(Debug)]
pub struct Response {
    answer: host::Answer,
    /// Whom was asked, for failures: method and host, no more, since a path may name a person.
    asked: String,
}

impl Response {
    pub(crate) fn new(answer: host::Answer, request: &wit::Request) -> Self {
        let host =
            request.url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        Self { answer, asked: format!("{} {host}", request.method) }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// Every header in the order received.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.answer.headers
    }

    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The next piece of the body, at most `max` bytes and at most 64 KiB; empty at the end. For answers too large to
    /// hold whole.
    ///
    /// # Errors
    /// `upstream`, where the connection breaks or a limit is met.
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>> {
        Ok(self.answer.body.read(max)?)
    }

    /// Turns an answer that is no success into the failure it means: 404 `not-found`, 409 `conflict`, 422 `invalid`, 429
    /// `rate-limited` with the seconds of `retry-after`, every other status from 300 on `upstream`, with the reason the
    /// answer gives where it is JSON with a `detail`, `message`, `error` or `title`.
    ///
    /// # Errors
    /// Those failures.
    pub fn error_for_status(mut self) -> Result<Self> {
        let status = self.status();
        if status < 300 {
            return Ok(self);
        }
        if status == 429 {
            return Err(Failure::RateLimited(self.header("retry-after").and_then(|wait| wait.trim().parse().ok())));
        }
        let message = match self.reason() {
            Some(reason) => format!("{} answered {status}: {reason}", self.asked),
            None => format!("{} answered {status}", self.asked),
        };
        Err(match status {
            404 => Failure::NotFound(message),
            409 => Failure::Conflict(message),
            422 => Failure::Invalid(message),
            _ => Failure::upstream(Some(status), true, message),
        })
    }

    /// Reads a successful answer whole; the rule's `response-max` bounds it.
    ///
    /// # Errors
    /// As [`Response::error_for_status`] and [`Response::read`].
    pub fn bytes(self) -> Result<Vec<u8>> {
        let mut answer = self.error_for_status()?;
        let announced = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        // What is announced only saves copying; more than two pieces' worth is believed when it comes.
        let mut body = Vec::with_capacity(usize::min(announced, 2 * PIECE as usize));
        loop {
            let piece = answer.read(PIECE)?;
            if piece.is_empty() {
                return Ok(body);
            }
            body.extend_from_slice(&piece);
        }
    }

    /// Reads a successful answer whole, as UTF-8.
    ///
    /// # Errors
    /// As [`Response::bytes`]; `upstream` for what is no UTF-8.
    pub fn text(self) -> Result<String> {
        let (status, asked) = (self.status(), self.asked.clone());
        String::from_utf8(self.bytes()?).map_err(|_| not_as_agreed(status, &asked, "no UTF-8"))
    }

    /// Reads a successful answer whole, as JSON.
    ///
    /// # Errors
    /// As [`Response::bytes`]; `upstream` for what is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        let (status, asked) = (self.status(), self.asked.clone());
        serde_json::from_slice(&self.bytes()?).map_err(|error| not_as_agreed(status, &asked, &error.to_string()))
    }

    /// What a failed answer says of itself, where its body is JSON of at most about 8 KiB; for outside systems whose
    /// failures mean more than [`Response::error_for_status`] knows. It reads the body, so ask once.
    pub fn failure_json(&mut self) -> Option<Value> {
        let mut body = Vec::new();
        while body.len() < REASON_BYTES {
            match self.read(PIECE) {
                Ok(piece) if !piece.is_empty() => body.extend_from_slice(&piece),
                _ => break,
            }
        }
        serde_json::from_slice(&body).ok()
    }

    /// The reason a failed answer gives, on one line.
    fn reason(&mut self) -> Option<String> {
        let value = self.failure_json()?;
        let reason =
            ["detail", "message", "error_description", "error", "title"].iter().find_map(|name| {
                match value.get(name)? {
                    Value::String(text) => Some(text.as_str()),
                    nested => nested.get("message")?.as_str(),
                }
            })?;
        let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        Some(line.take(REASON_CHARS).collect::<String>().trim().to_owned()).filter(|line| !line.is_empty())
    }
}

/// An answer that came whole but is not what the plugin expects.
fn not_as_agreed(status: u16, asked: &str, why: &str) -> Failure {
    Failure::upstream(Some(status), true, format!("the answer to {asked} is not as expected: {why}"))
}
