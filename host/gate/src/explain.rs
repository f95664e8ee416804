//! The same decisions as an invocation, told instead of acted on: which rule decides at each stage, and what would
//! change it.

use opsiq_contract::{AuthorityRequest, Authorized, CanonicalJson, Decision, Effect, Installation, Verdict, authority};
use serde::{Deserialize, Serialize};

use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, new_invocation};
use crate::host::Host;
use crate::invoke::Call;
use crate::refusal::{Class, Refusal, Stage};
use crate::stages::{Asked, checked, denied, keys_are_set};

/// How one step comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// It lets the call through.
    Pass,
    /// It refuses the call.
    Refuse,
    /// It makes the call wait for a person.
    Wait,
}

/// One step of the decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainStep {
    /// The stage, as in [`Stage`](crate::Stage).
    pub stage: String,
    /// The rule that decides.
    pub rule: String,
    /// How it comes out.
    pub verdict: StepVerdict,
    /// Why, in one sentence.
    pub detail: String,
    /// What would change it; empty when nothing needs to.
    pub change: String,
}

/// What a call would meet, without running it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// The steps in order, up to the first that refuses.
    pub steps: Vec<ExplainStep>,
    /// The last word: it would run, wait, or be refused.
    pub verdict: StepVerdict,
}

impl Host {
    /// Tells what a call would meet, in order, up to the first refusal. Nothing runs and nothing is claimed.
    ///
    /// # Errors
    /// No such user; a disk that does not serve. Refusals of the call itself are steps.
    pub async fn explain(&self, actor: &Actor, call: &Call) -> Result<Explanation, Refusal> {
        let core = self.core();
        let person = core.person(actor).await?;
        let mut told = Told::default();
        let end = told.tell(core, &person, call).await;
        let verdict = match end {
            Ok(verdict) => verdict,
            Err(refusal) if matches!(refusal.class, Class::Unavailable | Class::Internal | Class::Tampered) => {
                return Err(refusal);
            }
            Err(refusal) => {
                if told.0.last().is_none_or(|last| last.verdict != StepVerdict::Refuse) {
                    told.refuse(&refusal);
                }
                StepVerdict::Refuse
            }
        };
        Ok(Explanation { steps: told.0, verdict })
    }
}

/// What was told so far.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Vec<ExplainStep>);

/// A call that may run, perhaps once a person approves it.
pub(crate) struct Decided {
    pub(crate) authorized: Authorized,
    pub(crate) params: CanonicalJson,
    pub(crate) verdict: StepVerdict,
}

impl Told {
    async fn tell(&mut self, core: &Core, person: &Person, call: &Call) -> Result<StepVerdict, Refusal> {
        let caller = person.caller();
        let invocation = new_invocation()?;
        let asked = Asked {
            caller: &caller,
            installation: &call.installation,
            action: &call.action,
            params: &call.params,
            invocation: &invocation,
        };
        self.pass(
            "authenticate",
            "caller.known",
            format!("{} is {} of {}", caller.principal, caller.role, person.tenant.id),
        );
        person.tenant.lives()?;
        let installed = core.installed(&person.tenant, &call.installation).await?;
        let Installation { name, plugin, digest, .. } = &*installed.installation;
        self.pass("resolve", "installation.known", format!("`{name}` is {plugin}, {digest}"));
        core.not_quarantined(&installed.installation)?;
        self.pass("resolve", "sandbox.not-quarantined", "no quarantine covers it".to_owned());
        let decided = self.decide(&asked.of(&installed), || keys_are_set(&installed), &call.params)?;
        Ok(decided.verdict)
    }

    /// Stages 4, 5 and 7: whether it is allowed, whether the parameters are what the action takes, and whether a person is
    /// asked first.
    pub(crate) fn decide(
        &mut self,
        asked: &AuthorityRequest<'_>,
        keys: impl FnOnce() -> Result<(), Refusal>,
        params: &[u8],
    ) -> Result<Decided, Refusal> {
        let Decision { outcome, steps } = authority(asked);
        let fix = outcome.as_ref().err().map(|denial| denial.fix.clone());
        for step in steps {
            let refuses = step.verdict == Verdict::Refused;
            let verdict = match step.verdict {
                Verdict::Refused => StepVerdict::Refuse,
                Verdict::Raised => StepVerdict::Wait,
                Verdict::Allowed | Verdict::Narrowed => StepVerdict::Pass,
            };
            let change = fix.clone().filter(|_| refuses).unwrap_or_default();
            let (stage, rule, detail) = (step.stage.to_owned(), step.rule.to_owned(), step.detail);
            self.0.push(ExplainStep { stage, rule, verdict, detail, change });
        }
        let authorized = outcome.map_err(denied)?;
        keys()?;
        self.pass("authority", "key.set", "every granted key is set".to_owned());
        let params = checked(&authorized.action().params, authorized.limits(), params)?;
        self.pass("params", "params.valid", "they are what the action takes".to_owned());
        if authorized.effect() < Effect::RiskyWrite {
            let what = if authorized.needs_intent() { "recorded before it runs" } else { "recorded as it ends" };
            self.pass("confirmation", "confirmation.not-needed", format!("a {}: {what}", authorized.effect()));
            return Ok(Decided { authorized, params, verdict: StepVerdict::Pass });
        }
        self.0.push(ExplainStep {
            stage: Stage::Confirmation.as_str().to_owned(),
            rule: "confirmation.needed".to_owned(),
            verdict: StepVerdict::Wait,
            detail: "a risky write waits for a person".to_owned(),
            change: "an owner or admin of the tenant approves it: opsiq confirm approve ID".to_owned(),
        });
        Ok(Decided { authorized, params, verdict: StepVerdict::Wait })
    }

    pub(crate) fn pass(&mut self, stage: &str, rule: &str, detail: String) {
        let (stage, rule) = (stage.to_owned(), rule.to_owned());
        self.0.push(ExplainStep { stage, rule, verdict: StepVerdict::Pass, detail, change: String::new() });
    }

    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        let faults = refusal.faults.iter().map(|fault| format!("; {} {}", fault.path, fault.message));
        self.0.push(ExplainStep {
            stage: refusal.stage.as_str().to_owned(),
            rule: refusal.code.to_string(),
            verdict: StepVerdict::Refuse,
            detail: format!("{}{}", refusal.message, faults.collect::<String>()),
            change: refusal.fix.clone(),
        });
    }
}
