//! From what somebody wrote to what it selects: whether it is theirs to select, and whether it names anything. A misspelt
//! name must not look like a plugin that was stopped.

use opsiq_contract::{TenantId, visible};
use opsiq_store::PluginRow;

use super::selector::{Selection, Selector};
use super::{Control, Who};
use crate::catalogue::choose;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

impl Control {
    /// What a selection is, if it is theirs to select and names something.
    pub(super) async fn resolve(&self, who: &Who, selection: &Selection) -> Result<Selector, Refusal> {
        let foreign = || {
            Refusal::new(
                Class::Denied,
                Stage::Admin,
                "sandbox.selector",
                "a tenant selects what is its own: installation:NAME, or all",
                "the operator may select plugins, publishers and tenants",
            )
        };
        match (who.tenant(), selection) {
            (None, Selection::All) => Ok(Selector::All),
            (Some(own), Selection::All) => Ok(Selector::Tenant(own.clone())),
            (Some(own), Selection::Tenant(tenant)) if own == tenant => Ok(Selector::Tenant(own.clone())),
            (None, Selection::Tenant(tenant)) => match self.core.tenants.get(tenant) {
                Some(_) => Ok(Selector::Tenant(tenant.clone())),
                None => Err(self.core.no_tenant(tenant)),
            },
            (own, Selection::Installation(tenant, name)) => {
                let tenant = match (own, tenant) {
                    (Some(own), Some(tenant)) if own != tenant => return Err(foreign()),
                    (Some(tenant), _) | (None, Some(tenant)) => tenant,
                    (None, None) => {
                        let message = format!("whose installation {name}?");
                        let fix = format!("installation:TENANT/{name}");
                        return Err(Refusal::new(Class::Invalid, Stage::Admin, "sandbox.selector", message, fix));
                    }
                };
                if let Ok(id) = name.parse() {
                    return Ok(Selector::Installation(tenant.clone(), id));
                }
                let state = self.core.tenants.get(tenant).ok_or_else(|| self.core.no_tenant(tenant))?;
                let installed = self.core.installed(&state, name).await?;
                Ok(Selector::Installation(tenant.clone(), installed.installation.id.clone()))
            }
            (Some(_), _) => Err(foreign()),
            (None, Selection::Digest(digest)) => Ok(Selector::Digest(*digest)),
            (None, Selection::Version(plugin)) => {
                Ok(Selector::Digest(choose(&self.plugins().await?, &plugin.to_string())?.digest))
            }
            (None, Selection::Plugin(publisher, id)) => {
                choose(&self.plugins().await?, &format!("{publisher}/{id}"))?;
                Ok(Selector::Plugin(publisher.clone(), id.clone()))
            }
            (None, Selection::Publisher(publisher)) => {
                if self.plugins().await?.iter().any(|row| row.plugin.publisher == *publisher) {
                    return Ok(Selector::Publisher(publisher.clone()));
                }
                let message = format!("no plugin of the publisher {publisher} is registered");
                Err(Refusal::new(Class::NotFound, Stage::Admin, "publisher.unknown", message, "see opsiq plugin list"))
            }
            (None, Selection::Call(_)) => Err(Refusal::new(
                Class::Invalid,
                Stage::Admin,
                "sandbox.selector",
                "a call ends by itself or by opsiq sandbox stop; it cannot be quarantined",
                "quarantine its installation or its plugin",
            )),
        }
    }

    async fn plugins(&self) -> Result<Vec<PluginRow>, Refusal> {
        self.core.store.plugins().await.map_err(|error| errors::store(Stage::Admin, &error))
    }

    /// The tenants that have something of what a selector covers.
    pub(super) async fn concerned(&self, selector: &Selector) -> Result<Vec<TenantId>, Refusal> {
        let mut tenants = match selector {
            Selector::All => self.core.tenants.all().iter().map(|state| state.id.clone()).collect(),
            Selector::Tenant(tenant) | Selector::Installation(tenant, _) => vec![tenant.clone()],
            Selector::Publisher(_) | Selector::Plugin(..) | Selector::Digest(_) => {
                let rows = self.plugins().await?;
                let covered = rows.iter().filter(|row| selector.covers_plugin(&row.plugin, &row.digest));
                let digests: Vec<_> = covered.map(|row| row.digest).collect();
                let found = self.core.store.tenants_with(&digests).await;
                found.map_err(|error| errors::store(Stage::Admin, &error))?
            }
        };
        tenants.retain(|tenant| self.core.tenants.get(tenant).is_some());
        Ok(tenants)
    }
}

/// A selection for the log.
pub(super) fn told(selection: &Selection) -> String {
    match selection {
        Selection::All => "all".to_owned(),
        Selection::Tenant(tenant) => format!("tenant:{tenant}"),
        Selection::Installation(_, name) => {
            format!("installation:{}", visible(name, 64).text)
        }
        Selection::Publisher(publisher) => format!("publisher:{publisher}"),
        Selection::Plugin(publisher, id) => format!("plugin:{publisher}/{id}"),
        Selection::Version(plugin) => format!("plugin:{plugin}"),
        Selection::Digest(digest) => format!("digest:{digest}"),
        Selection::Call(id) => format!("call:{id}"),
    }
}
