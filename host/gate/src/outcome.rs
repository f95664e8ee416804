//! Stage 10: what a run left behind becomes an answer and audit entries. A result off its schema is no result; a text
//! that holds a tenant's secret is withheld, whoever put it there.

use opsiq_audit::{Draft, Kind, field};
use opsiq_contract::{Action, Denial, MAX_DEPTH, is_safe_method, visible};
use opsiq_egress::{HttpRecord, Verdict};
use opsiq_sandbox::{Event, Failure, LogLine, Meter, RunError, RunReport};
use opsiq_vault::LeakWatch;
use serde::Serialize;

use crate::refusal::{Class, Fault, Refusal, Stage};

/// Most denials of one call that become entries; one more says how many were left out.
const DENIALS_MOST: usize = 20;
/// Characters of a plugin's failure text that are kept.
const MESSAGE_MOST: usize = 2000;
/// What is put in the place of a text that held a secret.
const WITHHELD: &str = "[withheld: it held the value of a key]";

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
pub(crate) fn judge(report: RunReport, action: &Action, leaks: &LeakWatch, outcome: Draft) -> Ended {
    let RunReport { authorized: _, outcome: answer, meter, mut logs, events, denials, mut http } = report;
    let denials = all_denials(denials, &http, leaks);
    for line in &mut logs {
        clean(&mut line.message, leaks, "log.secret", "log");
    }
    if !leaks.is_idle() {
        for record in &mut http {
            clean_record(record, leaks);
        }
    }
    let mut drafts = Vec::new();
    for denial in denials.iter().take(DENIALS_MOST) {
        drafts.push(denial_draft(denial));
    }
    if denials.len() > DENIALS_MOST {
        let more = format!("{} more denials of this call", denials.len() - DENIALS_MOST);
        drafts.push(Draft::new(Kind::Denial).field(field::RULE, "more").field(field::DETAIL, more));
    }
    drafts.extend(events.into_iter().map(|event| event_draft(event, leaks)));

    let mut end = match answer {
        Ok(text) => result(&text, action, leaks),
        Err(RunError::Failure(failure)) => Err(failed(failure, &denials, leaks)),
        Err(RunError::Fault(fault)) => Err(Refusal::fault(Stage::Run, fault)),
    };
    if let Err(refusal) = &mut end {
        refusal.effect_possible = http.iter().any(|sent| sent.request_sent && !is_safe_method(&sent.method));
    }

    let mut outcome = outcome.field(field::DETAIL, detail(&meter, &http, &logs));
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
fn result(text: &str, action: &Action, leaks: &LeakWatch) -> Result<Answered, Refusal> {
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
        let fault = |mut fault: Fault| {
            clean(&mut fault.path, leaks, "result.secret", "faults of the result");
            clean(&mut fault.message, leaks, "result.secret", "faults of the result");
            fault
        };
        off(violations.into_iter().map(|violation| fault(violation.into())).collect())
    })?;
    if let Some(key) = leaks.catches("result.secret", "result", checked.as_str().as_bytes()) {
        return Err(Refusal::new(
            Class::Plugin,
            Stage::Result,
            "result.secret",
            format!("the answer held the value of {key}, so it was withheld"),
            "the outside system or the plugin gives the secret back; rotate the key and tell the publisher",
        ));
    }
    let (shown, subject) = (action.result.shown(&checked), action.result.subject(checked.value()));
    Ok(Answered { text: checked.into_string(), shown, subject })
}

/// The plugin said that it failed.
fn failed(failure: Failure, denials: &[Denial], leaks: &LeakWatch) -> Refusal {
    // Looked through before it is cut, since half a secret is found by nobody.
    let text = |text: &str| match leaks.catches("failure.secret", "failure", text.as_bytes()) {
        Some(_) => WITHHELD.to_owned(),
        None => visible(text, MESSAGE_MOST).text,
    };
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

/// Denials the plugin met, those of HTTP among them, each once. The host words them, but may repeat what the plugin said.
fn all_denials(mut denials: Vec<Denial>, http: &[HttpRecord], leaks: &LeakWatch) -> Vec<Denial> {
    for record in http {
        if let Verdict::Denied { denial } = &record.verdict
            && !denials.contains(denial)
        {
            denials.push(denial.clone());
        }
    }
    for denial in &mut denials {
        clean(&mut denial.message, leaks, "denial.secret", "denial");
        clean(&mut denial.fix, leaks, "denial.secret", "denial");
    }
    denials
}

fn denial_draft(denial: &Denial) -> Draft {
    let text = format!("{}; {}", denial.message, denial.fix);
    Draft::new(Kind::Denial).field(field::RULE, denial.code).field(field::DETAIL, text)
}

fn event_draft(mut event: Event, leaks: &LeakWatch) -> Draft {
    clean(&mut event.detail, leaks, "event.secret", "event");
    Draft::new(Kind::Event).field(field::EVENT, event.event).field(field::DETAIL, event.detail)
}

/// Puts [`WITHHELD`] in the place of a text that holds a secret.
fn clean(text: &mut String, leaks: &LeakWatch, rule: &'static str, place: &'static str) {
    if leaks.catches(rule, place, text.as_bytes()).is_some() {
        WITHHELD.clone_into(text);
    }
}

/// Takes what a plugin can have put into the record of a request out of it.
fn clean_record(record: &mut HttpRecord, leaks: &LeakWatch) {
    let clean = |text: &mut String| clean(text, leaks, "record.secret", "record of a request");
    clean(&mut record.method);
    clean(&mut record.url);
    match &mut record.verdict {
        Verdict::Denied { denial } => {
            clean(&mut denial.message);
            clean(&mut denial.fix);
        }
        Verdict::Failed { detail, .. } => clean(detail),
        _ => {}
    }
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
fn detail(meter: &Meter, http: &[HttpRecord], logs: &[LogLine]) -> String {
    // Text and numbers under names: nothing in it cannot be written.
    serde_json::to_string(&Detail { http, logs, meter }).unwrap_or_default()
}
