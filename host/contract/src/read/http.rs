//! `[[http]]`.

use serde_json::Value;

use super::{Reader, Table};
use crate::headers::is_host_header;
use crate::model::{HttpRule, Inject, InjectPart, InjectTemplate, is_safe_method};
use crate::template::UrlTemplate;
use crate::visible::visible;

/// Methods a rule may name. CONNECT, TRACE and OPTIONS are no business of an API client.
pub(super) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Bytes of a body where a rule says nothing.
const DEFAULT_BODY: u64 = 1 << 20;
/// Redirects a rule may ask for, at most.
const MAX_REDIRECTS: u64 = 5;

/// Whether `name` is a field name in lower case (RFC 9110 §5.1).
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl Reader {
    pub(super) fn http_rule(&mut self, value: &Value, at: &str) -> Option<(String, HttpRule)> {
        const KNOWN: &[&str] =
            &["name", "methods", "url", "query", "inject", "request-max", "response-max", "safe", "redirects"];
        let table = self.table(value, at, KNOWN)?;
        let name = self.slug(table, at, "name");
        let methods = self.methods(table, at);
        let url = self.text(table, at, "url", "\"https://api.example.com/v1/things/{id}\"").and_then(|text| {
            UrlTemplate::parse(text)
                .map_err(|error| self.fault(&format!("{at}/url"), error.code, error.message, error.fix))
                .ok()
        });
        let query = self.query(table, at);
        let inject = table.get("inject").and_then(|value| self.inject(value, &format!("{at}/inject")));
        let request_max = self.size(table, at, "request-max");
        let response_max = self.size(table, at, "response-max").unwrap_or(DEFAULT_BODY);
        let methods = methods?;
        let all_safe = methods.iter().all(|method| is_safe_method(method));
        let safe = self.safe(table, at, &methods);
        let redirects = self.number(table, at, "redirects", 1, MAX_REDIRECTS).unwrap_or(0);
        if redirects > 0 && !all_safe {
            self.fault(
                &format!("{at}/redirects"),
                "http.redirects",
                "only GET and HEAD follow redirects",
                "remove it, or split the rule",
            );
        }
        let request_max = request_max.unwrap_or(if all_safe { 0 } else { DEFAULT_BODY });
        let (name, url) = (name?, url?);
        let redirects = u8::try_from(redirects).ok()?;
        Some((name.clone(), HttpRule { name, methods, url, query, inject, request_max, response_max, safe, redirects }))
    }

    fn methods(&mut self, table: &Table, at: &str) -> Option<Vec<String>> {
        if !table.contains_key("methods") {
            self.missing(at, "methods", "write methods = [\"GET\"]");
        }
        let methods = self.texts(table, at, "methods", false)?;
        for (index, method) in methods.iter().enumerate() {
            if !METHODS.contains(method) {
                let upper = method.to_ascii_uppercase();
                let fix = if METHODS.contains(&upper.as_str()) {
                    format!("write \"{upper}\"")
                } else {
                    format!("use {}", METHODS.join(", "))
                };
                self.fault(
                    &format!("{at}/methods/{index}"),
                    "http.method",
                    format!("`{}` is no method a rule can name", visible(method, 32).text),
                    fix,
                );
            }
        }
        Some(methods.into_iter().map(str::to_owned).collect())
    }

    fn safe(&mut self, table: &Table, at: &str, methods: &[String]) -> bool {
        let Some(safe) = self.flag(table, at, "safe") else { return false };
        let here = format!("{at}/safe");
        if !safe || methods.iter().all(|method| is_safe_method(method)) {
            self.fault(
                &here,
                "field.says-nothing",
                "says nothing here",
                "remove it; safe = true is a claim about POST",
            );
        } else if methods.iter().any(|method| !is_safe_method(method) && method != "POST") {
            self.fault(
                &here,
                "http.safe",
                "PUT, PATCH and DELETE are never safe",
                "claim it for POST only, or split the rule",
            );
        }
        safe
    }

    fn query(&mut self, table: &Table, at: &str) -> Vec<String> {
        let names = self.texts(table, at, "query", false).unwrap_or_default();
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
                self.fault(
                    &format!("{at}/query/{index}"),
                    "http.query",
                    "not a query name",
                    "write at most 64 visible ASCII characters, decoded, without ;",
                );
            }
        }
        names.into_iter().map(str::to_owned).collect()
    }

    fn inject(&mut self, value: &Value, at: &str) -> Option<Inject> {
        let table = self.table(value, at, &["header", "value"])?;
        let header = self.text(table, at, "header", "\"authorization\"");
        let value = self.text(table, at, "value", "\"Bearer {api-key}\"");
        let header = header.filter(|header| {
            let code_and_fix = if !is_header_name(header) {
                Some(("http.header", "write a header name in lower case"))
            } else if is_host_header(header) {
                Some(("http.header", "the host sets this header itself; use another"))
            } else {
                None
            };
            if let Some((code, fix)) = code_and_fix {
                self.fault(&format!("{at}/header"), code, "not a header that can be injected", fix);
            }
            code_and_fix.is_none()
        });
        let value = value.and_then(|value| {
            parse_inject(value)
                .map_err(|message| {
                    self.fault(
                        &format!("{at}/value"),
                        "http.inject",
                        message,
                        "write visible ASCII with a key in braces, such as \"Bearer {api-key}\"",
                    );
                })
                .ok()
        });
        Some(Inject { header: header?.to_owned(), value: value? })
    }
}

fn parse_inject(text: &str) -> Result<InjectTemplate, &'static str> {
    if text.len() > 512 || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err("not visible ASCII");
    }
    if text.trim() != text {
        return Err("begins or ends with a space");
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if open > 0 {
            parts.push(InjectPart::Text(rest[..open].to_owned()));
        }
        let inside = rest[open..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (name, after) = inside.filter(|(name, _)| crate::id::is_slug(name)).ok_or("a brace that is no {key}")?;
        parts.push(InjectPart::Key(name.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(InjectPart::Text(rest.to_owned()));
    }
    let template = InjectTemplate(parts);
    let has_key = template.keys().next().is_some();
    if has_key { Ok(template) } else { Err("names no key, so there is nothing to inject") }
}
