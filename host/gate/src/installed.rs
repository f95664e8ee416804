//! Reading an installation: its row and its contract, opened once and remembered until something of the
//! tenant changes.

use std::sync::Arc;

use opsiq_contract::{Contract, Digest, Installation, InstallationId, Standing, nearest, visible};
use opsiq_egress::Kept;
use opsiq_sandbox::Plugin;
use opsiq_store::{InstallationRow, KeyVersionRow};
use opsiq_vault::TenantVault;
use tokio::sync::OnceCell;

use crate::catalogue::not_loaded;
use crate::core::Core;
use crate::docs::{Held, InstallationDoc, KeyDoc, key_place};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{Installed, TenantState};

/// Blind index of an installation's name.
pub(crate) fn name_index(vault: &TenantVault, name: &str) -> [u8; 32] {
    vault.blind_index("installation name", name.as_bytes())
}

/// What is stored says something else in one place than in another.
fn tampered(message: &str) -> Refusal {
    Refusal::new(Class::Tampered, Stage::Resolve, "store.tampered", message, "restore from a backup; see opsiq doctor")
}

impl Core {
    /// The installation called `asked`, or of that id.
    pub(crate) async fn installed(&self, tenant: &TenantState, asked: &str) -> Result<Arc<Installed>, Refusal> {
        if let Some(installed) = tenant.installed(asked) {
            return Ok(installed);
        }
        let failed = |error| errors::store(Stage::Resolve, &error);
        let mark = tenant.mark();
        let row = if let Ok(id) = asked.parse::<InstallationId>() {
            self.store.installation::<InstallationDoc>(&tenant.id, &id).await.map_err(failed)?
        } else {
            let index = name_index(&tenant.vault, asked);
            self.store.installation_by_name::<InstallationDoc>(&tenant.id, &index).await.map_err(failed)?
        };
        let Some(row) = row else { return Err(self.unknown_installation(tenant, asked).await?) };
        let (installation, notes, held) = opened(tenant, &row)?;
        if asked != installation.name && asked != installation.id.as_str() {
            return Err(tampered("an installation's row stands under another name"));
        }
        let installed = Arc::new(self.complete(tenant, installation, notes, held, row.created_ms).await?);
        tenant.keep_installed(mark, &installed);
        Ok(installed)
    }

    /// All installations of a tenant, oldest first.
    pub(crate) async fn all_installed(&self, tenant: &TenantState) -> Result<Vec<Arc<Installed>>, Refusal> {
        let rows = self.store.installations::<InstallationDoc>(&tenant.id).await;
        let mut all = Vec::new();
        for row in rows.map_err(|error| errors::store(Stage::Resolve, &error))? {
            let (installation, notes, held) = opened(tenant, &row)?;
            all.push(Arc::new(self.complete(tenant, installation, notes, held, row.created_ms).await?));
        }
        Ok(all)
    }

    /// The loaded plugin of an installation.
    pub(crate) async fn plugin_of(&self, installed: &Installed) -> Result<Arc<Plugin>, Refusal> {
        let load = || self.loaded(installed.installation.digest, &installed.contract);
        installed.plugin.get_or_try_init(load).await.cloned()
    }

    /// A registered plugin, loaded.
    pub(crate) async fn loaded(&self, digest: Digest, contract: &Contract) -> Result<Arc<Plugin>, Refusal> {
        self.store.blob_fetch(&digest).await.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let store = self.store.clone();
        let bytes = move || store.blobs().get(&digest);
        let loaded = self.engine().await?.sandbox.load(&digest, contract, bytes).await;
        loaded.map_err(|error| not_loaded(&error))
    }

    /// The versions of an installation's keys, each with its document opened, by name, newest first.
    pub(crate) async fn key_rows(
        &self,
        tenant: &TenantState,
        id: &InstallationId,
    ) -> Result<Vec<(KeyVersionRow<KeyDoc>, KeyDoc)>, Refusal> {
        let rows = self.store.key_versions::<KeyDoc>(&tenant.id, id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let open = |row: KeyVersionRow<KeyDoc>| {
            let place = [id.as_str(), row.name.as_str()];
            let doc = tenant.vault.open(&key_place(&place, "doc", row.version), &row.doc);
            let doc = doc.map_err(|error| errors::vault(Stage::Resolve, &error))?;
            Ok((row, doc))
        };
        rows.into_iter().map(open).collect()
    }

    async fn complete(
        &self,
        tenant: &TenantState,
        installation: Installation,
        notes: u64,
        held: Option<Held>,
        created_ms: i64,
    ) -> Result<Installed, Refusal> {
        let contract = self.contract(&installation.digest).await?;
        let secrets = self.secrets(tenant).await?;
        let installation = Arc::new(installation);
        let totals = self.meters.of(&installation);
        let standing = Standing::new(installation.clone(), contract.clone(), self.ceiling.clone());
        Ok(Installed {
            keys: secrets.of(&installation.id),
            guard: secrets.guard.clone(),
            installation,
            contract,
            standing: Arc::new(standing),
            created_ms,
            notes,
            held,
            totals,
            kept: Arc::new(Kept::new(tenant.share.clone())),
            plugin: OnceCell::new(),
        })
    }

    /// The refusal of a name that is none, with the nearest that is one.
    async fn unknown_installation(&self, tenant: &TenantState, asked: &str) -> Result<Refusal, Refusal> {
        let rows = self.store.installations::<InstallationDoc>(&tenant.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let names = rows.iter().map(|row| Ok(opened(tenant, row)?.0.name)).collect::<Result<Vec<_>, Refusal>>()?;
        let fix = match nearest(asked, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "install one: opsiq connector install PLUGIN".to_owned(),
            None => "see opsiq connector list".to_owned(),
        };
        let asked = visible(asked, 64).text;
        let message = format!("there is no installation `{asked}`");
        Ok(Refusal::new(Class::NotFound, Stage::Resolve, "installation.unknown", message, fix))
    }
}

/// The installation of a row, the changes its revision does not count, and the upgrade that waits.
fn opened(
    tenant: &TenantState,
    row: &InstallationRow<InstallationDoc>,
) -> Result<(Installation, u64, Option<Held>), Refusal> {
    let doc = tenant.vault.open(&InstallationDoc::place(&[row.id.as_str()], row.revision), &row.doc);
    let doc = doc.map_err(|error| errors::vault(Stage::Resolve, &error))?;
    if row.state.as_str() != doc.state.as_str() || row.digest != doc.digest {
        return Err(tampered("an installation's state or digest was changed outside the host"));
    }
    let revision = row.revision.checked_sub(doc.notes);
    let revision = revision.ok_or_else(|| tampered("an installation counts more changes than it had"))?;
    let installation = Installation {
        tenant: tenant.id.clone(),
        id: row.id.clone(),
        name: doc.name,
        plugin: doc.plugin,
        digest: doc.digest,
        state: doc.state,
        revision,
        grant: doc.grant,
        config: doc.config,
    };
    Ok((installation, doc.notes, doc.held))
}
