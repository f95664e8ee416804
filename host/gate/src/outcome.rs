//! Stage 10: what a run left behind becomes an answer and audit entries. A result off its schema is no result; a text
//! that holds a tenant's secret is withheld, whoever put it there.

use opsiq_audit::{Draft, Kind, field};
use opsiq_contract::{Action, Denial, MAX_DEPTH, is_safe_method, visible};
use opsiq_egress::{HttpRecord, Verdict};
use opsiq_sandbox::{Event, Failure, FaultCode, LogLine, Meter, RunError, RunReport};
use serde::Serialize;
use serde_json::json;

use crate::refusal::{Class, Fault, Refusal, Stage};
use crate::scan::SecretScan;

/// Most denials of one call that become entries; one more says how many were left out.
const DENIALS_MOST: usize = 20;
/// Characters of a plugin's failure text that are kept.
const MESSAGE_MOST: usize = 2000;

/// A run, judged.
pub(crate) struct Ended {
    /// The result, or why there is none.
    pub(crate) end: Result<Answered, Refusal>,
    pub(crate) meter: Meter,
    /// Events and denials, in order.
    pub(crate) drafts: Vec<Draft>,
    /// The entry that ends the call, but for the result.
    pub(crate) outcome: Draft,
}

/// A result that is what the contract promises.
pub(crate) struct Answered {
    /// As canonical JSON.
    pub(crate) text: String,
    /// As it may be shown.
    pub(crate) shown: String,
    /// Whose data it is, if it says so.
    pub(crate) subject: Option<String>,
}

/// Judges a run of `action`; `outcome` is the beginning of its last entry.
pub(crate) fn judge(report: RunReport, action: &Action, scan: &SecretScan, outcome: Draft) -> Ended {
    let RunReport { authorized: _, outcome: answer, meter, logs, events, denials, http } = report;
    let denials = all_denials(denials, &http);
    let mut drafts = Vec::new();
    for denial in denials.iter().take(DENIALS_MOST) {
        drafts.push(denial_draft(denial, scan));
    }
    if denials.len() > DENIALS_MOST {
        let more = format!("{} more denials of this call", denials.len() - DENIALS_MOST);
        drafts.push(Draft::new(Kind::Denial).field(field::RULE, "more").field(field::DETAIL, more));
    }
    drafts.extend(events.into_iter().map(|event| event_draft(event, scan)));

    let mut end = match answer {
        Ok(text) => result(&text, action, scan),
        Err(RunError::Failure(failure)) => Err(failed(failure, &denials, scan)),
        Err(RunError::Fault(fault)) => {
            let class = match fault.code {
                FaultCode::Busy => Class::Unavailable,
                FaultCode::HostPanic => Class::Internal,
                _ => Class::Plugin,
            };
            let fix = match fault.code {
                FaultCode::Busy => "try again in a moment",
                FaultCode::RehearsalEnded => "name a case whose answers stand in: --replay FILE",
                FaultCode::Stopped => "the installation was paused, removed or stopped while it ran",
                _ => "the plugin needs more than its limits, or is defective; the operator may raise the ceiling",
            };
            Err(Refusal::new(class, Stage::Run, fault.code.as_str(), fault.message, fix))
        }
    };
    if let Err(refusal) = &mut end {
        refusal.effect_possible = http.iter().any(|sent| sent.request_sent && !is_safe_method(&sent.method));
    }

    let mut outcome = outcome.field(field::DETAIL, detail(&meter, &http, &logs, scan));
    outcome = match &end {
        Ok(_) => outcome.field(field::OUTCOME, "ok"),
        Err(refusal) => outcome
            .field(field::OUTCOME, refusal.code.to_string())
            .field(field::STAGE, refusal.stage.as_str())
            .field("reason", refusal.to_string()),
    };
    Ended { end, meter, drafts, outcome }
}

/// The result, held against its schema and the tenant's secrets.
fn result(text: &str, action: &Action, scan: &SecretScan) -> Result<Answered, Refusal> {
    let off = |faults: Vec<Fault>| {
        Refusal::new(
            Class::Plugin,
            Stage::Result,
            "result.off-contract",
            "the plugin answered something else than its contract promises, so the answer was withheld",
            "tell the plugin's publisher; what it did outside may have happened",
        )
        .with_faults(faults)
    };
    let checked = action.result.check(text.as_bytes(), MAX_DEPTH).map_err(|violations| {
        let fault = |fault: Fault| Fault { path: scan.clean(fault.path), message: scan.clean(fault.message) };
        off(violations.into_iter().map(|violation| fault(violation.into())).collect())
    })?;
    if let Some(key) = scan.find(checked.as_str()) {
        return Err(Refusal::new(
            Class::Plugin,
            Stage::Result,
            "result.secret",
            format!("the answer held the value of key `{key}`, so it was withheld"),
            "the outside system or the plugin gives the secret back; rotate the key and tell the publisher",
        ));
    }
    let (shown, subject) = (action.result.shown(&checked), action.result.subject(checked.value()));
    Ok(Answered { text: checked.into_string(), shown, subject })
}

/// The plugin said that it failed.
fn failed(failure: Failure, denials: &[Denial], scan: &SecretScan) -> Refusal {
    let text = |text: &str| scan.clean(visible(text, MESSAGE_MOST).text);
    let of =
        |code: &'static str, message: String, fix: &str| Refusal::new(Class::Plugin, Stage::Run, code, message, fix);
    match failure {
        Failure::Denied { rule, message, fix } => {
            // In the host's own words, if the host said so; a plugin may claim anything.
            match denials.iter().rev().find(|denial| denial.code == rule) {
                Some(denial) => Refusal::denied(Stage::Run, denial.clone()),
                None => of("plugin.denied", text(&message), &text(&fix)),
            }
        }
        Failure::Invalid { message } => of("plugin.invalid", text(&message), "change the parameters"),
        Failure::NotFound { message } => of("plugin.not-found", text(&message), ""),
        Failure::Conflict { message } => of("plugin.conflict", text(&message), ""),
        Failure::Internal { message } => of("plugin.internal", text(&message), "tell the plugin's publisher"),
        Failure::RateLimited { retry_after } => {
            let wait = retry_after.map_or_else(|| "later".to_owned(), |seconds| format!("in {seconds} s"));
            of("plugin.rate-limited", "the outside system asks to wait".to_owned(), &format!("try again {wait}"))
        }
        Failure::Upstream { status, request_sent, message } => {
            let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
            let fix = if request_sent { "the request may have arrived: look before repeating it" } else { "try again" };
            of("plugin.upstream", format!("{}{status}", text(&message)), fix)
        }
    }
}

/// Denials the plugin met, those of HTTP among them, each once.
fn all_denials(mut denials: Vec<Denial>, http: &[HttpRecord]) -> Vec<Denial> {
    for record in http {
        if let Verdict::Denied { denial } = &record.verdict
            && !denials.contains(denial)
        {
            denials.push(denial.clone());
        }
    }
    denials
}

fn denial_draft(denial: &Denial, scan: &SecretScan) -> Draft {
    let text = format!("{}; {}", denial.message, denial.fix);
    Draft::new(Kind::Denial).field(field::RULE, denial.code).field(field::DETAIL, scan.clean(text))
}

fn event_draft(event: Event, scan: &SecretScan) -> Draft {
    Draft::new(Kind::Event).field(field::EVENT, event.event).field(field::DETAIL, scan.clean(event.detail))
}

/// What a run used, asked of the network, and logged.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    http: &'a [HttpRecord],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    logs: &'a [LogLine],
    meter: &'a Meter,
}

/// What the run used, asked of the network, and logged, as JSON.
fn detail(meter: &Meter, http: &[HttpRecord], logs: &[LogLine], scan: &SecretScan) -> String {
    let whole = serde_json::to_string(&Detail { http, logs, meter });
    if let Some(text) = whole.ok().filter(|text| scan.find(text).is_none()) {
        return text;
    }
    // Line by line, so that what held no secret stays.
    let mut detail = json!({ "meter": meter });
    let clean: Vec<_> = logs
        .iter()
        .map(|line| json!({ "at_ms": line.at_ms, "level": line.level, "message": scan.clean(line.message.clone()) }))
        .collect();
    if !logs.is_empty() {
        detail["logs"] = json!(clean);
    }
    if !http.is_empty() {
        detail["http"] = http
            .iter()
            .map(|record| {
                let text = json!(record).to_string();
                if scan.find(&text).is_some() { json!(crate::scan::WITHHELD) } else { json!(record) }
            })
            .collect();
    }
    scan.clean(detail.to_string())
}
