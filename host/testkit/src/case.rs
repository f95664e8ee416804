//! A case, read and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use opsiq_contract::{Permission, PrivateTarget, is_slug};
use opsiq_egress::Answered;
use opsiq_gate::Part;
use serde_json::{Value, json};
use url::Url;

use crate::fault::{Fault, FaultExpect};
use crate::file::{AnswerPart, CaseFile, ExpectPart, FaultPart, Json, RequestPart, unbase64};

pub use crate::file::FailurePart as ExpectedFailure;

/// A call, what the outside answers, and what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name of its file, without `.toml`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it shows, in a sentence.
    pub summary: String,
    /// The call.
    pub part: Part,
    /// When it takes place, in milliseconds since 1970.
    pub now_ms: u64,
    /// What the plugin passes upstream in a write.
    pub idempotency_key: String,
    /// What is stored before.
    pub kv: BTreeMap<String, Vec<u8>>,
    /// What is asked and answered, in order.
    pub exchanges: Vec<Exchange>,
    /// What is to come of it; absent in a case that is still to be recorded.
    pub expect: Option<Expect>,
    /// What is to come of faults, where it is not the usual.
    pub faults: BTreeMap<Fault, FaultExpect>,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What is to be asked.
    pub request: Request,
    /// What is answered.
    pub answer: Answered,
}

/// A request as far as a case pins it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL, as the host writes it.
    pub url: Url,
    /// Headers that are to be there, names in lower case; `{name}` stands for the value of the key of that name.
    pub headers: BTreeMap<String, String>,
    /// The body, when it matters.
    pub body: Option<Body>,
}

/// A body that is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This JSON, however it is written.
    Json(Value),
}

/// What is to come of a call. What is not listed is not to happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// How it ends.
    pub end: End,
    /// Events, in order, with their details.
    pub events: Vec<(String, Value)>,
    /// Codes of what the plugin is refused, in order.
    pub denials: Vec<String>,
    /// What is stored afterwards; as before when absent.
    pub kv: Option<BTreeMap<String, Vec<u8>>>,
}

/// How a call is to end.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With this result.
    Result(Value),
    /// With such a failure.
    Failure(ExpectedFailure),
}

/// Why a file is no case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseError {
    /// The file.
    pub path: PathBuf,
    /// Where in it, from 1, if it is one place.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl CaseError {
    pub(crate) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for CaseError {}

/// Every case in a folder, by name. A folder that is not there has none.
///
/// # Errors
/// The first file that is no case, or cannot be read.
pub fn find(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let failed = |error: std::io::Error| CaseError::new(folder, format!("cannot be read: {error}"));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    let mut cases = paths.iter().map(|path| Case::read(path)).collect::<Result<Vec<_>, _>>()?;
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

impl Case {
    /// When a case takes place that does not say: 2026-01-01 00:00:00 UTC, in milliseconds since 1970.
    pub const NOW_MS: u64 = 1_767_225_600_000;
    /// What a plugin passes upstream in a write when the case does not say.
    pub const IDEMPOTENCY_KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

    /// Reads a case's file, and the files it names beside it.
    ///
    /// # Errors
    /// The file, its form, or one of the files it names.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| CaseError::new(path, format!("cannot be read: {error}")))?;
        Self::parse(path, &text)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// Its form, or one of the files it names.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CaseError> {
        let file: CaseFile = toml::from_str(text).map_err(|error| CaseError {
            path: path.to_owned(),
            line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            message: error.message().trim().to_owned(),
        })?;
        let wrong = |message: String| CaseError::new(path, message);
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !is_slug(&name) {
            return Err(wrong(format!("`{name}` is no name of a case: lower-case letters, digits and hyphens")));
        }
        let now_ms = file.now.map_or(Ok(Self::NOW_MS), |now| moment(&now)).map_err(wrong)?;
        let without = file.without.iter().map(|item| item.parse::<Permission>().map_err(|e| wrong(e.to_string())));
        let targets = file.private_target.iter().map(|target| {
            let cidr = target.cidr.parse().map_err(|_| wrong(format!("`{}` is no address range", target.cidr)))?;
            Ok(PrivateTarget { cidr, port: target.port, tls: target.tls })
        });
        let part = Part {
            action: file.action,
            params: file.params.map_or_else(|| json!({}), |Json(params)| params).to_string().into_bytes(),
            config: file.config.map_or_else(|| json!({}), |Json(config)| config),
            without: without.collect::<Result<_, _>>()?,
            role: file.role,
            private_targets: targets.collect::<Result<_, CaseError>>()?,
        };
        let exchanges = file.http.into_iter().enumerate().map(|(at, http)| {
            let wrong = |message: String| wrong(format!("http {}: {message}", at + 1));
            let request = request(path, http.request).map_err(wrong)?;
            Ok(Exchange { request, answer: answer(path, http.answer).map_err(wrong)? })
        });
        let exchanges = exchanges.collect::<Result<_, CaseError>>()?;
        let expect = file.expect.map(expect).transpose().map_err(wrong)?;
        let faults = file.faults.into_iter().map(|(fault, part)| {
            let expected = fault_expect(part).map_err(|message| wrong(format!("faults.{fault}: {message}")))?;
            Ok((fault, expected))
        });
        Ok(Self {
            faults: faults.collect::<Result<_, CaseError>>()?,
            name,
            path: path.to_owned(),
            summary: file.summary.unwrap_or_default(),
            part,
            now_ms,
            idempotency_key: file.idempotency_key.unwrap_or_else(|| Self::IDEMPOTENCY_KEY.to_owned()),
            kv: file.kv.into_iter().map(|(key, value)| (key, value.0)).collect(),
            exchanges,
            expect,
        })
    }
}

fn moment(text: &str) -> Result<u64, String> {
    let wrong = || format!("`now` is a time such as \"2026-01-01T00:00:00Z\", not `{text}`");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_millisecond()).map_err(|_| wrong())
}

/// The one body of an exchange's side, if it has one.
fn body(
    path: &Path,
    text: Option<String>,
    json: Option<Json>,
    base64: Option<String>,
    file: Option<String>,
) -> Result<Option<Body>, String> {
    let given = [text.is_some(), json.is_some(), base64.is_some(), file.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err("one of body, json, base64 and body-file says what the body is".to_owned());
    }
    if let Some(Json(value)) = json {
        return Ok(Some(Body::Json(value)));
    }
    if let Some(name) = file {
        let place = path.parent().unwrap_or(Path::new(".")).join(&name);
        let bytes = std::fs::read(place).map_err(|error| format!("body-file {name}: {error}"))?;
        return Ok(Some(Body::Bytes(bytes)));
    }
    if let Some(coded) = base64 {
        return Ok(Some(Body::Bytes(unbase64(&coded)?)));
    }
    Ok(text.map(|text| Body::Bytes(text.into_bytes())))
}

fn request(path: &Path, part: RequestPart) -> Result<Request, String> {
    let RequestPart { method, url, headers, body: text, json, base64, body_file } = part;
    let url = opsiq_contract::request_url(&url).map_err(|denial| format!("{}; {}", denial.message, denial.fix))?;
    let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(Request { method, url, headers, body: body(path, text, json, base64, body_file)? })
}

fn answer(path: &Path, part: AnswerPart) -> Result<Answered, String> {
    let AnswerPart { status, headers, body: text, json, base64, body_file } = part;
    if !(200..600).contains(&status) {
        return Err(format!("{status} is no status of an answer"));
    }
    let body = match body(path, text, json, base64, body_file)? {
        None => Vec::new(),
        Some(Body::Bytes(bytes)) => bytes,
        Some(Body::Json(value)) => value.to_string().into_bytes(),
    };
    let headers = headers.into_iter().flat_map(|(name, values)| {
        values.0.into_iter().map(move |value| (name.to_ascii_lowercase(), value)).collect::<Vec<_>>()
    });
    let headers: Vec<(String, String)> = headers.collect();
    let broken = |text: &str| text.contains(['\r', '\n', '\0']);
    if let Some((name, _)) = headers.iter().find(|(name, value)| name.is_empty() || broken(name) || broken(value)) {
        return Err(format!("the header `{}` is none", name.escape_default()));
    }
    Ok(Answered { status, headers, body })
}

fn expect(part: ExpectPart) -> Result<Expect, String> {
    let ExpectPart { result, failure, events, denials, kv } = part;
    let end = end(result, failure)?.ok_or("expect says how the call ends: `result`, or [expect.failure]")?;
    Ok(Expect {
        end,
        events: events.into_iter().map(|part| (part.event, part.detail.0)).collect(),
        denials,
        kv: kv.map(|kv| kv.into_iter().map(|(key, value)| (key, value.0)).collect()),
    })
}

fn end(result: Option<Json>, failure: Option<ExpectedFailure>) -> Result<Option<End>, &'static str> {
    match (result, failure) {
        (Some(_), Some(_)) => Err("it ends with `result` or with `failure`, not with both"),
        (Some(Json(result)), None) => Ok(Some(End::Result(result))),
        (None, Some(failure)) if failure == ExpectedFailure::default() => {
            Err("a failure that says nothing is met by any: name its kind or code")
        }
        (None, Some(failure)) => Ok(Some(End::Failure(failure))),
        (None, None) => Ok(None),
    }
}

fn fault_expect(part: FaultPart) -> Result<FaultExpect, String> {
    let FaultPart { skip, result, failure } = part;
    match (skip, end(result, failure)?) {
        (Some(why), None) if !why.trim().is_empty() => Ok(FaultExpect::Skip(why)),
        (None, Some(end)) => Ok(FaultExpect::End(end)),
        _ => Err("`skip` says why it is left out; or `result` or `failure` says how it ends".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Case, CaseError> {
        Case::parse(Path::new("tests/a-case.toml"), text)
    }

    const SMALL: &str = "action = \"get\"\n[expect]\nresult = { ok = true }\n";

    #[test]
    fn a_small_case_takes_the_rest_for_granted() {
        let case = parse(SMALL).unwrap();
        assert_eq!((case.name.as_str(), case.part.action.as_str(), case.now_ms), ("a-case", "get", Case::NOW_MS));
        assert_eq!((case.part.params.as_slice(), case.exchanges.len()), (b"{}".as_slice(), 0));
        assert_eq!(case.expect.unwrap().end, End::Result(json!({ "ok": true })));
    }

    #[test]
    fn an_unknown_field_is_an_error_with_its_line() {
        for (text, line) in [
            ("action = \"get\"\nacton = 1\n", 2),
            ("action = \"get\"\n[expect]\nresult = {}\nevent = []\n", 4),
            (
                "action = \"get\"\n[[http]]\nrequest = { method = \"GET\", url = \"https://a.example/\" }\nanswer = { status = 200, header = 1 }\n",
                4,
            ),
            ("action = \"get\"\n\n[faults.time-out]\nskip = \"x\"\n", 3),
            ("action = \"get\"\n[expect.failure]\nkinds = \"x\"\n", 3),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.message.contains("unknown"), "{error}");
        }
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        for text in [
            "action = \"get\"\n[expect]\n",
            "action = \"get\"\n[expect.failure]\n",
            "action = \"get\"\n[expect]\nresult = {}\nfailure = { kind = \"invalid\" }\n",
            "action = \"get\"\n[faults.timeout]\nskip = \"\"\n",
            "action = \"get\"\nwithout = [\"everything\"]\n",
            "action = \"get\"\nnow = \"yesterday\"\n",
            "action = \"get\"\nparams = \"{\"\n",
            "action = \"get\"\nparams = { at = 2026-01-01 }\n",
            "action = \"get\"\n[[http]]\nrequest = { method = \"GET\", url = \"a.example\" }\nanswer = { status = 200 }\n",
            "action = \"get\"\n[[http]]\nrequest = { method = \"GET\", url = \"https://a.example/\" }\nanswer = { status = 99 }\n",
            "action = \"get\"\n[[http]]\nrequest = { method = \"GET\", url = \"https://a.example/\" }\nanswer = { status = 200, body = \"a\", json = {} }\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Case::parse(Path::new("A case.toml"), SMALL).is_err());
    }

    #[test]
    fn values_beyond_toml_are_texts_of_json_and_base64() {
        let case = parse(
            "action = \"get\"\nparams = '{ \"a\": null }'\nkv = { a = \"x\", b = { base64 = \"AP8=\" } }\n\
             [expect]\nresult = '{\"n\":null}'\n",
        )
        .unwrap();
        assert_eq!(case.part.params, br#"{"a":null}"#);
        assert_eq!(case.kv, BTreeMap::from([("a".into(), b"x".to_vec()), ("b".into(), vec![0, 255])]));
        assert_eq!(case.expect.unwrap().end, End::Result(json!({ "n": null })));
    }
}
