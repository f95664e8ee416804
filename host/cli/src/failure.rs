//! How a command ends: the exit codes scripts rely on, and a failure that says what, by which rule, and what to do.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a command ended. The numbers are an interface and never change meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A fault of the host itself.
    #[default]
    Internal = 1,
    /// The command line made no sense.
    Usage = 2,
    /// Refused by a rule.
    Refused = 3,
    /// Waits for a human's confirmation.
    Pending = 4,
    /// What was named does not exist, or belongs to another tenant.
    NotFound = 5,
    /// Parameters, a contract or a component are not valid.
    Invalid = 6,
    /// The plugin failed, or met a limit.
    Plugin = 7,
    /// The audit log, the disk, the lock or room on the host is not available; nothing with an effect happened.
    Unavailable = 8,
    /// Stored or exported data was changed by someone else.
    Tampered = 9,
    /// Ended by the user (128 + SIGINT).
    Interrupted = 130,
    /// Whoever read standard output stopped reading (128 + SIGPIPE).
    Closed = 141,
}

impl Exit {
    /// The failure of this number; one of the host for a number that is none.
    pub(crate) fn of(code: u8) -> Self {
        use Exit::{Interrupted, Invalid, NotFound, Pending, Plugin, Refused, Tampered, Unavailable, Usage};
        let all = [Usage, Refused, Pending, NotFound, Invalid, Plugin, Unavailable, Tampered, Interrupted];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or_default()
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Stable, machine-readable: `room.what`.
    pub(crate) code: String,
    /// One line for a person.
    pub(crate) title: String,
    /// What exactly, and which rule said so; may have several lines.
    pub(crate) detail: String,
    /// The line to add or the command to run, and who may; empty when there is none.
    pub(crate) fix: String,
    /// Seconds after which the same command may be tried again, where waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<NonZeroU32>,
    /// The refusal as the gate gave it: stage, faults by path, invocation, and what the run used that ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<Box<Value>>,
    /// How the process ends.
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// A result that is worth showing although the command failed, such as a refused component's imports.
    #[serde(skip)]
    pub(crate) data: Option<Box<Value>>,
}

impl Failure {
    /// A failure without detail or fix yet.
    pub(crate) fn new(exit: Exit, code: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            title: title.into(),
            detail: String::new(),
            fix: String::new(),
            retry_after: None,
            refusal: None,
            exit,
            data: None,
        }
    }

    /// Says what exactly went wrong.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says what would help.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Adds a result to show beside the failure with `-o json`.
    pub(crate) fn data(mut self, data: Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Adds the gate's own refusal.
    pub(crate) fn refusal(mut self, refusal: Option<Value>) -> Self {
        self.refusal = refusal.map(Box::new);
        self
    }

    /// A command line that parsed but makes no sense.
    pub(crate) fn usage(title: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "cli.usage", title)
    }

    /// A fault of ours or of the machine under us.
    pub(crate) fn internal(title: impl Into<String>, cause: &dyn std::error::Error) -> Self {
        Self::new(Exit::Internal, "host.internal", title).detail(chain(cause))
    }

    /// A file of the user's that cannot be read or written.
    pub(crate) fn file(verb: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let exit = if cause.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Unavailable };
        Self::new(exit, "cli.file", format!("cannot {verb} {}", path.display())).detail(cause.to_string())
    }
}

/// An error and its causes, outermost first, without saying the same twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
