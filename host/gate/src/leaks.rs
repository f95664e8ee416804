//! What is on record when a run was kept from passing on a secret: for the tenant's owners which key it was and where,
//! for the operator that it happened and which plugin did it. Never the value.

use opsiq_audit::{Draft, Kind, Log, field};
use opsiq_contract::{Authorized, InvocationId, TenantId};
use opsiq_vault::Leak;

use crate::core::Core;
use crate::refusal::Refusal;
use crate::state::TenantState;

/// Most leaks of one call that become entries of their own; one more says how many were left out.
const LEAKS_MOST: usize = 20;

impl Core {
    /// The entries of a call's leaks in the tenant's log.
    pub(crate) async fn leak_drafts(&self, tenant: &TenantState, leaks: &[Leak]) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for leak in leaks.iter().take(LEAKS_MOST) {
            let installation = &leak.key.installation;
            // Perhaps removed meanwhile.
            let installed = self.installed(tenant, installation.as_str()).await.ok();
            let name = installed.as_ref().map_or(installation.as_str(), |known| known.installation.name.as_str());
            let draft = Draft::new(Kind::Leak)
                .field(field::RULE, leak.rule)
                .field(field::KEY, format!("{name}/{}", leak.key.key))
                .field(field::PLACE, leak.place.to_string());
            let times = if leak.times > 1 { format!(", {} times", leak.times) } else { String::new() };
            let detail = format!("the value of {name}/{} was kept back: {}{times}", leak.key.key, leak.place);
            drafts.push(draft.field(field::DETAIL, detail));
        }
        if leaks.len() > LEAKS_MOST {
            let more = format!("{} more places of this call held the value of a key", leaks.len() - LEAKS_MOST);
            drafts.push(Draft::new(Kind::Leak).field(field::RULE, "more").field(field::DETAIL, more));
        }
        drafts
    }

    /// Tells the operator, in the host's log and in the process's own, that a call of a plugin was kept from passing on
    /// secrets of a tenant: where, but not which.
    pub(crate) async fn tell_of_leaks(&self, leaks: &[Leak], call: &LeakingCall) -> Result<(), Refusal> {
        let mut rules: Vec<&str> = leaks.iter().map(|leak| leak.rule).collect();
        rules.dedup();
        let LeakingCall { tenant, plugin, action, invocation } = call;
        tracing::warn!(%tenant, plugin, action, %invocation, ?rules, "a plugin was kept from passing on a secret");
        let draft = Draft::new(Kind::Leak)
            .invocation(invocation.clone())
            .field(field::PLUGIN, plugin.clone())
            .field(field::ACTION, action.clone())
            .field(field::RULE, rules.join(" "))
            .field(field::DETAIL, format!("tenant {tenant}: {} places held the value of a key", leaks.len()));
        self.record(Log::Host, vec![draft]).await
    }
}

/// Which call it was.
pub(crate) struct LeakingCall {
    tenant: TenantId,
    plugin: String,
    action: String,
    invocation: InvocationId,
}

impl LeakingCall {
    pub(crate) fn of(authorized: &Authorized) -> Self {
        Self {
            tenant: authorized.tenant().clone(),
            plugin: authorized.plugin().to_string(),
            action: authorized.action().name.clone(),
            invocation: authorized.invocation().clone(),
        }
    }
}
