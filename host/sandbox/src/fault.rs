//! How a call ends without a result: the plugin said so, or the sandbox ended it. Every limit has a code of its own;
//! a message names the limit and its value and never holds anything of the guest's memory.

use std::fmt;

use opsiq_contract::Denial;
use serde::{Serialize, Serializer};
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// The plugin answered that it failed, in one of the ways a caller can act on.
    Failure(Failure),
    /// The sandbox refused or ended the call.
    Fault(Fault),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The `failure` variant of `wit/`. Its texts are the plugin's: data, to be escaped wherever they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Failure {
    /// The parameters make no sense to the outside system.
    Invalid {
        /// Which, and why.
        message: String,
    },
    /// The host refused something the action needed.
    Denied {
        /// Stable code of the rule, as the plugin passes it on.
        rule: String,
        /// What was refused.
        message: String,
        /// What would allow it.
        fix: String,
    },
    /// What the parameters name does not exist.
    NotFound {
        /// What was looked for.
        message: String,
    },
    /// The state of the outside system does not allow it now.
    Conflict {
        /// Which state.
        message: String,
    },
    /// The outside system asks to wait.
    RateLimited {
        /// Seconds to wait, when it said how long.
        retry_after: Option<u32>,
    },
    /// The outside system failed or could not be reached.
    Upstream {
        /// HTTP status, when there was an answer.
        status: Option<u16>,
        /// Whether an effect may have happened.
        request_sent: bool,
        /// One sentence for whoever called.
        message: String,
    },
    /// A defect of the plugin.
    Internal {
        /// What went wrong.
        message: String,
    },
}

impl Failure {
    /// The name of the case in `wit/`, stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Denied { .. } => "denied",
            Self::NotFound { .. } => "not-found",
            Self::Conflict { .. } => "conflict",
            Self::RateLimited { .. } => "rate-limited",
            Self::Upstream { .. } => "upstream",
            Self::Internal { .. } => "internal",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message }
            | Self::Denied { message, .. }
            | Self::NotFound { message }
            | Self::Conflict { message }
            | Self::Internal { message }
            | Self::Upstream { message, .. } => write!(f, "{}: {message}", self.code()),
            Self::RateLimited { retry_after: Some(seconds) } => write!(f, "rate-limited: wait {seconds} s"),
            Self::RateLimited { retry_after: None } => f.write_str("rate-limited"),
        }
    }
}

/// The sandbox ended a call, or never began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which limit or rule.
    pub code: FaultCode,
    /// One sentence that names the limit and its value.
    pub message: String,
}

impl Fault {
    /// A fault with its sentence.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// Which limit or rule ended a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultCode {
            $($(#[$doc])* $name,)+
        }

        impl FaultCode {
            /// The stable text, as audited and answered.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

codes! {
    /// The CPU time of the call ran out.
    CpuExceeded = "cpu_exceeded",
    /// The wall time of the call ran out, also while the host waited for it.
    WallExceeded = "wall_exceeded",
    /// All memories together wanted more than their limit.
    MemoryExceeded = "memory_exceeded",
    /// All tables together wanted more than their limit.
    TableExceeded = "table_exceeded",
    /// The guest recursed past its stack.
    StackExceeded = "stack_exceeded",
    /// The fuel of the call ran out.
    FuelExceeded = "fuel_exceeded",
    /// The parameters are larger than the limit.
    InputTooLarge = "input_too_large",
    /// The answer is larger than the limit.
    ResultTooLarge = "result_too_large",
    /// More imports were called than the limit.
    HostcallCount = "hostcall_count",
    /// More bytes were passed to imports than the limit.
    HostcallBytes = "hostcall_bytes",
    /// More handles were held than the limit.
    ResourcesExceeded = "resources_exceeded",
    /// More random bytes were asked for than the limit.
    RandomExceeded = "random_exceeded",
    /// The instance could not be made.
    InstantiationFailed = "instantiation_failed",
    /// The answer is no value of its type: no UTF-8, a pointer outside memory, an unknown case.
    InvalidResult = "invalid_result",
    /// `unreachable` was executed, as panics and aborts of guests are.
    TrapUnreachable = "trap:unreachable",
    /// Memory outside the guest's was accessed.
    TrapMemory = "trap:memory_out_of_bounds",
    /// A table element outside the table was used.
    TrapTable = "trap:table_out_of_bounds",
    /// A call through a table met nothing or another type.
    TrapCall = "trap:bad_indirect_call",
    /// Overflow, division by zero or a conversion out of range.
    TrapArithmetic = "trap:arithmetic",
    /// A rule of the component model was broken, such as re-entering or passing a bad pointer.
    TrapComponent = "trap:component",
    /// Any other trap.
    TrapOther = "trap:other",
    /// The pool had no instance left although the call had a place.
    Busy = "busy",
    /// Stopped by the kill switch.
    Stopped = "stopped",
    /// Quarantined between its admission and its start, so it did not begin.
    Quarantined = "sandbox.quarantined",
    /// The host's side of an import failed; a defect of the host.
    HostPanic = "host_panic",
    /// The permit was made for another invocation than the authority.
    PermitMismatch = "permit_mismatch",
    /// The authority was made for another component than the plugin's.
    DigestMismatch = "digest_mismatch",
    /// A fuel limit is in force and the plugin was loaded without counting fuel.
    FuelUncounted = "fuel_uncounted",
    /// A rehearsed call sent a request that nothing stands in for.
    RehearsalEnded = "rehearsal_ended",
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for FaultCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where a call was when the engine ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Instantiation,
    Call,
}

/// The limits whose values messages of the engine's own errors need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) result_bytes: u64,
    pub(crate) hostcall_bytes: u64,
    pub(crate) resources: u64,
    pub(crate) fuel: Option<u64>,
}

/// The fault an error of the engine stands for.
pub(crate) fn classify(error: &wasmtime::Error, during: During, bounds: Bounds) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.clone();
    }
    let site = site(error);
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap, bounds, &site);
    }
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return Fault::new(FaultCode::Busy, "the pool of instances is used up");
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Fault::new(
            FaultCode::ResourcesExceeded,
            format!("a call may hold {} resources at once{site}", bounds.resources),
        );
    }
    // These errors of the engine have no public type; a test holds each text to the engine in use.
    let text = error.root_cause().to_string();
    let in_guest = error.downcast_ref::<wasmtime::WasmBacktrace>().is_some();
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return if in_guest || during == During::Instantiation {
            Fault::new(
                FaultCode::HostcallBytes,
                format!("calls of imports may pass {} bytes in all{site}", bounds.hostcall_bytes),
            )
        } else {
            Fault::new(FaultCode::ResultTooLarge, format!("an answer may have {} bytes", bounds.result_bytes))
        };
    }
    if text.contains("store handle limit exceeded") {
        return Fault::new(
            FaultCode::ResourcesExceeded,
            format!("a call may hold {} resources at once{site}", bounds.resources),
        );
    }
    if during == During::Instantiation {
        return Fault::new(FaultCode::InstantiationFailed, format!("the instance could not be made: {text}"));
    }
    if in_guest {
        Fault::new(FaultCode::TrapComponent, format!("the plugin broke a rule of the component model: {text}{site}"))
    } else {
        Fault::new(FaultCode::InvalidResult, format!("the answer is no value of its type: {text}"))
    }
}

fn trapped(trap: Trap, bounds: Bounds, site: &str) -> Fault {
    let code = match trap {
        Trap::StackOverflow => {
            let most = crate::engine::WASM_STACK;
            return Fault::new(FaultCode::StackExceeded, format!("the plugin's stack may have {most} bytes{site}"));
        }
        Trap::OutOfFuel => {
            let most = bounds.fuel.unwrap_or(0);
            return Fault::new(FaultCode::FuelExceeded, format!("a call may use {most} units of fuel{site}"));
        }
        Trap::UnreachableCodeReached => FaultCode::TrapUnreachable,
        Trap::MemoryOutOfBounds => FaultCode::TrapMemory,
        Trap::TableOutOfBounds => FaultCode::TrapTable,
        Trap::IndirectCallToNull | Trap::BadSignature | Trap::NullReference => FaultCode::TrapCall,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => FaultCode::TrapArithmetic,
        Trap::CannotEnterComponent
        | Trap::CannotLeaveComponent
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::InvalidChar
        | Trap::UnalignedPointer => FaultCode::TrapComponent,
        _ => FaultCode::TrapOther,
    };
    Fault::new(code, format!("the plugin trapped: {trap}{site}"))
}

/// Where in the plugin's code it happened, from its name section: for its author, escaped and short.
fn site(error: &wasmtime::Error) -> String {
    const FRAMES: usize = 3;
    const NAME: usize = 80;
    let Some(trace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    let names: Vec<String> = trace
        .frames()
        .iter()
        .filter_map(wasmtime::FrameInfo::func_name)
        .take(FRAMES)
        .map(|name| opsiq_contract::visible(name, NAME).text)
        .collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(" < ")) }
}

/// The denial an import answers, as `wit/` spells it.
pub(crate) fn denial(denial: &Denial) -> crate::bindings::opsiq::plugin::types::Denial {
    crate::bindings::opsiq::plugin::types::Denial {
        rule: denial.code.to_owned(),
        message: denial.message.clone(),
        fix: denial.fix.clone(),
    }
}
