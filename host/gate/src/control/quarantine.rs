//! What may not run. A quarantine is asked about as a call is admitted and once more right before it starts, when the call
//! can already be seen and stopped: so none starts after a quarantine was answered for.
//!
//! The operator places them on anything, a tenant on what is its own; only who placed one lifts it. A row outlives the
//! process, guarded like every row that decides what may happen.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opsiq_contract::{Digest, Installation, PluginRef, TenantId, visible};
use opsiq_sandbox::{Fault, FaultCode};
use opsiq_store::{QuarantineRow, Store};
use opsiq_vault::{Sealed, TenantVault, Vault};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::selector::Selector;
use crate::core::{Core, TenantMap};
use crate::docs::QuarantineDoc;
use crate::ending::day;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// The code of every refusal by a quarantine.
pub(crate) const CODE: &str = "sandbox.quarantined";

/// A quarantine in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineView {
    /// What it covers, as it is written: `plugin:opsiq/orders`.
    pub selector: String,
    /// The tenant that placed it; `None` when the operator did.
    pub tenant: Option<TenantId>,
    /// Who placed it; empty for the operator to whom a tenant's is shown.
    pub by: String,
    /// Why; empty for the operator to whom a tenant's is shown.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// One in force.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// Who placed it: a tenant, or the operator.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) selector: Selector,
    pub(crate) doc: QuarantineDoc,
    pub(crate) since_ms: i64,
    /// Whether it outlives this process.
    pub(crate) stored: AtomicBool,
}

impl Quarantine {
    /// What is refused, why, since when and by whom.
    fn told(&self) -> String {
        let Self { selector, doc: QuarantineDoc { by, reason }, since_ms, .. } = self;
        format!("{selector} is quarantined since {} by {by}: {}", day(*since_ms), visible(reason, 500).text)
    }

    /// Who may lift it, and how.
    fn fix(&self) -> String {
        let who = if self.tenant.is_some() { "an owner or admin of the tenant" } else { "the operator" };
        format!("{who} lifts it: opsiq sandbox release {}", self.selector)
    }

    pub(crate) fn refusal(&self, stage: Stage) -> Refusal {
        Refusal::new(Class::Denied, stage, CODE, self.told(), self.fix())
    }

    /// How a call ends that was admitted before and has not begun.
    pub(crate) fn bars(&self) -> Fault {
        Fault::new(FaultCode::Quarantined, self.told())
    }

    /// How a call ends that runs.
    pub(crate) fn ends(&self) -> Fault {
        Fault::new(FaultCode::Stopped, format!("the call was stopped: {}", self.told()))
    }

    /// As it is shown to its owner, and to those it covers.
    pub(crate) fn view(&self) -> QuarantineView {
        let QuarantineDoc { by, reason } = self.doc.clone();
        QuarantineView {
            selector: self.selector.to_string(),
            tenant: self.tenant.clone(),
            by,
            reason,
            since_ms: self.since_ms,
        }
    }

    /// As it is shown to the operator: why and by whom a tenant placed one is the tenant's.
    pub(crate) fn view_of_operator(&self) -> QuarantineView {
        match self.tenant {
            None => self.view(),
            Some(_) => QuarantineView { by: String::new(), reason: String::new(), ..self.view() },
        }
    }

    /// As it is stored, sealed by `vault`.
    pub(crate) fn row(&self, vault: &TenantVault) -> Result<QuarantineRow<QuarantineDoc>, Refusal> {
        let (kind, value) = (self.selector.kind(), self.selector.value());
        let place = [kind, value.as_str()];
        let doc = vault.seal(&QuarantineDoc::place(&place, version(self.since_ms)), &self.doc);
        let doc: Sealed<QuarantineDoc> = doc.map_err(|error| errors::vault(Stage::Admin, &error))?;
        let (tenant, kind) = (self.tenant.clone(), kind.to_owned());
        Ok(QuarantineRow { tenant, kind, value, created_ms: self.since_ms, doc })
    }
}

/// The version a document is bound to: its time.
fn version(since_ms: i64) -> u64 {
    u64::try_from(since_ms).unwrap_or(0)
}

/// All in force.
#[derive(Default)]
pub(crate) struct Quarantines {
    /// How many there are, so that a call finds out without a lock that there is none.
    count: AtomicUsize,
    all: RwLock<Vec<Arc<Quarantine>>>,
    /// Held by an act that places or lifts one, from its first look to its end.
    pub(crate) acts: Mutex<()>,
}

impl Quarantines {
    /// Those that are stored. Of a tenant that is not served none is needed.
    pub(crate) async fn load(store: &Store, vault: &Vault, tenants: &TenantMap) -> Result<Self, Refusal> {
        let rows = store.quarantines::<QuarantineDoc>().await;
        let mut all = Vec::new();
        for row in rows.map_err(|error| errors::store(Stage::Admin, &error))? {
            let vault = match &row.tenant {
                None => vault.host(),
                Some(tenant) => match tenants.get(tenant) {
                    Some(state) => state.vault.clone(),
                    None => continue,
                },
            };
            let place = [row.kind.as_str(), row.value.as_str()];
            let doc = vault.open(&QuarantineDoc::place(&place, version(row.created_ms)), &row.doc);
            let doc = doc.map_err(|error| errors::vault(Stage::Admin, &error))?;
            let selector = Selector::stored(&row.kind, &row.value).ok_or_else(|| {
                let message = "a quarantine covers nothing that the host knows";
                Refusal::new(Class::Tampered, Stage::Admin, "store.damaged", message, "see opsiq doctor")
            })?;
            all.push(Arc::new(Quarantine {
                tenant: row.tenant,
                selector,
                doc,
                since_ms: row.created_ms,
                stored: AtomicBool::new(true),
            }));
        }
        Ok(Self { count: AtomicUsize::new(all.len()), all: RwLock::new(all), acts: Mutex::default() })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Quarantine>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one that `owner` placed on exactly this.
    pub(crate) fn placed(&self, owner: Option<&TenantId>, selector: &Selector) -> Option<Arc<Quarantine>> {
        let same = |one: &Quarantine| one.tenant.as_ref() == owner && one.selector == *selector;
        self.find(same)
    }

    /// From now on it is asked about.
    pub(crate) fn add(&self, quarantine: Arc<Quarantine>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push(quarantine);
        self.count.store(all.len(), Ordering::SeqCst);
    }

    /// From now on it is not.
    pub(crate) fn remove(&self, quarantine: &Quarantine) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.tenant != quarantine.tenant || one.selector != quarantine.selector);
        self.count.store(all.len(), Ordering::SeqCst);
    }

    /// Takes over those that are stored now, in the place of those that were; what could not be stored stays. Answers the new
    /// ones.
    pub(crate) fn replace(&self, stored: Self) -> Vec<Arc<Quarantine>> {
        let mut stored = stored.all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let same = |a: &Quarantine, b: &Quarantine| a.tenant == b.tenant && a.selector == b.selector;
        let new = stored.iter().filter(|one| !all.iter().any(|known| same(known, one))).cloned().collect();
        stored.extend(all.iter().filter(|one| !one.stored.load(Ordering::Acquire)).cloned());
        *all = stored;
        self.count.store(all.len(), Ordering::SeqCst);
        new
    }

    /// The oldest that covers an installation.
    pub(crate) fn covering(&self, installation: &Installation) -> Option<Arc<Quarantine>> {
        self.find(|one| one.selector.covers(installation))
    }

    /// The oldest that covers a plugin, whoever installs it.
    pub(crate) fn covering_plugin(&self, plugin: &PluginRef, digest: &Digest) -> Option<Arc<Quarantine>> {
        self.find(|one| one.tenant.is_none() && one.selector.covers_plugin(plugin, digest))
    }

    fn find(&self, wanted: impl Fn(&Quarantine) -> bool) -> Option<Arc<Quarantine>> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|one| wanted(one)).cloned()
    }
}

impl Core {
    /// Refuses what a quarantine covers, as stage 3.
    pub(crate) fn not_quarantined(&self, installation: &Installation) -> Result<(), Refusal> {
        match self.quarantines.covering(installation) {
            Some(quarantine) => Err(quarantine.refusal(Stage::Resolve)),
            None => Ok(()),
        }
    }

    /// Refuses to install, or to upgrade to, what a quarantine covers.
    pub(crate) fn may_be_installed(&self, plugin: &PluginRef, digest: &Digest) -> Result<(), Refusal> {
        match self.quarantines.covering_plugin(plugin, digest) {
            Some(quarantine) => Err(quarantine.refusal(Stage::Resolve)),
            None => Ok(()),
        }
    }
}
