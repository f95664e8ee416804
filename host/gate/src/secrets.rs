//! A tenant's live secrets, opened once and remembered until something of the tenant changes: those of each installation
//! for its calls, and all of them together in the guard over whatever any call passes on.
//!
//! One secret that does not open stops every call of the tenant, because what cannot be looked for could leave unseen. A
//! retired secret is in neither: its bytes are destroyed when it is retired, and it should be void outside as well. A call
//! that was under way when it was retired is still watched for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use opsiq_contract::InstallationId;
use opsiq_sandbox::KeySet;
use opsiq_vault::{KeyName, LeakGuard, Secret};

use crate::core::Core;
use crate::docs::{KeyDoc, key_place};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::TenantState;

/// The live secrets of a tenant. Wiped with the last call that uses them.
pub(crate) struct TenantSecrets {
    installations: HashMap<InstallationId, InstallationKeys>,
    /// Finds all of them.
    pub(crate) guard: Arc<LeakGuard>,
}

/// The live secrets of one installation.
#[derive(Clone, Default)]
pub(crate) struct InstallationKeys {
    /// What its calls use.
    pub(crate) set: Arc<KeySet>,
    /// Names of the keys in it.
    pub(crate) names: Vec<String>,
}

impl TenantSecrets {
    fn new(secrets: Vec<(KeyName, Secret)>) -> Self {
        let guard = Arc::new(LeakGuard::new(secrets.iter().map(|(key, secret)| (key.clone(), secret))));
        let mut sorted: HashMap<InstallationId, BTreeMap<String, Vec<Secret>>> = HashMap::new();
        for (KeyName { installation, key }, secret) in secrets {
            sorted.entry(installation).or_default().entry(key).or_default().push(secret);
        }
        let keys = |keys: BTreeMap<String, Vec<Secret>>| InstallationKeys {
            names: keys.keys().cloned().collect(),
            set: Arc::new(
                keys.into_iter().fold(KeySet::new(), |set, (name, newest_first)| set.with(name, newest_first)),
            ),
        };
        Self { installations: sorted.into_iter().map(|(id, of_it)| (id, keys(of_it))).collect(), guard }
    }

    /// Those of one installation.
    pub(crate) fn of(&self, installation: &InstallationId) -> InstallationKeys {
        self.installations.get(installation).cloned().unwrap_or_default()
    }
}

impl Core {
    /// The live secrets of a tenant as they are now.
    pub(crate) async fn secrets(&self, tenant: &TenantState) -> Result<Arc<TenantSecrets>, Refusal> {
        if let Some(secrets) = tenant.secrets() {
            return Ok(secrets);
        }
        let mark = tenant.mark();
        let rows = self.store.live_key_versions::<KeyDoc>(&tenant.id).await;
        let mut opened = Vec::new();
        for row in rows.map_err(|error| errors::store(Stage::Resolve, &error))? {
            let Some(sealed) = &row.secret else { continue };
            let place = [row.installation.as_str(), row.name.as_str()];
            let secret = tenant.vault.open_secret(&key_place(&place, "secret", row.version), sealed);
            let secret = secret.map_err(|error| errors::vault(Stage::Resolve, &error))?;
            opened.push((KeyName { installation: row.installation, key: row.name }, secret));
        }
        let secrets = Arc::new(TenantSecrets::new(opened));
        tenant.keep_secrets(mark, &secrets);
        Ok(secrets)
    }
}
