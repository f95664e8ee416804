//! Stages 9 to 11: run with a permit, hold the result against its schema and the tenant's secrets, make the outcome
//! durable, and only then answer.

use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Op, Open, Permit, field};
use opsiq_contract::{Effect, InvocationId, TenantId};
use opsiq_sandbox::{Capabilities, Place, Plugin, Run};
use opsiq_shield::ClientIp;
use opsiq_vault::{LeakWatch, Sealed};

use crate::confirmations::{Settled, Waiting};
use crate::control::Entered;
use crate::core::Core;
use crate::docs::StoredEnd;
use crate::errors;
use crate::invoke::Done;
use crate::kv::InstallationKv;
use crate::leaks::LeakingCall;
use crate::outcome::{self, Ended};
use crate::refusal::{Refusal, Stage};
use crate::replay::{Replay, seal_end};
use crate::stages::Admitted;
use crate::state::TenantState;

/// A call with all it needs to run but the permit.
pub(crate) struct Ready {
    pub(crate) tenant: Arc<TenantState>,
    pub(crate) admitted: Admitted,
    pub(crate) plugin: Arc<Plugin>,
    /// Where others see it and stop it.
    pub(crate) entered: Entered,
    pub(crate) place: Place,
    pub(crate) upstream_key: Option<String>,
    pub(crate) replay: Option<Replay>,
    /// The confirmation it runs by, which ends with it.
    pub(crate) confirmation: Option<Waiting>,
    pub(crate) address: Option<ClientIp>,
}

impl Ready {
    pub(crate) fn new(
        core: &Core,
        tenant: Arc<TenantState>,
        admitted: Admitted,
        plugin: Arc<Plugin>,
        (entered, place): (Entered, Place),
        replay: Option<Replay>,
        address: Option<ClientIp>,
    ) -> Self {
        let authorized = &admitted.authorized;
        let upstream_key = (authorized.effect() > Effect::Read).then(|| {
            let call = match &replay {
                Some(replay) => replay.upstream(),
                None => format!("invocation {}", authorized.invocation()),
            };
            core.upstream_key(&tenant.id, authorized.installation(), &call)
        });
        Self { tenant, admitted, plugin, entered, place, upstream_key, replay, confirmation: None, address }
    }

    /// The parameters as they may be shown.
    pub(crate) fn shown_params(&self) -> String {
        self.admitted.authorized.action().params.shown(&self.admitted.params)
    }
}

impl Core {
    /// Runs a permitted call and answers how it ended, once that is durable.
    pub(crate) async fn run(self: &Arc<Self>, ready: Ready, permit: Permit, open: Open) -> Result<Done, Refusal> {
        let engine = self.engine().await?;
        let Ready { tenant, admitted, plugin, entered, place, upstream_key, replay, confirmation, address } = ready;
        let Admitted { installed, authorized, params, about } = admitted;
        let invocation = authorized.invocation().clone();
        let effect = authorized.effect();
        let mut outcome = Draft::new(Kind::Outcome);
        if let Some(address) = address {
            outcome = outcome.field(field::IP, address.to_string());
        }
        if !authorized.needs_intent() && replay.is_none() {
            outcome = outcome.field(field::PARAMS, authorized.action().params.shown(&params));
        }
        let leaks = Arc::new(LeakWatch::new(installed.guard.clone(), authorized.installation().clone()));
        let capabilities = Capabilities {
            keys: installed.keys.set.clone(),
            kv: Arc::new(InstallationKv::new(self.clone(), tenant.clone(), installed.installation.clone())),
            egress: engine.egress.clone(),
            kept: Some(installed.kept.clone()),
            leaks: leaks.clone(),
        };
        let live = entered.call.live.clone();
        let run =
            Run { authorized, place, permit, params, idempotency_key: upstream_key, capabilities, live: live.clone() };
        let report = engine.sandbox.run(&plugin, run).await;
        let began = live.began();
        entered.ended(
            |totals, took| {
                if began { totals.call(&report.meter, took, report.outcome.is_err()) } else { totals.refused() }
            },
        );
        let authorized = report.authorized.clone();
        let action = authorized.action();
        let effect_possible =
            |refusal: Refusal| Refusal { effect_possible: effect > Effect::Read, ..refusal.of(&invocation) };
        leaks.renew(self.secrets(&tenant).await.map_err(effect_possible)?.guard.clone());
        let Ended { end, meter, mut drafts, mut outcome } = outcome::judge(report, action, &leaks, outcome);
        let leaks = leaks.leaks();
        drafts.extend(self.leak_drafts(&tenant, &leaks).await);
        // Whoever the result names; else whoever the parameters name.
        let named = end.as_ref().ok().and_then(|answered| answered.subject.as_ref());
        let of_result = match named {
            Some(subject) => Some(tenant.subject_key(&self.store, subject).await.map_err(effect_possible)?),
            None => about.clone(),
        };
        if let Ok(answered) = &end {
            outcome = outcome.field_about(field::RESPONSE, answered.shown.clone(), of_result.clone());
        }
        let of_call = about.or_else(|| of_result.clone());
        let drafts = drafts.into_iter().chain([outcome]).map(|draft| draft.about(of_call.clone())).collect();
        let end = end.map(|answered| answered.text).map_err(|refusal| refusal.of(&invocation).metered(meter));

        let key = match replay {
            None => None,
            Some(replay) if began => {
                let stored = match &end {
                    Ok(result) => StoredEnd::Done(result.clone()),
                    Err(refusal) => StoredEnd::Failed(Box::new(refusal.clone())),
                };
                Some((replay, Some(seal_end(&tenant, &invocation, stored, of_result.as_ref())?)))
            }
            // What never began holds no key.
            Some(replay) => Some((replay, None)),
        };
        let code = || end.as_ref().map_or_else(|refusal| refusal.code.to_string(), |_| "ok".to_owned());
        let settled = confirmation.map(|waiting| waiting.ended(&tenant, code())).transpose()?;
        let op = closing(&tenant.id, &invocation, key, settled);
        let recorded = self.journal.outcome(open, drafts, op).await;
        recorded.map_err(|error| effect_possible(errors::audit(Stage::Outcome, &error)))?;
        if !leaks.is_empty() {
            self.tell_of_leaks(&leaks, &LeakingCall::of(&authorized)).await.map_err(effect_possible)?;
        }
        let result = end?;
        let (contract, action) = (installed.contract.clone(), action.name.clone());
        Ok(Done { invocation, effect, result, meter, replayed: false, contract, action })
    }
}

/// What ends in one commit with the outcome: the call's idempotency key, with its answer or given back, and its
/// confirmation.
fn closing(
    tenant: &TenantId,
    invocation: &InvocationId,
    key: Option<(Replay, Option<Sealed<StoredEnd>>)>,
    confirmation: Option<Settled>,
) -> Op<()> {
    if key.is_none() && confirmation.is_none() {
        return Op::none();
    }
    let (tenant, invocation) = (tenant.clone(), invocation.clone());
    Op::new(move |tx| {
        Box::pin(async move {
            match key {
                Some((replay, Some(answer))) => {
                    tx.idempotency_finish(replay.stored(&tenant), &invocation, &answer).await?;
                }
                Some((_, None)) => tx.idempotency_release(&tenant, &invocation).await?,
                None => {}
            }
            if let Some(settled) = confirmation {
                settled.write(tx).await?;
            }
            Ok(())
        })
    })
}
