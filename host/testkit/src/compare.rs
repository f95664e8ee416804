//! What differs between what was expected and what happened, place by place.

use std::collections::BTreeMap;

use opsiq_contract::Contract;
use opsiq_egress::Asked;
use opsiq_gate::{Played, Refusal};
use opsiq_sandbox::{Failure, RunError};
use serde::Serialize;
use serde_json::Value;

use crate::case::{Body, Case, End, Exchange, Expect, ExpectedFailure};
use crate::script::{Script, masked};

/// Differences shown of one JSON value.
const SHOWN: usize = 20;
/// Characters of a value that are shown.
const VALUE: usize = 600;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Where, such as `result/total` or `request 2, header accept`.
    pub at: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Mismatch {
    pub(crate) fn new(at: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { at: at.into(), expected: cut(&expected.into()), found: cut(&found.into()) }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Everything that differs from what a case expects.
pub(crate) fn case(
    case: &Case,
    expect: &Expect,
    played: &Played,
    script: &Script,
    kv: &BTreeMap<String, Vec<u8>>,
    contract: &Contract,
) -> Vec<Mismatch> {
    let mut wrong = requests(&case.exchanges, script, contract);
    // A run that a request ended has no end of its own to look at.
    if !script.unexpected() {
        wrong.extend(end(&expect.end, played));
    }
    wrong.extend(events(expect, played));
    let denials: Vec<&str> = played.denials.iter().map(|denial| denial.code).collect();
    if denials != expect.denials {
        let told = |codes: &[&str]| if codes.is_empty() { "nothing is refused".to_owned() } else { codes.join(", ") };
        let expected: Vec<&str> = expect.denials.iter().map(String::as_str).collect();
        wrong.push(Mismatch::new("denials", told(&expected), told(&denials)));
    }
    wrong.extend(storage(expect.kv.as_ref().unwrap_or(&case.kv), kv));
    wrong
}

/// What differs in what was asked of the outside.
fn requests(exchanges: &[Exchange], script: &Script, contract: &Contract) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    let asked = script.asked();
    for (at, (exchange, asked)) in exchanges.iter().zip(&asked).take(script.done()).enumerate() {
        request(at, exchange, asked, contract, &mut wrong);
    }
    if let Some(last) = asked.last().filter(|_| script.unexpected()) {
        let expected = script
            .expected()
            .map_or_else(|| "no request".to_owned(), |request| format!("{} {}", request.method, request.url));
        let body = if last.body.is_empty() { String::new() } else { format!("\n{}", text(&last.body)) };
        let found = format!("{} {}{body}", last.method, last.url);
        wrong.push(Mismatch::new(format!("request {}", asked.len()), expected, found));
    } else if let Some(missing) = exchanges.get(script.done()) {
        let expected = format!("{} {}", missing.request.method, missing.request.url);
        wrong.push(Mismatch::new(format!("request {}", script.done() + 1), expected, "no request"));
    }
    wrong
}

fn request(at: usize, exchange: &Exchange, asked: &Asked, contract: &Contract, wrong: &mut Vec<Mismatch>) {
    let place = format!("request {}", at + 1);
    for (name, expected) in &exchange.request.headers {
        let found: Vec<String> =
            asked.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| masked(value, contract)).collect();
        if !found.contains(expected) {
            let found = if found.is_empty() { "no such header".to_owned() } else { found.join(", ") };
            wrong.push(Mismatch::new(format!("{place}, header {name}"), expected.clone(), found));
        }
    }
    match &exchange.request.body {
        Some(Body::Json(expected)) => match serde_json::from_slice(&asked.body) {
            Ok(found) => json(&format!("{place}, body"), expected, &found, wrong),
            Err(_) => wrong.push(Mismatch::new(format!("{place}, body"), expected.to_string(), text(&asked.body))),
        },
        Some(Body::Bytes(expected)) if *expected != asked.body => {
            wrong.push(Mismatch::new(format!("{place}, body"), text(expected), text(&asked.body)));
        }
        None | Some(Body::Bytes(_)) => {}
    }
}

/// What differs in how a call ended.
pub(crate) fn end(expected: &End, played: &Played) -> Vec<Mismatch> {
    match (expected, &played.end) {
        (End::Result(expected), Ok(found)) => {
            let mut wrong = Vec::new();
            match serde_json::from_str(found) {
                Ok(found) => json("result", expected, &found, &mut wrong),
                Err(error) => wrong.push(Mismatch::new("result", expected.to_string(), error.to_string())),
            }
            wrong
        }
        (End::Result(expected), Err(refusal)) => {
            vec![Mismatch::new("end", format!("result {expected}"), told(refusal, played.failure.as_ref()))]
        }
        (End::Failure(expected), Ok(found)) => {
            let expected = serde_json::to_string(expected).unwrap_or_default();
            vec![Mismatch::new("end", format!("failure {expected}"), format!("result {found}"))]
        }
        (End::Failure(expected), Err(refusal)) => failure(expected, refusal, played.failure.as_ref()),
    }
}

/// How a call ended that has no result.
pub(crate) fn told(refusal: &Refusal, failure: Option<&RunError>) -> String {
    match failure {
        Some(RunError::Failure(failure)) => format!("failure {failure}"),
        _ => format!("{refusal}"),
    }
}

fn failure(expected: &ExpectedFailure, refusal: &Refusal, found: Option<&RunError>) -> Vec<Mismatch> {
    let ExpectedFailure { kind, code, status, request_sent, retry_after, message } = expected;
    let found = found.and_then(|error| match error {
        RunError::Failure(failure) => Some(failure),
        RunError::Fault(_) => None,
    });
    let mut wrong = Vec::new();
    let mut same = |what: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            wrong.push(Mismatch::new(format!("failure/{what}"), expected, found));
        }
    };
    let none = || "none".to_owned();
    same("code", code.clone(), refusal.code.to_string());
    same("kind", kind.clone(), found.map_or_else(|| told(refusal, None), |failure| failure.code().to_owned()));
    let (found_status, sent, wait) = match found {
        Some(Failure::Upstream { status, request_sent, .. }) => (*status, Some(*request_sent), None),
        Some(Failure::RateLimited { retry_after }) => (None, None, *retry_after),
        _ => (None, None, None),
    };
    same("status", status.map(|status| status.to_string()), found_status.map_or_else(none, |it| it.to_string()));
    same("request-sent", request_sent.map(|sent| sent.to_string()), sent.map_or_else(none, |it| it.to_string()));
    same("retry-after", retry_after.map(|wait| wait.to_string()), wait.map_or_else(none, |it| it.to_string()));
    if let Some(words) = message {
        let found = found.map_or_else(|| refusal.to_string(), ToString::to_string);
        if !found.contains(words.as_str()) {
            wrong.push(Mismatch::new("failure/message", format!("something with `{words}`"), found));
        }
    }
    wrong
}

fn events(expect: &Expect, played: &Played) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    let found: Vec<(&str, Value)> = played
        .events
        .iter()
        .map(|event| (event.event.as_str(), serde_json::from_str(&event.detail).unwrap_or_default()))
        .collect();
    for at in 0..expect.events.len().max(found.len()) {
        let place = format!("event {}", at + 1);
        match (expect.events.get(at), found.get(at)) {
            (Some((name, detail)), Some((found_name, found_detail))) if name == found_name => {
                json(&format!("{place} ({name})"), detail, found_detail, &mut wrong);
            }
            (expected, found) => {
                let expected =
                    expected.map_or_else(|| "no event".to_owned(), |(name, detail)| format!("{name} {detail}"));
                let found = found.map_or_else(|| "no event".to_owned(), |(name, detail)| format!("{name} {detail}"));
                wrong.push(Mismatch::new(place, expected, found));
            }
        }
    }
    wrong
}

fn storage(expected: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>) -> Vec<Mismatch> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    let shown = |value: Option<&Vec<u8>>| value.map_or_else(|| "nothing".to_owned(), |bytes| text(bytes));
    differ.map(|name| Mismatch::new(format!("kv/{name}"), shown(expected.get(name)), shown(found.get(name)))).collect()
}

/// Where two JSON values differ, by JSON pointer.
fn json(at: &str, expected: &Value, found: &Value, wrong: &mut Vec<Mismatch>) {
    if wrong.len() >= SHOWN || equal(expected, found) {
        return;
    }
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for name in names {
                let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                match (expected.get(name), found.get(name)) {
                    (Some(expected), Some(found)) => json(&place, expected, found, wrong),
                    (expected, found) => {
                        let shown =
                            |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                        wrong.push(Mismatch::new(place, shown(expected), shown(found)));
                    }
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                json(&format!("{at}/{index}"), expected, found, wrong);
            }
        }
        _ => wrong.push(Mismatch::new(at, expected.to_string(), found.to_string())),
    }
}

/// JSON has one kind of number: 1 and 1.0 are the same.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

/// Bytes as they can be read.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "nothing".to_owned(),
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} bytes that are no text", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(expected: &Value, found: &Value) -> Vec<(String, String, String)> {
        let mut wrong = Vec::new();
        json("result", expected, found, &mut wrong);
        wrong.into_iter().map(|wrong| (wrong.at, wrong.expected, wrong.found)).collect()
    }

    #[test]
    fn differences_of_json_name_their_place() {
        assert_eq!(differences(&json!({ "a": 1, "b": [1, 2.0] }), &json!({ "b": [1, 2], "a": 1.0 })), []);
        assert_eq!(
            differences(
                &json!({ "a": { "b/c": [1, 2] }, "gone": null }),
                &json!({ "a": { "b/c": [1, 3] }, "more": "x" })
            ),
            [
                ("result/a/b~1c/1".into(), "2".into(), "3".into()),
                ("result/gone".into(), "null".into(), "nothing".into()),
                ("result/more".into(), "nothing".into(), "\"x\"".into()),
            ]
        );
        assert_eq!(differences(&json!([1]), &json!([1, 2])).len(), 1);
    }

    #[test]
    fn storage_that_changed_unasked_is_found() {
        let kv = |entries: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
        };
        assert!(storage(&kv(&[("a", "1")]), &kv(&[("a", "1")])).is_empty());
        assert_eq!(storage(&kv(&[("a", "1")]), &kv(&[("a", "2"), ("b", "3")])).len(), 2);
        assert_eq!(storage(&kv(&[("a", "1")]), &kv(&[]))[0].found, "nothing");
    }
}
