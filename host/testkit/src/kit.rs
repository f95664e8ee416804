//! Runs cases, each as it is and then with every fault.

use std::sync::Arc;
use std::time::Instant;

use opsiq_contract::is_safe_method;
use opsiq_gate::{Played, Props, Refusal, Rig};
use opsiq_sandbox::{Failure, LogLine, MemoryKv, Meter, Moment, RunError};
use serde::Serialize;

use crate::case::Case;
use crate::compare::{self, Mismatch, told};
use crate::fault::{Fault, FaultExpect, METADATA};
use crate::script::Script;

/// What the randomness of every case follows from.
const SEED: &str = "opsiq plugin test";

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Otherwise.
    Failed,
    /// It was not run.
    Skipped,
}

/// What became of a case, or of one fault in it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The case.
    pub case: String,
    /// What went wrong outside, on purpose.
    pub fault: Option<Fault>,
    /// At which request, from 1.
    pub request: Option<usize>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was not run.
    pub reason: Option<String>,
    /// What is not as it should be.
    pub mismatches: Vec<Mismatch>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What the plugin used.
    pub meter: Meter,
    /// What the plugin logged.
    pub logs: Vec<LogLine>,
}

impl Report {
    /// A name of its own: `case`, `case/timeout`, or `case/timeout@2` at the second request.
    pub fn name(&self) -> String {
        match (self.fault, self.request) {
            (Some(fault), Some(at)) if at > 1 => format!("{}/{fault}@{at}", self.case),
            (Some(fault), _) => format!("{}/{fault}", self.case),
            (None, _) => self.case.clone(),
        }
    }

    fn skipped(case: &Case, fault: Option<(usize, Fault)>, reason: impl Into<String>) -> Self {
        Self {
            case: case.name.clone(),
            fault: fault.map(|(_, fault)| fault),
            request: fault.map(|(at, _)| at + 1),
            verdict: Verdict::Skipped,
            reason: Some(reason.into()),
            mismatches: Vec::new(),
            took_us: 0,
            meter: Meter::default(),
            logs: Vec::new(),
        }
    }
}

/// A plugin and what it takes to try it.
pub struct Kit {
    pub(crate) rig: Rig,
}

impl Kit {
    /// Loads a component.
    ///
    /// # Errors
    /// The component would not be registered, or does not compile.
    pub async fn load(component: Vec<u8>) -> Result<Self, Refusal> {
        Ok(Self { rig: Rig::load(component).await? })
    }

    /// The plugin in its sandbox.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// Runs a case, and then, if it went as expected, each fault at each of its requests.
    ///
    /// # Errors
    /// What surrounds the call does not fit the contract: config, or what is withheld.
    pub async fn run(&self, case: &Case) -> Result<Vec<Report>, Refusal> {
        let whole = self.run_plain(case).await?;
        let passed = whole.verdict == Verdict::Passed;
        let mut reports = vec![whole];
        let exchanges = if case.expect.is_some() { case.exchanges.as_slice() } else { &[] };
        for (at, exchange) in exchanges.iter().enumerate() {
            for fault in Fault::ALL.iter().copied().filter(|fault| fault.applies(&exchange.answer)) {
                let here = Some((at, fault));
                reports.push(match case.faults.get(&fault) {
                    Some(FaultExpect::Skip(why)) => Report::skipped(case, here, why.clone()),
                    _ if !passed => Report::skipped(case, here, "the case itself failed"),
                    expected => self.fault(case, at, fault, expected).await?,
                });
            }
        }
        Ok(reports)
    }

    /// Runs a case as it is.
    ///
    /// # Errors
    /// What surrounds the call does not fit the contract: config, or what is withheld.
    pub async fn run_plain(&self, case: &Case) -> Result<Report, Refusal> {
        let Some(expect) = &case.expect else {
            let why = "it says nothing to expect yet: opsiq plugin test --record writes that";
            let mut report = Report::skipped(case, None, why);
            report.verdict = Verdict::Failed;
            report.mismatches.push(Mismatch::new("expect", "[expect]", why));
            return Ok(report);
        };
        let script = Arc::new(Script::new(case.exchanges.clone()));
        let tried = self.played(case, &script).await?;
        let contract = self.rig.contract();
        let wrong = compare::case(case, expect, &tried.played, &script, &tried.kv.contents(), contract);
        Ok(tried.report(case, None, wrong))
    }

    async fn fault(
        &self,
        case: &Case,
        at: usize,
        fault: Fault,
        expected: Option<&FaultExpect>,
    ) -> Result<Report, Refusal> {
        let script = Arc::new(Script::with_fault(case.exchanges.clone(), at, fault));
        let tried = self.played(case, &script).await?;
        let mut wrong = match expected {
            Some(FaultExpect::End(end)) => compare::end(end, &tried.played),
            _ => typed(&tried.played),
        };
        let faulted = &case.exchanges[at].request;
        let asked = script.asked();
        if let Some(last) = asked.last().filter(|_| script.unexpected()) {
            let found = format!("{} {}", last.method, last.url);
            wrong.insert(0, Mismatch::new("after the fault", "no request that the case does not expect", found));
        }
        if script.repeats() > 0 && !is_safe_method(&faulted.method) {
            let found = format!("{} {} sent {} times", faulted.method, faulted.url, script.repeats() + 1);
            wrong.push(Mismatch::new("writes", "each is sent once, whatever came back", found));
        }
        if let Some(request) = asked.iter().find(|asked| asked.url.as_str() == METADATA) {
            let found = format!("{} {}", request.method, request.url);
            wrong.push(Mismatch::new("policy", "no rule leads to a private address", found));
        }
        if let Some(RunError::Failure(Failure::Upstream { request_sent: false, .. })) = &tried.played.failure
            && !is_safe_method(&faulted.method)
        {
            let expected = "request-sent is true, since the request was sent";
            wrong.push(Mismatch::new("failure/request-sent", expected, "false"));
        }
        Ok(tried.report(case, Some((at, fault)), wrong))
    }

    /// Plays a case's call before `script`.
    pub(crate) async fn played(&self, case: &Case, script: &Arc<Script>) -> Result<Tried, Refusal> {
        let kv = Arc::new(MemoryKv::holding(case.kv.clone()));
        let props = Props {
            upstream: script.clone(),
            kv: kv.clone(),
            moment: Moment::new(case.now_ms, SEED),
            idempotency_key: case.idempotency_key.clone(),
            keys: std::collections::BTreeMap::new(),
        };
        let began = Instant::now();
        let played = self.rig.play(&case.part, props).await?;
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Tried { played, kv, took_us })
    }
}

/// A call that was played.
pub(crate) struct Tried {
    pub(crate) played: Played,
    pub(crate) kv: Arc<MemoryKv>,
    took_us: u64,
}

impl Tried {
    fn report(self, case: &Case, fault: Option<(usize, Fault)>, mismatches: Vec<Mismatch>) -> Report {
        Report {
            verdict: if mismatches.is_empty() { Verdict::Passed } else { Verdict::Failed },
            reason: None,
            mismatches,
            took_us: self.took_us,
            meter: self.played.meter,
            logs: self.played.logs,
            ..Report::skipped(case, fault, "")
        }
    }
}

/// What a fault is to end in when nothing else is said: a failure that a caller can act on.
fn typed(played: &Played) -> Vec<Mismatch> {
    const WANTED: &str = "a failure that a caller can act on";
    let found = match (&played.end, &played.failure) {
        (Ok(result), _) => format!("result {result}"),
        (Err(refusal), Some(RunError::Failure(Failure::Internal { .. })) | None) => {
            told(refusal, played.failure.as_ref())
        }
        (Err(_), Some(RunError::Failure(_))) => return Vec::new(),
        (Err(refusal), Some(RunError::Fault(_))) => told(refusal, None),
    };
    vec![Mismatch::new("end", WANTED, found)]
}
