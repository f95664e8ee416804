//! What runs, and what it used, as it is shown.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use opsiq_contract::{InvocationId, TenantId};
use opsiq_sandbox::Phase;
use serde::{Deserialize, Serialize};

use super::live::LiveCall;
use super::quarantine::QuarantineView;
use super::totals::Counted;
use crate::core::Core;

/// A call that runs or waits for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// The id it has in the audit log.
    pub invocation: InvocationId,
    /// Whose.
    pub tenant: TenantId,
    /// The id of the installation.
    pub installation: String,
    /// The name of the installation, for its tenant.
    pub name: Option<String>,
    /// `publisher/id@version`.
    pub plugin: String,
    /// The action.
    pub action: String,
    /// Who called, for its tenant.
    pub by: Option<String>,
    /// What it does at the moment.
    pub state: Phase,
    /// When it came, in milliseconds since 1970.
    pub since_ms: i64,
    /// How long ago that is, in milliseconds.
    pub age_ms: u64,
    /// CPU time so far, in microseconds.
    pub cpu_us: u64,
    /// Memory held, in bytes.
    pub memory_bytes: u64,
    /// Imports called.
    pub host_calls: u64,
    /// HTTP requests made.
    pub egress_requests: u64,
    /// Bytes sent and received by them.
    pub egress_bytes: u64,
}

/// What runs and what may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlView {
    /// Calls, longest running first.
    pub calls: Vec<CallView>,
    /// Quarantines in force, oldest first.
    pub quarantines: Vec<QuarantineView>,
}

/// What became of an order to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// What it was about.
    pub selector: String,
    /// Calls it was given to.
    pub calls: u64,
    /// How many of them were gone when this was answered.
    pub ended: u64,
}

/// What became of an order to quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The quarantine.
    pub quarantine: QuarantineView,
    /// Whether it was not in force already.
    pub new: bool,
    /// Running calls that it ended.
    pub calls: u64,
    /// How many of them were gone when this was answered.
    pub ended: u64,
    /// Tenants that have something of what it covers.
    pub tenants: u64,
}

/// By what to add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Each installation by itself.
    Installation,
    /// Each version of a plugin.
    Plugin,
    /// Each tenant.
    Tenant,
}

/// What the calls of one installation, plugin or tenant used since this process opened the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsView {
    /// The tenant, where it is one's.
    pub tenant: Option<TenantId>,
    /// The installation's id, where it is one's.
    pub installation: Option<String>,
    /// `publisher/id@version`, where it is one's.
    pub plugin: Option<String>,
    /// Running now.
    pub running: u64,
    /// Waiting for a slot now.
    pub queued: u64,
    /// Calls that ended.
    pub calls: u64,
    /// Those of them without a result.
    pub failed: u64,
    /// Calls refused, or turned away before they began.
    pub refused: u64,
    /// Calls whose callers went away.
    pub cancelled: u64,
    /// CPU time, in microseconds.
    pub cpu_us: u64,
    /// The duration, waiting for a slot included, within which half of the calls ended, in microseconds.
    pub p50_us: Option<u64>,
    /// The one within which 99 of 100 did.
    pub p99_us: Option<u64>,
    /// Imports called.
    pub host_calls: u64,
    /// HTTP requests made.
    pub egress_requests: u64,
    /// Bytes sent and received by them.
    pub egress_bytes: u64,
}

impl Core {
    /// The totals of all tenants, or of one, most CPU time first.
    pub(super) fn sums(&self, tenant: Option<&TenantId>, by: By) -> Vec<TotalsView> {
        type Key = (Option<TenantId>, Option<String>, Option<String>);
        let key = |whose: &TenantId, id: &str, plugin: &str| -> Key {
            let (whose, id, plugin) = (Some(whose.clone()), Some(id.to_owned()), Some(plugin.to_owned()));
            match by {
                By::Installation => (whose, id, plugin),
                By::Plugin => (None, None, plugin),
                By::Tenant => (whose, None, None),
            }
        };
        let mut sums: BTreeMap<Key, (Counted, u64, u64)> = BTreeMap::new();
        for totals in self.meters.all() {
            let of = match &totals.whose {
                Some(whose) if tenant.is_none_or(|tenant| *tenant == whose.tenant) => {
                    key(&whose.tenant, whose.installation.as_str(), &whose.plugin.to_string())
                }
                // Nobody's in particular, and so the operator's to see.
                None if tenant.is_none() && totals.counted().calls > 0 => (None, None, None),
                _ => continue,
            };
            sums.entry(of).or_default().0.add(&totals.counted());
        }
        for call in self.live.all() {
            let installation = call.installation();
            if tenant.is_some_and(|tenant| *tenant != installation.tenant) {
                continue;
            }
            let of = key(&installation.tenant, installation.id.as_str(), &installation.plugin.to_string());
            let sum = sums.entry(of).or_default();
            let count = if call.live.began() { &mut sum.1 } else { &mut sum.2 };
            *count += 1;
        }
        let view =
            |((tenant, installation, plugin), (counted, running, queued)): (Key, (Counted, u64, u64))| TotalsView {
                tenant,
                installation,
                plugin,
                running,
                queued,
                calls: counted.calls,
                failed: counted.failed,
                refused: counted.refused,
                cancelled: counted.cancelled,
                cpu_us: counted.cpu_us,
                p50_us: counted.percentile(50),
                p99_us: counted.percentile(99),
                host_calls: counted.host_calls,
                egress_requests: counted.egress_requests,
                egress_bytes: counted.egress_bytes,
            };
        let mut views: Vec<TotalsView> = sums.into_iter().map(view).collect();
        views.sort_by_key(|view| Reverse(view.cpu_us));
        views
    }
}

/// A call, with what is its tenant's if it is shown to them.
pub(super) fn call_view(call: &LiveCall, own: bool, now: i64) -> CallView {
    let installation = call.installation();
    let seen = call.live.seen();
    let age_ms = u64::try_from(call.since.elapsed().as_millis()).unwrap_or(u64::MAX);
    CallView {
        invocation: call.invocation.clone(),
        tenant: installation.tenant.clone(),
        installation: installation.id.to_string(),
        name: own.then(|| installation.name.clone()),
        plugin: installation.plugin.to_string(),
        action: call.about.action().name.clone(),
        by: own.then(|| call.about.caller().principal.to_string()),
        state: seen.phase,
        since_ms: now.saturating_sub_unsigned(age_ms),
        age_ms,
        cpu_us: seen.cpu_us,
        memory_bytes: seen.memory_bytes,
        host_calls: seen.host_calls,
        egress_requests: seen.egress_requests,
        egress_bytes: seen.egress_bytes,
    }
}
