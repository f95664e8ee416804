//! What was recorded, written into a case's file: its exchanges and expectations are replaced, and all else in it, comments
//! too, stays as its author wrote it.

use std::collections::BTreeMap;

use opsiq_egress::Answered;
use opsiq_gate::Played;
use opsiq_sandbox::{Failure, RunError};
use serde_json::Value;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value as Toml, value};

use crate::case::{Body, Exchange};
use crate::file::base64;

/// The text of the file `old` with what was recorded in it.
///
/// # Errors
/// A sentence, when `old` is no TOML.
pub(crate) fn recorded(
    old: &str,
    exchanges: &[Exchange],
    played: &Played,
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Result<String, String> {
    let mut file: DocumentMut = old.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    file.remove("http");
    file.remove("expect");
    let mut http = ArrayOfTables::new();
    for exchange in exchanges {
        let mut one = Table::new();
        one.insert("request", Item::Table(request(exchange)));
        one.insert("answer", Item::Table(answer(&exchange.answer)));
        http.push(one);
    }
    if !http.is_empty() {
        file.insert("http", Item::ArrayOfTables(http));
    }
    file.insert("expect", Item::Table(expect(played, before, after)));
    let text = file.to_string();
    Ok(format!("{}\n", text.trim_end()))
}

fn request(exchange: &Exchange) -> Table {
    let mut table = Table::new();
    table.insert("method", value(exchange.request.method.as_str()));
    table.insert("url", value(exchange.request.url.as_str()));
    if !exchange.request.headers.is_empty() {
        let headers = exchange.request.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        table.insert("headers", value(headers.collect::<InlineTable>()));
    }
    match &exchange.request.body {
        None => {}
        Some(Body::Json(json)) => {
            table.insert("json", Item::Value(of_json(json)));
        }
        Some(Body::Bytes(bytes)) => bytes_into(&mut table, bytes),
    }
    table
}

fn answer(answer: &Answered) -> Table {
    let mut table = Table::new();
    table.insert("status", value(i64::from(answer.status)));
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, text) in &answer.headers {
        headers.entry(name).or_default().push(text);
    }
    if !headers.is_empty() {
        let mut inline = InlineTable::new();
        for (name, texts) in &headers {
            let several = texts.len() > 1;
            let one = texts.first().copied().unwrap_or_default();
            inline.insert(*name, if several { Toml::Array(texts.iter().copied().collect()) } else { one.into() });
        }
        table.insert("headers", value(inline));
    }
    let json = headers.get("content-type").is_some_and(|kinds| kinds.iter().any(|kind| kind.contains("json")));
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json_body) if json => {
            table.insert("json", Item::Value(of_json(&json_body)));
        }
        _ if answer.body.is_empty() => {}
        _ => bytes_into(&mut table, &answer.body),
    }
    table
}

fn bytes_into(table: &mut Table, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => table.insert("body", value(text)),
        Err(_) => table.insert("base64", value(base64(bytes))),
    };
}

fn expect(played: &Played, before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Table {
    let mut table = Table::new();
    if let Ok(result) = &played.end {
        let result = serde_json::from_str(result).unwrap_or_default();
        table.insert("result", Item::Value(of_json(&result)));
    }
    if !played.denials.is_empty() {
        let codes: Array = played.denials.iter().map(|denial| denial.code).collect();
        table.insert("denials", value(codes));
    }
    if before != after {
        let mut kv = Table::new();
        for (key, bytes) in after {
            let stored: Toml = match std::str::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => Toml::InlineTable([("base64", base64(bytes))].into_iter().collect()),
            };
            kv.insert(key, Item::Value(stored));
        }
        table.insert("kv", Item::Table(kv));
    }
    if let Err(refusal) = &played.end {
        let mut failure = Table::new();
        match &played.failure {
            Some(RunError::Failure(found)) => {
                failure.insert("kind", value(found.code()));
                if let Failure::Upstream { status, request_sent, .. } = found {
                    if let Some(status) = status {
                        failure.insert("status", value(i64::from(*status)));
                    }
                    failure.insert("request-sent", value(*request_sent));
                }
                if let Failure::RateLimited { retry_after: Some(seconds) } = found {
                    failure.insert("retry-after", value(i64::from(*seconds)));
                }
            }
            _ => {
                failure.insert("code", value(refusal.code.as_ref()));
            }
        }
        table.insert("failure", Item::Table(failure));
    }
    let mut events = ArrayOfTables::new();
    for event in &played.events {
        let mut one = Table::new();
        one.insert("event", value(event.event.as_str()));
        one.insert("detail", Item::Value(of_json(&serde_json::from_str(&event.detail).unwrap_or_default())));
        events.push(one);
    }
    if !events.is_empty() {
        table.insert("events", Item::ArrayOfTables(events));
    }
    table
}

/// Small JSON as TOML; else, and where there is a null, as a text of JSON over several lines.
fn of_json(json: &Value) -> Toml {
    const ONE_LINE: usize = 100;
    if json.to_string().len() <= ONE_LINE
        && let Some(Toml::InlineTable(small)) = small(json)
    {
        return Toml::InlineTable(small);
    }
    let pretty = serde_json::to_string_pretty(json).unwrap_or_else(|_| json.to_string());
    // A text between three quotes is as it stands, but for the first line break.
    let literal = (!pretty.contains("'''")).then(|| format!("'''\n{pretty}'''").parse::<Toml>().ok()).flatten();
    literal.unwrap_or_else(|| Toml::from(json.to_string()))
}

fn small(json: &Value) -> Option<Toml> {
    Some(match json {
        Value::Null => return None,
        Value::Bool(yes) => Toml::from(*yes),
        Value::Number(number) => number.as_i64().map(Toml::from).or_else(|| number.as_f64().map(Toml::from))?,
        Value::String(text) => Toml::from(text.as_str()),
        Value::Array(items) => Toml::Array(items.iter().map(small).collect::<Option<Array>>()?),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| Some((name.as_str(), small(member)?)));
            Toml::InlineTable(members.collect::<Option<InlineTable>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_so_that_it_reads_the_same() {
        let long =
            json!({ "text": "x".repeat(200), "quotes": "it's '' fine", "n": null, "big": 1.5, "list": [1, "a"] });
        for json in
            [json!({}), json!({ "a": 1, "b": [true, "x"] }), json!({ "n": null }), json!([1, 2]), json!("a"), long]
        {
            let mut file = DocumentMut::new();
            file.insert("it", Item::Value(of_json(&json)));
            let text = file.to_string();
            let read: BTreeMap<String, crate::file::Json> = toml::from_str(&text).unwrap();
            assert_eq!(read["it"].0, json, "{text}");
        }
        assert!(of_json(&json!({ "q": format!("'''{}", "x".repeat(200)) })).is_str());
    }
}
