//! Where a command does its work: in the data directory, by the gate, or at a server, by its API. A verb is one function
//! here, which takes and gives the same either way, so that a command shows the same either way.

mod actions;
mod audit;
mod clients;
mod installations;
mod keys;
mod people;
mod plugins;
mod tenants;

use opsiq_contract::TenantId;
use opsiq_gate::{Actor, By, Host};
use opsiq_shield::Verdict;
use serde_json::{Value, json};

pub(crate) use self::actions::Came;
pub(crate) use self::clients::NewKey;
pub(crate) use self::plugins::{Problem, judged};
use crate::control::protocol::{Ask, RULES, SIGNALS};
use crate::failure::{Exit, Failure};
use crate::remote::{Api, escaped, path};

/// Where.
pub(crate) enum Reach<'s> {
    /// In the data directory, as this principal.
    Here(&'s Host, Actor),
    /// At this server, as whom its proof says.
    There(Api),
}

impl Reach<'_> {
    /// The tenant that is acted in.
    fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Here(_, actor) => actor.tenant(),
            Self::There(api) => api.proof.tenant(),
        }
    }
}

/// What is asked of the process that runs calls, asked of a server.
pub(crate) async fn control(api: &Api, ask: &Ask) -> Result<Value, Failure> {
    let at = |what: &str| path(&["v1", "sandbox", what]);
    match ask {
        Ask::List {} => api.get(path(&["v1", "sandbox"])).await,
        Ask::Stop { selector } => api.post_json(at("stop"), &json!({ "selector": selector })).await,
        Ask::Quarantine { selector, reason } => {
            api.post_json(at("quarantine"), &json!({ "selector": selector, "reason": reason })).await
        }
        Ask::Release { selector } => api.post_json(at("release"), &json!({ "selector": selector })).await,
        Ask::Totals { by } => {
            let by = match by {
                By::Installation => "installation",
                By::Plugin => "plugin",
                By::Tenant => "tenant",
            };
            api.get(format!("{}?by={by}", at("totals"))).await
        }
        Ask::Metrics {} => {
            Err(Failure::new(Exit::Refused, "addr.local-only", "metrics are not asked for over the API")
                .fix("they are at the operator's own listener: operator-listen under [server], at /metrics"))
        }
        Ask::FirewallList { after } => {
            let after = if after.is_empty() { String::new() } else { format!("&cursor={}", escaped(after)) };
            let page: Value = api.get(format!("{}?limit={RULES}{after}", path(&["v1", "firewall"]))).await?;
            Ok(json!({ "rules": page["items"], "next": page["next"] }))
        }
        Ask::FirewallPut { verdict, networks, note, force } => {
            let what = match verdict {
                Verdict::Allow => "allow",
                Verdict::Block => "block",
            };
            let rules = json!({ "networks": networks, "note": note, "force": force });
            api.post_json(path(&["v1", "firewall", what]), &rules).await
        }
        Ask::FirewallRemove { networks, force } => {
            let rules = json!({ "networks": networks, "force": force });
            api.post_json(path(&["v1", "firewall", "remove"]), &rules).await
        }
        Ask::FirewallCheck { address } => {
            api.get(format!("{}?address={}", path(&["v1", "firewall", "check"]), escaped(address))).await
        }
        Ask::FirewallScores {} => api.get(path(&["v1", "firewall", "scores"])).await,
        Ask::Signals { user } => {
            let user = user.as_ref().map_or_else(String::new, |user| format!("&user={}", escaped(user)));
            api.get(format!("{}?limit={SIGNALS}{user}", path(&["v1", "signals"]))).await
        }
        Ask::Backup { .. } | Ask::BackupShow {} => {
            Err(Failure::new(Exit::Refused, "addr.local-only", "backups are not made over the API")
                .fix("run it where the data directory is, without --addr and OPSIQ_ADDR"))
        }
    }
}
