//! Seeing what runs, and stopping it: for the operator everything, for the owners and admins of a tenant what is theirs.
//!
//! Why it does not wait for the log first, as every other act does: what is to be stopped is stopped at once, whatever the
//! disk does, and then recorded. If that fails, the answer says so, and the stop holds all the same.
//!
//! What goes beyond ids is a tenant's: the operator sees which installation of which tenant runs which action of which
//! plugin, and neither its name nor who called.

mod live;
mod metrics;
mod quarantine;
mod resolve;
mod selector;
mod totals;
mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::{Role, TenantId};
use opsiq_sandbox::{Fault, FaultCode};

pub(crate) use self::live::{Entered, LiveCall, LiveCalls};
use self::quarantine::Quarantine;
pub use self::quarantine::QuarantineView;
pub(crate) use self::quarantine::Quarantines;
use self::resolve::told;
pub(crate) use self::selector::Selector;
pub use self::selector::{NoSelection, Selection};
pub(crate) use self::totals::{Meters, Totals};
use self::views::call_view;
pub use self::views::{By, CallView, ControlView, Placed, Stopped, TotalsView};
use crate::act::{Person, operator_draft};
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::QuarantineDoc;
use crate::errors;
use crate::installations::{MAY, SEE};
use crate::refusal::{Class, Refusal, Stage};

/// How long an answer waits for stopped calls to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Characters of a reason, at most.
const REASON_MOST: usize = 1000;

/// Seeing and stopping what runs. See [`Host::control`](crate::Host::control).
#[derive(Clone)]
pub struct Control {
    pub(crate) core: Arc<Core>,
}

/// Who gives an order, with the right to.
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

    /// Whether a call is theirs to see.
    fn sees(&self, call: &LiveCall) -> bool {
        self.tenant().is_none_or(|tenant| call.installation().tenant == *tenant)
    }

    fn log(&self) -> Log {
        self.tenant().map_or(Log::Host, |tenant| Log::Tenant(tenant.clone()))
    }

    fn draft(&self, actor: &Actor, act: &str) -> Draft {
        let draft = match self {
            Self::Operator => operator_draft(actor, Kind::Admin, act),
            Self::Tenant(person) => person.draft(Kind::Admin, act),
        };
        draft.field(field::OUTCOME, "ok")
    }
}

impl Control {
    /// What runs, and what may not. For the operator, and for owners, admins and support of a tenant.
    ///
    /// # Errors
    /// No such user; a role that may not look.
    pub async fn list(&self, actor: &Actor) -> Result<ControlView, Refusal> {
        self.with(actor, SEE, "sandbox list", "", async |who| {
            let now = now_ms();
            let mut calls = self.core.live.all();
            calls.retain(|call| who.sees(call));
            calls.sort_by_key(|call| call.since);
            let calls = calls.iter().map(|call| call_view(call, who.tenant().is_some(), now)).collect();
            Ok(ControlView { calls, quarantines: self.quarantines(who).await? })
        })
        .await
    }

    /// Ends the calls that run or wait and that `selection` selects, within a second; calls made later are not touched. For
    /// the operator, and for owners and admins within their tenant.
    ///
    /// # Errors
    /// A selection that is not theirs or names nothing. When it could not be recorded; they are stopped all the same.
    pub async fn stop(&self, actor: &Actor, selection: &Selection) -> Result<Stopped, Refusal> {
        let act = "sandbox stop";
        self.with(actor, MAY, act, &told(selection), async |who| {
            let by = actor.principal();
            let fault = Fault::new(FaultCode::Stopped, format!("the call was stopped by {by}"));
            let (selector, calls) = if let Selection::Call(id) = selection {
                let calls = self.core.live.stop(|call| call.invocation == *id && who.sees(call), &fault);
                (format!("call:{id}"), calls)
            } else {
                let selector = self.resolve(who, selection).await?;
                let calls = self.core.live.stop(|call| selector.covers(call.installation()), &fault);
                self.core.close_kept(|installation| selector.covers(installation));
                (selector.to_string(), calls)
            };
            let ended = live::gone(&calls, GONE_WITHIN).await;
            let (calls, ended) = (calls.len() as u64, ended as u64);
            let draft = who.draft(actor, act).field(field::DETAIL, format!("{selector}: {calls} calls, {ended} ended"));
            let recorded = self.core.record(who.log(), vec![draft]).await;
            recorded.map_err(|refusal| unrecorded(&format!("{calls} calls were stopped"), &refusal))?;
            Ok(Stopped { selector, calls, ended })
        })
        .await
    }

    /// Lets nothing start that `selection` selects, from now on until [`Control::release`], and ends what runs of it within a
    /// second. When this returns, no such call starts any more. For the operator, and for owners and admins within their
    /// tenant.
    ///
    /// # Errors
    /// A selection that is not theirs or names nothing. When it could not be stored: then it holds until this process ends.
    pub async fn quarantine(&self, actor: &Actor, selection: &Selection, reason: &str) -> Result<Placed, Refusal> {
        let act = "sandbox quarantine";
        self.with(actor, MAY, act, &told(selection), async |who| {
            reason_fits(reason)?;
            let selector = self.resolve(who, selection).await?;
            let _turn = self.core.quarantines.acts.lock().await;
            let known = self.core.quarantines.placed(who.tenant(), &selector);
            let new = known.is_none();
            let stored = AtomicBool::new(false);
            let doc = QuarantineDoc { reason: reason.to_owned(), by: actor.principal().to_string() };
            let tenant = who.tenant().cloned();
            let placed = Quarantine { tenant, selector, doc, since_ms: now_ms(), stored };
            let quarantine = known.unwrap_or_else(|| Arc::new(placed));
            if new {
                self.core.quarantines.add(quarantine.clone());
            }
            let covers = |call: &LiveCall| quarantine.selector.covers(call.installation());
            let calls = self.core.live.stop(covers, &quarantine.ends());
            self.core.close_kept(|installation| quarantine.selector.covers(installation));
            let ended = live::gone(&calls, GONE_WITHIN).await;
            let detail = format!("{}: {} calls ended; {reason}", quarantine.selector, calls.len());
            let draft = who.draft(actor, act).field(field::DETAIL, detail);
            let tenants = if quarantine.stored.load(Ordering::Acquire) {
                self.core.record(who.log(), vec![draft]).await?;
                self.concerned(&quarantine.selector).await?.len() as u64
            } else {
                self.store(who, &quarantine, draft).await?
            };
            let (calls, ended) = (calls.len() as u64, ended as u64);
            Ok(Placed { quarantine: quarantine.view(), new, calls, ended, tenants })
        })
        .await
    }

    /// Lifts the quarantine that was placed on exactly this, by who asks: the operator lifts the operator's, a tenant its own.
    ///
    /// # Errors
    /// No such quarantine; a disk that does not serve, and then it stays in force.
    pub async fn release(&self, actor: &Actor, selection: &Selection) -> Result<QuarantineView, Refusal> {
        let act = "sandbox release";
        self.with(actor, MAY, act, &told(selection), async |who| {
            let selector = self.resolve(who, selection).await?;
            let _turn = self.core.quarantines.acts.lock().await;
            let Some(quarantine) = self.core.quarantines.placed(who.tenant(), &selector) else {
                return Err(Refusal::new(
                    Class::NotFound,
                    Stage::Admin,
                    "sandbox.not-quarantined",
                    format!("nobody here placed a quarantine on {selector}"),
                    "see opsiq sandbox list; only who placed one lifts it",
                ));
            };
            let draft = who.draft(actor, act).field(field::DETAIL, selector.to_string());
            let (owner, kind, value) = (who.tenant().cloned(), selector.kind(), selector.value());
            let change = Op::new(move |tx| {
                Box::pin(async move { Ok(tx.quarantine_remove(owner.as_ref(), kind, &value).await?) })
            });
            let done = self.core.journal.commit(&who.log(), vec![draft.clone()], change).await;
            done.map_err(|error| errors::audit(Stage::Admin, &error))?;
            self.core.quarantines.remove(&quarantine);
            self.tell_tenants(who, &quarantine, &draft).await?;
            Ok(quarantine.view())
        })
        .await
    }

    /// What calls used so far. For the operator, and for owners, admins and support of a tenant.
    ///
    /// # Errors
    /// No such user; a role that may not look.
    pub async fn totals(&self, actor: &Actor, by: By) -> Result<Vec<TotalsView>, Refusal> {
        self.with(actor, SEE, "sandbox top", "", async |who| Ok(self.core.sums(who.tenant(), by))).await
    }

    /// All of it in the text form of Prometheus. For the operator.
    ///
    /// # Errors
    /// Not the operator.
    pub async fn metrics(&self, actor: &Actor) -> Result<String, Refusal> {
        self.core.operate(actor, "sandbox metrics", "", async { Ok(metrics::text(&self.core)) }).await
    }

    /// Does something as whoever asks, if they may; refusals go on record.
    async fn with<T>(
        &self,
        actor: &Actor,
        roles: &[Role],
        act: &'static str,
        about: &str,
        body: impl AsyncFnOnce(&Who) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if actor.tenant().is_none() {
            return self.core.operate(actor, act, about, body(&Who::Operator)).await;
        }
        let person = self.core.person(actor).await?;
        let (log, draft) = (person.log(), person.draft(Kind::Refused, act));
        // Not in turn with the tenant's other acts: what is to be stopped does not wait for a plugin to be compiled.
        let done = match person.must_be(roles, act) {
            Ok(()) => body(&Who::Tenant(Box::new(person))).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &done {
            self.core.record_refusal(log, draft.field(field::DETAIL, about), refusal).await?;
        }
        done
    }

    /// Makes a quarantine outlive the process, and tells the tenants it covers. How many they are.
    async fn store(&self, who: &Who, quarantine: &Quarantine, draft: Draft) -> Result<u64, Refusal> {
        let vault = match who {
            Who::Operator => self.core.vault.host(),
            Who::Tenant(person) => person.tenant.vault.clone(),
        };
        let unstored = |refusal: Refusal| {
            unrecorded(&format!("{} is quarantined until this process ends", quarantine.selector), &refusal)
        };
        let row = quarantine.row(&vault).map_err(unstored)?;
        let change = Op::new(move |tx| Box::pin(async move { Ok(tx.quarantine_put(&row).await?) }));
        let done = self.core.journal.commit(&who.log(), vec![draft.clone()], change).await;
        done.map_err(|error| unstored(errors::audit(Stage::Admin, &error)))?;
        quarantine.stored.store(true, Ordering::Release);
        self.tell_tenants(who, quarantine, &draft).await
    }

    /// An entry in the log of each tenant that an act of the operator concerns. How many they are.
    async fn tell_tenants(&self, who: &Who, quarantine: &Quarantine, draft: &Draft) -> Result<u64, Refusal> {
        if who.tenant().is_some() {
            return Ok(1);
        }
        let tenants = self.concerned(&quarantine.selector).await?;
        let entries = tenants.iter().map(|tenant| self.core.record(Log::Tenant(tenant.clone()), vec![draft.clone()]));
        for recorded in join_all(entries).await {
            recorded.map_err(|refusal| unrecorded("it is in force and in the host's log", &refusal))?;
        }
        Ok(tenants.len() as u64)
    }

    /// Those in force that concern whoever asks.
    async fn quarantines(&self, who: &Who) -> Result<Vec<QuarantineView>, Refusal> {
        let all = self.core.quarantines.all();
        let Who::Tenant(person) = who else { return Ok(all.iter().map(|one| one.view_of_operator()).collect()) };
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let installed = self.core.all_installed(&person.tenant).await?;
        let concerns = |one: &Quarantine| match &one.tenant {
            Some(owner) => *owner == person.tenant.id,
            None => installed.iter().any(|installed| one.selector.covers(&installed.installation)),
        };
        Ok(all.iter().filter(|one| concerns(one)).map(|one| one.view()).collect())
    }
}

impl Core {
    /// Ends what runs or waits of an installation, because of `why`.
    pub(crate) fn stop_calls(&self, selector: &Selector, why: &str) {
        let fault = Fault::new(FaultCode::Stopped, format!("the call was stopped: {why}"));
        self.live.stop(|call| selector.covers(call.installation()), &fault);
        self.close_kept(|installation| selector.covers(installation));
    }
}

fn reason_fits(reason: &str) -> Result<(), Refusal> {
    let length = reason.trim().chars().count();
    if (1..=REASON_MOST).contains(&length) {
        return Ok(());
    }
    let message = format!("a reason has 1 to {REASON_MOST} characters");
    Err(Refusal::new(Class::Invalid, Stage::Admin, "sandbox.reason", message, "--reason TEXT"))
}

/// What was done is not on record.
fn unrecorded(done: &str, refusal: &Refusal) -> Refusal {
    let message = format!("{done}, but that could not be recorded: {}", refusal.message);
    let fix = format!("{}; then repeat the command", refusal.fix);
    Refusal::new(refusal.class, Stage::Admin, "sandbox.not-recorded", message, fix)
}
