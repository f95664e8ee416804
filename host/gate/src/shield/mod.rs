//! What stands before the door, as the gate keeps it: lists of addresses, scores of visitors, failed attempts, and from where
//! accounts are used. The rules are `opsiq_shield`'s; here they meet the store, the clock and the audit log.
//!
//! What nodes share: lists, at the latest a quarter of a second after a change; failed attempts to sign in, where they share
//! a store; networks that people signed in from. What each node has for itself: scores, and from where one credential is
//! used at this minute. Neither lets anybody in who would not be let in elsewhere.

mod attempts;
mod firewall;
mod lists;
mod signals;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use opsiq_audit::{Draft, Kind, Log, field};
use opsiq_shield::{ClientIp, Decision, Places, Scores, Signal, Standing, Thresholds, Tried};

pub(crate) use self::attempts::Attempts;
pub use self::firewall::{CheckStep, CheckView, Firewall, FirewallChanged, RuleView, RulesPage};
pub(crate) use self::lists::Lists;
pub use self::signals::SignalView;
pub(crate) use self::signals::{NETWORKS, draft as signal, of_session};
use crate::act::with_address;
use crate::actor::Actor;
use crate::core::Core;
use crate::door::network_of;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// All that is kept before the door.
pub(crate) struct Guards {
    pub(crate) lists: Lists,
    pub(crate) attempts: Attempts,
    scores: Scores,
    places: Places,
    tried: Tried,
    /// Requests that a list refused: the operator's, a tenant's.
    refused: [AtomicU64; 2],
}

impl Guards {
    pub(crate) fn new(lists: Lists) -> Self {
        Self {
            lists,
            attempts: Attempts::default(),
            scores: Scores::default(),
            places: Places::default(),
            tried: Tried::default(),
            refused: Default::default(),
        }
    }
}

/// What the front door asks before it opens. See [`Host::shield`](crate::Host::shield).
#[derive(Clone)]
pub struct Shield {
    pub(crate) core: Arc<Core>,
}

impl Shield {
    /// Whether the operator's list lets this address come.
    ///
    /// # Errors
    /// `firewall.host.blocked`, `firewall.host.not-allowed`; to be put on record by [`Shield::refused`].
    pub fn lets_come(&self, client: ClientIp) -> Result<(), Refusal> {
        let decision = self.core.guards.lists.decide(None, client);
        if decision.permits() {
            return Ok(());
        }
        self.core.guards.refused[0].fetch_add(1, Ordering::Relaxed);
        Err(not_taken(decision, false))
    }

    /// What the score of an address leads to.
    pub fn standing(&self, client: ClientIp, thresholds: Thresholds) -> Standing {
        self.core.guards.scores.standing(client, thresholds, Instant::now())
    }

    /// Notes that an address did something that adds to its score.
    pub fn note(&self, client: ClientIp, signal: Signal) {
        self.core.guards.scores.note(client, signal, Instant::now());
    }

    /// Whether a device's token is one that somebody signed in with, and what it is counted by. Whoever shows one is not
    /// refused for what others did from the same address.
    ///
    /// # Errors
    /// A store that is away.
    pub async fn device(&self, token: &str) -> Result<Option<[u8; 32]>, Refusal> {
        self.core.known_device(token).await
    }

    /// Puts a refusal by the shield on record, at once the first time and then counted, in the log of the tenant of whoever is
    /// refused, or the host's. Answers what is to be answered.
    pub async fn refused(&self, client: ClientIp, actor: Option<&Actor>, refusal: Refusal) -> Refusal {
        let tenant = actor.and_then(Actor::tenant).and_then(|tenant| self.core.tenants.get(tenant));
        let log = tenant.map_or(Log::Host, |tenant| Log::Tenant(tenant.id.clone()));
        let who = actor.map_or_else(|| "unknown".to_owned(), |actor| actor.principal().to_string());
        let draft = Draft::new(Kind::Refused).field(field::ACTION, "request").field(field::ACTOR, who);
        let draft = match actor {
            Some(actor) => with_address(actor, draft),
            None => draft.field(field::IP, client.to_string()),
        };
        let recorded = self.core.record_refused_knock(log, draft, &refusal, &network_of(Some(client))).await;
        recorded.err().unwrap_or(refusal)
    }

    /// What is counted here, in the text form of Prometheus, without an address in it.
    pub fn metrics(&self, thresholds: Thresholds) -> String {
        let guards = &self.core.guards;
        let (slow, refused) = guards.scores.count(thresholds, Instant::now());
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let signals: Vec<_> = guards
            .scores
            .signals()
            .map(|(signal, count)| (format!("{{signal=\"{}\"}}", signal.as_str()), count))
            .collect();
        family("opsiq_score_signals_total", "counter", "What added to scores of visitors.", &signals);
        let standings = [("slow", slow), ("refused", refused)];
        let standings = standings.map(|(name, count)| (format!("{{standing=\"{name}\"}}"), count as u64));
        family("opsiq_scored_networks", "gauge", "Networks slowed or refused for their score.", &standings);
        let lists = [("host", 0), ("tenant", 1)];
        let lists =
            lists.map(|(name, at)| (format!("{{list=\"{name}\"}}"), guards.refused[at].load(Ordering::Relaxed)));
        family("opsiq_firewall_refused_total", "counter", "Requests refused by a list of addresses.", &lists);
        let rules = [(String::new(), guards.lists.count() as u64)];
        family("opsiq_firewall_rules", "gauge", "Rules of all lists of addresses.", &rules);
        text
    }
}

/// The address is none that may come.
fn not_taken(decision: Decision, tenants: bool) -> Refusal {
    let (whose, who) =
        if tenants { ("tenant", "an owner of the tenant") } else { ("host", "the operator of the host") };
    let (word, message) = match decision {
        Decision::NotAllowed => ("not-allowed", "is none of those that may come"),
        _ => ("blocked", "is blocked"),
    };
    Refusal::new(
        Class::Denied,
        Stage::Authenticate,
        format!("firewall.{whose}.{word}"),
        format!("the address this comes from {message}"),
        format!("{who} sees which rule says so: opsiq firewall check ADDRESS"),
    )
}

impl Core {
    /// Whether the tenant's own list lets this address come. One that is refused is on record when this returns.
    pub(crate) async fn tenant_lets_come(
        self: &Arc<Self>,
        tenant: &TenantState,
        name: Option<&str>,
        address: Option<ClientIp>,
    ) -> Result<(), Refusal> {
        let Err(refusal) = self.tenants_list(tenant, address) else { return Ok(()) };
        Err(self.refused_knock(Some(tenant), name, "request", address, refusal).await)
    }

    /// The same, with nothing on record yet.
    pub(crate) fn tenants_list(&self, tenant: &TenantState, address: Option<ClientIp>) -> Result<(), Refusal> {
        let Some(client) = address else { return Ok(()) };
        let decision = self.guards.lists.decide(Some(&tenant.id), client);
        if decision.permits() {
            return Ok(());
        }
        self.guards.refused[1].fetch_add(1, Ordering::Relaxed);
        Err(not_taken(decision, true))
    }

    /// Notes that a sign-in failed: of the address, and of how many accounts it tried.
    pub(crate) fn sign_in_failed(&self, address: Option<ClientIp>, account: [u8; 32]) {
        let Some(client) = address else { return };
        let now = Instant::now();
        self.guards.scores.note(client, Signal::FailedSignIn, now);
        if self.guards.tried.failed(client, account, now) {
            self.guards.scores.note(client, Signal::ManyAccounts, now);
        }
    }

    /// Notes that a proof of who sends was none.
    pub(crate) fn proof_refused(&self, address: Option<ClientIp>) {
        if let Some(client) = address {
            self.guards.scores.note(client, Signal::RefusedProof, Instant::now());
        }
    }
}
