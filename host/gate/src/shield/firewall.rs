//! Changing and reading lists of addresses: the operator's for the host, and an owner's for a tenant. Each change is one commit
//! with its entry, and in force when it is answered.
//!
//! A change that would refuse the address it comes from is refused itself, unless it is forced: nobody locks themselves out
//! by a slip. The operator's socket has no address and is asked about in no list, so the operator is never locked out.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::{Role, TenantId, visible};
use opsiq_shield::{AddressList, ClientIp, Decision, ScoreView, Verdict, network};
use opsiq_store::AddressRuleRow;
use opsiq_vault::TenantVault;
use serde::{Deserialize, Serialize};

use crate::act::{Person, operator_draft};
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::AddressRuleDoc;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// Rules of one change, at most.
const AT_ONCE: usize = 5000;
/// Rules of the operator's list, and of a tenant's, at most.
const MOST: usize = 200_000;
const MOST_OF_TENANT: usize = 10_000;
/// Characters of a note.
const NOTE: usize = 200;
/// Networks that an entry names; of more it says how many.
const NAMED: usize = 20;
/// Rules and scores of one list.
const PAGE: usize = 1000;

/// A rule, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// Which network.
    pub network: String,
    /// What is said of it.
    pub verdict: Verdict,
    /// Why.
    pub note: String,
    /// Who placed it.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Some rules, by the texts of their networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesPage {
    /// The rules.
    pub rules: Vec<RuleView>,
    /// After which network to go on.
    pub next: Option<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallChanged {
    /// The networks, in the one form they have.
    pub networks: Vec<String>,
    /// How many rules the list has now.
    pub rules: usize,
}

/// What one list says of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStep {
    /// Whose list: `operator` or `tenant`.
    pub list: String,
    /// Whether it lets the address come.
    pub permitted: bool,
    /// The network of the rule that decided; `None` without one, and where it is not the asker's to see.
    pub rule: Option<String>,
    /// What was decided, in a sentence.
    pub said: String,
}

/// Whether an address may come, and which rule of which list decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// The address, in the one form it has.
    pub address: ClientIp,
    /// Whether all lists let it come.
    pub permitted: bool,
    /// What each says.
    pub steps: Vec<CheckStep>,
}

/// Lists of addresses. See [`Host::firewall`](crate::Host::firewall).
#[derive(Clone)]
pub struct Firewall {
    pub(crate) core: Arc<Core>,
}

/// Whose list.
enum Who {
    Operator,
    Tenant(Box<Person>),
}

impl Who {
    fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Operator => None,
            Self::Tenant(person) => Some(&person.tenant.id),
        }
    }

    fn vault(&self, core: &Core) -> TenantVault {
        match self {
            Self::Operator => core.vault.host(),
            Self::Tenant(person) => person.tenant.vault.clone(),
        }
    }

    fn draft(&self, actor: &Actor, act: &str) -> Draft {
        match self {
            Self::Operator => operator_draft(actor, Kind::Admin, act),
            Self::Tenant(person) => person.draft(Kind::Admin, act),
        }
    }
}

/// What is done with networks.
enum Change<'a> {
    Put(Verdict, &'a str),
    Remove,
}

impl Firewall {
    /// Lets networks come, or blocks them. For the operator, and for owners within their tenant. `force` accepts that the address
    /// this comes from would be refused from then on.
    ///
    /// # Errors
    /// What names no network; more rules than a list may have; `firewall.locks-out`.
    pub async fn put(
        &self,
        actor: &Actor,
        verdict: Verdict,
        networks: &[String],
        note: &str,
        force: bool,
    ) -> Result<FirewallChanged, Refusal> {
        let act = match verdict {
            Verdict::Allow => "firewall allow",
            Verdict::Block => "firewall block",
        };
        let change = async |who: &Who| self.change(actor, who, act, &Change::Put(verdict, note), networks, force).await;
        self.with(actor, &[Role::Owner], act, networks, change).await
    }

    /// Removes the rules about exactly these networks. As [`Firewall::put`].
    ///
    /// # Errors
    /// A network without a rule; as [`Firewall::put`].
    pub async fn remove(&self, actor: &Actor, networks: &[String], force: bool) -> Result<FirewallChanged, Refusal> {
        let act = "firewall remove";
        let change = async |who: &Who| self.change(actor, who, act, &Change::Remove, networks, force).await;
        self.with(actor, &[Role::Owner], act, networks, change).await
    }

    /// The rules after a network, at most `most` and 1000. For the operator, and for owners and admins of a tenant.
    ///
    /// # Errors
    /// Not theirs; a row that does not open.
    pub async fn list(&self, actor: &Actor, after: &str, most: usize) -> Result<RulesPage, Refusal> {
        let body = async |who: &Who| {
            let most = most.clamp(1, PAGE);
            let wanted = u32::try_from(most + 1).unwrap_or(u32::MAX);
            let rows = self.core.store.address_rules::<AddressRuleDoc>(who.tenant(), after, wanted).await;
            let mut rows = rows.map_err(|error| errors::store(Stage::Admin, &error))?;
            let more = rows.len() > most;
            rows.truncate(most);
            let vault = who.vault(&self.core);
            let rules: Vec<RuleView> = rows.iter().map(|row| view(&vault, row)).collect::<Result<_, Refusal>>()?;
            let next = rules.last().filter(|_| more).map(|last| last.network.clone());
            Ok(RulesPage { rules, next })
        };
        self.with(actor, &[Role::Owner, Role::Admin], "firewall list", &[], body).await
    }

    /// What the lists say of an address: the operator's, and the tenant's where a tenant asks.
    ///
    /// # Errors
    /// Not theirs; what is no address.
    pub async fn check(&self, actor: &Actor, address: &str) -> Result<CheckView, Refusal> {
        let body = async |who: &Who| {
            let client: ClientIp = address.parse().map_err(|_| {
                let message = "that is no address: write 192.0.2.1 or 2001:db8::1";
                Refusal::new(Class::Invalid, Stage::Admin, "firewall.address", message, "opsiq firewall check ADDRESS")
            })?;
            let lists = &self.core.guards.lists;
            let mut steps = vec![step("operator", lists.decide(None, client), who.tenant().is_none())];
            if let Some(tenant) = who.tenant() {
                steps.push(step("tenant", lists.decide(Some(tenant), client), true));
            }
            Ok(CheckView { address: client, permitted: steps.iter().all(|step| step.permitted), steps })
        };
        self.with(actor, &[Role::Owner, Role::Admin], "firewall check", &[], body).await
    }

    /// Which networks have a score on this node, the highest first, and for what. For the operator.
    ///
    /// # Errors
    /// Not the operator.
    pub async fn scores(&self, actor: &Actor) -> Result<Vec<ScoreView>, Refusal> {
        let scores = async { Ok(self.core.guards.scores.all(PAGE, Instant::now())) };
        self.core.operate(actor, "firewall scores", "", scores).await
    }

    /// Does something as whoever asks, if they may; refusals go on record.
    async fn with<T>(
        &self,
        actor: &Actor,
        roles: &[Role],
        act: &'static str,
        networks: &[String],
        body: impl AsyncFnOnce(&Who) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let about = named(networks.iter().map(|network| visible(network, 64).text));
        if actor.tenant().is_none() {
            let body = async {
                let _turn = self.core.guards.lists.acts.lock().await;
                body(&Who::Operator).await
            };
            return self.core.operate(actor, act, &about, body).await;
        }
        let person = self.core.person(actor).await?;
        let who = Who::Tenant(Box::new(person));
        let Who::Tenant(person) = &who else { return Err(errors::internal(Stage::Admin, "a tenant has a person")) };
        self.core.act(person, roles, act, &about, body(&who)).await
    }

    async fn change(
        &self,
        actor: &Actor,
        who: &Who,
        act: &str,
        change: &Change<'_>,
        networks: &[String],
        force: bool,
    ) -> Result<FirewallChanged, Refusal> {
        let core = &self.core;
        if networks.is_empty() || networks.len() > AT_ONCE {
            let message = format!("a change is about 1 to {AT_ONCE} networks");
            return Err(invalid("firewall.networks", message, "name them, or divide the change"));
        }
        let mut parsed = networks
            .iter()
            .map(|text| network(text).map_err(|error| invalid("firewall.network", error.to_string(), "correct it")))
            .collect::<Result<Vec<_>, Refusal>>()?;
        parsed.sort_unstable();
        parsed.dedup();
        let mut list = AddressList::clone(&core.guards.lists.of(who.tenant()));
        for network in &parsed {
            match change {
                Change::Put(verdict, _) => list.put(*network, *verdict),
                Change::Remove if list.remove(*network).is_none() => return Err(no_rule(&network.to_string())),
                Change::Remove => {}
            }
        }
        let most = if who.tenant().is_some() { MOST_OF_TENANT } else { MOST };
        if list.len() > most {
            let message = format!("a list has {most} rules at most");
            return Err(invalid("firewall.full", message, "remove rules, or name wider networks"));
        }
        if !force {
            stays_in(&list, actor.address)?;
        }
        let texts: Vec<String> = parsed.iter().map(ToString::to_string).collect();
        let said = match change {
            Change::Put(_, note) if !note.is_empty() => format!(": {}", visible(note, NOTE).text),
            _ => String::new(),
        };
        let detail = format!("{}{said}{}", named(texts.iter().cloned()), if force { ", forced" } else { "" });
        let draft = who.draft(actor, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail);
        let revision = self.commit(actor, who, change, &texts, draft).await?;
        let rules = list.len();
        core.guards.lists.moved(&core.store, who.tenant(), revision, list).await?;
        Ok(FirewallChanged { networks: texts, rules })
    }

    /// Stores a change with its entry; answers the list's new revision.
    fn commit<'a>(
        &'a self,
        actor: &Actor,
        who: &'a Who,
        change: &Change<'_>,
        networks: &[String],
        draft: Draft,
    ) -> impl Future<Output = Result<u64, Refusal>> + use<'a> {
        let core = &self.core;
        let made = match change {
            Change::Put(verdict, note) => {
                let doc = AddressRuleDoc { note: visible(note, NOTE).text, by: actor.principal().to_string() };
                let vault = who.vault(core);
                networks.iter().map(|network| row(&vault, who.tenant(), network, *verdict, &doc)).collect()
            }
            Change::Remove => Ok(Vec::new()),
        };
        let (tenant, removed) = (who.tenant().cloned(), networks.to_vec());
        async move {
            let rows: Vec<AddressRuleRow<AddressRuleDoc>> = made?;
            let op = Op::new(move |tx| {
                Box::pin(async move {
                    if rows.is_empty() {
                        tx.address_rules_remove(tenant.as_ref(), &removed).await?;
                    } else {
                        tx.address_rules_put(&rows).await?;
                    }
                    Ok(tx.address_list_moved(tenant.as_ref()).await?)
                })
            });
            match who {
                Who::Operator => {
                    let done = core.journal.commit(&Log::Host, vec![draft], op).await;
                    done.map_err(|error| errors::audit(Stage::Admin, &error))
                }
                Who::Tenant(person) => core.change(&person.tenant, vec![draft], op).await,
            }
        }
    }
}

/// Refuses a list that would refuse the address of who makes it.
fn stays_in(list: &AddressList, address: Option<ClientIp>) -> Result<(), Refusal> {
    let Some(decision) = address.map(|client| list.decide(client)).filter(|decision| !decision.permits()) else {
        return Ok(());
    };
    let by = match decision {
        Decision::Blocked(block) => format!("the rule about {block} would block"),
        _ => "no rule would allow".to_owned(),
    };
    Err(Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "firewall.locks-out",
        format!("{by} the address this comes from"),
        "allow that address first; or say that it is meant: --force, or `force` in the API",
    ))
}

fn invalid(code: &'static str, message: String, fix: &str) -> Refusal {
    Refusal::new(Class::Invalid, Stage::Admin, code, message, fix)
}

fn no_rule(network: &str) -> Refusal {
    let message = format!("there is no rule about exactly {network}");
    Refusal::new(Class::NotFound, Stage::Admin, "firewall.no-rule", message, "see opsiq firewall list")
}

/// Networks as an entry names them.
fn named(networks: impl ExactSizeIterator<Item = String>) -> String {
    let more = networks.len().saturating_sub(NAMED);
    let first = networks.take(NAMED).collect::<Vec<_>>().join(" ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn step(list: &str, decision: Decision, own: bool) -> CheckStep {
    let (rule, said) = match decision {
        Decision::Permitted(None) => (None, "no rule is about it, and none is needed".to_owned()),
        Decision::Permitted(Some(rule)) => (Some(rule), format!("it is allowed by the rule about {rule}")),
        Decision::Blocked(rule) => (Some(rule), format!("it is blocked by the rule about {rule}")),
        Decision::NotAllowed => (None, "others are allowed, and it is none of them".to_owned()),
    };
    let (rule, said) = if own {
        (rule.map(|rule| rule.to_string()), said)
    } else {
        (None, if decision.permits() { "it may come".to_owned() } else { "it may not come".to_owned() })
    };
    CheckStep { list: list.to_owned(), permitted: decision.permits(), rule, said }
}

fn row(
    vault: &TenantVault,
    tenant: Option<&TenantId>,
    network: &str,
    verdict: Verdict,
    doc: &AddressRuleDoc,
) -> Result<AddressRuleRow<AddressRuleDoc>, Refusal> {
    let created_ms = now_ms();
    let sealed = vault.seal(&AddressRuleDoc::place(&[network], created_ms), doc);
    Ok(AddressRuleRow {
        tenant: tenant.cloned(),
        network: network.to_owned(),
        verdict: verdict.as_str().to_owned(),
        created_ms,
        doc: sealed.map_err(|error| errors::vault(Stage::Admin, &error))?,
    })
}

fn view(vault: &TenantVault, row: &AddressRuleRow<AddressRuleDoc>) -> Result<RuleView, Refusal> {
    let doc = vault.open(&AddressRuleDoc::place(&[&row.network], row.created_ms), &row.doc);
    let AddressRuleDoc { note, by } = doc.map_err(|error| errors::vault(Stage::Admin, &error))?;
    let verdict = if row.verdict == Verdict::Block.as_str() { Verdict::Block } else { Verdict::Allow };
    Ok(RuleView { network: row.network.clone(), verdict, note, by, created_ms: row.created_ms })
}
