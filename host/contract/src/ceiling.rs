//! What the operator allows at most.
//!
//! Kept in `<data>/opsiq.toml` under `[ceiling]`. Without it every plugin may use what its contract and the tenant's grant
//! say, within the default limits, and no private address. A ceiling only ever takes away, save for limits, private
//! targets and the compatibility mode, which nobody else can allow.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;

use crate::denial::Denial;
use crate::digest::Digest;
use crate::limits::{Limits, LimitsCeiling, LimitsRequest};
use crate::model::Contract;

/// Largest component accepted unless the operator raises it, in bytes.
pub const DEFAULT_COMPONENT_BYTES: u64 = 16 << 20;
/// Longest that compiling a component may take unless the operator raises it, in milliseconds.
pub(crate) const DEFAULT_COMPILE_MS: u64 = 10_000;
/// Most memory that compiling a component may take unless the operator raises it, in bytes.
pub(crate) const DEFAULT_COMPILE_MEMORY_BYTES: u64 = 1 << 30;

/// A private destination that plugins may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PrivateTarget {
    /// The exact addresses.
    pub cidr: IpNet,
    /// The exact port.
    pub port: u16,
    /// `false` allows plain `http://` to it as well.
    pub tls: bool,
}

/// What the operator allows one plugin, whatever its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PluginCeiling {
    /// Nothing of it runs.
    pub denied: bool,
    /// It may be a component made for WASI, run in compatibility mode.
    pub wasi: bool,
    /// Only these actions; `None` for all.
    pub actions: Option<BTreeSet<String>>,
    /// Only these HTTP rules; `None` for all.
    pub http: Option<BTreeSet<String>>,
    /// Only these keys; `None` for all.
    pub keys: Option<BTreeSet<String>>,
    /// Limits that replace the general ceiling's where they name an axis.
    pub limits: LimitsCeiling,
    /// Private destinations for this plugin alone.
    pub private_targets: Vec<PrivateTarget>,
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ceiling {
    /// Bytes of a component, at most.
    pub component_bytes: u64,
    /// Milliseconds that compiling a component may take, at most.
    pub compile_ms: u64,
    /// Bytes of memory that compiling a component may take, at most.
    pub compile_memory_bytes: u64,
    /// Limits of any plugin.
    pub limits: LimitsCeiling,
    /// Private destinations for any plugin.
    pub private_targets: Vec<PrivateTarget>,
    /// By `publisher/id`.
    pub plugins: BTreeMap<String, PluginCeiling>,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            component_bytes: DEFAULT_COMPONENT_BYTES,
            compile_ms: DEFAULT_COMPILE_MS,
            compile_memory_bytes: DEFAULT_COMPILE_MEMORY_BYTES,
            limits: LimitsCeiling::default(),
            private_targets: Vec::new(),
            plugins: BTreeMap::new(),
        }
    }
}

impl Ceiling {
    /// What is said of one plugin, `publisher/id`.
    pub fn plugin(&self, family: &str) -> Option<&PluginCeiling> {
        self.plugins.get(family)
    }

    /// The private destinations open to a plugin, `publisher/id`.
    pub fn private_targets_of(&self, family: &str) -> Vec<PrivateTarget> {
        let own = self.plugin(family).map(|plugin| plugin.private_targets.as_slice()).unwrap_or_default();
        let all: BTreeSet<&PrivateTarget> = self.private_targets.iter().chain(own).collect();
        all.into_iter().cloned().collect()
    }

    /// The limits in force for a plugin, `publisher/id`, whose contract asks for `request`.
    pub fn limits_of(&self, family: &str, request: &LimitsRequest) -> Limits {
        let ceiling = self.plugin(family).map_or_else(|| self.limits.clone(), |own| self.limits.overlaid(&own.limits));
        Limits::in_force(request, &ceiling)
    }

    /// Why a plugin may not run in the world it was made for; `None` for one made for this host.
    pub fn world_denial(&self, contract: &Contract) -> Option<Denial> {
        let world = contract.plugin.world?;
        let family = contract.plugin_ref().family();
        if self.plugin(&family).is_some_and(|own| own.wasi) {
            return None;
        }
        Some(Denial::new(
            "ceiling.wasi-off",
            format!("{family} is {}, and the operator does not allow it to run in compatibility mode", world.what()),
            format!("write wasi = true under [ceiling.plugin.\"{family}\"] in opsiq.toml, by the operator"),
        ))
    }

    /// Identifies this ceiling: the policy version that confirmations are bound to.
    pub fn fingerprint(&self) -> Digest {
        crate::fingerprint("opsiq ceiling 1", self)
    }
}
