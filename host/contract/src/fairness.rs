//! How one machine is shared: what the host, each tenant and each installation may take at once and a minute, and by which
//! weights the processor is divided when more is asked for than there is.
//!
//! Kept in `<data>/opsiq.toml` under `[fairness]`. Every axis stands once, in one table with its name, unit, range and the
//! default of each level, so that none can be read and then forgotten. It is no part of the [`Ceiling`](crate::Ceiling):
//! it decides when a call runs, never what a call may do, so a confirmation stays good when it changes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::id::TenantId;
use crate::limits::Unit;

/// Whom a share is for, innermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// One installation.
    Installation,
    /// All installations of one tenant together.
    Tenant,
    /// All tenants together.
    Host,
}

impl Level {
    /// The word in the names of limits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Tenant => "tenant",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One axis of a share.
#[derive(Debug)]
pub struct ShareAxis {
    /// The key in `[fairness]` and in the names of limits.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The least and the most it may be.
    pub range: (u64, u64),
    /// In force at installation, tenant and host when nobody says otherwise; `None` means not limited.
    defaults: [Option<u64>; 3],
    set: fn(&mut Share, Option<u64>),
}

impl ShareAxis {
    /// The axis named `key`.
    pub fn named(key: &str) -> Option<&'static Self> {
        SHARE_AXES.iter().find(|axis| axis.key == key)
    }

    /// In force at `level` when nobody says otherwise; `None` means not limited.
    pub fn default(&self, level: Level) -> Option<u64> {
        self.defaults[level as usize]
    }

    /// Whether it can be said at `level`. The host has nobody to be weighed against.
    pub fn is_at(&self, level: Level) -> bool {
        self.key != WEIGHT || level != Level::Host
    }
}

const WEIGHT: &str = "weight";

macro_rules! share_axes {
    ($($key:expr, $unit:ident, $least:expr, $most:expr, [$installation:expr, $tenant:expr, $host:expr], $field:ident = $default:expr;)+) => {
        /// Every axis there is.
        pub const SHARE_AXES: &[ShareAxis] = &[$(ShareAxis {
            key: $key,
            unit: Unit::$unit,
            range: ($least, $most),
            defaults: [$installation, $tenant, $host],
            set: |share, value| share.$field = $default(value),
        }),+];
    };
}

const ANY: u64 = crate::json::MAX_NUMBER;

// A normal tenant meets none of the defaults: they leave room for three others when one asks for all it can, and limit
// nothing by the minute. The host's concurrency is the number of slots in the sandbox's pool.
share_axes! {
    WEIGHT, Count, 1, 10_000, [Some(100), Some(100), Some(100)], weight = |value: Option<u64>| value.unwrap_or(100);
    "concurrency", Count, 1, 16_384, [Some(128), Some(128), Some(512)], concurrency = |value: Option<u64>| value.unwrap_or(1);
    "queue", Count, 0, 1 << 20, [Some(1_024), Some(1_024), Some(4_096)], queue = |value: Option<u64>| value.unwrap_or(0);
    "queue-wait", Milliseconds, 0, 300_000, [Some(5_000), Some(5_000), Some(5_000)], queue_wait_ms = |value: Option<u64>| value.unwrap_or(0);
    "cpu-per-minute", Milliseconds, 1, ANY, [None, None, None], cpu_ms_per_minute = |value| value;
    "egress-per-minute", Bytes, 1, ANY, [None, None, None], egress_bytes_per_minute = |value| value;
    "calls-per-minute", Count, 1, ANY, [None, None, None], calls_per_minute = |value| value;
}

/// Some axes with values, as an operator names them. Axes not named are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShareSet(BTreeMap<&'static str, u64>);

impl ShareSet {
    /// Names a value of `axis`.
    pub fn set(&mut self, axis: &'static ShareAxis, value: u64) {
        self.0.insert(axis.key, value);
    }

    /// The value of `axis`, when named.
    pub fn get(&self, axis: &ShareAxis) -> Option<u64> {
        self.0.get(axis.key).copied()
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What one holder may take, on every axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Share {
    /// Against those of its level: twice the weight, twice the processor and the slots when both are scarce.
    pub weight: u64,
    /// Calls that run at once.
    pub concurrency: u64,
    /// Calls that wait to run.
    pub queue: u64,
    /// Milliseconds that one of them waits at most.
    pub queue_wait_ms: u64,
    /// Milliseconds of processor time a minute; `None` for all there is.
    pub cpu_ms_per_minute: Option<u64>,
    /// Bytes sent and received over HTTP a minute.
    pub egress_bytes_per_minute: Option<u64>,
    /// Calls begun a minute.
    pub calls_per_minute: Option<u64>,
}

impl Share {
    /// What is in force at `level`: on every axis the first of `sets` that names it, else the default.
    fn in_force(level: Level, sets: &[&ShareSet]) -> Self {
        let mut share = Self {
            weight: 0,
            concurrency: 0,
            queue: 0,
            queue_wait_ms: 0,
            cpu_ms_per_minute: None,
            egress_bytes_per_minute: None,
            calls_per_minute: None,
        };
        for axis in SHARE_AXES {
            let named = sets.iter().find_map(|set| set.get(axis));
            (axis.set)(&mut share, named.or(axis.default(level)));
        }
        share
    }
}

/// What the operator says of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TenantFairness {
    /// Of the tenant as a whole.
    pub share: ShareSet,
    /// Of its installations, by name.
    pub installations: BTreeMap<String, ShareSet>,
}

/// How the machine is shared, as the operator says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fairness {
    /// Calls that compute at one moment; `None` for as many as the machine has processors.
    pub computing: Option<u64>,
    /// Of all tenants together.
    pub host: ShareSet,
    /// Of any tenant.
    pub each_tenant: ShareSet,
    /// Of any installation.
    pub each_installation: ShareSet,
    /// Of one tenant, by name.
    pub tenants: BTreeMap<String, TenantFairness>,
    /// Of any installation of one plugin, by `publisher/id`.
    pub plugins: BTreeMap<String, ShareSet>,
}

impl Fairness {
    /// What all tenants together may take.
    pub fn host(&self) -> Share {
        Share::in_force(Level::Host, &[&self.host])
    }

    /// What a tenant may take.
    pub fn tenant(&self, tenant: &TenantId) -> Share {
        let own = self.tenants.get(tenant.as_str()).map(|own| &own.share);
        let sets: Vec<_> = own.into_iter().chain([&self.each_tenant]).collect();
        Share::in_force(Level::Tenant, &sets)
    }

    /// What a tenant's installation `name` of the plugin `family`, `publisher/id`, may take.
    pub fn installation(&self, tenant: &TenantId, name: &str, family: &str) -> Share {
        let own = self.tenants.get(tenant.as_str()).and_then(|own| own.installations.get(name));
        let sets: Vec<_> = own.into_iter().chain(self.plugins.get(family)).chain([&self.each_installation]).collect();
        Share::in_force(Level::Installation, &sets)
    }

    /// What any tenant, or any installation, may take of which nothing else is said.
    pub fn any(&self, level: Level) -> Share {
        let set = match level {
            Level::Installation => &self.each_installation,
            Level::Tenant => &self.each_tenant,
            Level::Host => &self.host,
        };
        Share::in_force(level, &[set])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, u64)]) -> ShareSet {
        let mut set = ShareSet::default();
        for (key, value) in values {
            set.set(ShareAxis::named(key).unwrap(), *value);
        }
        set
    }

    #[test]
    fn every_axis_reaches_the_share() {
        for (at, axis) in SHARE_AXES.iter().enumerate() {
            let value = 7 + at as u64;
            let mut named = ShareSet::default();
            named.set(axis, value);
            let (plain, changed) = (Share::in_force(Level::Tenant, &[]), Share::in_force(Level::Tenant, &[&named]));
            assert_ne!(plain, changed, "{} changes nothing", axis.key);
        }
    }

    #[test]
    fn the_nearest_word_counts() {
        let mut fairness = Fairness {
            each_installation: set(&[("concurrency", 8), ("queue", 9), ("weight", 50)]),
            ..Fairness::default()
        };
        fairness.plugins.insert("acme/shop".to_owned(), set(&[("queue", 5), ("weight", 60)]));
        let own = TenantFairness {
            share: set(&[("calls-per-minute", 60)]),
            installations: [("shop".to_owned(), set(&[("weight", 70)]))].into(),
        };
        fairness.tenants.insert("acme".to_owned(), own);
        let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let near = fairness.installation(&acme, "shop", "acme/shop");
        assert_eq!((near.concurrency, near.queue, near.weight, near.queue_wait_ms), (8, 5, 70, 5_000));
        assert_eq!(fairness.installation(&other, "shop", "acme/shop").weight, 60);
        assert_eq!(fairness.installation(&other, "shop", "acme/till").weight, 50);
        assert_eq!(fairness.tenant(&acme).calls_per_minute, Some(60));
        assert_eq!(fairness.tenant(&other).calls_per_minute, None);
    }
}
