//! How much one invocation may use, on every axis.
//!
//! A contract asks, the operator caps, and what is in force is the stricter of *contract or default* and *ceiling or
//! default*. Every axis stands once, in one table with its name, unit, default and direction, so a limit cannot be parsed
//! and then forgotten.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::units::{parse_size, parse_time, show_size, show_time};

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written `64KiB`.
    Bytes,
    /// Milliseconds, written `250ms` or `30s`.
    Milliseconds,
    /// Bytes a second, written like a size.
    BytesPerSecond,
    /// A bare number.
    Count,
}

impl Unit {
    /// Parses a text of this unit. `None` when it is none.
    pub fn parse(self, text: &str) -> Option<u64> {
        match self {
            Self::Bytes | Self::BytesPerSecond => parse_size(text),
            Self::Milliseconds => parse_time(text),
            Self::Count => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten(),
        }
    }

    /// Writes an amount of this unit as a contract would.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Bytes | Self::BytesPerSecond => show_size(amount),
            Self::Milliseconds => show_time(amount),
            Self::Count => amount.to_string(),
        }
    }

    /// An example for error messages.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Bytes => "a size such as \"64KiB\"",
            Self::BytesPerSecond => "bytes a second such as \"1KiB\"",
            Self::Milliseconds => "a time such as \"250ms\" or \"30s\"",
            Self::Count => "a whole number",
        }
    }
}

/// One axis of the limits.
#[derive(Debug)]
pub struct Axis {
    /// The key in `[limits]` of a contract and of a ceiling.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// In force when nobody says otherwise; `None` means not limited.
    pub default: Option<u64>,
    /// Whether the larger of two values is the stricter one, as for the slowest rate tolerated.
    pub larger_is_stricter: bool,
    set: fn(&mut Limits, Option<u64>),
}

impl Axis {
    /// The axis named `key`.
    pub fn named(key: &str) -> Option<&'static Self> {
        AXES.iter().find(|axis| axis.key == key)
    }

    /// The stricter of two values of this axis, where `None` does not limit.
    pub fn stricter(&self, a: Option<u64>, b: Option<u64>) -> Option<u64> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if self.larger_is_stricter { a.max(b) } else { a.min(b) }),
            (one, other) => one.or(other),
        }
    }
}

macro_rules! axes {
    ($($key:literal, $unit:ident, $default:expr, $larger:literal, $($field:ident).+;)+) => {
        /// Every axis there is.
        pub const AXES: &[Axis] = &[$(Axis {
            key: $key,
            unit: Unit::$unit,
            default: $default,
            larger_is_stricter: $larger,
            set: |limits, value| {
                if let Some(value) = value { limits.$($field).+ = value.into(); }
            },
        }),+];
    };
}

axes! {
    "memory", Bytes, Some(64 << 20), false, memory_bytes;
    "table-elements", Count, Some(10_000), false, table_elements;
    "cpu", Milliseconds, Some(250), false, cpu_ms;
    "wall", Milliseconds, Some(30_000), false, wall_ms;
    "input", Bytes, Some(1 << 20), false, input_bytes;
    "result", Bytes, Some(1 << 20), false, result_bytes;
    "host-call-bytes", Bytes, Some(4 << 20), false, hostcall_bytes;
    "resources", Count, Some(256), false, resources;
    "host-calls", Count, Some(1_000), false, host_calls;
    "log-lines", Count, Some(100), false, log_lines;
    "log-bytes", Bytes, Some(64 << 10), false, log_bytes;
    "random", Bytes, Some(64 << 10), false, random_bytes;
    "fuel", Count, None, false, fuel;
    "http-requests", Count, Some(8), false, http.requests;
    "http-headers", Count, Some(64), false, http.header_count;
    "http-header-bytes", Bytes, Some(16 << 10), false, http.header_bytes;
    "http-response", Bytes, Some(1 << 20), false, http.response_bytes;
    "http-sent", Bytes, Some(4 << 20), false, http.egress_bytes;
    "http-connect", Milliseconds, Some(5_000), false, http.connect_ms;
    "http-total", Milliseconds, Some(15_000), false, http.total_ms;
    "http-min-rate", BytesPerSecond, Some(1 << 10), true, http.min_rate_bytes_per_s;
    "http-min-rate-after", Milliseconds, Some(5_000), false, http.min_rate_after_ms;
}

/// Some axes with values: what a contract asks for, or what an operator allows. Axes not named are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LimitSet(BTreeMap<&'static str, u64>);

/// What a contract asks for in `[limits]`.
pub type LimitsRequest = LimitSet;
/// What an operator allows in `[ceiling.limits]`.
pub type LimitsCeiling = LimitSet;

impl LimitSet {
    /// The value of `axis`, when named.
    pub fn get(&self, axis: &Axis) -> Option<u64> {
        self.0.get(axis.key).copied()
    }

    /// Names a value of `axis`.
    pub fn set(&mut self, axis: &Axis, value: u64) {
        if let Some(axis) = Axis::named(axis.key) {
            self.0.insert(axis.key, value);
        }
    }

    /// These values, replaced by those of `nearer` where it names them.
    #[must_use]
    pub fn overlaid(&self, nearer: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(nearer.0.iter().map(|(key, value)| (*key, *value)));
        Self(all)
    }

    /// The named axes with their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Axis, u64)> + '_ {
        self.0.iter().filter_map(|(key, value)| Axis::named(key).map(|axis| (axis, *value)))
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What one HTTP exchange, and all of an invocation together, may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpLimits {
    /// Requests an invocation.
    pub requests: u64,
    /// Header fields a message.
    pub header_count: u64,
    /// Bytes of header names and values a message.
    pub header_bytes: u64,
    /// Decoded bytes of one answer's body; a rule's `response-max` may be less.
    pub response_bytes: u64,
    /// Bytes of request bodies sent, all requests of an invocation together.
    pub egress_bytes: u64,
    /// Milliseconds to resolve, connect and shake hands.
    pub connect_ms: u64,
    /// Milliseconds for one exchange.
    pub total_ms: u64,
    /// Bytes a second an answer must reach on average.
    pub min_rate_bytes_per_s: u64,
    /// Milliseconds after which that rate is asked for.
    pub min_rate_after_ms: u64,
}

/// What one invocation may use, on every axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Milliseconds of guest computing.
    pub cpu_ms: u64,
    /// Milliseconds from entry to result, waiting included.
    pub wall_ms: u64,
    /// Bytes of the canonical parameters.
    pub input_bytes: u64,
    /// Bytes of the result.
    pub result_bytes: u64,
    /// Bytes that host calls copy, all together.
    pub hostcall_bytes: u64,
    /// Resource handles alive at once.
    pub resources: u64,
    /// Host calls.
    pub host_calls: u64,
    /// Log lines.
    pub log_lines: u64,
    /// Bytes of log lines.
    pub log_bytes: u64,
    /// Bytes of randomness.
    pub random_bytes: u64,
    /// Units of engine fuel; `None` when computing is limited by time alone.
    pub fuel: Option<u64>,
    /// What HTTP may use.
    pub http: HttpLimits,
}

impl Default for Limits {
    /// The defaults of every axis.
    fn default() -> Self {
        Self::in_force(&LimitSet::default(), &LimitSet::default())
    }
}

impl Limits {
    /// What is in force: on every axis the stricter of *request or default* and *ceiling or default*.
    pub fn in_force(request: &LimitsRequest, ceiling: &LimitsCeiling) -> Self {
        let mut limits = Self {
            memory_bytes: 0,
            table_elements: 0,
            cpu_ms: 0,
            wall_ms: 0,
            input_bytes: 0,
            result_bytes: 0,
            hostcall_bytes: 0,
            resources: 0,
            host_calls: 0,
            log_lines: 0,
            log_bytes: 0,
            random_bytes: 0,
            fuel: None,
            http: HttpLimits {
                requests: 0,
                header_count: 0,
                header_bytes: 0,
                response_bytes: 0,
                egress_bytes: 0,
                connect_ms: 0,
                total_ms: 0,
                min_rate_bytes_per_s: 0,
                min_rate_after_ms: 0,
            },
        };
        for axis in AXES {
            let asked = request.get(axis).or(axis.default);
            let allowed = ceiling.get(axis).or(axis.default);
            (axis.set)(&mut limits, axis.stricter(asked, allowed));
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, u64)]) -> LimitSet {
        let mut set = LimitSet::default();
        for (key, value) in values {
            set.set(Axis::named(key).unwrap(), *value);
        }
        set
    }

    #[test]
    fn every_axis_has_a_field_of_its_own() {
        let mut limits = Limits::default();
        let before = serde_json::to_value(&limits).unwrap();
        for (index, axis) in AXES.iter().enumerate() {
            (axis.set)(&mut limits, Some(1_000_000_007 + index as u64));
        }
        let text = serde_json::to_string(&limits).unwrap();
        for (index, axis) in AXES.iter().enumerate() {
            assert!(text.contains(&(1_000_000_007 + index as u64).to_string()), "{}", axis.key);
        }
        let fields = |v: &serde_json::Value| v.as_object().unwrap().len() + v["http"].as_object().unwrap().len() - 1;
        assert_eq!(fields(&before), AXES.len(), "a field no axis sets");
    }

    #[test]
    fn a_ceiling_may_exceed_the_defaults_and_the_contract_must_ask() {
        let ceiling = set(&[("memory", 256 << 20), ("cpu", 100)]);
        assert_eq!(Limits::in_force(&LimitSet::default(), &ceiling).memory_bytes, 64 << 20);
        assert_eq!(Limits::in_force(&LimitSet::default(), &ceiling).cpu_ms, 100);
        assert_eq!(Limits::in_force(&set(&[("memory", 128 << 20)]), &ceiling).memory_bytes, 128 << 20);
        assert_eq!(Limits::in_force(&set(&[("memory", 1 << 30)]), &ceiling).memory_bytes, 256 << 20);
        assert_eq!(Limits::in_force(&set(&[("memory", 1 << 30)]), &LimitSet::default()).memory_bytes, 64 << 20);
    }

    #[test]
    fn a_slower_rate_needs_the_operator() {
        let rate = |asked, allowed| Limits::in_force(&asked, &allowed).http.min_rate_bytes_per_s;
        let slow = || set(&[("http-min-rate", 100)]);
        assert_eq!(rate(slow(), LimitSet::default()), 1024);
        assert_eq!(rate(slow(), slow()), 100);
        assert_eq!(rate(set(&[("http-min-rate", 4096)]), slow()), 4096);
    }

    #[test]
    fn fuel_is_unlimited_until_somebody_names_it() {
        assert_eq!(Limits::default().fuel, None);
        assert_eq!(Limits::in_force(&set(&[("fuel", 5)]), &LimitSet::default()).fuel, Some(5));
        assert_eq!(Limits::in_force(&LimitSet::default(), &set(&[("fuel", 7)])).fuel, Some(7));
        assert_eq!(Limits::in_force(&set(&[("fuel", 9)]), &set(&[("fuel", 7)])).fuel, Some(7));
    }
}
