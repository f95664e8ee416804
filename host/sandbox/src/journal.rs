//! `log` and `audit`: lines and events a plugin writes, kept in order until the call is over.

use opsiq_contract::{CanonicalJson, Denial, MAX_DEPTH, visible};
use serde::Serialize;

use crate::bindings::opsiq::plugin::types::Denial as ToldDenial;
use crate::bindings::opsiq::plugin::{audit, log};
use crate::state::State;

/// Largest detail of an event, in bytes, as `wit/` says.
const DETAIL_MAX: usize = 16 << 10;
/// Events of one call.
const EVENTS_MAX: usize = 64;

/// How much a log line matters, as the plugin says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Ordinary.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// One line a plugin logged, control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Milliseconds since the call began.
    pub at_ms: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub message: String,
}

/// One event of the contract a plugin recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its declared name.
    pub event: String,
    /// A JSON object in canonical form (RFC 8785).
    pub detail: String,
}

/// Lines and events so far, within their limits.
#[derive(Debug)]
pub(crate) struct Journal {
    lines_left: u64,
    bytes_left: u64,
    truncated: bool,
    lines: Vec<LogLine>,
    events: Vec<Event>,
}

impl Journal {
    pub(crate) fn new(log_lines: u64, log_bytes: u64) -> Self {
        Self { lines_left: log_lines, bytes_left: log_bytes, truncated: false, lines: Vec::new(), events: Vec::new() }
    }

    /// Keeps a line, or says once that lines are dropped.
    pub(crate) fn line(&mut self, at_ms: u64, level: LogLevel, message: &str) {
        if self.truncated {
            return;
        }
        // What is certainly too long is not escaped first.
        let fits = self.lines_left > 0 && message.len() as u64 <= self.bytes_left;
        let safe = if fits { visible(message, message.len()).text } else { String::new() };
        if !fits || safe.len() as u64 > self.bytes_left {
            self.truncated = true;
            let message = "log truncated: the call reached its limit of lines or bytes".to_owned();
            self.lines.push(LogLine { at_ms, level: LogLevel::Warn, message });
            return;
        }
        self.lines_left -= 1;
        self.bytes_left -= safe.len() as u64;
        self.lines.push(LogLine { at_ms, level, message: safe });
    }

    pub(crate) fn into_parts(self) -> (Vec<LogLine>, Vec<Event>) {
        (self.lines, self.events)
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.enter(message.len())?;
        let at_ms = crate::meter::micros(self.began.elapsed()) / 1000;
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.journal.line(at_ms, level, &message);
        Ok(())
    }
}

impl audit::Host for State {
    fn emit(&mut self, event: String, detail: String) -> wasmtime::Result<Result<(), ToldDenial>> {
        self.enter(event.len() + detail.len())?;
        Ok(match self.event(event, &detail) {
            Ok(()) => Ok(()),
            Err(denial) => Err(self.deny(denial)),
        })
    }
}

impl State {
    fn event(&mut self, event: String, detail: &str) -> Result<(), Denial> {
        if !self.authorized.audit_events().contains(&event) {
            return Err(Denial::new(
                "audit.not-declared",
                "the contract declares no such event, or the tenant did not grant it",
                "add `[[audit]] event = \"…\"` to contract.toml; an owner or admin of the tenant then accepts it",
            ));
        }
        if self.journal.events.len() >= EVENTS_MAX {
            return Err(Denial::new("audit.too-many", format!("a call records at most {EVENTS_MAX} events"), ""));
        }
        if detail.len() > DETAIL_MAX {
            return Err(Denial::new("audit.too-large", format!("a detail has at most {DETAIL_MAX} bytes"), ""));
        }
        let shaped = CanonicalJson::parse(detail.as_bytes(), MAX_DEPTH);
        let Some(detail) = shaped.ok().filter(|json| json.value().is_object()) else {
            return Err(Denial::new("audit.not-json", "a detail is a JSON object", ""));
        };
        self.journal.events.push(Event { event, detail: detail.as_str().to_owned() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_lines_are_one_marker() {
        let mut journal = Journal::new(3, 1000);
        for n in 0..1000 {
            journal.line(n, LogLevel::Info, "line");
        }
        let (lines, _) = journal.into_parts();
        assert_eq!(lines.len(), 4);
        assert!(lines[3].message.starts_with("log truncated"));
    }

    #[test]
    fn bytes_count_as_escaped() {
        let mut journal = Journal::new(100, 10);
        journal.line(0, LogLevel::Info, "\u{1b}");
        journal.line(0, LogLevel::Info, "\u{1b}");
        let (lines, _) = journal.into_parts();
        assert_eq!(lines[0].message, "\\u{1b}");
        assert!(lines[1].message.starts_with("log truncated"));
    }
}
