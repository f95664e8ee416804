//! What a rehearsed call did, told: the decision of each stage, every request with the rule that allows it and the key that
//! goes into it, how it ended, and what it used.

use std::fmt::Write as _;

use opsiq_contract::{Contract, is_host_header};
use opsiq_egress::{Asked, HttpRecord, Verdict};
use opsiq_gate::{Played, StepVerdict};
use opsiq_sandbox::Meter;
use opsiq_testkit::{Script, masked};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::table::bytes;
use crate::text;

/// Shows it, and ends as the call did; where nothing stood in for an answer, that is what was asked for.
pub(crate) fn told(played: &Played, script: &Script, out: &Output) -> Result<Exit, Failure> {
    let contract = played.contract.as_deref();
    let asked = script.asked();
    let unanswered = script.unexpected();
    let mut reached = played.http.iter().filter(|record| record.address.is_some());
    let requests: Vec<Value> =
        asked.iter().filter_map(|asked| Some(request(asked, reached.next(), contract?))).collect();
    let refused: Vec<Value> = played.http.iter().filter_map(refusal).collect();
    let data = json!({
        "status": if unanswered { "unanswered" } else if played.end.is_ok() { "done" } else { "failed" },
        "steps": played.steps,
        "requests": requests,
        "refused": refused,
        "events": played.events,
        "result": played.shown,
        "meter": played.meter,
    });
    let human = || {
        let mut lines: Vec<String> =
            played.steps.iter().filter(|step| !(unanswered && step.stage == "run")).map(step).collect();
        lines.extend(requests.iter().map(shown));
        lines.extend(refused.iter().map(|one| {
            let word = |name: &str| text::line(one[name].as_str().unwrap_or_default());
            format!("refused  {} {}: {}", word("method"), word("url"), word("why"))
        }));
        lines.extend(
            played.events.iter().map(|event| format!("event    {} {}", event.event, text::line(&event.detail))),
        );
        if let Some(result) = &played.shown {
            lines.push(format!("result   {}", serde_json::to_string_pretty(result).unwrap_or_default()));
        }
        lines.push(meter(&played.meter));
        if unanswered {
            lines.push(
                "Nothing was sent. The last request is what would have been, and nothing stands in for its answer: --replay \
                 FILE names a case that does."
                    .to_owned(),
            );
        } else {
            lines.push("Nothing was sent, stored or recorded.".to_owned());
        }
        lines.join("\n")
    };
    match &played.end {
        Err(refusal) if !unanswered => {
            out.table(human)?;
            Err(Failure::from(refusal.clone()).data(data))
        }
        _ => {
            out.data(&data, |_| human())?;
            Ok(Exit::Done)
        }
    }
}

/// What a request was refused for. Which addresses the operator opened is not for every caller to learn.
fn refusal(record: &HttpRecord) -> Option<Value> {
    let why = match &record.verdict {
        Verdict::Denied { denial } => denial.to_string(),
        Verdict::Failed { .. } if record.address.is_none() => "its address is none that may be reached".to_owned(),
        _ => return None,
    };
    Some(json!({ "method": record.method, "url": record.url, "rule": record.rule, "why": why }))
}

fn request(asked: &Asked, record: Option<&HttpRecord>, contract: &Contract) -> Value {
    let rule = record.and_then(|record| record.rule.as_deref());
    let inject = rule.and_then(|rule| contract.rule(rule)).and_then(|rule| rule.inject.as_ref());
    // A redirect carries no credential.
    let inject = inject.filter(|_| record.is_some_and(|record| record.hop == 0));
    let injected = inject.map(|inject| {
        let keys: Vec<&str> = inject.value.keys().collect();
        json!({ "header": inject.header, "value": inject.value.to_string(), "keys": keys })
    });
    let own = asked.headers.iter().filter(|(name, _)| {
        !is_host_header(name) && inject.is_none_or(|inject| !inject.header.eq_ignore_ascii_case(name))
    });
    let headers: Vec<Value> = own.map(|(name, value)| json!([name, masked(value, contract)])).collect();
    let body = (!asked.body.is_empty()).then(|| match std::str::from_utf8(&asked.body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} bytes)", asked.body.len()),
    });
    json!({
        "method": asked.method,
        "url": asked.url.as_str(),
        "rule": rule,
        "injected": injected,
        "headers": headers,
        "body": body,
        "status": record.and_then(|record| record.status),
    })
}

fn shown(request: &Value) -> String {
    let word = |name: &str| request[name].as_str().unwrap_or_default();
    let mut line = format!("request  {} {}  [rule {}]", word("method"), text::line(word("url")), word("rule"));
    if let Some(injected) = request["injected"].as_object() {
        let (header, value) = (injected["header"].as_str(), injected["value"].as_str());
        let _ = write!(
            line,
            "\n           {}: {}  (the host puts it in)",
            header.unwrap_or_default(),
            value.unwrap_or_default()
        );
    }
    for header in request["headers"].as_array().into_iter().flatten() {
        let (name, value) = (header[0].as_str().unwrap_or_default(), header[1].as_str().unwrap_or_default());
        let _ = write!(line, "\n           {name}: {}", text::line(value));
    }
    if let Some(body) = request["body"].as_str() {
        let _ = write!(line, "\n           {}", text::line(body));
    }
    match request["status"].as_u64() {
        Some(status) => {
            let _ = write!(line, "\n         answered {status}, as recorded");
        }
        None => line.push_str("\n         not answered"),
    }
    line
}

fn step(step: &opsiq_gate::ExplainStep) -> String {
    let mark = match step.verdict {
        StepVerdict::Pass => "pass  ",
        StepVerdict::Wait => "wait  ",
        StepVerdict::Refuse => "refuse",
    };
    format!("{mark}   {:<12}  {}  [{}]", step.stage, text::line(&step.detail), step.rule)
}

fn meter(meter: &Meter) -> String {
    let fuel = meter.fuel.map(|fuel| format!(", {fuel} of fuel")).unwrap_or_default();
    format!(
        "used     {} µs of CPU time{fuel}, {} of memory, host calls {}, requests {}, {} sent and received",
        meter.cpu_us,
        bytes(meter.peak_memory_bytes),
        meter.host_calls,
        meter.egress_requests,
        bytes(meter.egress_bytes),
    )
}
