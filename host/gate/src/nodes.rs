//! What other nodes of the same databases changed. What this one remembers of tenants is forgotten, quarantines are taken over
//! and what they cover is stopped, and lists of addresses are read anew, within a second of the change.
//!
//! Fails closed: while nobody can be asked, nothing is remembered, so every call asks the databases itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opsiq_contract::TenantId;
use opsiq_store::{Changes, StoreError};

use crate::control::Quarantines;
use crate::core::Core;
use crate::docs::TenantDoc;
use crate::refusal::{Refusal, Stage};
use crate::{ending, errors};

/// How often the databases are asked.
const EVERY: Duration = Duration::from_millis(250);

/// Looks for changes for as long as the host is open, where there are other nodes.
pub(crate) fn watch(core: &Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        let mut seen = None;
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(core) = core.upgrade() else { return };
            if let Err(refusal) = core.look(&mut seen).await {
                tracing::warn!(
                    why = refusal.message,
                    "what other nodes changed is not known; nothing is remembered meanwhile"
                );
                core.tenants.all().iter().for_each(|tenant| tenant.changed());
                seen = None;
            }
        }
    });
}

impl Core {
    /// Takes over what changed since `seen`; everything, when that is nothing.
    async fn look(&self, seen: &mut Option<Changes>) -> Result<(), Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let now = self.store.changes().await.map_err(failed)?;
        let before = seen.clone().unwrap_or_default();
        if now == before {
            return Ok(());
        }
        let moved = |owner: &&String| now.owners.get(*owner) != before.owners.get(*owner);
        let mut owners: BTreeSet<&String> = now.owners.keys().filter(moved).collect();
        if now.keys != before.keys {
            owners.extend(now.owners.keys());
        }
        for owner in owners {
            if let Ok(tenant) = owner.parse::<TenantId>() {
                self.take_over(&tenant).await?;
            }
        }
        self.take_over_quarantines().await?;
        self.guards.lists.look(&self.store).await?;
        *seen = Some(now);
        Ok(())
    }

    /// Forgets what is remembered of a tenant, and opens it when it is new, or buries it when its end has begun.
    async fn take_over(&self, id: &TenantId) -> Result<(), Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let known = self.tenants.get(id);
        if let Some(tenant) = &known {
            tenant.changed();
            tenant.subjects.forget_all();
        }
        let barred = self.locked_out.iter().any(|(tenant, _)| tenant == id)
            || self.rolled_back.contains_key(&opsiq_audit::Log::Tenant(id.clone()));
        let Some(row) = self.store.tenant::<TenantDoc>(id).await.map_err(failed)? else { return Ok(()) };
        if barred || self.tenants.erased(id).is_some() {
            return Ok(());
        }
        if ending::goes_on(&self.store, &self.vault, &self.tenants, &row).await? {
            return Ok(());
        }
        let keys = self.store.tenant_keys(id).await.map_err(failed)?;
        let vault = match &known {
            Some(tenant) => self.vault.renew(id, &tenant.vault, &keys).map(|()| tenant.vault.clone()),
            None => self.vault.tenant(id, &keys),
        };
        let opened = vault
            .map_err(|error| error.to_string())
            .and_then(|vault| ending::standing(&vault, &row).map(|until_ms| (vault, until_ms)));
        match (opened, known) {
            (Ok((_, until_ms)), Some(tenant)) => tenant.set_cancelled(until_ms),
            (Ok((vault, until_ms)), None) => self.tenants.add(id, vault).set_cancelled(until_ms),
            (Err(why), _) => tracing::error!(tenant = %id, why, "what another node wrote of a tenant does not open"),
        }
        Ok(())
    }

    /// Asks about the quarantines that are stored now, and stops what new ones cover.
    async fn take_over_quarantines(&self) -> Result<(), Refusal> {
        let _turn = self.quarantines.acts.lock().await;
        let stored = Quarantines::load(&self.store, &self.vault, &self.tenants).await?;
        for quarantine in self.quarantines.replace(stored) {
            self.live.stop(|call| quarantine.selector.covers(call.installation()), &quarantine.ends());
        }
        Ok(())
    }
}
