//! The one shape of every "no": a stable code, the stage that refused, what happened in a sentence, and what would
//! allow it. Nothing a caller sent and no secret is ever quoted here, because refusals travel to terminals and logs.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use opsiq_contract::{Denial, InvocationId, Level, Violation};
use opsiq_sandbox::{FaultCode, Full, Meter, NoPlace};
use serde::{Deserialize, Serialize};

/// Where in an invocation (DESIGN §6) something was refused. Administrative acts refuse at [`Stage::Admin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Who calls: the tenant and user, before anything else is looked at.
    Authenticate,
    /// Installation, plugin digest and action.
    Resolve,
    /// Contract ∩ ceiling ∩ grant ∩ role.
    Authority,
    /// Parameters against the action's schema.
    Params,
    /// Idempotency.
    Replay,
    /// A human's approval of exactly this call.
    Confirmation,
    /// A place among the calls of its installation, its tenant and the host.
    Admission,
    /// The durable record before an effect.
    Intent,
    /// The plugin itself, in its sandbox.
    Run,
    /// What the plugin returned.
    Result,
    /// The durable record after the run.
    Outcome,
    /// An administrative act.
    Admin,
}

impl Stage {
    /// The stable name, as audited and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Resolve => "resolve",
            Self::Authority => "authority",
            Self::Params => "params",
            Self::Replay => "replay",
            Self::Confirmation => "confirmation",
            Self::Admission => "admission",
            Self::Intent => "intent",
            Self::Run => "run",
            Self::Result => "result",
            Self::Outcome => "outcome",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of "no" it is: front doors map it to an exit code or an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// A defect or an I/O failure of the host.
    Internal,
    /// Who calls is not known: no session, or one that ended; a wrong password or code; HTTP 401.
    Unauthenticated,
    /// Not allowed: role, grant, ceiling, confirmation, second person.
    Denied,
    /// No such thing, or not yours, which is the same answer.
    NotFound,
    /// Parameters, a contract, a config or a name that is not valid.
    Invalid,
    /// It clashes with what is there now: in flight, already used, changed meanwhile.
    Conflict,
    /// The plugin failed, or was ended by a limit.
    Plugin,
    /// The installation or the tenant has used up its share of the host for now; HTTP 429. Nothing happened.
    Limited,
    /// The host has no room for anybody now; HTTP 503. Nothing happened.
    Busy,
    /// Audit or store cannot be written now, so nothing may happen.
    Unavailable,
    /// Stored data does not open: it was changed outside the host.
    Tampered,
}

impl Class {
    /// The exit code of a command that ends with this class.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Unauthenticated | Self::Denied | Self::Conflict | Self::Limited => 3,
            Self::NotFound => 5,
            Self::Invalid => 6,
            Self::Plugin => 7,
            Self::Busy | Self::Unavailable => 8,
            Self::Tampered => 9,
        }
    }

    /// A short title for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Internal => "The host failed",
            Self::Unauthenticated => "Not signed in",
            Self::Denied => "Not allowed",
            Self::NotFound => "Not found",
            Self::Invalid => "Not valid",
            Self::Conflict => "Conflict",
            Self::Plugin => "The plugin failed",
            Self::Limited => "Limit reached",
            Self::Busy => "The host is busy",
            Self::Unavailable => "Unavailable",
            Self::Tampered => "Tampered data",
        }
    }
}

/// One place in parameters, a config or a contract that is not as its schema says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer into the value, `""` for the whole.
    pub path: String,
    /// What is wrong there, without quoting the value.
    pub message: String,
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self { path: violation.path, message: violation.message }
    }
}

/// Why something did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable code, such as `role.not-allowed`, `params.invalid`, `cpu_exceeded`.
    pub code: Cow<'static, str>,
    /// The stage that refused.
    pub stage: Stage,
    /// The kind of refusal.
    pub class: Class,
    /// What was refused, in one sentence, without secrets or parameters.
    pub message: String,
    /// What would allow it: the command to run or the line to add, and who may. Empty when nothing would.
    pub fix: String,
    /// Where the input is off its schema; empty otherwise.
    pub faults: Box<[Fault]>,
    /// The invocation this ended, once it had begun: the id in the audit log.
    pub invocation: Option<Box<InvocationId>>,
    /// Whether an effect may have happened outside although there is no answer.
    pub effect_possible: bool,
    /// Seconds after which the same call may be tried again, where waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<NonZeroU32>,
    /// What the run used that ended so; `None` when nothing ran, and in an answer given again.
    #[serde(skip)]
    pub meter: Option<Box<Meter>>,
}

impl Refusal {
    /// A refusal of `class` at `stage`.
    pub fn new(
        class: Class,
        stage: Stage,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            stage,
            class,
            message: message.into(),
            fix: fix.into(),
            faults: Box::default(),
            invocation: None,
            effect_possible: false,
            retry_after: None,
            meter: None,
        }
    }

    /// A short title for people.
    pub fn title(&self) -> &'static str {
        self.class.title()
    }

    /// The exit code of a command that ends with this refusal.
    pub fn exit_code(&self) -> u8 {
        self.class.exit_code()
    }

    pub(crate) fn denied(stage: Stage, denial: Denial) -> Self {
        Self::new(Class::Denied, stage, denial.code, denial.message, denial.fix)
    }

    /// The refusal of a call that found no room.
    pub(crate) fn full(full: Full) -> Self {
        let Full { name, level, message, retry_after } = full;
        let class = if level == Level::Host { Class::Busy } else { Class::Limited };
        let section = match level {
            Level::Host => "[fairness.host]",
            Level::Tenant => "[fairness.tenant.NAME]",
            Level::Installation => "[fairness.tenant.NAME.installation.NAME]",
        };
        let key = name.rsplit('.').next().unwrap_or(name);
        let more = format!("the operator may allow more: {key} in {section} of opsiq.toml");
        let fix = retry_after.map_or_else(|| more.clone(), |after| format!("try again in {after} s; {more}"));
        Self { retry_after, ..Self::new(class, Stage::Admission, name, message, fix) }
    }

    /// The refusal of a call that got no place.
    pub(crate) fn no_place(why: NoPlace) -> Self {
        match why {
            NoPlace::Full(full) => Self::full(full),
            NoPlace::Stopped(fault) => Self::fault(Stage::Authority, fault),
        }
    }

    /// The refusal of a call that the sandbox ended, or did not begin.
    pub(crate) fn fault(stage: Stage, fault: opsiq_sandbox::Fault) -> Self {
        let class = match fault.code {
            FaultCode::Busy => Class::Unavailable,
            FaultCode::HostPanic => Class::Internal,
            FaultCode::Quarantined => Class::Denied,
            _ => Class::Plugin,
        };
        let fix = match fault.code {
            FaultCode::Busy => "try again in a moment",
            FaultCode::RehearsalEnded => "name a case whose answers stand in: --replay FILE",
            FaultCode::Stopped => "call it again when whoever stopped it says so",
            FaultCode::Quarantined => {
                "whoever placed the quarantine lifts it: opsiq sandbox release; opsiq sandbox list shows it"
            }
            _ => "the plugin needs more than its limits, or is defective; the operator may raise the ceiling",
        };
        Self::new(class, stage, fault.code.as_str(), fault.message, fix)
    }

    pub(crate) fn of(mut self, invocation: &InvocationId) -> Self {
        self.invocation = Some(Box::new(invocation.clone()));
        self
    }

    pub(crate) fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(Box::new(meter));
        self
    }

    pub(crate) fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults.into();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        for fault in &self.faults {
            let path = if fault.path.is_empty() { "/" } else { &fault.path };
            write!(f, "\n  {path}: {}", fault.message)?;
        }
        if !self.fix.is_empty() {
            write!(f, "\n  {}", self.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
