//! The names of what an installation, a tenant or the host can run out of, and the refusal that says so.

use std::num::NonZeroU32;

use opsiq_contract::Level;

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scarce {
    /// Calls at once, where none may wait.
    Concurrency,
    /// Places to wait in.
    Queue,
    /// Time to wait.
    QueueWait,
    /// Processor time this minute.
    Cpu,
    /// Bytes over HTTP this minute.
    Egress,
    /// Calls this minute.
    Calls,
}

macro_rules! names {
    ($key:literal) => {
        [concat!("limit.installation.", $key), concat!("limit.tenant.", $key), concat!("limit.host.", $key)]
    };
}

impl Scarce {
    /// The stable name at `level`, as audited and answered. It ends in the key of `[fairness]` to change.
    pub(crate) const fn name(self, level: Level) -> &'static str {
        let names = match self {
            Self::Concurrency => names!("concurrency"),
            Self::Queue => names!("queue"),
            Self::QueueWait => names!("queue-wait"),
            Self::Cpu => names!("cpu-per-minute"),
            Self::Egress => names!("egress-per-minute"),
            Self::Calls => names!("calls-per-minute"),
        };
        names[level as usize]
    }
}

/// A call that did not begin, because its installation, its tenant or the host has no room for it now. Nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The limit, such as `limit.tenant.queue`: level and key of `[fairness]`.
    pub name: &'static str,
    /// Whose limit it is.
    pub level: Level,
    /// One sentence that names the limit and its value.
    pub message: String,
    /// Seconds after which to try again: when the limit gives way for sure, or when it should by how long calls took
    /// lately. `None` when waiting does not help.
    pub retry_after: Option<NonZeroU32>,
}

/// Whole seconds, at least one, that cover `nanoseconds`.
pub(crate) fn seconds(nanoseconds: u64) -> NonZeroU32 {
    u32::try_from(nanoseconds.div_ceil(1_000_000_000))
        .map_or(NonZeroU32::MAX, |whole| NonZeroU32::new(whole).unwrap_or(NonZeroU32::MIN))
}
