//! What is decided once for an installation and not for each of its calls.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::authorized::{DeniedRule, GrantedKey, GrantedRule};
use crate::caller::Effect;
use crate::ceiling::{Ceiling, PrivateTarget};
use crate::digest::Digest;
use crate::installation::Installation;
use crate::limits::Limits;
use crate::model::Contract;
use crate::plugin_ref::PluginRef;

/// An installation with its contract and the ceiling over it. None of the three can change within one, so what follows
/// from them alone is worked out once and kept: whoever changes one of them makes another standing.
pub struct Standing {
    pub(crate) installation: Arc<Installation>,
    pub(crate) contract: Arc<Contract>,
    pub(crate) ceiling: Arc<Ceiling>,
    /// Who the contract says the plugin is.
    pub(crate) plugin: PluginRef,
    pub(crate) family: String,
    pub(crate) limits: Limits,
    /// By the action's place in the contract, as far as they were asked for.
    reach: Vec<OnceLock<Arc<Reach>>>,
}

/// What one action of an installation may use, whoever calls it.
pub(crate) struct Reach {
    /// The action's place in the contract.
    pub(crate) action: usize,
    pub(crate) effect: Effect,
    pub(crate) needs_intent: bool,
    pub(crate) rules: Vec<GrantedRule>,
    pub(crate) denied_rules: Vec<DeniedRule>,
    pub(crate) keys: Vec<GrantedKey>,
    pub(crate) audit_events: BTreeSet<String>,
    pub(crate) kv_max: Option<u64>,
    pub(crate) private_targets: Vec<PrivateTarget>,
    pub(crate) ceiling: Option<Digest>,
}

impl Standing {
    /// `contract` is the one read from the bytes of the installation's digest.
    pub fn new(installation: Arc<Installation>, contract: Arc<Contract>, ceiling: Arc<Ceiling>) -> Self {
        let plugin = contract.plugin_ref();
        let family = plugin.family();
        Self {
            limits: ceiling.limits_of(&family, &contract.limits),
            reach: contract.actions.iter().map(|_| OnceLock::new()).collect(),
            installation,
            contract,
            ceiling,
            plugin,
            family,
        }
    }

    /// The installation.
    pub fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    /// Its contract.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Where the reach of the action at this place of the contract is kept.
    pub(crate) fn kept(&self, action: usize) -> Option<&OnceLock<Arc<Reach>>> {
        self.reach.get(action)
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("tenant", &self.installation.tenant)
            .field("installation", &self.installation.name)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}
