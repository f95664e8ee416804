//! Lists of addresses that may come, or may not: the operator's for the host, an owner's for a tenant. And signs that an
//! account is not used by its user.

use opsiq_shield::Verdict;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::ask::{Ask, Done, JSON, Reply, cursor, wrong};
use crate::routes::{Routes, Spec};

/// Bytes of a change.
const CHANGE: usize = 512 << 10;
const TEXT: &str = r#"{"type":"string"}"#;

/// Networks to be allowed or blocked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirewallPut {
    /// `192.0.2.0/24`, `2001:db8::/32`, or one address; 1 to 5000.
    networks: Vec<String>,
    /// Why: 200 characters at most.
    #[serde(default)]
    #[schema(required = false)]
    note: String,
    /// Accepts that the address this comes from would be refused from then on.
    #[serde(default)]
    #[schema(required = false)]
    force: bool,
}

/// Networks whose rules are removed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirewallRemove {
    /// As they were placed.
    networks: Vec<String>,
    /// As for placing.
    #[serde(default)]
    #[schema(required = false)]
    force: bool,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get(
            "/v1/firewall",
            "firewall.list",
            "The rules about addresses: the operator's for the host, or those of the tenant. For owners and admins.",
        )
        .paged()
        .gives("RulePage", "Rules, by network."),
        list,
    );
    let change = |spec: Spec, schema| {
        spec.body(JSON, schema, CHANGE).gives("FirewallChanged", "The networks, and how many rules there are now.")
    };
    routes.add(
        change(
            Spec::post("/v1/firewall/allow", "firewall.allow", "Let networks come. Where one is allowed, no other but those may; a block wins. In force at once, on every node within a second. For owners."),
            "FirewallPut",
        ),
        async |ask| put(ask, Verdict::Allow).await,
    );
    routes.add(
        change(
            Spec::post(
                "/v1/firewall/block",
                "firewall.block",
                "Let nothing come from networks, whatever else is allowed. For owners.",
            ),
            "FirewallPut",
        ),
        async |ask| put(ask, Verdict::Block).await,
    );
    routes.add(
        change(
            Spec::post(
                "/v1/firewall/remove",
                "firewall.remove",
                "Remove the rules about exactly these networks. For owners.",
            ),
            "FirewallRemove",
        ),
        remove,
    );
    routes.add(
        Spec::get(
            "/v1/firewall/check",
            "firewall.check",
            "Whether an address may come, and which rule decides. For owners and admins.",
        )
        .param("address", TEXT, "Which.")
        .gives("CheckView", "What each list says."),
        check,
    );
    routes.add(
        Spec::get(
            "/v1/firewall/scores",
            "firewall.scores",
            "Which networks have a score on this node, and for what. For the operator.",
        )
        .gives("ScoreList", "Scores, the highest first."),
        scores,
    );
    routes.add(
        Spec::get("/v1/signals", "signals.list", "Signs that accounts of the tenant may not be used by their users, the latest first. Reading is an entry of the audit log. For owners.")
            .param("user", TEXT, "Only of this user.")
            .param("before", r#"{"type":"integer","minimum":0,"format":"int64"}"#, "Only those before this entry.")
            .param("limit", r#"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#, "How many, at most.")
            .gives("SignalList", "Signals."),
        signals,
    );
}

async fn list(ask: Ask) -> Done {
    let after = ask.cursor()?.unwrap_or_default();
    let page = ask.host.firewall().list(&ask.actor, &after, ask.limit()?).await?;
    Reply::json(&json!({ "items": page.rules, "next": page.next.as_deref().map(cursor) }))
}

async fn put(ask: Ask, verdict: Verdict) -> Done {
    let FirewallPut { networks, note, force } = ask.json()?;
    Reply::json(&ask.host.firewall().put(&ask.actor, verdict, &networks, &note, force).await?)
}

async fn remove(ask: Ask) -> Done {
    let FirewallRemove { networks, force } = ask.json()?;
    Reply::json(&ask.host.firewall().remove(&ask.actor, &networks, force).await?)
}

async fn check(ask: Ask) -> Done {
    let address = ask.query("address").ok_or_else(|| wrong("address"))?;
    Reply::json(&ask.host.firewall().check(&ask.actor, address).await?)
}

async fn scores(ask: Ask) -> Done {
    Reply::json(&ask.host.firewall().scores(&ask.actor).await?)
}

async fn signals(ask: Ask) -> Done {
    let (user, before) = (ask.query("user"), ask.query_as("before")?);
    Reply::json(&ask.host.users().signals(&ask.actor, user, before, ask.limit()?).await?)
}
